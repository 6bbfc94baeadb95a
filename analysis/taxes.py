"""Learned taxes against fixed ones: welfare by treatment, and what learning adds to the best fixed rate.

No taxes are a fixed rate of 0. The fixed rate with the highest mean welfare owes part of it to luck on the seeds over
which the maximum was taken, so the best rate is chosen on other seeds than the one it is judged on.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal

import numpy

from analysis.followers import FOLLOWERS
from analysis.intervals import CONFIDENCE, Interval, t_interval
from analysis.metrics import indicator, seed_values, seeds, verdict
from analysis.outcomes import Solutions
from analysis.results import Trial, by_treatment, differing_settings, flat_settings
from analysis.writing import percent, plain
from rbc_rllib.economy.planner import Planner, Rates, social_welfare
from rbc_rllib.settings import ConfigError

Definition = Literal["consumer", "total"]
DEFINITIONS: tuple[Definition, ...] = ("consumer", "total")
COMPARED = (  # settings in which compared treatments may differ; fixed taxes are the same whatever a planner wants
    "planner.mode",
    "planner.rates",
    "economy.planner_welfare",
)


@dataclass(frozen=True)
class Treatment:
    """The finished trials of one treatment."""

    name: str
    trials: tuple[Trial, ...]

    @property
    def planner(self) -> Planner:
        """How taxes are decided."""
        return self.trials[0].planner

    @property
    def pair(self) -> Rates | None:
        """The income and corporate rate that are fixed for all quarters; None where no such pair is."""
        rates = self.planner.rates
        return rates[0] if isinstance(rates, tuple) and len(rates) == 1 else None

    @property
    def taxes(self) -> str:
        """`learned: schedule`, `none`, `fixed 20%`, or `fixed 20% and 40%` of income and profits."""
        if self.pair is None:
            return f"learned: {self.planner.mode}"
        if not any(self.pair):
            return "none"
        return "fixed " + " and ".join(percent(rate) for rate in dict.fromkeys(self.pair))

    @property
    def goal(self) -> Definition:
        """The social welfare that the planner is rewarded with."""
        return self.trials[0].economy_parameters.planner_welfare

    def of_seed(self, seed: int) -> list[Trial]:
        """The trials with that seed."""
        return [trial for trial in self.trials if trial.seed == seed]

    @property
    def trivial(self) -> list[Trial]:
        """The trials in which the economy is dead. They count in every mean but of gains."""
        return [trial for trial in self.trials if verdict(trial) == "trivial"]

    def welfare(self, definition: Definition) -> dict[int, float]:
        """Social welfare a quarter, of the whole economy, by seed; repetitions of a seed are averaged.

        consumer: C * consumer reward; total: that + firm_welfare_weight * F * firm reward. Both are linear in the mean
        rewards, so they follow from those of the held-out episodes, whichever of them the planner was rewarded with.
        """
        params = self.trials[0].economy_parameters.annealed(planner_welfare=definition)
        consumer, firm = (seed_values(self.trials, f"{group}_reward")[:, None] for group in ("consumer", "firm"))
        rewards = consumer.repeat(params.num_consumers, axis=1), firm.repeat(params.num_firms, axis=1)
        return dict(zip(seeds(self.trials), social_welfare(params, *rewards).tolist(), strict=True))

    def mean_welfare(self, definition: Definition) -> Interval:
        """Mean over seeds with its 95% Student t interval."""
        return t_interval(list(self.welfare(definition).values()))

    @property
    def firm_reward(self) -> Interval:
        """Mean over seeds of a firm's reward a quarter, with its 95% Student t interval."""
        return t_interval(seed_values(self.trials, "firm_reward"))

    def follower_gain(self, deviator: str) -> Interval | None:
        """What `deviator` gains at least, in percent of its group's mean absolute reward: mean over the living seeds
        that were asked, with its 95% Student t interval; None where none was."""
        return self._solutions.gain(deviator)

    @cached_property
    def _solutions(self) -> Solutions:
        return Solutions.of(self.name, self.trials)

    def mean_rate(self, name: str) -> float:
        """Mean of `income_tax_rate` or `corporate_tax_rate` over seeds and over the quarters after the first."""
        return float(seed_values(self.trials, name).mean())

    def record(self) -> dict[str, Any]:
        """For JSON."""
        return {
            "taxes": self.taxes,
            "trials": len(self.trials),
            "trivial_trials": len(self.trivial),
            "income_tax_rate": self.mean_rate("income_tax_rate"),
            "corporate_tax_rate": self.mean_rate("corporate_tax_rate"),
            "firm_reward": self.firm_reward.record(),
            "follower_gains_percent": {
                name: gain.record() for name in FOLLOWERS if (gain := self.follower_gain(name)) is not None
            },
            **{
                f"{definition}_welfare": self.mean_welfare(definition).record()
                | {
                    "seeds": len(seeds(self.trials)),
                    "by_seed": {str(seed): value for seed, value in self.welfare(definition).items()},
                }
                for definition in DEFINITIONS
            },
        }


@dataclass(frozen=True)
class Difference:
    """Welfare with learned taxes minus welfare with fixed ones (or those of another planner), paired by seed."""

    learned: Treatment
    fixed: dict[int, Treatment]  # what each seed is compared with
    definition: Definition
    confidence: float = CONFIDENCE

    @property
    def by_seed(self) -> dict[int, float]:
        """d_s = welfare of learned taxes - welfare of fixed taxes, both with seed s."""
        learned = self.learned.welfare(self.definition)
        return {seed: learned[seed] - fixed.welfare(self.definition)[seed] for seed, fixed in self.fixed.items()}

    @property
    def interval(self) -> Interval:
        """Mean of d_s and its Student t interval over seeds, that of the paired t test."""
        return t_interval(list(self.by_seed.values()), self.confidence)

    @property
    def percent(self) -> float | None:
        """The mean difference in percent of |mean welfare of the fixed taxes|; None where their runs are all dead, as
        any number is many times next to nothing."""
        mean = float(numpy.mean([fixed.welfare(self.definition)[seed] for seed, fixed in self.fixed.items()]))
        dead = all(trial in fixed.trivial for seed, fixed in self.fixed.items() for trial in fixed.of_seed(seed))
        return None if dead or not mean else 100 * self.interval.mean / abs(mean)

    @property
    def verdict(self) -> Literal["trivial", "unknown", "significant", "not significant"]:
        """`trivial` where every run behind it is, `unknown` without an interval, else by whether that holds 0."""
        sides = [(side, seed) for seed, fixed in self.fixed.items() for side in (self.learned, fixed)]
        runs = [trial for side, seed in sides for trial in side.of_seed(seed)]
        if all(verdict(trial) == "trivial" for trial in runs):
            return "trivial"
        if not self.interval.known:
            return "unknown"
        return "not significant" if self.interval.low <= 0 <= self.interval.high else "significant"

    def record(self) -> dict[str, Any]:
        """For JSON."""
        return {
            **self.interval.record(),
            "seeds": len(self.fixed),
            "confidence": self.confidence,
            "percent_of_fixed": self.percent,
            "verdict": self.verdict,
            "by_seed": {
                str(seed): {"fixed": self.fixed[seed].name, "difference": value} for seed, value in self.by_seed.items()
            },
        }


@dataclass(frozen=True)
class Comparison:
    """Learned and fixed taxes in one economy."""

    learned: tuple[Treatment, ...]
    fixed: tuple[Treatment, ...]  # by rate
    left_out: tuple[Trial, ...]  # unfinished, or finished without numbers
    also_differ: tuple[str, ...]  # settings beside taxes in which treatments differ
    not_compared: tuple[str, ...]  # treatments whose taxes are neither learned nor one fixed pair

    @property
    def treatments(self) -> tuple[Treatment, ...]:
        """All of them, learned taxes first."""
        return self.learned + self.fixed

    def rivals(self, learned: Treatment) -> tuple[Treatment, ...]:
        """The fixed treatments among which the best one for `learned` is chosen: those that have finished all of its
        seeds, or all where none has."""
        wanted = {*seeds(learned.trials)}
        return tuple(each for each in self.fixed if wanted <= {*seeds(each.trials)}) or self.fixed

    def shared_seeds(self, learned: Treatment) -> list[int]:
        """The seeds that `learned` and all of its rivals have finished."""
        return sorted(set.intersection(*(set(seeds(each.trials)) for each in (learned, *self.rivals(learned)))))

    def worth_of_commitment(self, learned: Treatment, definition: Definition) -> Difference | None:
        """A planner who announces against one with discretion who wants the same, over the seeds that both have
        finished; None where `learned` announces nothing, or there is no discretion to compare with."""
        others = [each for each in self.learned if not each.planner.announces and each.goal == learned.goal]
        if not others or not learned.planner.announces:
            return None
        discretion = others[0]
        shared = sorted({*seeds(learned.trials)} & {*seeds(discretion.trials)})
        return Difference(learned, dict.fromkeys(shared, discretion), definition) if shared else None

    def best_fixed(self, learned: Treatment, definition: Definition) -> Difference | None:
        """`learned` against the best fixed rate, which is chosen for each seed on the other ones; None for one seed.

        d_s = learned_s - fixed_s(r_s), where r_s is the rate with the highest mean welfare over the shared seeds
        without s. So no seed's luck raises the rate that it is judged on. Choosing on one seed less finds the best
        rate a little less often, which favours learned taxes, and more so where two rates tie: the lower one of them is
        at seed s, the higher is its mean over the others. The d_s are not quite independent, as their choices share
        seeds: the t interval, which takes them as independent, is an approximation.
        """
        shared, rivals = self.shared_seeds(learned), self.rivals(learned)
        if len(shared) < 2:
            return None
        welfare = {each.name: each.welfare(definition) for each in rivals}

        def best_without(judged: int) -> Treatment:
            others = [seed for seed in shared if seed != judged]
            return max(rivals, key=lambda each: float(numpy.mean([welfare[each.name][seed] for seed in others])))

        return Difference(learned, {seed: best_without(seed) for seed in shared}, definition)

    def each_fixed(self, learned: Treatment, definition: Definition) -> list[Difference]:
        """`learned` against each fixed treatment with which it shares seeds.

        The intervals hold for all of them at once (Bonferroni: each at 1 - 5% / their number).
        """
        pairs = [(fixed, sorted({*seeds(learned.trials)} & {*seeds(fixed.trials)})) for fixed in self.fixed]
        pairs = [(fixed, shared) for fixed, shared in pairs if shared]
        return [
            Difference(learned, dict.fromkeys(shared, fixed), definition, 1 - (1 - CONFIDENCE) / len(pairs))
            for fixed, shared in pairs
        ]

    def record(self) -> dict[str, Any]:
        """For JSON: plain numbers, None for what is unknown."""
        differences = []
        for learned in self.learned:
            for definition in DEFINITIONS:
                best, worth = self.best_fixed(learned, definition), self.worth_of_commitment(learned, definition)
                each = {
                    difference.fixed[min(difference.fixed)].name: difference.record()
                    for difference in self.each_fixed(learned, definition)
                }
                parts = {"best_fixed": best and best.record(), "each_fixed": each}
                parts["worth_of_commitment"] = worth and worth.record()
                differences.append({"learned": learned.name, "welfare": definition, "goal": learned.goal} | parts)
        return plain(
            {
                "treatments": {each.name: each.record() for each in self.treatments},
                "differences": differences,
                "left_out": [trial.label for trial in self.left_out],
                "also_differ": list(self.also_differ),
            }
        )


def compare_taxes(trials: Sequence[Trial]) -> Comparison:
    """The comparison of all finished trials; what tells learned from fixed taxes is their config, not their name.

    Raises `ConfigError` where learned or fixed taxes are missing, or where the economies differ.
    """
    finished = [trial for trial in trials if trial.finished and _has_welfare(trial)]
    groups = [Treatment(name, tuple(members)) for name, members in by_treatment(finished).items()]
    learned = tuple(each for each in groups if each.planner.learns)
    fixed = tuple(sorted((each for each in groups if each.pair), key=lambda each: each.pair or ()))
    for kind, found in (("learned", learned), ("fixed (or no)", fixed)):
        if not found:
            rule = f"a comparison of welfare needs finished trials with {kind} taxes, and there are none"
            fix = "train them (python -m rbc_rllib.sweep tax_baselines), or give their folder too"
            raise ConfigError("finished treatments", [each.name for each in groups], rule, fix)
    if economic := _economic(finished):
        names = [each.name for each in groups]
        rule = f"welfare is compared in one economy, and theirs differ in {', '.join(economic)}"
        raise ConfigError("finished treatments", names, rule, "give folders of trials of one economy")
    left_out = tuple(trial for trial in trials if trial not in finished)
    not_compared = tuple(each.name for each in groups if each not in (*learned, *fixed))
    also_differ = tuple(key for key in differing_settings(finished) if key not in COMPARED)
    return Comparison(learned, fixed, left_out, also_differ, not_compared)


def compare_economies(trials: Sequence[Trial]) -> dict[str, Comparison | ConfigError]:
    """A comparison in each economy, or why there is none, by the settings that tell the economy from the others; where
    none of them has one, why all trials together have none."""
    compared = {name: _compared(own) for name, own in by_economy(trials).items()}
    return compared if any(isinstance(each, Comparison) for each in compared.values()) else {"": _compared(trials)}


def by_economy(trials: Sequence[Trial]) -> dict[str, list[Trial]]:
    """The trials in each economy, by the settings that tell it from the others."""
    differing, economies = _economic(trials), dict[str, list[Trial]]()
    for trial in trials:
        settings = flat_settings(trial.config)
        economies.setdefault(", ".join(f"{key} = {settings.get(key)}" for key in differing), []).append(trial)
    return economies


def _compared(trials: Sequence[Trial]) -> Comparison | ConfigError:
    try:
        return compare_taxes(trials)
    except ConfigError as error:
        return error


def _economic(trials: Sequence[Trial]) -> list[str]:
    """The settings that make their economies different."""
    return [key for key in differing_settings(trials) if key.startswith("economy.") and key not in COMPARED]


def _has_welfare(trial: Trial) -> bool:
    return all(numpy.isfinite(indicator(trial, f"{group}_reward")) for group in ("consumer", "firm"))
