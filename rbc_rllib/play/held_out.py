"""Frozen policies on held-out episodes: what they do there, and what agents get."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from rbc_rllib.arrays import array_library, stack, to_numpy
from rbc_rllib.economy import GROUPS
from rbc_rllib.economy.indicators import episode_indicators
from rbc_rllib.experiment import ExperimentConfig
from rbc_rllib.play.modules import GroupModule
from rbc_rllib.play.randomness import HELD_OUT, stream
from rbc_rllib.play.rollout import play
from rbc_rllib.play.seats import seats_of
from rbc_rllib.play.vector_economy import VectorEconomy

ECONOMIES_AT_ONCE = 64


@dataclass(frozen=True)
class HeldOut:
    """What frozen policies did on held-out episodes."""

    indicators: dict[str, np.ndarray]  # [episodes] each
    rollout: dict[str, np.ndarray]  # `state/<field>` and `outcome/<field>`, [T, E, ...], of the first economies
    rewards: dict[str, np.ndarray]  # [episodes, K] of each agent of each group, mean a quarter
    consumption: np.ndarray  # [episodes, T, C, F] units

    @property
    def trivial_share(self) -> float:
        """The share of episodes in which next to nobody works, produces or consumes."""
        return float(self.indicators["trivial_share"].mean())

    @property
    def welfare(self) -> np.ndarray:
        """`[episodes]` The planner's social welfare a quarter."""
        return self.indicators["social_welfare"].astype(float)


def play_held_out(
    experiment: ExperimentConfig,
    modules: dict[str, GroupModule],
    episodes: int,
    seed: int,
    held_out: int = HELD_OUT,
    economy_class: Callable[..., VectorEconomy] = VectorEconomy,
) -> HeldOut:
    """Play `episodes` episodes of the economy in which training ends, at the no-Ponzi penalty of `experiment`, without
    what dual ascent has added to it; the same seed gives the same numbers.

    Another stream than `held_out` gives other episodes of the same seed, to choose policies on.
    """
    num_envs = min(episodes, ECONOMIES_AT_ONCE)
    encodings, final = experiment.learning.observation_encodings, experiment.curriculum.final()
    economy = economy_class(experiment.economy, num_envs, array_library("numpy"), encodings, experiment.planner)
    economy.restrict(final.ranges, final.plan_sharpness)
    generator = stream(seed, held_out)
    seats = seats_of(experiment, modules, economy)
    parts: list[dict[str, np.ndarray]] = []
    agents: list[dict[str, np.ndarray]] = []
    consumption: list[np.ndarray] = []
    kept: dict[str, np.ndarray] = {}
    for _ in range(-(-episodes // num_envs)):
        played = play(economy, seats, generator)
        states, outcomes = stack(played.states), stack(played.outcomes)
        indicators = episode_indicators(experiment.economy, states, outcomes)
        parts.append({name: to_numpy(values) for name, values in indicators.items()})
        rewards = {group: to_numpy(outcomes[f"{group}_reward"]) for group in GROUPS}
        agents.append({group: values.reshape(*values.shape[:2], -1).mean(0) for group, values in rewards.items()})
        consumption.append(to_numpy(outcomes["consumption"]).swapaxes(0, 1))
        if not kept:
            first = slice(0, min(num_envs, experiment.learning.economies_per_update))
            # A plan that was announced is what is in force: the tax rates of the states.
            states.pop("tax_plan", None)
            kept = {f"state/{name}": to_numpy(values)[:, first] for name, values in states.items()}
            kept |= {f"outcome/{name}": to_numpy(values)[:, first] for name, values in outcomes.items()}

    def joined(pieces: list[dict[str, np.ndarray]]) -> dict[str, np.ndarray]:
        return {name: np.concatenate([piece[name] for piece in pieces])[:episodes] for name in pieces[0]}

    return HeldOut(joined(parts), kept, joined(agents), np.concatenate(consumption)[:episodes])
