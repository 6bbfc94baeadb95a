"""Many economies at once: what is built once, and what a curriculum changes between episodes."""

import numpy
import pytest

from rbc_rllib.economy import ActionRanges, EconomyParameters, Planner, initial_state, step
from rbc_rllib.economy.constants import Constants
from rbc_rllib.play.vector_economy import VectorEconomy
from tests.economy.samples import random_actions

SMALL = EconomyParameters(num_consumers=4, num_firms=3, episode_length=3, initial_firm_budget=0.0)


@pytest.mark.parametrize("planner", [Planner(), Planner(mode="schedule")], ids=str)
def test_constants_are_built_once_and_not_for_every_annealed_copy(planner, rng, monkeypatch):
    """On a GPU each of them would be a transfer, in every rollout or even every quarter."""
    economy = VectorEconomy(SMALL, 2, planner=planner)
    built = economy.constants

    def build_again(*_: object) -> Constants:
        raise AssertionError("constants were built again")

    monkeypatch.setattr(Constants, "like", build_again)
    for scale in (0.1, 0.7):
        economy.anneal(labor_disutility_scale=scale, penalty_increase=10 * scale)
        economy.restrict(ActionRanges(price=(500, 1500)))
        economy.reset(numpy.array([[3, 35], [20, 0]]) if planner.announces else None)
        for _ in range(3):
            economy.step(random_actions(SMALL, 2, rng))
            economy.observe()
        assert economy.constants is built


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_an_episode_is_that_of_the_step_with_annealed_parameters(dtype, rng):
    params = SMALL.replace(dtype=dtype, penalty_coefficient=1.0)
    annealed = params.replace(labor_disutility=params.labor_disutility * 0.25, penalty_coefficient=4.0)
    economy, state = VectorEconomy(params, 2), initial_state(annealed, 2)
    economy.anneal(labor_disutility_scale=0.25, penalty_increase=3.0)
    economy.reset()
    for _ in range(3):
        assert not economy.done
        actions = random_actions(params, 2, rng)
        state, expected = step(annealed, state, actions)
        outcome = economy.step(actions)
        for record, own in ((outcome, expected), (economy.state, state)):
            for name, array in vars(own).items():
                numpy.testing.assert_array_equal(getattr(record, name), array, err_msg=name)
    assert economy.done


def test_what_is_annealed_holds_from_the_next_episode_on(rng):
    economy = VectorEconomy(SMALL, 1)
    traits = economy.state.labor_disutility.copy()
    economy.anneal(labor_disutility_scale=0.5, penalty_increase=0.0)
    economy.step(random_actions(SMALL, 1, rng))
    numpy.testing.assert_array_equal(economy.state.labor_disutility, traits)
    economy.reset()
    numpy.testing.assert_allclose(economy.state.labor_disutility, traits / 2, rtol=1e-6)
    assert economy.quarter == 0
