"""Tax plans compared: by the followers of a run, and by followers retrained for each plan.

A plan is announced before the first quarter: one income and one corporate rate for all quarters after the first, or a
pair for each of them. Followers (consumers and firms) answer it. Welfare is the planner's, a quarter, of the whole
economy. Plans are chosen on validation episodes and judged on held-out ones; all plans meet the same random numbers, so
differences are paired. Whatever an economy says in which next to nobody works is no praise of a plan.
"""

import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Self

import numpy
import scipy
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from analysis.figures import COLORS, GREY, new_figure, tidy
from analysis.intervals import CONFIDENCE, Interval, bounded, t_interval
from analysis.results import read_json
from analysis.writing import count, markdown, plain, plan_words
from rbc_rllib.economy.indicators import is_trivial
from rbc_rllib.economy.planner import Rates

Plan = tuple[Rates, ...]
WELFARE = "welfare a quarter, whole economy"
LABEL_WIDTH = 46  # characters of a plan in a figure


def on_menu(plan: Plan, menu: Sequence[float]) -> Plan:
    """The plan with each rate written as it stands on the menu."""
    steps = [[_step(rate, menu) for rate in pair] for pair in plan]
    return tuple((menu[income], menu[corporate]) for income, corporate in steps)


def neighbours(plan: Plan, menu: Sequence[float]) -> list[Plan]:
    """All plans one step away: one rate of one pair moved to the next lower or higher one of the menu."""
    found: list[Plan] = []
    for page, pair in enumerate(plan):
        for tax in range(2):
            here = _step(pair[tax], menu)
            for step in (here - 1, here + 1):
                if 0 <= step < len(menu):
                    moved = (menu[step], pair[1]) if tax == 0 else (pair[0], menu[step])
                    found.append((*plan[:page], moved, *plan[page + 1 :]))
    return found


def _step(rate: float, menu: Sequence[float]) -> int:
    return min(range(len(menu)), key=lambda index: abs(menu[index] - rate))


def paired(values: numpy.ndarray, base: numpy.ndarray, comparisons: int = 1) -> Interval:
    """Mean of values - base `[episodes]` and its t interval, which holds for so many comparisons at once (Bonferroni:
    each at 1 - 5% / comparisons)."""
    differences = numpy.asarray(values, dtype=float) - numpy.asarray(base, dtype=float)
    return t_interval(differences, 1 - (1 - CONFIDENCE) / max(1, comparisons))


@dataclass(frozen=True)
class Neighbour:
    """A plan one step away from the learned one."""

    plan: Plan
    difference: Interval  # welfare minus that of the learned plan, validation episodes, for all neighbours at once

    @property
    def better(self) -> bool:
        """Whether it is significantly better."""
        return self.difference.above_zero


@dataclass(frozen=True)
class Judged:
    """A plan on held-out episodes, by the run's own followers."""

    name: str  # learned (or given), found_1, .., neighbour
    plan: Plan
    frozen: Interval  # welfare a quarter
    difference: Interval  # to the learned plan's; of those that were found, for all of them at once
    trivial_share: float

    @property
    def better(self) -> bool:
        """Whether it is significantly better than the learned plan."""
        return self.difference.above_zero

    @property
    def label(self) -> str:
        """Name and plan in words."""
        return f"{self.name}: {plan_words(self.plan)}"


@dataclass(frozen=True)
class Retrained:
    """A plan with followers who were trained from scratch under it, on the same held-out episodes."""

    welfare: dict[int, float]  # mean a quarter, by seed
    trivial_share: float  # mean over seeds

    @property
    def mean(self) -> Interval:
        """Over seeds, Student t."""
        return t_interval(list(self.welfare.values()))

    def minus(self, other: "Retrained") -> Interval:
        """The difference, paired by the seeds that both have."""
        shared = sorted({*self.welfare} & {*other.welfare})
        return t_interval([self.welfare[seed] - other.welfare[seed] for seed in shared])


@dataclass(frozen=True)
class PlanSearch:
    """What a search found beside a learned plan, and how good all of it is."""

    run: str  # <experiment>/<trial>
    settings: dict[str, Any]  # checkpoint, trials, episodes, keep: with the run, all that the search depends on
    seed: int  # of the validation and held-out episodes
    scored: int  # different plans that the search has scored
    exhaustive: bool  # whether these are all plans
    learned_rank: int  # place of the learned plan among them
    neighbours: tuple[Neighbour, ...]
    judged: tuple[Judged, ...]  # the learned plan first
    retrained: dict[str, Retrained] = field(default_factory=dict)  # by name of the plan

    @property
    def learned(self) -> Judged:
        """The plan of the run."""
        return self.judged[0]

    @property
    def best_neighbour(self) -> Neighbour:
        """By the validation episodes."""
        return max(self.neighbours, key=lambda each: each.difference.mean)

    @property
    def trivial(self) -> bool:
        """Whether the economy is dead under the learned plan."""
        return is_trivial(self.learned.trivial_share)

    @property
    def errors(self) -> dict[str, float]:
        """Welfare by retrained followers minus welfare by the run's own, for each plan that has both."""
        frozen = {each.name: each.frozen.mean for each in self.judged}
        return {name: each.mean.mean - frozen[name] for name, each in self.retrained.items()}

    @property
    def rank_correlation(self) -> float | None:
        """Spearman's, of the two welfares over plans; None for fewer than three, or where one is the same for all."""
        frozen = {each.name: each.frozen.mean for each in self.judged}
        pairs = numpy.array([(frozen[name], each.mean.mean) for name, each in self.retrained.items()]).reshape(-1, 2)
        if len(pairs) < 3 or (numpy.ptp(pairs, axis=0) == 0).any():
            return None
        return float(scipy.stats.spearmanr(pairs[:, 0], pairs[:, 1]).statistic)

    def record(self) -> dict[str, Any]:
        """For JSON; `of_record` reads it again."""
        summary = {
            "trivial": self.trivial,
            "retrained_minus_frozen": asdict(t_interval(list(self.errors.values()))),
            "rank_correlation": self.rank_correlation,
        }
        retrained = {
            name: {**asdict(each), "interval": asdict(each.mean), "difference": asdict(each.minus(own))}
            for own in [self.retrained.get(self.learned.name, Retrained({}, 0.0))]
            for name, each in self.retrained.items()
        }
        return plain({**asdict(self), "retrained": retrained, "summary": summary})

    @classmethod
    def of_record(cls, record: Mapping[str, Any]) -> Self:
        """The search of a record."""
        neighbours = [Neighbour(_plan(n["plan"]), Interval.read(n["difference"])) for n in record["neighbours"]]
        judged = [
            Judged(
                name=each["name"],
                plan=_plan(each["plan"]),
                frozen=Interval.read(each["frozen"]),
                difference=Interval.read(each["difference"]),
                trivial_share=each["trivial_share"],
            )
            for each in record["judged"]
        ]
        retrained = {
            name: Retrained({int(seed): welfare for seed, welfare in r["welfare"].items()}, r["trivial_share"])
            for name, r in record["retrained"].items()
        }
        names = ("run", "settings", "seed", "scored", "exhaustive", "learned_rank")
        fields = {name: record[name] for name in names}
        return cls(**fields, neighbours=tuple(neighbours), judged=tuple(judged), retrained=retrained)

    @classmethod
    def read(cls, path: Path) -> Self:
        """The search in a file; raises `ConfigError` where that is incomplete."""
        return cls.of_record(read_json(path))


def _plan(pairs: Any) -> Plan:
    return tuple((income, corporate) for income, corporate in pairs)


def search_table(search: PlanSearch) -> str:
    """A line for each plan, as Markdown."""
    name = search.learned.name
    head = [["plan (income / corporate rates)", "welfare, frozen followers", f"minus {name}"]]
    lines = [[each.label, bounded(each.frozen), _difference(each, search)] for each in search.judged]
    if search.retrained:
        head[0] += ["welfare, retrained", f"minus {name}", "seeds"]
        own = search.retrained.get(name)
        for line, each in zip(lines, search.judged, strict=True):
            known = search.retrained.get(each.name)
            minus = bounded(known.minus(own)) if known and own and known is not own else "-"
            line += [bounded(known.mean), minus, str(len(known.welfare))] if known else ["-", "-", "0"]
    return markdown([*head, *lines])


def _difference(each: Judged, search: PlanSearch) -> str:
    return "-" if each is search.learned else bounded(each.difference)


def search_words(search: PlanSearch) -> str:
    """What the numbers say, in sentences."""
    sentences = [*_of_life(search), *_of_neighbours(search), *_of_search(search)]
    if search.retrained:
        sentences += [*_of_retraining(search), *_of_errors(search)]
    return "\n".join(f"- {sentence}" for sentence in sentences)


def _of_life(search: PlanSearch) -> list[str]:
    sentences = []
    if search.trivial:
        sentences.append(
            f"Under the {search.learned.name} plan the economy is trivial: in {search.learned.trivial_share:.0%} of the"
            " episodes next to nobody works, produces or consumes. There no plan is called best, as hardly anything"
            " depends on it."
        )
    for each in search.judged[1:]:
        if is_trivial(each.trivial_share):
            sentences.append(f"{each.name}: with the run's followers the economy is trivial.")
    for name, retrained in search.retrained.items():
        if is_trivial(retrained.trivial_share):
            sentences.append(
                f"{name}: with retrained followers the economy is trivial in {retrained.trivial_share:.0%} of the"
                " episodes."
            )
    return sentences


def _of_neighbours(search: PlanSearch) -> list[str]:
    name, best, number = search.learned.name, search.best_neighbour, len(search.neighbours)
    many, difference = f"{count(number, 'neighbour')}, all at once", bounded(best.difference)
    if not best.difference.known:
        return [f"Whether the {name} plan is locally best is unknown: one episode gives no intervals."]
    if better := [each for each in search.neighbours if each.better]:
        verb = "is" if len(better) == 1 else "are"
        return [
            f"The {name} plan is not locally best: {len(better)} of {count(number, 'neighbour')} {verb} significantly"
            f" better on the validation episodes; the best, {plan_words(best.plan)}, by {difference} ({many})."
        ]
    found = f"no neighbour is significantly better ({many}; the best, {plan_words(best.plan)}, by {difference})"
    if search.trivial:
        return [f"On the validation episodes {found}, which says nothing in a trivial economy."]
    return [f"For these followers the {name} plan is locally best as far as can be told: {found}."]


def _of_search(search: PlanSearch) -> list[str]:
    name, found = search.learned.name, [each for each in search.judged if each.name.startswith("found")]
    scored = f"all {search.scored} plans" if search.exhaustive else count(search.scored, "plan")
    first, rank = f"found no plan better than the {name} one", search.learned_rank
    place = first if rank == 1 else f"ranks the {name} plan {rank}"
    begin = "" if search.exhaustive else f", beginning with the {name} one and its neighbours,"
    sentences = [f"The search scored {scored} on validation episodes{begin} and {place}."]
    if not found or not found[0].difference.known:
        return sentences
    better, many = [each for each in found if each.better], f"of {count(len(found), 'plan')} judged, all at once"
    if better:
        best = max(better, key=lambda each: each.difference.mean)
        sentences.append(
            f"It found a plan that is significantly better for these followers: {best.label}, by"
            f" {bounded(best.difference)} ({many})."
        )
    else:
        most = max(found, key=lambda each: each.difference.mean)
        sentences.append(
            f"It found no plan that is significantly better for these followers (the most, {most.name}:"
            f" {bounded(most.difference)}; {many})."
        )
    return sentences


def _of_retraining(search: PlanSearch) -> list[str]:
    name, own = search.learned.name, search.retrained.get(search.learned.name)
    if own is None:
        return [f"No retraining under the {name} plan is finished: the others have nothing to be compared with yet."]
    differences = {other: each.minus(own) for other, each in search.retrained.items() if other != name}
    known = {other: difference for other, difference in differences.items() if difference.known}
    if not known:
        return (
            ["One seed of retrained followers gives no intervals: their differences may be luck."]
            if differences
            else []
        )
    if better := [other for other in known if known[other].above_zero]:
        best = max(better, key=lambda other: known[other].mean)
        difference = f"{bounded(known[best])} (each plan by itself)"
        return [f"With retrained followers {best} is better than the {name} plan, by {difference}."]
    most = max(known, key=lambda other: known[other].mean)
    return [
        f"With retrained followers no plan is significantly better than the {name} one"
        f" (the most, {most}: {bounded(known[most])})."
    ]


def _of_errors(search: PlanSearch) -> list[str]:
    error, welfare = t_interval(list(search.errors.values())), abs(search.learned.frozen.mean)
    share = f", {bounded(error.scaled(100 / welfare))}% of the {search.learned.name} plan's" if welfare else ""
    sentences = [
        f"Welfare by retrained followers minus that by the run's own is {bounded(error)} a quarter{share}:"
        f" mean and interval over {count(error.count, 'plan')}, not over seeds."
    ]
    if search.rank_correlation is not None:
        sentences.append(
            f"The rank correlation of the two over {count(error.count, 'plan')} is {search.rank_correlation:.2f}."
        )
    return sentences


def search_figure(search: PlanSearch) -> Figure:
    """Welfare of each plan, by the run's followers and by retrained ones."""
    labels = [textwrap.fill(each.label, LABEL_WIDTH) for each in search.judged]
    lines = sum(label.count("\n") + 2 for label in labels)
    figure = new_figure(9, 1.7 + 0.22 * lines)
    ax = tidy(figure.subplots(), f"Plans beside that of {search.run}", "", WELFARE)
    ax.grid(axis="x", color="0.92", linewidth=0.8)
    ax.axvline(search.learned.frozen.mean, color=GREY, linewidth=0.8, linestyle=":")
    for row, each in enumerate(search.judged):
        _dot(ax, each.frozen, row - 0.12, COLORS[0], "o", "the run's followers, 95% over episodes" if not row else "")
        if known := search.retrained.get(each.name):
            title = (
                "" if any(other.name in search.retrained for other in search.judged[:row]) else "retrained, 95% over"
            )
            _dot(ax, known.mean, row + 0.12, COLORS[1], "s", title and f"{title} seeds (small: each)")
            ax.plot(list(known.welfare.values()), [row + 0.12] * len(known.welfare), ".", color=COLORS[1], alpha=0.6)
    ax.set_yticks(range(len(labels)), labels)
    ax.set_ylim(len(labels) - 0.5, -0.5)
    figure.legend(*ax.get_legend_handles_labels(), frameon=False, fontsize=9, loc="outside lower center", ncols=2)
    return figure


def _dot(ax: Axes, interval: Interval, row: float, color: str, marker: str, title: str) -> None:
    """A mean and its interval, where that is known."""
    reach = [[interval.mean - interval.low], [interval.high - interval.mean]] if interval.known else None
    ax.errorbar([interval.mean], [row], xerr=reach, color=color, marker=marker, markersize=6, label=title or None)
