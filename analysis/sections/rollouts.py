"""What every firm did, quarter by quarter, as heat maps (the paper's Figures 2 and 8); two runs side by side."""

from collections.abc import Mapping

import numpy
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from analysis.figures import new_figure
from analysis.metrics import verdict
from analysis.page import Missing, Part, Picture, Section, Words
from analysis.results import Trial, by_treatment, rolled_out
from analysis.rollout import PER_FIRM, Rollout, load_rollout, per_firm
from analysis.study import Study
from analysis.writing import listed

MOSTLY = 2 / 3  # of a firm's sold units, from which on it is called an exporter, or a firm that sells at home
SHOWN = 2  # runs side by side


def section(study: Study) -> Section:
    """The first living seed of two treatments, learned ones that announce first."""
    trials = _shown(study.trials)
    if not trials:
        return Section("Roll-out", (Missing("No trial has a held-out roll-out.", study.to_evaluate),))
    data = {label: load_rollout(trial.path / "rollout.npz") for label, trial in trials.items()}
    economies = next(iter(data.values()))["state/prices"].shape[1]
    caption = (
        f"Every firm in every quarter, mean over {economies} held-out episodes of frozen policies; a row of numbers has"
        f" one scale for all runs. Firms are named by their initial capital and labor elasticity. Runs:"
        f" {listed(list(data))}."
    )
    parts: list[Part] = [Picture("rollout", caption, rollouts_figure(data))]
    parts += [Words(f"{label}: {sales_words(each)}") for label, each in data.items()]
    return Section("Roll-out", tuple(parts))


def _shown(trials: list[Trial]) -> dict[str, Trial]:
    chosen = {}
    for name, members in by_treatment(rolled_out(trials)).items():
        first = next((trial for trial in members if verdict(trial) == "alive"), members[0])
        chosen[f"{name}, seed {first.seed}"] = first
    rank = {"schedule": 0, "constant": 1, "discretion": 2, "fixed": 3}
    order = sorted(chosen, key=lambda label: (verdict(chosen[label]) != "alive", rank[chosen[label].planner.mode]))
    return {label: chosen[label] for label in order[:SHOWN]}


def by_firm(data: Rollout, field: str) -> numpy.ndarray:
    """`[F, T]` A field of `PER_FIRM` by quarter, mean over the economies."""
    return per_firm(data, field).mean(1).T


def firm_names(data: Rollout) -> list[str]:
    """Such as `5,000 / 0.2`: initial capital and labor elasticity."""
    pairs = zip(data["state/capital"][0, 0], data["state/labor_elasticity"][0, 0], strict=True)
    return [f"{capital:,.0f} / {elasticity:.2g}" for capital, elasticity in pairs]


def heat_map(data: Rollout, ax: Axes, field: str, highest: float) -> Axes:
    """A field of `PER_FIRM`: a row a firm, a column a quarter, coloured from 0 to `highest`."""
    values = by_firm(data, field)
    quarters = values.shape[1]
    image = ax.imshow(
        values, aspect="auto", cmap="viridis", vmin=0, vmax=highest or 1, extent=(0.5, quarters + 0.5, len(values), 0)
    )
    ax.set_yticks(numpy.arange(len(values)) + 0.5, firm_names(data), fontsize=7.5)
    ax.xaxis.set_major_locator(MaxNLocator(integer=True))
    ax.tick_params(labelsize=7.5)
    words, unit = PER_FIRM[field]
    bar = ax.figure.colorbar(image, ax=ax, pad=0.01)
    bar.set_label(unit, fontsize=8)
    bar.ax.tick_params(labelsize=7.5)
    ax.set_title(words, loc="left", fontsize=9.5, fontweight="bold")
    return ax


def rollouts_figure(data: Mapping[str, Rollout]) -> Figure:
    """A column a run, a row a field."""
    figure = new_figure(6.4 * len(data), 2.1 * len(PER_FIRM))
    axes = figure.subplots(len(PER_FIRM), len(data), squeeze=False)
    for row, field in zip(axes, PER_FIRM, strict=True):
        highest = max(float(by_firm(each, field).max()) for each in data.values())
        for ax, each in zip(row, data.values(), strict=True):
            heat_map(each, ax, field, highest)
    for ax, label in zip(axes[0], data, strict=True):
        ax.set_title(f"{label}\n{PER_FIRM['state/prices'][0]}", loc="left", fontsize=9.5, fontweight="bold")
    for ax in axes[-1]:
        ax.set_xlabel("quarter", fontsize=9)
    return figure


def sales_words(data: Rollout) -> str:
    """Which firms export and which sell at home, in one sentence."""
    abroad = data["outcome/exports"].mean(1).sum(0)
    home = data["outcome/consumption"].sum(2).mean(1).sum(0)
    sold = abroad + home
    if not sold.any():
        return "no firm sells anything."
    if not abroad.any():
        return "nothing is exported; all goods are sold at home."
    share = numpy.divide(abroad, sold, out=numpy.zeros_like(abroad), where=sold > 0)
    kinds = {
        "sell mostly abroad": (share >= MOSTLY) & (sold > 0),
        "sell mostly at home": (share <= 1 - MOSTLY) & (sold > 0),
        "sell at home and abroad": (share > 1 - MOSTLY) & (share < MOSTLY),
        "sell nothing": sold == 0,
    }
    parts = [
        f"{_firms(own)} {words if own.sum() > 1 else words.replace('sell', 'sells', 1)}"
        for words, own in kinds.items()
        if own.any()
    ]
    return f"{listed(parts)}; of all units sold {abroad.sum() / sold.sum():.0%} are exported."


def _firms(chosen: numpy.ndarray) -> str:
    numbers = [str(k) for k in numpy.flatnonzero(chosen)]
    return f"firm {numbers[0]}" if len(numbers) == 1 else f"firms {listed(numbers)}"
