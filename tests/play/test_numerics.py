"""A trajectory with a number that is no longer finite ends the trial, and the message says whose it is."""

import pickle

import numpy
import pytest

from rbc_rllib.arrays import stack
from rbc_rllib.economy import EconomyParameters
from rbc_rllib.play.numerics import NumericsError, check_trajectory
from tests.economy.samples import play

OWNERS = {
    "consumer_budget": "consumer",
    "firm_budget": "firm",
    "capital": "firm",
    "inventories": "firm",
    "consumer_reward": "consumer",
    "firm_reward": "firm",
    "planner_reward": "planner",
}


@pytest.fixture
def trajectory(rng) -> tuple[dict[str, numpy.ndarray], dict[str, numpy.ndarray]]:
    """States and outcomes [T, E, ...] of an episode at random."""
    states, outcomes, _ = play(EconomyParameters(num_consumers=3, num_firms=2, episode_length=5), 4, rng)
    return stack(states[:-1]), stack(outcomes)


def test_a_finite_trajectory_passes(trajectory):
    check_trajectory(*trajectory, env_steps=0)


@pytest.mark.parametrize("bad", [numpy.nan, numpy.inf, -numpy.inf])
@pytest.mark.parametrize(("quantity", "group"), OWNERS.items())
def test_the_message_names_group_step_and_quantity(quantity, group, bad, trajectory):
    states, outcomes = trajectory
    values = states[quantity] if quantity in states else outcomes[quantity]
    values[(3, 1, *[-1] * (values.ndim - 2))] = bad
    values[(4, 0, *[0] * (values.ndim - 2))] = bad
    with pytest.raises(NumericsError) as stop:
        check_trajectory(states, outcomes, env_steps=12_345)
    assert str(stop.value) == (
        f"{group}: {quantity} is not finite (quarter 3 of an episode) after 12,345 env steps; the trial stops."
    )


def test_the_error_passes_between_processes():
    error = pickle.loads(pickle.dumps(NumericsError("firm", 1600, "capital", "quarter 2 of an episode")))
    assert isinstance(error, NumericsError)
    assert isinstance(error, FloatingPointError)
    assert str(error) == str(NumericsError("firm", 1600, "capital", "quarter 2 of an episode"))
