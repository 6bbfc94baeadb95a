"""Quarter by quarter: what is announced, and what firms and consumers make of it; and where the money goes.

    python -m analysis.quarters results/tax_baselines
    python -m analysis.quarters results/tax_baselines --only schedule constant discretion --out docs/quarters

Reads the held-out roll-outs of an experiment's finished trials. Prints, and writes into FOLDER or DIR, tax rates,
wages, output, exports and investment by quarter, and the flows of money, of each treatment: means over seeds
(`quarters.md`, `quarters.csv`, `quarters.png`). Earlier files of these names there are replaced.
"""

import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy
import pandas
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from analysis.figures import colors, legend_below, new_figure, quarter_axis, save, tidy
from analysis.intervals import CONFIDENCE, t_interval
from analysis.metrics import verdict
from analysis.quantities import Quantity
from analysis.results import Trial, by_treatment, load_trials, rolled_out
from analysis.rollout import Rollout, load_rollout
from analysis.writing import markdown
from rbc_rllib.settings import ConfigError, command_parser, refused

TITLE_WIDTH = 160  # letters

SERIES = {
    "state/corporate_tax_rate": Quantity("corporate_tax_rate", "corporate tax", "share", "z.0%"),
    "state/income_tax_rate": Quantity("income_tax_rate", "income tax", "share", "z.0%"),
    "state/wages": Quantity("wages", "wage", "money an hour, mean of firms", "z,.1f"),
    "outcome/hours_worked": Quantity("hours_worked", "hours", "a consumer", "z,.0f"),
    "outcome/output": Quantity("output", "output", "units, mean of firms", "z,.1f"),
    "outcome/exports": Quantity("exports", "exports", "units, mean of firms", "z,.1f"),
    "outcome/consumption": Quantity("consumption", "consumption", "units of a good, a consumer", "z,.2f"),
    "outcome/investment": Quantity("investment", "investment", "money, mean of firms", "z,.0f"),
    "outcome/firm_reward": Quantity("firm_reward", "firm reward", "money, mean of firms", "z,.0f"),
    "outcome/consumer_reward": Quantity("consumer_reward", "consumer reward", "utility", "z,.2f"),
}
"""What is shown by quarter: means over economies and agents of fields of the roll-out."""

FLOWS = {
    "exports": Quantity("exports", "exports", "money a quarter", "z,.0f"),
    "spending": Quantity("spending", "consumers' spending", "money a quarter", "z,.0f"),
    "wages": Quantity("wages", "wages before tax", "money a quarter", "z,.0f"),
    "transfers": Quantity("transfers", "transfers", "money a quarter", "z,.0f"),
    "savings": Quantity("savings", "spent of the first budgets", "money a quarter", "z,.0f"),
    "budgets": Quantity("budgets", "consumers' budgets", "money, before a quarter", "z,.0f"),
    "affordable": Quantity("affordable", "what they would buy", "units a consumer", "z,.1f"),
    "after_tax": Quantity("after_tax", "firms' profit after tax", "money a quarter", "z,.0f"),
    "investment": Quantity("investment", "investment", "money a quarter", "z,.0f"),
    "last_quarter": Quantity("last_quarter", "of all firm reward, that of the last quarter", "share", "z.0%"),
    "capital_growth": Quantity("capital_growth", "growth of capital", "share, first to last quarter", "z.0%"),
    "stocked": Quantity("stocked", "inventories before the last quarter", "quarters of output", "z,.1f"),
}
"""Where the money goes in the whole economy, and what firms have built by the end."""

OF_THE_LIVING = ("last_quarter",)
"""A share of what a dead economy has next to none of."""


@dataclass(frozen=True)
class Quarters:
    """The roll-outs of one treatment."""

    name: str
    seeds: tuple[int, ...]
    alive: tuple[bool, ...]  # whether the economy of each seed is
    rollouts: tuple[Rollout, ...]  # of each seed

    def series(self, field: str) -> numpy.ndarray:
        """`[seeds, T]` The mean over economies and agents of a field, in each quarter."""
        return numpy.array([_by_quarter(rollout[field]) for rollout in self.rollouts])

    def flows(self) -> dict[str, numpy.ndarray]:
        """`[seeds]` of each of `FLOWS`, of the seeds of which it is known; what dead economies have none of is known of
        the living alone."""
        unknown = dict.fromkeys(OF_THE_LIVING, numpy.nan)
        each = [
            money_flows(rollout) | ({} if alive else unknown)
            for rollout, alive in zip(self.rollouts, self.alive, strict=True)
        ]
        values = {name: numpy.array([flows[name] for flows in each]) for name in FLOWS}
        return {name: own[~numpy.isnan(own)] for name, own in values.items()}


def money_flows(data: Rollout) -> dict[str, float]:
    """The `FLOWS` of a roll-out `[T, E, ...]`: means over quarters and economies, of the whole economy.

    Consumers' spending = wages - income tax + transfers + what they take from the budgets they began with (savings).
    """

    def total(values: numpy.ndarray) -> float:
        """A quarter, of all agents."""
        return float(values.reshape(*values.shape[:2], -1).sum(-1).mean())

    consumers = data["outcome/spending"].shape[2]
    spending, wages = total(data["outcome/spending"]), total(data["outcome/wage_income"])
    transfers, budgets = total(data["outcome/transfer"]) * consumers, total(data["state/consumer_budget"])
    rewards = data["outcome/firm_reward"].sum((1, 2))
    output, capital, stock = data["outcome/output"], data["state/capital"], data["state/inventories"][-1].sum()
    return {
        "exports": total(data["state/prices"] * data["outcome/exports"]),
        "spending": spending,
        "wages": wages,
        "transfers": transfers,
        "savings": spending - wages + total(data["outcome/income_tax"]) - transfers,
        "budgets": budgets,
        "affordable": budgets / float(data["state/prices"].mean()) / consumers,
        "after_tax": total(data["outcome/profit"]) - total(data["outcome/corporate_tax"]),
        "investment": total(data["outcome/investment"]),
        "last_quarter": float(rewards[-1] / rewards.sum()) if rewards.sum() else numpy.nan,
        "capital_growth": float(capital[-1].mean() / capital[0].mean() - 1),
        "stocked": float(stock / output.sum((1, 2)).mean()) if output.any() else numpy.nan,
    }


def quarters_of(trials: Sequence[Trial], only: Sequence[str] = ()) -> list[Quarters]:
    """The treatments with a roll-out; raises `ConfigError` where there is none, or none of a name in `only`."""
    groups = by_treatment(rolled_out(trials))
    missing = [name for name in only if name not in groups]
    if missing or not groups:
        rule = "no trial of it is finished and has a roll-out"
        fix = f"take {', '.join(groups)}" if groups else "train and evaluate one"
        raise ConfigError("treatment", missing[0] if missing else "any", rule, fix)
    names = list(only) or list(groups)
    return [
        Quarters(
            name,
            tuple(trial.seed for trial in groups[name]),
            tuple(verdict(trial) != "trivial" for trial in groups[name]),
            tuple(load_rollout(trial.path / "rollout.npz") for trial in groups[name]),
        )
        for name in names
    ]


def quarters_text(treatments: Sequence[Quarters]) -> str:
    """Tables in Markdown: the flows of money, and each treatment by quarter."""
    head = ["whole economy, mean over seeds", *(f"{each.name} ({len(each.rollouts)})" for each in treatments)]
    flows = {each.name: each.flows() for each in treatments}
    lines = [[q.title, *(q.of(t_interval(flows[each.name][name])) for each in treatments)] for name, q in FLOWS.items()]
    parts = [markdown([head, *lines])]
    for each in treatments:
        length = each.series("state/wages").shape[1]
        head = [each.name, *(str(quarter + 1) for quarter in range(length))]
        rows = [[q.title, *(q.text(v) for v in each.series(field).mean(0))] for field, q in SERIES.items()]
        parts.append(markdown([head, *rows]))
    parts.append(
        f"Held-out episodes with frozen policies; [low, high] is the {CONFIDENCE:.0%} Student t interval over seeds,"
        " whose number stands behind a treatment's name. The last quarter's share is of living economies."
    )
    return "\n\n".join(parts)


def quarters_frame(treatments: Sequence[Quarters]) -> pandas.DataFrame:
    """One row a treatment, seed, quarter and quantity."""
    rows = [
        (each.name, seed, quarter + 1, q.name, value)
        for each in treatments
        for field, q in SERIES.items()
        for seed, values in zip(each.seeds, each.series(field), strict=True)
        for quarter, value in enumerate(values)
    ]
    return pandas.DataFrame(rows, columns=["treatment", "seed", "quarter", "quantity", "value"])


def quarters_panel(treatments: Mapping[str, Quarters], field: str, ax: Axes) -> Axes:
    """A line a treatment, the mean over seeds, in a band from the lowest seed to the highest."""
    quantity, color = SERIES[field], colors(list(treatments))
    for name, each in treatments.items():
        series = each.series(field)
        quarter = numpy.arange(1, series.shape[1] + 1)
        ax.plot(quarter, series.mean(0), color=color[name], marker="o", markersize=3, linewidth=1.8, label=name)
        if len(series) > 1:
            ax.fill_between(quarter, series.min(0), series.max(0), color=color[name], alpha=0.15, linewidth=0)
    return quarter_axis(tidy(ax, quantity.label.capitalize(), quantity.unit))


def quarters_figure(treatments: Sequence[Quarters]) -> Figure:
    """All panels with one legend."""
    figure = new_figure(15, 6.4)
    axes = figure.subplots(2, len(SERIES) // 2).ravel()
    for field, ax in zip(SERIES, axes, strict=True):
        quarters_panel({each.name: each for each in treatments}, field, ax)
    legend_below(figure, axes[0].get_lines(), fontsize=10)
    counts = ", ".join(f"{each.name}: {len(each.rollouts)}" for each in treatments)
    title = f"By quarter: mean over seeds, from the lowest seed to the highest (seeds: {counts})"
    figure.suptitle(textwrap.fill(title, TITLE_WIDTH), fontsize=13, x=0.01, ha="left")
    return figure


def _by_quarter(values: numpy.ndarray) -> numpy.ndarray:
    return values.reshape(len(values), -1).mean(1)


def main(arguments: Sequence[str] | None = None) -> None:
    """The command line."""
    parser = command_parser("analysis.quarters", __doc__)
    parser.add_argument("folder", type=Path, help="results/<experiment>, or one trial's folder")
    parser.add_argument("--only", nargs="+", default=[], metavar="TREATMENT", help="in this order (default: all)")
    parser.add_argument("--out", type=Path, help="where to write (default: into FOLDER)")
    chosen = parser.parse_args(arguments)
    with refused(parser):
        treatments = quarters_of(load_trials(chosen.folder), chosen.only)
        out = chosen.out or chosen.folder
        out.mkdir(parents=True, exist_ok=True)
        text = quarters_text(treatments)
        (out / "quarters.md").write_text(f"# Quarter by quarter\n\n{text}\n\n![By quarter](quarters.png)\n")
        quarters_frame(treatments).to_csv(out / "quarters.csv", index=False)
        save(quarters_figure(treatments), out / "quarters.png")
        print(text)


if __name__ == "__main__":
    main()
