"""What the planner would gain by breaking its announced plan: in numbers, words and a figure."""

from dataclasses import asdict, dataclass
from typing import Any

from matplotlib.figure import Figure

from analysis.figures import COLORS, GREY, new_figure, quarter_axis, tidy
from analysis.intervals import Interval, bounded
from analysis.plans import WELFARE, Plan
from analysis.writing import markdown, plain, plan_words
from rbc_rllib.economy.indicators import is_trivial
from rbc_rllib.economy.planner import Rates


@dataclass(frozen=True)
class Temptation:
    """What breaking the plan from one quarter on gains."""

    quarter: int  # from 1; the first in which other rates are levied
    levied: Rates  # from then on, the best pair of the menu on validation episodes
    validation_gain: float
    gain: Interval  # welfare a quarter, mean over the whole episode; 0 where no pair did better on validation episodes

    @property
    def kept(self) -> bool:
        """Whether nothing tempts, so that the planner keeps its word."""
        return self.validation_gain <= 0

    @property
    def words(self) -> str:
        """What is levied."""
        return "as announced" if self.kept else plan_words((self.levied,))


@dataclass(frozen=True)
class Credibility:
    """A plan, and the temptations to break it."""

    run: str  # <experiment>/<trial>
    checkpoint: str
    episodes: int
    seed: int
    plan: Plan
    announced: Interval  # welfare a quarter with the plan as announced
    trivial_share: float
    temptations: tuple[Temptation, ...]

    @property
    def largest(self) -> Temptation:
        """By the validation episodes, so that no luck of the held-out ones chooses."""
        return max(self.temptations, key=lambda each: each.validation_gain)

    def percent(self, each: Temptation) -> Interval | None:
        """The gain in percent of |announced welfare|; None where that is 0."""
        return each.gain.scaled(100 / abs(self.announced.mean)) if self.announced.mean else None

    def record(self) -> dict[str, Any]:
        """For JSON."""
        parts = [
            asdict(each) | {"kept": each.kept, "percent": (share := self.percent(each)) and asdict(share)}
            for each in self.temptations
        ]
        largest = {"trivial": is_trivial(self.trivial_share), "largest_from_quarter": self.largest.quarter}
        return plain({**asdict(self), **largest, "temptations": parts})

    def table(self) -> str:
        """A line for each quarter, as Markdown."""
        lines = [["broken from quarter", "levied from then on", "gain, welfare a quarter", "% of announced welfare"]]
        for each in self.temptations:
            share = self.percent(each)
            lines.append([str(each.quarter), each.words, bounded(each.gain), bounded(share)])
        return markdown(lines)

    def words(self) -> str:
        """What the numbers say, in sentences."""
        sentences, most, share = [], self.largest, self.percent(self.largest)
        if is_trivial(self.trivial_share):
            sentences.append(
                f"The economy is trivial under this plan: in {self.trivial_share:.0%} of the episodes next to nobody"
                " works, produces or consumes. That there is little to gain by breaking it does not make it credible."
            )
        if most.kept:
            sentences.append(
                "Nothing tempts: on the validation episodes no other pair does better, from any quarter on."
            )
        elif not most.gain.known:
            sentences.append(f"Breaking it from quarter {most.quarter} on gains {bounded(most.gain)}, of one episode.")
        elif most.gain.above_zero:
            percent = f", {bounded(share)}% of its welfare" if share else ""
            sentences.append(
                f"The planner is tempted most to break its plan from quarter {most.quarter} on, levying {most.words}:"
                f" it would gain {bounded(most.gain)} a quarter{percent}, while all still believe in the plan."
            )
        elif most.gain.high < 0:
            sentences.append(
                f"Nothing tempts: what did best on validation episodes, breaking it from quarter {most.quarter} on"
                f" ({most.words}), loses on held-out ones ({bounded(most.gain)} a quarter)."
            )
        else:
            sentences.append(
                f"The largest temptation, from quarter {most.quarter} on ({most.words}), gains {bounded(most.gain)} a"
                " quarter, which is not distinguishable from 0."
            )
        return "\n".join(f"- {sentence}" for sentence in sentences)


def temptation_figure(credibility: Credibility) -> Figure:
    """What breaking an announced plan gains against the quarter from which on it is broken, and what is levied then."""
    each = credibility.temptations
    quarters, gains, levied = [t.quarter for t in each], [t.gain for t in each], [t.words for t in each]
    figure = new_figure(8, 4.2)
    ax = tidy(figure.subplots(), f"What breaking the announced plan gains: {credibility.run}", WELFARE)
    ax.axhline(0, color=GREY, linewidth=0.8)
    ax.plot(quarters, [gain.mean for gain in gains], color=COLORS[1], marker="o", markersize=4, linewidth=1.6)
    known = [(quarter, gain) for quarter, gain in zip(quarters, gains, strict=True) if gain.known]
    for quarter, gain in known:
        ax.vlines(quarter, gain.low, gain.high, color=COLORS[1], linewidth=1.2)
    for quarter, gain, words in zip(quarters, gains, levied, strict=True):
        top = gain.high if gain.known else gain.mean
        place = {"xytext": (0, 5), "textcoords": "offset points", "ha": "center", "fontsize": 8, "color": GREY}
        ax.annotate(words, (quarter, top), **place)  # type: ignore[arg-type]
    ax.margins(x=0.08, y=0.15)
    quarter_axis(ax, "first quarter in which other rates are levied (income / corporate, from then on)")
    return figure
