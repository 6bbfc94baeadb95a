"""The tax map: what followers make of every pair of constant tax rates, in numbers, words and figures.

Followers (consumers and firms) were trained with rates drawn anew for each economy and episode, so one training answers
the whole menu. How far that differs from followers who know one pair only is measured on pairs that were retrained.
Arrays are `[seed, income rate, corporate rate]`, rates in the order of the menu.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import product
from pathlib import Path
from typing import Any, Literal

import numpy
import pandas
from matplotlib import colormaps
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from analysis.figures import COLORS, GREY, new_figure, save, tidy
from analysis.intervals import CONFIDENCE, Interval, t_interval
from analysis.metrics import is_trivial
from analysis.quantities import BY_NAME, Quantity
from analysis.taxes import DEFINITIONS, Definition
from analysis.writing import count, listed, markdown, plain
from rbc_rllib.economy import EconomyParameters
from rbc_rllib.economy.planner import Rates, social_welfare

WELFARE = BY_NAME["social_welfare"]
REVENUE = BY_NAME["tax_revenue"]
MAPPED = (
    *(Quantity(f"{each}_welfare", f"{each} welfare", WELFARE.unit, WELFARE.format) for each in DEFINITIONS),
    *(BY_NAME[name] for name in ("firm_reward", "tax_revenue", "hours", "output")),
)
"""The quantities of the map, a heat map each."""

NUMBERS = (*(quantity.name for quantity in MAPPED), "trivial_share")
Tax = Literal["income", "corporate"]
TAXES: tuple[Tax, ...] = ("income", "corporate")
DEAD = "0.85"  # the grey of trivial cells
LOOKS: dict[str, dict[str, Any]] = {
    "highest": {"fill": False, "edgecolor": COLORS[1], "linewidth": 2.5},
    "trivial cell": {"facecolor": DEAD, "edgecolor": "0.6", "hatch": "///", "linewidth": 0},
}


def cell_numbers(
    params: EconomyParameters, indicators: Mapping[str, numpy.ndarray], rewards: Mapping[str, numpy.ndarray]
) -> dict[str, float]:
    """The mapped quantities and the share of trivial episodes: means over held-out episodes, of `indicators`
    `[episodes]` and of the welfare of mean `rewards` a quarter, `[episodes, C]` of consumers, `[episodes, F]` of firms.
    """
    consumer, firm = (numpy.asarray(rewards[group], dtype=float) for group in ("consumer", "firm"))
    welfare = {
        f"{each}_welfare": social_welfare(params.annealed(planner_welfare=each), consumer, firm) for each in DEFINITIONS
    }
    return {name: float(numpy.mean({**indicators, **welfare}[name], dtype=float)) for name in NUMBERS}


def cells(params: EconomyParameters) -> list[Rates]:
    """All pairs of the menu, income-major, as in `planner_menu`."""
    return [(income, corporate) for income in params.tax_choices for corporate in params.tax_choices]


def percent(rate: float) -> str:
    """Such as `20%` or `12.5%`."""
    return f"{100 * rate:.4g}%"


def cell_name(rates: Rates) -> str:
    """`income / corporate`, such as `0% / 80%`."""
    return " / ".join(percent(rate) for rate in rates)


def _text(quantity: Quantity, interval: Interval) -> str:
    return quantity.text(interval.mean, interval.low, interval.high)


@dataclass(frozen=True)
class Best:
    """The cell with the highest welfare by one definition."""

    definition: Definition
    rates: Rates
    welfare: Interval  # mean over seeds
    elsewhere: Interval  # of the cell that is best on all seeds but one, on that one; nobody's luck is in it
    agreeing: int  # seeds on which it is the best cell as well
    rivals: tuple[Rates, ...]  # other cells, whose difference to it, paired by seed, has an interval that holds 0
    trivial: bool


@dataclass(frozen=True)
class Peak:
    """Where revenue is highest along one tax rate, the other being held."""

    tax: Tax  # which rate varies
    held: float  # the other one
    rate: float  # at the peak
    revenue: Interval  # there
    by_seed: tuple[float, ...]  # each seed's own peak
    fall: Interval | None  # from the peak to the highest rate, paired by seed; None where the peak is there

    @property
    def bends(self) -> bool:
        """Whether revenue falls again, distinguishably: the curve that Laffer drew."""
        return self.fall is not None and self.fall.known and self.fall.low > 0


@dataclass(frozen=True)
class Check:
    """One quantity of one retrained cell beside the map's."""

    rates: Rates
    quantity: Quantity
    mapped: Interval
    retrained: Interval
    difference: Interval  # d_s = map_s - retrained_s, paired by seed

    @property
    def differs(self) -> bool:
        """Whether the interval of the difference leaves out 0."""
        return self.difference.known and not self.difference.low <= 0 <= self.difference.high


@dataclass(frozen=True)
class TaxMap:
    """Every cell of the menu, for S seeds of the followers."""

    params: EconomyParameters
    seeds: tuple[int, ...]
    values: dict[str, numpy.ndarray]  # [S, rates, rates] each, mapped quantities and the share of trivial episodes
    retrained: dict[Rates, dict[int, dict[str, float]]]  # `cell_numbers` of followers who know one cell only, by seed
    episodes: int  # behind each value
    env_steps: int  # of each training

    @property
    def trivial(self) -> list[Rates]:
        """The cells of whose episodes, over all seeds, at least half are trivial."""
        shares = self.values["trivial_share"].mean(0).flat
        return [rates for rates, share in zip(cells(self.params), shares, strict=True) if is_trivial(share)]

    def interval(self, name: str, rates: Rates) -> Interval:
        """Mean over seeds of a cell's quantity, with its 95% Student t interval."""
        return t_interval(self.of_cell(name, rates))

    def of_cell(self, name: str, rates: Rates) -> list[float]:
        """`[S]` A quantity at these rates of the menu."""
        income, corporate = map(self.params.tax_choices.index, rates)
        return self.values[name][:, income, corporate].tolist()

    def best(self, definition: Definition) -> Best:
        """The best cell by mean welfare; trivial ones compete like all others."""
        welfare = self.values[f"{definition}_welfare"].reshape(len(self.seeds), -1)  # [S, cells]
        chosen, menu = int(welfare.mean(0).argmax()), cells(self.params)
        lead = [t_interval(welfare[:, chosen] - welfare[:, k]) for k in range(len(menu))]
        return Best(
            definition=definition,
            rates=menu[chosen],
            welfare=t_interval(welfare[:, chosen]),
            elsewhere=t_interval(chosen_on_others(welfare)),
            agreeing=int((welfare.argmax(1) == chosen).sum()),
            rivals=tuple(menu[k] for k, each in enumerate(lead) if k != chosen and not each.low > 0),
            trivial=menu[chosen] in self.trivial,
        )

    def peaks(self, tax: Tax) -> list[Peak]:
        """Where revenue is highest along `tax`, for each rate of the other one; none where there is no revenue."""
        revenue, menu = self.values["tax_revenue"], self.params.tax_choices
        curves = revenue if tax == "corporate" else revenue.swapaxes(1, 2)  # [S, held, varied]
        found = (peak_of(curves[:, k], menu, tax, held) for k, held in enumerate(menu))
        return [peak for peak in found if peak]

    def checks(self) -> list[Check]:
        """Every mapped quantity of every retrained cell, over the seeds that it shares with the map."""
        checks = []
        for (rates, own), quantity in product(self.retrained.items(), MAPPED):
            mapped = dict(zip(self.seeds, self.of_cell(quantity.name, rates), strict=True))
            pairs = numpy.array([(mapped[seed], own[seed][quantity.name]) for seed in own if seed in mapped])
            if len(pairs):
                columns = (pairs[:, 0], pairs[:, 1], pairs[:, 0] - pairs[:, 1])
                checks.append(Check(rates, quantity, *map(t_interval, columns)))
        return checks

    def cell_records(self) -> list[dict[str, Any]]:
        """One a cell: of each quantity the mean over seeds, its interval and the seeds' values."""
        return [
            {"income_tax_rate": rates[0], "corporate_tax_rate": rates[1], "trivial": rates in self.trivial}
            | {name: self.interval(name, rates).record() | {"by_seed": self.of_cell(name, rates)} for name in NUMBERS}
            for rates in cells(self.params)
        ]

    def record(self) -> dict[str, Any]:
        """For JSON: plain numbers, None for what is unknown."""
        record = {
            "seeds": self.seeds,
            "held_out_episodes": self.episodes,
            "env_steps": self.env_steps,
            "units": {quantity.name: quantity.unit for quantity in MAPPED},
            "cells": self.cell_records(),
            "best": [asdict(self.best(definition)) for definition in DEFINITIONS],
            "peaks": [asdict(peak) for tax in TAXES for peak in self.peaks(tax)],
            "retrained": [asdict(check) | {"quantity": check.quantity.name} for check in self.checks()],
        }
        return plain(record)

    def frame(self) -> pandas.DataFrame:
        """One row a cell; of each quantity `<name>_mean` over seeds and the interval, `<name>_low` to `<name>_high`."""
        return pandas.json_normalize(self.cell_records(), sep="_").filter(regex="(?<!_by_seed)$")


def chosen_on_others(values: numpy.ndarray) -> numpy.ndarray:
    """`[S]` Of `values` `[S, columns]`, for each seed that of the column with the best mean over all other seeds; NaN
    for one seed, as nothing is left to choose on."""
    if len(values) < 2:
        return numpy.full(len(values), numpy.nan)
    others = [int(numpy.delete(values, seed, axis=0).mean(0).argmax()) for seed in range(len(values))]
    return values[numpy.arange(len(values)), others]


def peak_of(curves: numpy.ndarray, rates: Sequence[float], tax: Tax, held: float) -> Peak | None:
    """The peak of mean revenue, of `curves` `[S, rates]`: the lowest rate of several; None where none brings any."""
    means = curves.mean(0)
    top = int(means.argmax())
    if not means[top] > 0:
        return None
    fall = None if top == len(rates) - 1 else t_interval(curves[:, top] - curves[:, -1])
    by_seed = tuple(rates[k] for k in curves.argmax(1))
    return Peak(tax, held, rates[top], t_interval(curves[:, top]), by_seed, fall)


def write_tax_map(tax_map: TaxMap, folder: Path) -> str:
    """Writes `tax_map.json`, `.csv`, `.md` and the two figures into `folder`, and returns the text."""
    text = map_text(tax_map)
    (folder / "tax_map.json").write_text(json.dumps(tax_map.record(), indent=2, allow_nan=False) + "\n")
    tax_map.frame().to_csv(folder / "tax_map.csv", index=False)
    save(map_figure(tax_map), folder / "tax_map.png")
    save(laffer_figure(tax_map), folder / "tax_map_laffer.png")
    images = "![Heat maps](tax_map.png)\n\n![Laffer curves](tax_map_laffer.png)"
    (folder / "tax_map.md").write_text(f"# Tax map\n\n{text}\n\n{images}\n")
    return text


def map_text(tax_map: TaxMap) -> str:
    """Tables and words, in Markdown."""
    return "\n\n".join([_note(tax_map), *_best_text(tax_map), *_peak_text(tax_map), *_check_text(tax_map)])


def _note(tax_map: TaxMap) -> str:
    size, trivial = len(cells(tax_map.params)), listed([*map(cell_name, tax_map.trivial)] or ["none"])
    return (
        "Consumers and firms live with one tax rate on wages and one on profits, the same in every quarter after the"
        " first, which is untaxed; all revenue is paid back to consumers in equal parts. They were trained with rates"
        f" drawn anew for each economy and episode ({count(len(tax_map.seeds), 'seed')}, {tax_map.env_steps:,} env"
        f" steps each), so that they answer all {size} pairs of rates, and then played"
        f" {count(tax_map.episodes, 'held-out episode')} of each pair, or cell, with the same random numbers for all."
        " Cells are written income / corporate. Numbers are means a quarter over seeds, trivial cells included; [low,"
        f" high] is the {CONFIDENCE:.0%} Student t interval over seeds, which one seed does not give. Cells that are"
        f" trivial, as next to nobody works, produces or consumes: {trivial}."
    )


def _best_text(tax_map: TaxMap) -> list[str]:
    lines = [["welfare", "best rates", "welfare there", "chosen on other seeds", "best with", "trivial"]]
    sentences = []
    for best in map(tax_map.best, DEFINITIONS):
        values = _text(WELFARE, best.welfare), _text(WELFARE, best.elsewhere)
        words = f"{best.agreeing} of {count(len(tax_map.seeds), 'seed')}", "yes" if best.trivial else "no"
        lines.append([best.definition, cell_name(best.rates), *values, *words])
        subject = f"{best.definition.capitalize()} welfare is highest at {cell_name(best.rates)}"
        close = (
            f"{len(best.rivals)} of the {len(cells(tax_map.params)) - 1} other cells are not distinguishable from it"
        )
        sentences.append(f"- {subject}{', which is trivial: no success' if best.trivial else ''}; {close}.")
    luck = (
        "- A best cell owes part of its lead to luck on the seeds that chose it. *Chosen on other seeds* is free of it:"
    )
    sentences.append(f"{luck} each seed is judged at the cell that is best on average over the others.")
    return ["## Best rates", markdown(lines), "\n".join(sentences)]


def _peak_text(tax_map: TaxMap) -> list[str]:
    parts = ["## Revenue", f"Tax revenue, {REVENUE.unit}, along one rate while the other is held: the Laffer curve."]
    highest = percent(tax_map.params.tax_choices[-1])
    for tax, held in zip(TAXES, reversed(TAXES), strict=True):
        lines = [[f"{held} tax", f"{tax} tax at the peak", "revenue there", "peak by seed", f"lost at {highest}"]]
        peaks = tax_map.peaks(tax)
        for peak in peaks:
            numbers = [_text(REVENUE, peak.revenue), ", ".join(map(percent, peak.by_seed))]
            lost = _text(REVENUE, peak.fall) if peak.fall else "-"
            lines.append([percent(peak.held), percent(peak.rate), *numbers, lost])
        bending = [percent(peak.held) for peak in peaks if peak.bends]
        which = f"where the {held} tax is {listed(bending)}" if bending else "for no rate of the other"
        sentence = f"Raising the {tax} tax from its peak to {highest} loses revenue, distinguishably, {which}."
        parts += [markdown(lines), sentence] if peaks else ["No taxes bring any revenue."]
    return parts


def _check_text(tax_map: TaxMap) -> list[str]:
    checks = tax_map.checks()
    if not checks:
        return ["## Error of the map", "No cell was retrained on a seed of the map, so its error is not known."]
    lines = [["cell", "quantity", "map", "retrained", "map - retrained", "differs"]]
    for check in checks:
        numbers = [_text(check.quantity, each) for each in (check.mapped, check.retrained, check.difference)]
        lines.append([cell_name(check.rates), check.quantity.title, *numbers, "yes" if check.differs else "-"])
    note = (
        "The same cells, with followers trained from scratch who know these rates only. Differences are paired by seed;"
        f" {sum(check.differs for check in checks)} of {len(checks)} are distinguishable from 0 (*differs*). Were all"
        f" truly 0, about {len(checks) * (1 - CONFIDENCE):.1g} would be so by chance."
    )
    errors = []
    for quantity in MAPPED[: len(DEFINITIONS)]:
        own = [check for check in checks if check.quantity == quantity]
        error, size = numpy.abs([(check.difference.mean, check.retrained.mean) for check in own]).mean(0)
        share = f", {error / size:.0%} of its mean size" if size else ""
        errors.append(f"- In {quantity.label} the map is off by {quantity.text(error)} on average over cells{share}.")
    return ["## Error of the map", note, markdown(lines), "\n".join(errors)]


def heat_map(tax_map: TaxMap, quantity: Quantity, ax: Axes) -> Axes:
    """Means over seeds, dark where they are low; trivial cells are grey and hatched, the highest one is framed."""
    values, rates = tax_map.values[quantity.name].mean(0), [*map(percent, tax_map.params.tax_choices)]
    dead = numpy.array([each in tax_map.trivial for each in cells(tax_map.params)]).reshape(values.shape)
    factor, word, form = _scale(values)
    colors = colormaps["cividis"].with_extremes(bad=DEAD)
    image = ax.imshow(numpy.ma.masked_array(values, dead), origin="lower", cmap=colors, aspect="auto")
    tidy(ax, f"{quantity.label.capitalize()}\n", "income tax").grid(False)
    ax.text(0, 1.02, word + quantity.unit, transform=ax.transAxes, fontsize=9, color=GREY, va="bottom")
    ax.set_xlabel("corporate tax", fontsize=9.5)
    ax.set_xticks(range(len(rates)), rates)
    ax.set_yticks(range(len(rates)), rates)
    for (i, c), value in numpy.ndenumerate(values):
        light = dead[i, c] or sum(colors(image.norm(value))[:3]) > 1.35
        color = "black" if light else "white"
        text = ax.text(c, i, format(value / factor, form), color=color, ha="center", va="center", fontsize=8.5)
        if dead[i, c]:
            text.set_bbox({"facecolor": DEAD, "edgecolor": "none", "pad": 1})
            ax.add_patch(Rectangle((c - 0.5, i - 0.5), 1, 1, **LOOKS["trivial cell"]))
    i, c = numpy.unravel_index(int(values.argmax()), values.shape)
    ax.add_patch(Rectangle((c - 0.47, i - 0.47), 0.94, 0.94, **LOOKS["highest"]))
    return ax


def map_figure(tax_map: TaxMap) -> Figure:
    """A heat map for each quantity."""
    size = max(3.4, 1.2 + 0.55 * len(tax_map.params.tax_choices))
    figure = new_figure(3 * size, 1.0 + 1.6 * size)
    for ax, quantity in zip(figure.subplots(2, 3).flat, MAPPED, strict=True):
        heat_map(tax_map, quantity, ax)
    return _complete(figure, tax_map, [Rectangle((0, 0), 1, 1, label=text, **look) for text, look in LOOKS.items()])


def laffer_panel(tax_map: TaxMap, tax: Tax, ax: Axes) -> Axes:
    """Revenue against one rate, a line for each rate of the other: mean over seeds and its interval, a ring at the peak
    and crosses at trivial cells. Lines are moved apart a little."""
    menu, (held_tax,) = numpy.array(tax_map.params.tax_choices), {*TAXES} - {tax}
    tops = {peak.held: peak.rate for peak in tax_map.peaks(tax)}
    for k, held in enumerate(menu.tolist()):
        line = [(held, rate) if tax == "corporate" else (rate, held) for rate in menu.tolist()]
        bounds = [tax_map.interval("tax_revenue", rates) for rates in line]
        x, means = 100 * menu + 2 * k / len(menu) - 1, numpy.array([each.mean for each in bounds])
        dead, top = [rates in tax_map.trivial for rates in line], menu == tops.get(held)
        color = colormaps["viridis"](k / len(menu))
        ax.plot(x, means, color=color, linewidth=1.8, label=percent(held), zorder=3)
        ax.vlines(x, [b.low for b in bounds], [b.high for b in bounds], color=color, linewidth=1.2, alpha=0.7)
        ax.plot(x[top], means[top], "o", markersize=8, color=color, markerfacecolor="white", zorder=4)
        ax.plot(x[dead], means[dead], "x", color=color, markersize=6, zorder=5)
    tidy(ax, f"Along the {tax} tax", REVENUE.title)
    ax.set_xlabel(f"{tax} tax, percent", fontsize=9.5)
    ax.set_xticks(100 * menu)
    ax.yaxis.set_major_formatter("{x:,.0f}")
    ax.legend(title=f"{held_tax} tax", loc="upper left", bbox_to_anchor=(1, 1), frameon=False, fontsize=9)
    return ax


def laffer_figure(tax_map: TaxMap) -> Figure:
    """Revenue along either tax."""
    figure = new_figure(13, 5)
    for ax, tax in zip(figure.subplots(1, 2), reversed(TAXES), strict=True):
        laffer_panel(tax_map, tax, ax)
    looks = {"mean over seeds": "-", f"{CONFIDENCE:.0%} t interval": "|", "peak": "o", "trivial cell": "x"}
    ring = {"markerfacecolor": "white", "markersize": 8, "color": GREY}
    return _complete(figure, tax_map, [ax.plot([], [], look, label=text, **ring)[0] for text, look in looks.items()])


def _complete(figure: Figure, tax_map: TaxMap, handles: Sequence[Artist]) -> Figure:
    figure.legend(handles=handles, loc="outside lower left", ncols=len(handles), frameon=False, fontsize=9.5)
    behind = f"{count(len(tax_map.seeds), 'seed')} of {count(tax_map.episodes, 'held-out episode')}"
    figure.suptitle(f"Constant tax rates: means over {behind}", fontsize=13, x=0.01, ha="left")
    return figure


def _scale(values: numpy.ndarray) -> tuple[float, str, str]:
    """What numbers are divided by so that they are short, how that is said before their unit, and their format."""
    largest = float(numpy.abs(values).max())
    factor, word = (1e6, "millions, ") if largest >= 1e7 else (1e3, "thousands, ") if largest >= 1e4 else (1.0, "")
    return factor, word, f"z,.{sum(largest / factor < bound for bound in (10, 100))}f"
