"""The tax map in words and figures."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy
from matplotlib import colormaps
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from analysis.figures import COLORS, GREY, legend_below, new_figure, save, tidy
from analysis.intervals import CONFIDENCE
from analysis.quantities import Quantity
from analysis.tax_map import MAPPED, REVENUE, TAXES, WELFARE, Tax, TaxMap, cells
from analysis.taxes import DEFINITIONS
from analysis.writing import count, listed, markdown, percent, plan_words
from rbc_rllib.files import write_json

DEAD = "0.85"  # the grey of trivial cells
LOOKS: dict[str, dict[str, Any]] = {
    "highest": {"fill": False, "edgecolor": COLORS[1], "linewidth": 2.5},
    "trivial cell": {"facecolor": DEAD, "edgecolor": "0.6", "hatch": "///", "linewidth": 0},
}


def write_tax_map(tax_map: TaxMap, folder: Path) -> str:
    """Writes `tax_map.json`, `.csv`, `.md` and the two figures into `folder`, and returns the text."""
    text = map_text(tax_map)
    write_json(tax_map.record(), folder / "tax_map.json")
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
    size = len(cells(tax_map.params))
    trivial = listed([plan_words((rates,)) for rates in tax_map.trivial] or ["none"])
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
        values = WELFARE.of(best.welfare), WELFARE.of(best.elsewhere)
        words = f"{best.agreeing} of {count(len(tax_map.seeds), 'seed')}", "yes" if best.trivial else "no"
        lines.append([best.definition, plan_words((best.rates,)), *values, *words])
        subject = f"{best.definition.capitalize()} welfare is highest at {plan_words((best.rates,))}"
        others = len(cells(tax_map.params)) - 1
        close = f"{others - len(best.rivals)} of the {others} other cells are distinguishably lower, each by itself"
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
            numbers = [REVENUE.of(peak.revenue), ", ".join(map(percent, peak.by_seed))]
            lost = REVENUE.of(peak.fall) if peak.fall else "-"
            lines.append([percent(peak.held), percent(peak.rate), *numbers, lost])
        bending = [percent(peak.held) for peak in peaks if peak.bends]
        which = f"where the {held} tax is {listed(bending)}" if bending else "for no rate of the other"
        loses = "loses revenue, distinguishably (each by itself)"
        sentence = f"Raising the {tax} tax from its peak to {highest} {loses}, {which}."
        parts += [markdown(lines), sentence] if peaks else ["No taxes bring any revenue."]
    return parts


def _check_text(tax_map: TaxMap) -> list[str]:
    checks = tax_map.checks()
    if not checks:
        return ["## Error of the map", "No cell was retrained on a seed of the map, so its error is not known."]
    lines = [["cell", "quantity", "map", "retrained", "map - retrained", "differs"]]
    for check in checks:
        numbers = [check.quantity.of(each) for each in (check.mapped, check.retrained, check.difference)]
        lines.append([plan_words((check.rates,)), check.quantity.title, *numbers, "yes" if check.differs else "-"])
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
    tidy(ax, f"{quantity.label.capitalize()}\n", "income tax", "corporate tax").grid(False)
    ax.text(0, 1.02, word + quantity.unit, transform=ax.transAxes, fontsize=9, color=GREY, va="bottom")
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
    tidy(ax, f"Along the {tax} tax", REVENUE.title, f"{tax} tax, percent")
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
    legend_below(figure, handles, fontsize=9.5)
    behind = f"{count(len(tax_map.seeds), 'seed')} of {count(tax_map.episodes, 'held-out episode')}"
    figure.suptitle(f"Constant tax rates: means over {behind}", fontsize=13, x=0.01, ha="left")
    return figure


def _scale(values: numpy.ndarray) -> tuple[float, str, str]:
    """What numbers are divided by so that they are short, how that is said before their unit, and their format."""
    largest = float(numpy.abs(values).max())
    factor, word = (1e6, "millions, ") if largest >= 1e7 else (1e3, "thousands, ") if largest >= 1e4 else (1.0, "")
    return factor, word, f"z,.{sum(largest / factor < bound for bound in (10, 100))}f"
