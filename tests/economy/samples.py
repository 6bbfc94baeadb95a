"""Actions, states and episodes to try the economy on."""

from dataclasses import replace
from typing import Any

import numpy

from rbc_rllib.economy import Actions, EconomyParameters, Outcome, State, initial_state, step


def idle_actions(params: EconomyParameters, num_envs: int, **choices: Any) -> Actions:
    """Nobody buys, nobody works, price, wage and taxes are the lowest; save for `choices`, broadcast to their shape."""
    consumers, firms = (num_envs, params.num_consumers), (num_envs, params.num_firms)
    shapes = {
        "consumption": (*consumers, params.num_firms),
        "hours_index": consumers,
        "employer": consumers,
        "firm": firms,
        "planner": (num_envs,),
    }
    return Actions(**{name: numpy.broadcast_to(choices.get(name, 0), shape).copy() for name, shape in shapes.items()})


def random_actions(params: EconomyParameters, num_envs: int, rng: numpy.random.Generator) -> Actions:
    """Every choice of every menu is equally likely."""
    consumers, firms = (num_envs, params.num_consumers), (num_envs, params.num_firms)
    return Actions(
        consumption=rng.integers(len(params.demand_choices), size=(*consumers, params.num_firms)),
        hours_index=rng.integers(len(params.hours_choices), size=consumers),
        employer=rng.integers(params.num_firms, size=consumers),
        firm=rng.integers(len(params.price_choices) * len(params.wage_choices), size=firms),
        planner=rng.integers(len(params.tax_choices) ** 2, size=num_envs),
    )


def with_values(state: State, values: dict[str, Any]) -> State:
    """The state with `values`, broadcast to the shape of the arrays that they replace."""
    arrays = {name: numpy.zeros_like(getattr(state, name)) + numpy.asarray(value) for name, value in values.items()}
    return replace(state, **{name: array.astype(state.prices.dtype) for name, array in arrays.items()})


def play(
    params: EconomyParameters, num_envs: int, rng: numpy.random.Generator
) -> tuple[list[State], list[Outcome], list[Actions]]:
    """One episode at random: the T + 1 states, the T outcomes and the T actions."""
    states, outcomes, chosen = [initial_state(params, num_envs)], [], []
    for _ in range(params.episode_length):
        chosen.append(random_actions(params, num_envs, rng))
        state, outcome = step(params, states[-1], chosen[-1])
        states.append(state)
        outcomes.append(outcome)
    return states, outcomes, chosen
