"""Learned against fixed taxes (the paper's Figure 5), plans by quarter, the tax map, and what breaking a plan gains."""

from typing import Any

import pandas
from matplotlib.axes import Axes
from matplotlib.ticker import PercentFormatter

from analysis.facets import facets
from analysis.figures import GREY, colors, new_figure, quarter_axis, tidy
from analysis.intervals import CONFIDENCE
from analysis.page import Missing, Part, Picture, Section, Table, Words
from analysis.plans import PlanSearch, search_figure, search_words
from analysis.quantities import BY_NAME
from analysis.quarters import quarters_figure, quarters_of
from analysis.results import rolled_out
from analysis.study import Study
from analysis.tax_map import MAPPED, TaxMap, cells
from analysis.tax_map_report import laffer_figure, map_figure, map_text
from analysis.taxes import DEFINITIONS, Comparison, compare_economies
from analysis.welfare import FIRM_REWARD, WELFARE, best_fixed_words, commitment_words, welfare_figure
from analysis.writing import count, plan_words
from rbc_rllib.settings import ConfigError


def section(study: Study) -> Section:
    """Welfare by treatment, the plans, the map, the temptations, and which of them are missing."""
    return Section("Taxes", (*_welfare(study), *_by_quarter(study), *_maps(study), *_searches(study), *_tempted(study)))


def _welfare(study: Study) -> list[Part]:
    parts: list[Part] = []
    economies = compare_economies(study.trials)
    for number, (economy, comparison) in enumerate(economies.items()):
        where = f", {economy}" if economy else ""
        if isinstance(comparison, ConfigError):
            missing = f"No comparison of learned and fixed taxes{where}: {comparison}"
            parts.append(Missing(missing, "python -m rbc_rllib.sweep tax_baselines"))
        else:
            parts += _compared(comparison, f"welfare_{number}" if len(economies) > 1 else "welfare", where)
    return parts


def _compared(comparison: Comparison, name: str, where: str) -> list[Part]:
    caption = (
        f"Social welfare a quarter under both definitions, firm reward and mean tax rates{where}; means over seeds,"
        f" trivial runs included, [low, high] is the {CONFIDENCE:.0%} Student t interval over seeds."
    )
    frame, texts = welfare_frames(comparison)
    picture = (
        f"Social welfare of every run{where} (a cross: trivial), with mean and interval over the seeds of its"
        " treatment."
    )
    words = [
        paragraph.replace("**", "")
        for learned in comparison.learned
        for paragraph in (best_fixed_words(comparison, learned), *commitment_words(comparison, learned))
    ]
    return [
        Table(name, caption, frame, texts),
        Picture(name, picture, welfare_figure(comparison)),
        *map(Words, words),
    ]


def welfare_frames(comparison: Comparison) -> tuple[pandas.DataFrame, pandas.DataFrame]:
    """A row a treatment: as numbers, and as they are read."""
    numbers, texts = [], []
    for each in comparison.treatments:
        first = {"treatment": each.name, "taxes": each.taxes, "runs": len(each.trials), "trivial": len(each.trivial)}
        means = {f"{name} welfare": (WELFARE, each.mean_welfare(name)) for name in DEFINITIONS}
        means["firm reward"] = (FIRM_REWARD, each.firm_reward)
        rates = {f"{tax} tax": each.mean_rate(f"{tax}_tax_rate") for tax in ("income", "corporate")}
        numbers.append(first | {name: own.mean for name, (_, own) in means.items()} | rates)
        read = {name: quantity.of(own) for name, (quantity, own) in means.items()}
        texts.append(first | read | {name: f"{rate:.0%}" for name, rate in rates.items()})
    return tuple(pandas.DataFrame(rows).set_index("treatment") for rows in (numbers, texts))


def _by_quarter(study: Study) -> list[Part]:
    shown = rolled_out(study.trials)
    if not shown:
        return [Missing("No trial has a roll-out to be shown by quarter.", study.to_evaluate)]
    parts: list[Part] = []
    for facet in facets("quarters", shown):
        caption = (
            f"Tax rates and what followers make of them, by quarter{facet.where}; means over seeds, from the lowest to"
            " the highest."
        )
        parts.append(Picture(facet.file, caption, quarters_figure(quarters_of(facet.trials))))
    return parts


def _maps(study: Study) -> list[Part]:
    if not study.maps:
        return [Missing("There is no tax map.", "python -m rbc_rllib.tax_map RUN")]
    parts: list[Part] = []
    for number, (label, tax_map) in enumerate(study.maps.items()):
        behind = f"{count(len(tax_map.seeds), 'seed')}, {tax_map.episodes} held-out episodes of each cell"
        parts += [
            Words(map_text(tax_map).partition("\n\n")[0]),
            map_table(f"tax_map_{number}", f"Tax map of {label}: {behind}; [low, high] is over seeds.", tax_map),
            Picture(f"tax_map_{number}", f"Tax map of {label}: {behind}.", map_figure(tax_map)),
            Picture(f"laffer_{number}", f"Revenue against tax rates, {label}: {behind}.", laffer_figure(tax_map)),
        ]
    return parts


def map_table(name: str, caption: str, tax_map: TaxMap) -> Table:
    """A row a cell."""
    frame = tax_map.frame()
    frame.index = pandas.Index([plan_words((rates,)) for rates in cells(tax_map.params)], name="income / corporate tax")
    shown, texts = (*MAPPED, BY_NAME["trivial_share"]), {}
    for q in shown:
        each = zip(*(frame[f"{q.name}_{end}"] for end in ("mean", "low", "high")), strict=True)
        texts[q.title] = [q.text(*numbers) for numbers in each]
    return Table(
        name, caption, frame, pandas.DataFrame(texts, index=frame.index), {q.title: f"{q.name}_mean" for q in shown}
    )


def _searches(study: Study) -> list[Part]:
    if not study.searches:
        return [Missing("No announced plan was searched around.", "python -m rbc_rllib.plan_search RUN")]
    parts: list[Part] = []
    for number, (label, found) in enumerate(study.searches.items()):
        behind = f"{count(found.judged[0].frozen.count, 'held-out episode')} of each plan"
        table = (
            f"Plans that a search found beside that of {label}, with the run's own followers and with retrained ones:"
            f" {behind}; of those retrained, means over seeds."
        )
        picture = f"Welfare under each plan, {label}: {behind}; bars are {CONFIDENCE:.0%} intervals."
        parts += [
            Table(f"plan_search_{number}", table, search_frame(found)),
            Picture(f"plan_search_{number}", picture, search_figure(found)),
            *(Words(line.removeprefix("- ")) for line in search_words(found).splitlines()),
        ]
    return parts


def search_frame(found: PlanSearch) -> pandas.DataFrame:
    """A row a plan: welfare a quarter with the run's own followers, less that of the learned plan, and retrained."""
    rows = []
    for each in found.judged:
        row = {"plan": each.label, "welfare": each.frozen.mean, "less the learned plan's": each.difference.mean}
        row |= {"at least": each.difference.low, "at most": each.difference.high}
        if retrained := found.retrained.get(each.name):
            row |= {"retrained": retrained.mean.mean, "seeds": len(retrained.welfare)}
        rows.append(row)
    return pandas.DataFrame(rows).set_index("plan")


def _tempted(study: Study) -> list[Part]:
    if not study.temptations:
        asked = "What breaking a plan gains was not asked of policies that are evaluated, in an economy that lives."
        return [Missing(asked, "python -m rbc_rllib.temptation RUN")]
    figure = new_figure(8, 4)
    temptation(study.temptations, figure.subplots())
    caption = (
        "What the planner would gain by breaking its announced plan from a quarter on while all still believe in it, in"
        " percent of welfare as announced; bars are 95% intervals over held-out episodes."
    )
    return [Picture("temptation", caption, figure)]


def temptation(records: dict[str, dict[str, Any]], ax: Axes) -> Axes:
    """A line a run, of records of `rbc_rllib.temptation`."""
    tidy(ax, "What breaking the plan gains", "% of announced welfare")
    for label, color in colors(list(records)).items():
        known = [(each["quarter"], each["percent"]) for each in records[label]["temptations"] if each["percent"]]
        ax.plot(*zip(*[(q, p["mean"]) for q, p in known], strict=True), color=color, marker="o", ms=4, label=label)
        for quarter, percent in known:
            if percent["low"] is not None:
                ax.vlines(quarter, percent["low"], percent["high"], color=color, linewidth=1)
    ax.axhline(0, color=GREY, linewidth=0.8)
    quarter_axis(ax, "first quarter in which other rates are levied")
    ax.yaxis.set_major_formatter(PercentFormatter())
    ax.legend(frameon=False, fontsize=8.5)
    return ax
