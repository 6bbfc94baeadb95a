"""What the seeds of a treatment end in: read from its trials, or from a table that was published when they are gone."""

import math
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Self

import numpy as np

from analysis.followers import FOLLOWERS, follower_gains, how_asked
from analysis.gains import Gain, check_written
from analysis.intervals import Interval, proportion_interval, t_interval
from analysis.metrics import indicator, verdict
from analysis.results import Trial, by_treatment, flat_settings, load_trials
from analysis.writing import plain
from rbc_rllib.economy.indicators import is_trivial
from rbc_rllib.files import read_object
from rbc_rllib.settings import ConfigError, Settings

REWARDS = ("consumer_reward", "firm_reward")


class FollowerGain(Settings):
    """What a follower gains at least, in percent of the mean absolute reward of its group's agents; None where that is
    unknown."""

    gain: float | None
    temperature: float | None
    """What the frozen policies themselves gain with less noise."""
    largest: float | None
    """What the agent gains that gains most alone by validation episodes."""
    equivalent: float | None = None
    """What the gain is worth to consumers, in percent of their consumption; tables of earlier versions have none."""

    @classmethod
    def of(cls, gain: Gain) -> Self:
        """The percentages of a gain that was measured."""

        def percent(part: Interval | None) -> float | None:
            own = part and gain.percent(part)
            return own.mean if own else None

        most = gain.most if gain.alone else None
        worth = gain.consumption_equivalent
        return cls(
            gain=percent(gain.gain),
            temperature=percent(gain.temperature),
            largest=percent(most),
            equivalent=worth.mean if worth else None,
        )


class Outcome(Settings):
    """What one seed ends in; None is what nobody knows."""

    seed: int
    dead: bool
    """Whether its economy is trivial on held-out episodes."""
    consumer_reward: float | None
    firm_reward: float | None
    env_steps: int
    alive_after: float | None
    gains: dict[str, FollowerGain]
    """By deviator; none of a dead one, in which they say nothing."""
    asked: str | None
    """How its followers were asked, in words."""

    @classmethod
    def of(cls, trial: Trial) -> Self:
        """What a finished trial ends in."""
        known = {name: indicator(trial, name) for name in REWARDS} | {"alive_after": alive_after(trial)}
        dead = verdict(trial) == "trivial"
        gains = {} if dead else follower_gains(trial)
        return cls(
            seed=trial.seed,
            dead=dead,
            env_steps=trial.env_steps,
            gains={name: FollowerGain.of(gain) for name, gain in gains.items()},
            asked=how_asked(trial) if gains else None,
            **plain(known),
        )

    def number(self, name: str) -> float:
        """One of its numbers, or what a follower of that name gains, in percent; NaN where nobody knows it."""
        value = self.gains[name].gain if name in self.gains else getattr(self, name, None)
        return math.nan if value is None else value


@dataclass(frozen=True)
class Solutions:
    """What a treatment ends in: its settings by dotted key, and an outcome a seed."""

    name: str
    settings: dict[str, Any]
    outcomes: tuple[Outcome, ...]

    @classmethod
    def of(cls, name: str, trials: Sequence[Trial]) -> Self:
        """What the finished trials of a treatment end in."""
        return cls(name, plain(flat_settings(trials[0].config)), one_outcome_a_seed(map(Outcome.of, trials)))

    @property
    def living(self) -> tuple[Outcome, ...]:
        """Those whose economy is not trivial."""
        return tuple(outcome for outcome in self.outcomes if not outcome.dead)

    @property
    def dead(self) -> int:
        """How many are trivial."""
        return len(self.outcomes) - len(self.living)

    @property
    def dead_share(self) -> Interval:
        """The share of trivial seeds with its Wilson interval."""
        return proportion_interval(self.dead, len(self.outcomes))

    def reward(self, name: str) -> Interval:
        """A reward a quarter, mean over the living with its Student t interval."""
        return t_interval([outcome.number(name) for outcome in self.living])

    def asked(self, deviators: Collection[str] = FOLLOWERS) -> tuple[Outcome, ...]:
        """Of the living, those of whom the gain of any of these followers is known."""
        return tuple(outcome for outcome in self.living if {*deviators} & {*outcome.gains})

    @property
    def ways(self) -> list[str]:
        """How their followers were asked, in words."""
        return sorted({str(outcome.asked) for outcome in self.asked()})

    def percent(self, part: str, deviator: str) -> Interval | None:
        """A part of a `FollowerGain`, mean over the living of whom it is known; None where it is of none."""
        gains = [gain for outcome in self.living if (gain := outcome.gains.get(deviator))]
        known = [percent for gain in gains if (percent := getattr(gain, part)) is not None]
        return t_interval(known) if known else None

    def gain(self, deviator: str) -> Interval | None:
        """What a follower gains at least, in percent of its group's mean absolute reward."""
        return self.percent("gain", deviator)

    def temperature(self, deviator: str) -> Interval | None:
        """What the frozen policies themselves gain with less noise."""
        return self.percent("temperature", deviator)

    def largest(self, deviator: str) -> Interval | None:
        """What the agent gains that gains most alone by validation episodes."""
        return self.percent("largest", deviator)

    def equivalent(self, deviator: str) -> Interval | None:
        """What the gain is worth, in percent of consumption; consumers only."""
        return self.percent("equivalent", deviator)

    @property
    def alive_after(self) -> Interval:
        """The env steps after which the economies of the living were never trivial again, with the part of its Student
        t interval that lies within their training."""
        after = t_interval([outcome.number("alive_after") for outcome in self.living])
        longest = max((outcome.env_steps for outcome in self.living), default=0)
        return replace(after, low=np.clip(after.low, 0, longest), high=np.clip(after.high, 0, longest))

    def minus(self, other: "Solutions", name: str) -> Interval:
        """By how much a reward or a follower's gain is larger than `other`'s: mean over the seeds that live in both and
        of which both are known, paired by seed, with its Student t interval."""
        theirs = {outcome.seed: outcome.number(name) for outcome in other.living}
        differences = [own.number(name) - theirs.get(own.seed, math.nan) for own in self.living]
        return t_interval([difference for difference in differences if not math.isnan(difference)])

    @classmethod
    def read(cls, name: str, record: dict[str, Any]) -> Self:
        """The treatment whose `record` it is; raises `ConfigError` for one of an earlier version, without seeds."""
        check_written(record, ("settings", "outcomes"), "a treatment", name, "make the table anew from results")
        return cls(name, record["settings"], tuple(Outcome(**outcome) for outcome in record["outcomes"]))

    def record(self) -> dict[str, Any]:
        """For JSON; of each gain with the number of seeds that were asked."""
        parts = {
            "gains_percent": self.gain,
            "temperature_percent": self.temperature,
            "largest_percent": self.largest,
            "equivalents_percent": self.equivalent,
        }
        gains = {
            part: {name: own.record() | {"seeds": own.count} for name in FOLLOWERS if (own := percent(name))}
            for part, percent in parts.items()
        }
        return {
            "trials": len(self.outcomes),
            "dead_share": self.dead_share.record(),
            "alive_after": self.alive_after.record(),
            **{name: self.reward(name).record() for name in REWARDS},
            **gains,
            "asked": self.ways,
            "settings": self.settings,
            "outcomes": [outcome.model_dump() for outcome in self.outcomes],
        }


def one_outcome_a_seed(outcomes: Iterable[Outcome]) -> tuple[Outcome, ...]:
    """Of several outcomes of a seed, which are not independent, the one of which more gains are known, or else the
    first; in the order of seeds."""
    by_seed: dict[int, Outcome] = {}
    for outcome in outcomes:
        known = by_seed.get(outcome.seed)
        if known is None or len(outcome.gains) > len(known.gains):
            by_seed[outcome.seed] = outcome
    return tuple(by_seed[seed] for seed in sorted(by_seed))


def alive_after(trial: Trial) -> float:
    """The env steps after which a trial's economies were never trivial again; NaN where nobody knows."""
    steps, shares = trial.progress["env_steps"], trial.progress.get("economy/trivial_share")
    if shares is None or steps.empty:
        return math.nan
    dead = steps[is_trivial(shares)]
    return float(dead.max()) if len(dead) else 0.0


def solutions_of(trials: Sequence[Trial]) -> list[Solutions]:
    """What finished trials end in, by treatment."""
    finished = [trial for trial in trials if trial.finished]
    return [Solutions.of(name, members) for name, members in by_treatment(finished).items()]


def read_solutions(path: Path) -> list[Solutions]:
    """The treatments of a table that was written earlier."""
    records = read_object(path, "make the table anew from results")
    try:
        return [Solutions.read(name, record) for name, record in records.items()]
    except ConfigError as error:
        raise error.below(str(path)) from None


def solutions_in(places: Sequence[Path]) -> list[Solutions]:
    """What there is in experiment folders and in tables, pooled by treatment, `one_outcome_a_seed`.

    Raises `ConfigError` where treatments of one name have different settings.
    """
    trials = {trial.path.resolve(): trial for place in places if not place.is_file() for trial in load_trials(place)}
    tables = [table for place in places if place.is_file() for table in read_solutions(place)]
    pooled: dict[str, Solutions] = {}
    for each in [*solutions_of(list(trials.values())), *tables]:
        pooled[each.name] = _pooled(pooled[each.name], each) if each.name in pooled else each
    return sorted(pooled.values(), key=lambda each: each.name.partition(" [")[0])


def _pooled(one: Solutions, other: Solutions) -> Solutions:
    for key in {**one.settings, **other.settings}:
        values = one.settings.get(key), other.settings.get(key)
        if values[0] != values[1]:
            rule = f"treatments of one name, such as {one.name}, are pooled, and have the same settings"
            raise ConfigError(key, values, rule, "make a table of each by itself")
    return replace(one, outcomes=one_outcome_a_seed((*one.outcomes, *other.outcomes)))
