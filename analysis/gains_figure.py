"""Gains of agents asked alone against their traits, and of every deviator against the length of its training."""

from collections.abc import Sequence
from itertools import cycle
from typing import Literal

from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from analysis.figures import COLORS, GREY, colors, new_figure, tidy
from analysis.gains import Alone, Gain, Solution
from rbc_rllib.economy import EconomyParameters
from rbc_rllib.economy.state import labor_disutilities
from rbc_rllib.leaving import FROZEN

LINES: tuple[Literal["-", "--", ":", "-."], ...] = ("-", "--", ":", "-.")
"""Styles by where deviators start."""


def gains_figure(solution: Solution, params: EconomyParameters) -> Figure:
    """A panel for each group whose agents were asked alone, and one for how gains grew while deviators learned."""
    alone = [gain for gain in solution.gains if gain.alone]
    figure = new_figure(5.2 * (1 + len(alone)), 3.6)
    axes = figure.subplots(1, 1 + len(alone), squeeze=False)[0]
    for ax, gain in zip(axes, alone, strict=False):
        draw = draw_firms if gain.deviator == "each_firm" else draw_consumers
        draw(gain, params, ax)
    draw_curves(solution, axes[-1])
    return figure


def draw_firms(gain: Gain, params: EconomyParameters, ax: Axes) -> None:
    """Each firm's gain against its labor elasticity, a colour for each initial capital."""
    tidy(ax, "Gain of each firm alone", "% of the firms' mean absolute reward", "labor elasticity of output")
    elasticities, capital = params.labor_elasticities, params.initial_capital
    for kind, color in colors(sorted(set(capital))).items():
        own = [k for k, each in enumerate(capital) if each == kind]
        _points(gain, own, [elasticities[k] for k in own], ax, color, f"initial capital {kind:,.0f}")
    _legend_beside(ax, ax.get_legend_handles_labels()[0])


def draw_consumers(gain: Gain, params: EconomyParameters, ax: Axes) -> None:
    """Each consumer's gain against its disutility of labor."""
    xlabel = "disutility of labor, utility per two hours"
    tidy(ax, "Gain of each consumer alone", "% of the consumers' mean absolute reward", xlabel)
    disutilities = labor_disutilities(params)
    _points(gain, list(range(len(disutilities))), list(disutilities), ax, COLORS[0])


def draw_curves(solution: Solution, ax: Axes) -> None:
    """The gain of every deviator on validation episodes against the iterations that it has learned, a line for each
    start."""
    xlabel = "iterations of the deviator's training"
    tidy(ax, "Gain against length of training", "% of the group's mean absolute reward", xlabel)
    shown = [gain for gain in solution.gains if gain.size and gain.curve]
    starts = sorted({start for gain in shown for start in gain.curve}, key=lambda start: (start != FROZEN, start))
    palette, styles = colors([gain.deviator for gain in shown]), dict(zip(starts, cycle(LINES), strict=False))
    for gain in shown:
        for start, curve in gain.curve.items():
            lengths, gains = zip(*curve, strict=True)
            percent = [100 * each / gain.size for each in gains]
            if start == FROZEN:
                lengths, percent = (0, *lengths), [0.0, *percent]
            ax.plot(lengths, percent, "o", linestyle=styles[start], color=palette[gain.deviator], markersize=4)
    ax.axhline(0, color=GREY, linewidth=0.8)
    handles = [Line2D([], [], color=color, marker="o", markersize=4, label=name) for name, color in palette.items()]
    if len(starts) > 1:
        handles += [Line2D([], [], color=GREY, linestyle=styles[start], label=f"from {start}") for start in starts]
    if handles:
        _legend_beside(ax, handles)


def _legend_beside(ax: Axes, handles: Sequence[Artist]) -> None:
    ax.legend(handles=handles, frameon=False, fontsize=8.5, loc="center left", bbox_to_anchor=(1.0, 0.5))


def _points(gain: Gain, agents: list[int], traits: list[float], ax: Axes, color: str, label: str | None = None) -> None:
    """Gains in percent with their intervals."""
    assert isinstance(gain.alone, Alone)
    all_gains = [gain.percent(each) for each in gain.alone.agents.values()]
    known = [(trait, own) for trait, k in zip(traits, agents, strict=True) if (own := all_gains[k])]
    means = [own.mean for _, own in known]
    spread = [[max(0.0, own.mean - own.low) for _, own in known], [max(0.0, own.high - own.mean) for _, own in known]]
    at = [trait for trait, _ in known]
    ax.errorbar(at, means, yerr=spread, fmt="o", color=color, markersize=4, elinewidth=0.8, label=label)
    ax.axhline(0, color=GREY, linewidth=0.8)
