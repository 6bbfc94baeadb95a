"""What a roll-out says in the words of macroeconomics, and whether its accounts add up.

All of `[T, E, ...]` arrays, T quarters of E episodes; money is nominal unless it is called real.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy
from matplotlib.axes import Axes

from analysis.equivalents import consumption_equivalent
from analysis.figures import colors, tidy
from analysis.quantities import BY_NAME, Quantity
from analysis.rollout import Rollout
from rbc_rllib.economy import EconomyParameters, Outcome, State
from rbc_rllib.economy.accounting import residuals
from rbc_rllib.economy.indicators import gini

MACRO = (
    BY_NAME["output"],
    BY_NAME["inflation"],
    Quantity("real_wage", "real wage", "units an hour", "z.4f"),
    Quantity("labor_share", "labor share", "wages of sales", "z.0%"),
    Quantity("unemployed", "hours unemployed", "share of the longest hours", "z.0%"),
    BY_NAME["gini_consumption"],
    Quantity("gini_wealth", "Gini of wealth", "0: all have the same", "z.2f"),
    Quantity("residual", "largest residual of the accounts", "share", "z.1e"),
)
"""The rows of the table."""

RATIOS = ("real_wage", "labor_share")
"""Those that say nothing of a dead economy, where next to nothing is divided by next to nothing."""


def macro(data: Rollout, params: EconomyParameters) -> dict[str, float]:
    """Each of `MACRO`, mean over episodes.

    real wage = wages paid / hours / mean price of what was sold; labor share = wages / (home sales + exports); hours
    unemployed = 1 - hours / the longest hours; wealth: budgets before the last quarter, negative ones as 0.
    """
    prices, exports = data["state/prices"], data["outcome/exports"]
    bought = data["outcome/consumption"].sum(2)
    sales, units = float((prices * (bought + exports)).sum()), float((bought + exports).sum())
    wages, hours = float(data["outcome/wage_income"].sum()), float(data["outcome/hours_worked"].sum())
    first, last = float(prices[0].mean()), float(prices[-1].mean())
    return {
        "output": float(data["outcome/output"].sum(2).mean()),
        "inflation": last / first - 1 if first else numpy.nan,
        "real_wage": wages / hours / (sales / units) if hours and units and sales else numpy.nan,
        "labor_share": wages / sales if sales else numpy.nan,
        "unemployed": 1 - float(data["outcome/hours_worked"].mean()) / params.hours_choices[-1],
        "gini_consumption": float(gini(data["outcome/consumption"].sum((0, 3))).mean()),
        "gini_wealth": float(gini(wealth(data)).mean()),
        "residual": largest_residual(data, params),
    }


def wealth(data: Rollout) -> numpy.ndarray:
    """`[E, C]` Budgets of consumers before the last quarter, negative ones as 0."""
    return numpy.maximum(data["state/consumer_budget"][-1], 0.0)


def largest_residual(data: Rollout, params: EconomyParameters) -> float:
    """The largest residual of any account in any quarter but the last, after which nothing is recorded; NaN where there
    is one among them."""

    def at(quarter: int, kind: str, cls: Any) -> Any:
        return cls(**{name: data[f"{kind}/{name}"][quarter] for name in cls.__dataclass_fields__})

    worst = 0.0
    for quarter in range(len(data["state/prices"]) - 1):
        before, after = at(quarter, "state", State), at(quarter + 1, "state", State)
        found = residuals(params, before, at(quarter, "outcome", Outcome), after)
        worst = float(numpy.max([worst, *(numpy.abs(values).max() for values in found.values())]))
    return worst


def consumption_equivalent_variation(data: Rollout, untaxed: Rollout, params: EconomyParameters) -> float:
    """The percentage by which consumption without taxes would have to rise to be worth what consumers have here."""
    gain = float(data["outcome/consumer_reward"].mean() - untaxed["outcome/consumer_reward"].mean())
    return consumption_equivalent(params, untaxed["outcome/consumption"], gain)


def lorenz(amounts: numpy.ndarray) -> numpy.ndarray:
    """`[n + 1]` The share of all that the poorest 0, 1, .. n hold, mean over the rows of `amounts` `[E, n]`."""
    ranked = numpy.sort(amounts, axis=-1).cumsum(-1)
    total = numpy.where(ranked[:, -1:] > 0, ranked[:, -1:], 1.0)
    return numpy.concatenate([[0.0], (ranked / total).mean(0)])


def lorenz_panel(rollouts: Mapping[str, Sequence[Rollout]], ax: Axes, kind: str) -> Axes:
    """Lorenz curves of `consumption` or `wealth`, a line a treatment, mean over its seeds."""
    tidy(ax, f"Lorenz curve of {kind}", f"share of all {kind}", "share of consumers, from the poorest")
    ax.plot([0, 1], [0, 1], color="0.7", linewidth=1)
    for name, color in colors(list(rollouts)).items():
        amounts = [wealth(d) if kind == "wealth" else d["outcome/consumption"].sum((0, 3)) for d in rollouts[name]]
        curve = numpy.mean([lorenz(each) for each in amounts], axis=0)
        ax.plot(numpy.linspace(0, 1, len(curve)), curve, color=color, linewidth=1.8, label=name)
    return ax


def incidence_panel(rollouts: Mapping[str, Sequence[Rollout]], ax: Axes) -> Axes:
    """Transfers less income tax of each consumer against its disutility of labor, mean over quarters and seeds."""
    xlabel = "disutility of labor, utility per two hours (low: productive)"
    tidy(ax, "Who gains from taxes", "transfers less income tax, money a quarter", xlabel)
    for name, color in colors(list(rollouts)).items():
        nets = [(d["outcome/transfer"][..., None] - d["outcome/income_tax"]).mean((0, 1)) for d in rollouts[name]]
        trait = rollouts[name][0]["state/labor_disutility"][0, 0]
        ax.plot(trait, numpy.mean(nets, axis=0), color=color, linewidth=1.6, label=name)
    ax.axhline(0, color="0.7", linewidth=0.8)
    return ax
