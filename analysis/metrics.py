"""Numbers of one trial and of the seeds of one treatment."""

import math
from collections.abc import Sequence
from typing import Literal

import numpy

from analysis.intervals import Interval, t_interval
from analysis.results import Trial
from rbc_rllib.economy.indicators import is_trivial

TAIL_SHARE = 0.05  # of the progress rows, from the end: stands in for an evaluation that is missing

Source = Literal["evaluation", "training", "none"]
Verdict = Literal["trivial", "alive", "unknown"]


def source(trial: Trial) -> Source:
    """Where a trial's numbers come from: held-out episodes, else the end of training so far, else nowhere."""
    if trial.finished:
        return "evaluation"
    return "none" if trial.progress.empty else "training"


def indicators(trial: Trial) -> dict[str, float]:
    """Mean of each economic indicator over held-out episodes, else over the last 5% of the progress rows."""
    if trial.finished and trial.evaluation:
        means = {name: value["mean"] for name, value in trial.evaluation["indicators"].items()}
        return {name: math.nan if mean is None else float(mean) for name, mean in means.items()}
    columns = [name for name in trial.progress.columns if name.startswith("economy/")]
    tail = trial.progress[columns].tail(math.ceil(TAIL_SHARE * len(trial.progress)))
    return {name.removeprefix("economy/"): float(value) for name, value in tail.mean().items()}


def indicator(trial: Trial, name: str) -> float:
    """One of a trial's `indicators`; NaN where it is missing."""
    return indicators(trial).get(name, math.nan)


def verdict(trial: Trial) -> Verdict:
    """`trivial` where at least half the episodes are, `unknown` without numbers."""
    share = indicator(trial, "trivial_share")
    if math.isnan(share):
        return "unknown"
    return "trivial" if is_trivial(share) else "alive"


def living(trials: Sequence[Trial]) -> list[Trial]:
    """Those whose economy is not trivial."""
    return [trial for trial in trials if verdict(trial) != "trivial"]


def measured(trials: Sequence[Trial]) -> list[Trial]:
    """The trials whose numbers stand for their treatment: the evaluated ones, else those with training progress.

    Half-trained and finished trials are never averaged with each other.
    """
    for wanted in ("evaluation", "training"):
        chosen = [trial for trial in trials if source(trial) == wanted]
        if chosen:
            return chosen
    return []


def seeds(trials: Sequence[Trial]) -> list[int]:
    """The different seeds of the trials."""
    return sorted({trial.seed for trial in trials})


def seed_values(trials: Sequence[Trial], name: str) -> numpy.ndarray:
    """`[seeds]` An indicator of each seed; repetitions of one seed are averaged, as they are not independent."""
    return numpy.array(
        [numpy.mean([indicator(trial, name) for trial in trials if trial.seed == seed]) for seed in seeds(trials)]
    )


def over_seeds(trials: Sequence[Trial], name: str) -> Interval:
    """Mean of an indicator over the seeds of one treatment with its 95% Student t interval."""
    return t_interval(seed_values(trials, name))
