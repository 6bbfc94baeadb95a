"""The spectrum of solutions (the paper's Figures 6 and 7): every seed a point."""

from collections.abc import Sequence

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from analysis.figures import colors, new_figure, tidy
from analysis.metrics import indicator, source, verdict
from analysis.page import Missing, Picture, Section
from analysis.quantities import BY_NAME
from analysis.results import Trial, by_treatment
from analysis.study import Study
from analysis.writing import listed

PAIRS = (
    ("firm_reward", "consumer_reward"),
    ("price", "consumption"),
    ("wage", "hours"),
    ("corporate_tax_rate", "social_welfare"),
)
"""What is held against what: x and y."""


def section(study: Study) -> Section:
    """Four pairs of indicators; open and closed economies apart."""
    known = [trial for trial in study.trials if source(trial) == "evaluation"]
    if not known:
        return Section(
            "Spectrum of solutions", (Missing("No trial is evaluated.", "python -m rbc_rllib.evaluate RUN"),)
        )
    kinds = {"open": True, "closed": False}
    there = {
        name: [t for t in known if t.economy_parameters.export_market == is_open] for name, is_open in kinds.items()
    }
    there = {name: trials for name, trials in there.items() if trials}
    caption = (
        f"Every trial a point, {len(known)} of them, means of its held-out episodes; a colour for each treatment,"
        f" which is named in the legend, a cross where the economy is dead. Rows: {listed([*there])} economy."
    )
    return Section("Spectrum of solutions", (Picture("spectrum", caption, spectrum_figure(there)),))


def scatter(trials: Sequence[Trial], ax: Axes, x: str, y: str, palette: dict[str, str]) -> Axes:
    """One pair of indicators, a colour a treatment."""
    tidy(ax, "", BY_NAME[y].title)
    for name, members in by_treatment(trials).items():
        for trial in members:
            dead = verdict(trial) == "trivial"
            ax.plot(
                indicator(trial, x), indicator(trial, y), "x" if dead else "o", color=palette[name], ms=6, alpha=0.8
            )
    ax.set_xlabel(BY_NAME[x].title, fontsize=9.5)
    return ax


def spectrum_figure(trials: dict[str, list[Trial]]) -> Figure:
    """A row for each kind of economy, a column a pair."""
    palette = colors(list(by_treatment([trial for own in trials.values() for trial in own])))
    figure = new_figure(15, 3.9 * len(trials))
    axes = figure.subplots(len(trials), len(PAIRS), squeeze=False)
    for row, (kind, own) in zip(axes, trials.items(), strict=True):
        for ax, (x, y) in zip(row, PAIRS, strict=True):
            scatter(own, ax, x, y, palette)
        row[0].set_title(f"{kind} economy", loc="left", fontsize=11, fontweight="bold")
    for name, color in palette.items():
        axes[0, 0].plot([], [], "o", color=color, label=name)
    handles = axes[0, 0].get_legend_handles_labels()[0]
    figure.legend(handles=handles, loc="outside lower left", ncols=min(6, len(handles)), frameon=False, fontsize=9)
    return figure
