"""What a deviator gains, and what that says of a solution: from rewards on paired episodes to words and numbers.

A best response is found by learning, so every gain is a lower bound ("at least"). A gain whose interval holds 0 is not
distinguishable from 0, which does not prove that there is none. In a trivial economy nobody has anything to gain:
there, small gains do not make an equilibrium.
"""

import math
from collections.abc import Collection, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any, Self

import numpy as np

from analysis.equivalents import consumption_equivalent
from analysis.intervals import BOOTSTRAP_SEED, Interval, bounded, crossed_interval, mean_interval
from analysis.writing import count, markdown, number, plain
from rbc_rllib.economy import EconomyParameters
from rbc_rllib.economy.indicators import is_trivial
from rbc_rllib.leaving import Leaving, taken
from rbc_rllib.settings import ConfigError

ROUNDING = 1e-9
"""Differences below this share of a reward's size are none."""

ASK_AGAIN = "ask again with --resume, which trains nothing anew, or move its folder away"


@dataclass(frozen=True)
class Alone:
    """What every agent of a group gains at least by leaving it alone."""

    agents: dict[str, Interval]  # gain a quarter of each, over episodes and seeds
    largest: str  # who gains most, by validation episodes, so that no luck of the held-out ones chooses
    consumption_equivalents: dict[str, float] | None  # percent, of each mean gain; consumers only

    @property
    def most(self) -> Interval:
        """What `largest` gains."""
        return self.agents[self.largest]

    @property
    def over_agents(self) -> Interval:
        """The mean over agents with its bootstrap interval over them, which says how much they differ."""
        means = [gain.mean for gain in self.agents.values()]
        return mean_interval(means, np.random.default_rng(BOOTSTRAP_SEED))


@dataclass(frozen=True)
class Gain:
    """What one deviator gains at least, a quarter (and an agent, where a group deviates).

    Where every agent of a group deviates alone (`each_firm`), rewards and gains are means over them.
    """

    deviator: str
    reward: float  # of the frozen policies
    size: float  # mean absolute reward of an agent of the group, an episode's mean a quarter: what percent are of
    gain: Interval  # mean over seeds; over seeds and episodes
    seeds: tuple[int, ...]
    stayed: tuple[int, ...]  # those whose learned response did not beat the frozen policy on validation episodes
    best_seed: int  # by validation episodes
    best_gain: Interval  # of that seed, over episodes
    improvement: float  # of the group's reward, from untrained policies to the frozen ones
    consumption_equivalent: Interval | None  # percent; consumers only, and only where they consume
    temperature: Interval | None = None  # what the frozen policy itself gains with less noise, over episodes
    unconverged: Interval | None = None  # the gain less that, over seeds and episodes
    chosen: tuple[str, ...] = ()  # which response was best, of each seed
    curve: dict[str, tuple[tuple[int, float], ...]] = field(default_factory=dict)
    """Iterations of training and gain on validation episodes, mean over seeds, by where the deviator started."""
    alone: Alone | None = None  # where every agent of a group deviates alone

    @property
    def most(self) -> Interval:
        """What the agent gains that gains most by validation episodes, where each deviates alone, and otherwise the
        gain."""
        return self.alone.most if self.alone else self.gain

    @property
    def who(self) -> str:
        """Who gains that."""
        return self.alone.largest if self.alone else self.deviator

    @property
    def unit(self) -> str:
        """That of rewards and gains, a quarter."""
        return "money" if Leaving(deviator=self.deviator).groups == ("firm",) else "utility"

    @property
    def nash_conv(self) -> Interval | None:
        """What all agents gain that deviate each alone, added up; None where none does."""
        return self.gain.scaled(len(self.alone.agents)) if self.alone else None

    @property
    def percent_of_reward(self) -> Interval | None:
        """The gain in percent of the mean absolute reward of the group's agents; None where that is 0."""
        return self.percent(self.gain)

    def percent(self, gain: Interval) -> Interval | None:
        """Any gain of the group's agents in this unit."""
        return gain.scaled(100 / self.size) if self.size else None

    @property
    def percent_of_improvement(self) -> Interval | None:
        """The paper's measure: gain / (reward - reward of untrained policies); None where nothing improved."""
        return self.gain.scaled(100 / self.improvement) if self.improvement > 0 else None

    @classmethod
    def read(cls, record: dict[str, Any]) -> Self:
        """The gain whose `record` it is; raises `ConfigError` for one of an earlier version, which holds less."""
        known = _fields(cls, record)
        for name in ("gain", "best_gain", "consumption_equivalent", "temperature", "unconverged"):
            known[name] = record[name] and Interval.read(record[name])
        if alone := record["alone"]:
            agents = {name: Interval.read(gain) for name, gain in alone["agents"].items()}
            known["alone"] = Alone(**{**alone, "agents": agents})
        return cls(**known | {name: tuple(record[name]) for name in ("seeds", "stayed", "chosen")})

    def record(self) -> dict[str, Any]:
        """For JSON: plain numbers, None for what is unknown."""
        parts = {
            **asdict(self),
            "distinguishable_from_0": self.gain.above_zero,
            "unit": self.unit,
            "nash_conv": self.nash_conv and asdict(self.nash_conv),
            "over_agents": self.alone and asdict(self.alone.over_agents),
            "percent_of_reward": self.percent_of_reward and asdict(self.percent_of_reward),
            "percent_of_improvement": self.percent_of_improvement and asdict(self.percent_of_improvement),
        }
        return plain(parts)


@dataclass(frozen=True)
class Solution:
    """The policies of one checkpoint, and what deviators gain from leaving them."""

    checkpoint: str
    env_steps: int
    policies: str  # their hash, as in `evaluation.json`
    trivial_share: float  # of the held-out episodes with the frozen policies
    gains: tuple[Gain, ...]

    @property
    def trivial(self) -> bool:
        """Whether the economy is dead: then it is not called an equilibrium, whatever the gains."""
        return is_trivial(self.trivial_share)

    @property
    def largest(self) -> Gain | None:
        """The gain of the deviator that gains most, in percent; of agents asked alone the one that does counts."""
        compared = [gain for gain in self.gains if gain.size]
        return max(compared, key=lambda gain: gain.most.mean / gain.size, default=None)

    @property
    def epsilon(self) -> float | None:
        """The largest gain over deviators in percent; at least 0, since staying is a response too."""
        return max(0.0, 100 * self.largest.most.mean / self.largest.size) if self.largest else None

    @classmethod
    def read(cls, record: dict[str, Any]) -> Self:
        """The solution whose `record` it is; raises `ConfigError` for one of an earlier version, which holds less."""
        known = _fields(cls, record)
        return cls(**{**known, "gains": tuple(Gain.read(gain) for gain in known["gains"])})

    def record(self) -> dict[str, Any]:
        """For JSON."""
        return {
            "checkpoint": self.checkpoint,
            "env_steps": self.env_steps,
            "policies": self.policies,
            "trivial_share": self.trivial_share,
            "trivial": self.trivial,
            "epsilon_percent_at_least": self.epsilon,
            "largest_gain": self.largest.who if self.largest else None,
            "gains": [gain.record() for gain in self.gains],
        }


def check_written(
    record: dict[str, Any], names: Collection[str], what: str, where: str = "best_response.json", fix: str = ASK_AGAIN
) -> None:
    """Raise `ConfigError` where a part of a file lacks one of these names."""
    if missing := [name for name in names if name not in record]:
        rule = f"{what} has {missing[0]}, which earlier versions did not write"
        raise ConfigError(where, sorted(record), rule, fix)


def _fields(kind: type[Gain | Solution], record: dict[str, Any]) -> dict[str, Any]:
    check_written(record, kind.__dataclass_fields__, f"a {kind.__name__.lower()}")
    return {name: record[name] for name in kind.__dataclass_fields__}


def measure_gain(
    deviator: str,
    before: np.ndarray,
    after: np.ndarray,
    validation_gains: Sequence[float],
    seeds: Sequence[int],
    untrained: float,
    size: float,
    params: EconomyParameters,
    consumption: np.ndarray | None = None,
    cooled: np.ndarray | None = None,
    chosen: tuple[str, ...] = (),
    curve: dict[str, tuple[tuple[int, float], ...]] | None = None,
) -> Gain:
    """The gain of a deviator, from rewards a quarter on the same held-out episodes.

    Args: before `[episodes]` with everybody's frozen policy; after `[seeds, episodes]` with the learned response of
    each seed; validation_gains `[seeds]` on other episodes, which decide between response and staying and which
    seed is best; untrained, the reward of untrained policies; size, the mean absolute reward in the group; consumption
    `[episodes, quarters, ..., goods]` of the deviator before, where it is a consumer; cooled `[episodes]`, what the
    frozen policy gains with less noise; chosen and curve as in `Gain`.
    """
    validation = np.asarray(validation_gains)
    gains = taken(after - before, validation[:, None])
    best = int(np.argmax(validation))
    gain, best_gain = _interval(gains), _interval(gains[[best]])
    return Gain(
        deviator=deviator,
        reward=float(before.mean()),
        size=size,
        gain=gain,
        seeds=tuple(seeds),
        stayed=tuple(seed for seed, own in zip(seeds, validation, strict=True) if not own > 0),
        best_seed=seeds[best],
        best_gain=best_gain,
        improvement=float(before.mean()) - untrained,
        consumption_equivalent=None if consumption is None else _equivalents(params, consumption, gain),
        temperature=None if cooled is None else _interval(cooled[None]),
        unconverged=None if cooled is None else _interval(_free_of_rounding(gains - cooled, size)),
        chosen=chosen,
        curve=curve or {},
    )


def measure_each(
    deviator: str,
    agents: Sequence[str],
    before: np.ndarray,
    after: np.ndarray,
    validation_gains: np.ndarray,
    seeds: Sequence[int],
    params: EconomyParameters,
    consumption: np.ndarray | None = None,
    cooled: np.ndarray | None = None,
    **settings: Any,
) -> Gain:
    """What every one of K `agents` gains by deviating alone, and the mean over them (NashConv / K).

    Args: before `[episodes, K]`, after `[seeds, episodes, K]`, validation_gains `[seeds, K]`, cooled `[episodes, K]`
    and `settings` as in `measure_gain`: an agent whose response did not beat staying on the validation episodes stays.
    """
    gains = taken(after - before, validation_gains[:, None, :])
    expected = taken(validation_gains, validation_gains)
    each = {name: _interval(gains[..., k], resamples=1000) for k, name in enumerate(agents)}
    largest = agents[int(np.argmax(expected.mean(0)))]
    whole = measure_gain(
        deviator,
        before.mean(-1),
        before.mean(-1) + gains.mean(-1),
        expected.mean(-1),
        seeds,
        params=params,
        consumption=consumption,
        cooled=None if cooled is None else cooled.mean(-1),
        **settings,
    )
    equivalents = None
    if consumption is not None:
        own = {name: consumption[:, :, [k]] for k, name in enumerate(agents)}
        equivalents = {name: consumption_equivalent(params, own[name], gain.mean) for name, gain in each.items()}
    return replace(whole, alone=Alone(each, largest, equivalents))


def _free_of_rounding(differences: np.ndarray, size: float) -> np.ndarray:
    return np.where(np.abs(differences) < ROUNDING * size, 0.0, differences)


def _interval(values: np.ndarray, **settings: Any) -> Interval:
    """Over seeds and episodes; equal gains have equal intervals."""
    return crossed_interval(values, np.random.default_rng(BOOTSTRAP_SEED), **settings)


def _equivalents(params: EconomyParameters, consumption: np.ndarray, gain: Interval) -> Interval | None:
    """The consumption equivalents of a gain and its bounds: rising in the gain, so the bounds are theirs."""
    mean, low, high = (consumption_equivalent(params, consumption, each) for each in (gain.mean, gain.low, gain.high))
    return None if math.isnan(mean) else Interval(mean, low, high, gain.count)


def table(solution: Solution) -> str:
    """The gains as Markdown that is also readable as plain text."""
    head = ["deviator", "reward", "gain at least", "% of group's reward", "temperature %", "% of improvement"]
    lines = [[*head, "consumption-equivalent %", "best seed"]]
    for gain in solution.gains:
        numbers = [
            gain.gain,
            gain.percent_of_reward,
            gain.temperature and gain.percent(gain.temperature),
            gain.percent_of_improvement,
            gain.consumption_equivalent,
        ]
        best = f"{number(gain.best_gain.mean)} (seed {gain.best_seed} of {len(gain.seeds)})"
        lines.append([f"{gain.deviator} ({gain.unit})", number(gain.reward), *map(bounded, numbers), best])
    return markdown(lines)


def words(solution: Solution) -> str:
    """What the gains say, in sentences."""
    sentences = []
    for gain in solution.gains:
        if gain.alone:
            most, percent_of_most = gain.most, gain.percent(gain.most)
            share = f", {bounded(percent_of_most)}% of their mean absolute reward" if percent_of_most else ""
            found = f"{gain.who}, who gained most on validation episodes, gains {bounded(most)} a quarter{share}"
            sentences.append(
                f"{gain.deviator}: {len(gain.alone.agents)} agents were asked, each alone; numbers are means over them"
                f" ({bounded(gain.alone.over_agents)} over agents), and all gains add up to {bounded(gain.nash_conv)}"
                " (NashConv)."
                f" {found if gain.stayed != gain.seeds else 'Nobody found anything better than staying'}."
            )
        if gain.gain.above_zero:
            percent = gain.percent_of_reward
            share = f", {bounded(percent)}% of the group's mean absolute reward" if percent else ""
            sentences.append(f"{gain.deviator} gains at least {bounded(gain.gain)} a quarter{share}.")
            if gain.temperature and gain.unconverged:
                rest = "cannot be told from 0"
                if gain.unconverged.above_zero:
                    rest = "is what training had not reached"
                elif gain.unconverged.high < 0:
                    rest = "is negative: what was learned does worse"
                sentences.append(
                    f"{gain.deviator}: the frozen policy itself gains {bounded(gain.temperature)} with less noise"
                    f" (temperature); the rest, {bounded(gain.unconverged)}, {rest}."
                )
        else:
            sentences.append(f"{gain.deviator}: a gain of {bounded(gain.gain)} is not distinguishable from 0.")
        if gain.stayed:
            sentences.append(
                f"{gain.deviator}: {len(gain.stayed)} of {len(gain.seeds)} seeds found nothing better than staying on"
                " the validation episodes and count as a gain of 0."
            )
        if len(gain.seeds) == 1:
            sentences.append(f"{gain.deviator} was trained with one seed: its interval is over episodes only.")
        if gain.percent_of_improvement is None:
            sentences.append(
                f"{gain.deviator}: no share of the improvement, since training did not raise this reward"
                f" (by {number(gain.improvement)} from untrained policies)."
            )
    largest = solution.largest
    if solution.trivial:
        sentences.append(
            f"The solution is trivial: in {solution.trivial_share:.0%} of the episodes next to nobody works, produces"
            " or consumes. Small gains say nothing there, and it is not called an equilibrium."
        )
    elif largest is None:
        sentences.append("Every reward is 0, so there is no epsilon in percent.")
    elif not any(gain.gain.above_zero or gain.most.above_zero for gain in solution.gains):
        sentences.append(
            f"No deviator found a gain that is distinguishable from 0 (largest: {largest.who},"
            f" {solution.epsilon:.2g}%). Better responses than those found may exist."
        )
    else:
        sentences.append(
            f"Epsilon, the largest of {count(len(solution.gains), 'gain')}, is at least {solution.epsilon:.3g}% of the"
            f" mean absolute reward, that of {largest.who}"
            f"{'' if largest.most.above_zero else ', a gain that is itself not distinguishable from 0'}."
        )
    return "\n".join(f"- {sentence}" for sentence in sentences)
