"""A small economy, actors to seat in it, and what comes of it."""

from dataclasses import dataclass
from typing import Any

import numpy
import torch
from torch import Tensor

from rbc_rllib.economy import EconomyParameters, Planner
from rbc_rllib.experiment import ExperimentConfig
from rbc_rllib.leaving import Deviation
from rbc_rllib.play.rollout import Rollout, play
from rbc_rllib.play.seats import Certain, Seat, Seen
from rbc_rllib.play.vector_economy import VectorEconomy
from tests.play.networks import build_modules, group_seats

SMALL = EconomyParameters(num_consumers=5, num_firms=3, episode_length=4)
NUM_ENVS = 4


@dataclass(frozen=True)
class Always:
    """An actor of one's own: whatever is seen, it takes one and the same choice."""

    choice: int

    def act(self, seen: Seen, uniforms: Tensor) -> Certain:
        return Certain(torch.full(uniforms.shape[1:], self.choice))


def played(
    seats: list[Seat], params: EconomyParameters = SMALL, seed: int = 0, planner: Planner = Planner(), **options: Any
) -> Rollout:
    """One episode of fresh economies."""
    economy = VectorEconomy(params, NUM_ENVS, planner=planner)
    return play(economy, seats, torch.Generator().manual_seed(seed), **options)


def with_firms(*firms: Seat) -> list[Seat]:
    """These seats of firms; consumers and planner act by their networks."""
    return [*(seat for seat in group_seats(build_modules(SMALL)) if seat.group != "firm"), *firms]


def chosen_firm_actions(rollout: Rollout, economy: EconomyParameters = SMALL) -> numpy.ndarray:
    """[E, T - 1, F] What the firms chose in every quarter but the last, told by the next one's prices and wages."""
    wages = len(economy.wage_choices)
    states = rollout.states[1:]
    price = numpy.stack([numpy.searchsorted(economy.price_choices, state.prices) for state in states], 1)
    wage = numpy.stack([numpy.searchsorted(economy.wage_choices, state.wages) for state in states], 1)
    return price * wages + wage


def assert_same_play(one: Rollout, other: Rollout) -> None:
    """All that happened in the economies, bit by bit."""
    assert torch.equal(one.shared, other.shared)
    for records, others_records in ((one.states, other.states), (one.outcomes, other.outcomes)):
        for record, again in zip(records, others_records, strict=True):
            for name, array in vars(record).items():
                numpy.testing.assert_array_equal(array, getattr(again, name), err_msg=name)


def deviating(deviator: str, **values: Any) -> ExperimentConfig:
    """The small economy, in which somebody deviates."""
    experiment = ExperimentConfig(economy=SMALL, deviation=Deviation(checkpoint="somewhere", deviator=deviator))
    return experiment.with_values(values)
