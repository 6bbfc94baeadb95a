"""Configurations by mean welfare over their seeds, the best first: what a search found."""

import math
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from analysis.intervals import CONFIDENCE, Interval, t_interval
from analysis.metrics import indicator, verdict
from analysis.quantities import BY_NAME
from analysis.results import Trial, by_treatment, one_a_seed, treatment
from analysis.writing import count, markdown
from rbc_rllib.search import GAIN, counted, lowest

SHOWN = 10  # lines of the printed table

GAIN_TITLE = "gain of a single firm, %"

RULE = (
    "A seed that failed counts as dead, with welfare 0 or the lowest of any seed where that is less: a configuration"
    " does not rise by what it loses. Configurations of which a seed is missing or not trained to its end, because it"
    " was stopped or interrupted, come after all others, by their welfare in training so far."
)


@dataclass(frozen=True)
class Configuration:
    """One configuration, a trial for each seed."""

    name: str  # with the values that were searched
    trials: tuple[Trial, ...]
    welfare: Interval  # mean over all seeds, those that failed included, with its Student t interval
    dead: int  # seeds whose economy is trivial, or that failed
    failed: int
    trained: float  # of the seed that has come least far, of those that have not failed; 1: to the end
    complete: bool  # whether every seed of the search is there, and has finished or failed
    gain: float  # of a single firm at the end of training, percent: mean over the living seeds; NaN: not measured

    @property
    def seeds(self) -> int:
        """How many there are."""
        return len(self.trials)


def rank(trials: Sequence[Trial]) -> list[Configuration]:
    """The configurations of a search by mean social welfare over seeds, the best first; see `RULE`."""
    groups = {name: one_a_seed(members) for name, members in by_treatment(trials).items()}
    num_seeds = Counter[str]()  # of each experiment
    for members in groups.values():
        num_seeds[treatment(members[0])] = max(num_seeds[treatment(members[0])], len(members))
    welfare = {name: [_welfare(trial) for trial in members] for name, members in groups.items()}
    floor = lowest(value for values in welfare.values() for value in values)
    ranked = [
        Configuration(
            name,
            tuple(members),
            t_interval(counted(welfare[name], floor)),
            dead=sum(failed(trial) or verdict(trial) == "trivial" for trial in members),
            failed=sum(map(failed, members)),
            trained=min((_share_trained(trial) for trial in members if not failed(trial)), default=0.0),
            complete=len(members) == num_seeds[treatment(members[0])]
            and all(trial.finished or failed(trial) for trial in members),
            gain=mean_gain(members),
        )
        for name, members in groups.items()
    ]
    return sorted(ranked, key=lambda each: (not each.complete, -_or_lowest(each.welfare.mean), each.name))


def failed(trial: Trial) -> bool:
    """Whether a trial failed for good, and has not come to its end since."""
    return trial.status == "ERROR" and not trial.finished


def mean_gain(trials: Sequence[Trial]) -> float:
    """What a single firm gains at least, in percent, as trials themselves measured it: mean over the living seeds that
    have ended; NaN without one."""
    gains = [trial.progress[GAIN].iloc[-1] for trial in trials if GAIN in trial.progress and trial.env_steps]
    known = [float(gain) for gain in gains if not math.isnan(gain)]
    return sum(known) / len(known) if known else math.nan


def searched(trials: Sequence[Trial]) -> list[Trial]:
    """The trials of experiments of which there are several configurations."""
    groups = by_treatment(trials).values()
    configurations = Counter(treatment(members[0]) for members in groups)
    return [trial for members in groups for trial in members if configurations[treatment(trial)] > 1]


def ranking_text(ranked: Sequence[Configuration]) -> str:
    """The first lines of the ranking as a table, and how it is to be read."""
    measured = not all(math.isnan(each.gain) for each in ranked)
    head = ["configuration", "seeds", "dead", "social welfare", *([GAIN_TITLE] if measured else []), "trained"]
    lines = [head]
    quantity = BY_NAME["social_welfare"]
    for each in ranked[:SHOWN]:
        dead = f"{each.dead / each.seeds:.0%}" + (f" ({each.failed} failed)" if each.failed else "")
        gain = [] if not measured else ["-" if math.isnan(each.gain) else f"{each.gain:.1f}"]
        welfare = quantity.of(each.welfare)
        lines.append([_short(each.name), str(each.seeds), dead, welfare, *gain, f"{each.trained:.0%}"])
    left = len(ranked) - SHOWN
    more = f"; {count(left, 'configuration')} more in report.html" if left > 0 else ""
    interval = f"{CONFIDENCE:.0%} Student t interval"
    caption = f"Mean {quantity.title} over seeds with its {interval}, the highest first{more}. {RULE}"
    return f"{markdown(lines)}\n\n{caption}"


def _welfare(trial: Trial) -> float | None:
    return None if failed(trial) else indicator(trial, "social_welfare")


def _share_trained(trial: Trial) -> float:
    return min(1.0, trial.env_steps / trial.total_env_steps) if trial.total_env_steps else 0.0


def _or_lowest(mean: float) -> float:
    return -math.inf if math.isnan(mean) else mean


def _short(name: str) -> str:
    """`name [a.b.c=1]` as `name [b.c=1]`."""
    return re.sub(r"(?<=[\[ ])\w+\.(?=[\w.]+=)", "", name)
