"""The roll-out figure (as the paper's): what every firm and the planner did, quarter by quarter.

`data` holds the fields of `State` as `state/<name>` and of `Outcome` as `outcome/<name>`, arrays `[T, E, ...]`
with T quarters and E economies. Panels show the mean over the economies.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.colors import to_hex
from matplotlib.figure import Figure
from matplotlib.image import imread
from matplotlib.lines import Line2D
from matplotlib.ticker import FuncFormatter, PercentFormatter
from matplotlib.typing import LineStyleType

from analysis.figures import COLORS, GREY, new_figure, quarter_axis, tidy
from rbc_rllib.economy import EconomyParameters
from rbc_rllib.economy.indicators import episode_indicators

Rollout = Mapping[str, numpy.ndarray]

PER_FIRM = {
    "state/prices": ("prices", "money a unit"),
    "state/wages": ("wages", "money an hour"),
    "outcome/labor": ("hours worked", "hours, all workers"),
    "state/inventories": ("inventories", "units, start of quarter"),
    "outcome/consumption": ("consumption", "units, all consumers"),
    "outcome/exports": ("exports", "units"),
    "state/capital": ("capital", "money"),
}
"""What is shown of each firm: the field, its words and its unit. Prices and wages are those in force."""

LINE_STYLES: tuple[LineStyleType, ...] = ("--", "-", ":", "-.")  # by initial capital, from low to high
LEGEND_ENTRIES = 8  # at most, of each kind


def load_rollout(path: str | Path) -> dict[str, numpy.ndarray]:
    """The arrays of a roll-out file by name."""
    with numpy.load(path) as file:
        return dict(file)


def per_firm(data: Rollout, field: str) -> numpy.ndarray:
    """`[T, E, F]` One of the fields of `PER_FIRM`."""
    return data[field].sum(axis=2) if field == "outcome/consumption" else data[field]


def firm_panel(data: Rollout, ax: Axes, field: str) -> Axes:
    """One line a firm: mean over the economies of a field of `PER_FIRM` against the quarter."""
    words, unit = PER_FIRM[field]
    tidy(ax, words.capitalize(), unit)
    color, style = _firm_colors(data), _firm_styles(data)
    means = per_firm(data, field).mean(axis=1)
    for firm, (elasticity, capital) in enumerate(zip(_elasticities(data), _capital(data), strict=True)):
        (line,) = ax.plot(_quarters(means), means[:, firm], linewidth=1.6, marker="o", markersize=2.5)
        line.set(color=color[elasticity], linestyle=style[capital])
    ax.yaxis.set_major_formatter(
        FuncFormatter(lambda value, _: f"{value:z,.0f}" if abs(value) >= 10 else f"{value:zg}")
    )
    if not means.any():
        ax.set_ylim(-0.05, 1)
    return quarter_axis(ax)


def tax_rates(data: Rollout, ax: Axes) -> Axes:
    """The planner's two tax rates in force."""
    tidy(ax, "Tax rates", "share")
    for label, name, color in (
        ("income", "income_tax_rate", COLORS[6]),
        ("corporate", "corporate_tax_rate", COLORS[1]),
    ):
        rate = data[f"state/{name}"].mean(axis=1)
        ax.plot(_quarters(rate), rate, color=color, marker="o", markersize=3, linewidth=1.6, label=label)
    ax.set_ylim(-0.03, 1.03)
    ax.yaxis.set_major_formatter(PercentFormatter(xmax=1))
    ax.legend(frameon=False, fontsize=9, loc="best")
    return quarter_axis(ax)


def rollout_figure(data: Rollout, params: EconomyParameters) -> Figure:
    """All panels with one legend. The title says whether the economy is open, and whether trivial."""
    figure = new_figure(13, 6.6)
    axes = figure.subplots(2, 4)
    firm_panel(data, axes[0, 0], "state/prices")
    firm_panel(data, axes[0, 1], "state/wages")
    tax_rates(data, axes[0, 2])
    below = ("state/inventories", "outcome/consumption", "outcome/labor", "outcome/exports")
    for field, ax in zip(below, axes[1], strict=True):
        firm_panel(data, ax, field)
    if not params.export_market:
        place = axes[1, 3].transAxes
        axes[1, 3].set_yticks([0])
        axes[1, 3].text(0.5, 0.5, "closed economy:\nno export market", transform=place, ha="center", color=GREY)
    _legend(data, axes[0, 3])
    figure.suptitle(_title(data, params), fontsize=13, x=0.01, ha="left")
    return figure


def load_picture(path_png: str | Path) -> numpy.ndarray:
    """The colours of a figure's file, `[H, W, RGBA]` from 0 to 1."""
    return imread(path_png)


def _title(data: Rollout, params: EconomyParameters) -> str:
    count = data["state/prices"].shape[1]
    economies = "one economy" if count == 1 else f"mean of {count} economies"
    states = {name.removeprefix("state/"): values for name, values in data.items() if name.startswith("state/")}
    outcomes = {name.removeprefix("outcome/"): values for name, values in data.items() if name.startswith("outcome/")}
    trivial = int(episode_indicators(params, states, outcomes)["trivial_share"].sum())
    kind = "open" if params.export_market else "closed"
    return f"Roll-out, {kind} economy, {economies}" + (f" ({trivial} of {count} trivial)" if trivial else "")


def _quarters(values: numpy.ndarray) -> numpy.ndarray:
    """`[T]` 1, 2, .. T."""
    return numpy.arange(1, len(values) + 1)


def _elasticities(data: Rollout) -> list[float]:
    """Labor elasticity of each firm, free of float32 noise."""
    return [round(float(value), 4) for value in data["state/labor_elasticity"][0, 0]]


def _capital(data: Rollout) -> list[float]:
    """Initial capital of each firm."""
    return [round(float(value), 2) for value in data["state/capital"][0, 0]]


def _firm_colors(data: Rollout) -> dict[float, str]:
    levels = sorted(set(_elasticities(data)))
    shades = colormaps["viridis"](numpy.linspace(0.0, 0.9, len(levels)))
    return {level: to_hex(shade) for level, shade in zip(levels, shades, strict=True)}


def _firm_styles(data: Rollout) -> dict[float, LineStyleType]:
    levels = sorted(set(_capital(data)))
    if len(levels) == 1:
        return {levels[0]: "-"}
    return {level: LINE_STYLES[min(index, len(LINE_STYLES) - 1)] for index, level in enumerate(levels)}


def _legend(data: Rollout, ax: Axes) -> None:
    """What colour and line style say about a firm."""
    ax.axis("off")
    color, style = _firm_colors(data), _firm_styles(data)
    elasticity = [Line2D([], [], color=color[level], linewidth=2.5, label=f"{level:g}") for level in _thinned(color)]
    capital = [
        Line2D([], [], color=GREY, linestyle=style[level], linewidth=1.8, label=f"{level:,.0f}")
        for level in _thinned(style)
    ]
    look: dict[str, Any] = {
        "frameon": False,
        "fontsize": 9.5,
        "title_fontsize": 9.5,
        "alignment": "left",
        "borderaxespad": 0.0,
    }
    first = ax.legend(handles=elasticity, title="Firm's labor elasticity", loc="upper left", ncols=2, **look)
    ax.add_artist(first)
    ax.legend(
        handles=capital,
        title="Firm's initial capital",
        loc="upper left",
        bbox_to_anchor=(0, 0.56),
        handlelength=3,
        **look,
    )


def _thinned(levels: Mapping[float, Any]) -> list[float]:
    every = -(-len(levels) // LEGEND_ENTRIES)
    return list(levels)[::every]
