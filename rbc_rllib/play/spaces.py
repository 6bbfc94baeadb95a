"""Spaces of observations and actions of one agent of each group, and the agents' names."""

import numpy as np
from gymnasium import spaces

from rbc_rllib.economy import GROUPS, EconomyParameters, Planner
from rbc_rllib.economy.actions import group_sizes, head_sizes
from rbc_rllib.economy.observations import ENCODINGS, Encoding, private_sizes, shared_size


def agent_names(params: EconomyParameters) -> dict[str, list[str]]:
    """The agents of each group: consumer_0 .., firm_0 .., planner."""
    return {
        group: ["planner"] if group == "planner" else [f"{group}_{k}" for k in range(size)]
        for group, size in group_sizes(params).items()
    }


def group_spaces(
    params: EconomyParameters, encodings: tuple[Encoding, ...] = ENCODINGS, planner: Planner = Planner()
) -> dict[str, tuple[spaces.Dict, spaces.Space]]:
    """The (observation, action) space of one agent of each group.

    Observations hold `shared` [G]; consumers and firms add `private` [P]; firms and planner add `action_mask`
    [actions], 1 where the choice is allowed now. A planner who learns a plan sees no `shared`, and its calendar as
    `private`. Consumers choose from MultiDiscrete([demand] * F + [hours, F]).
    """
    heads = head_sizes(params)
    private = private_sizes(params, encodings, planner)
    result: dict[str, tuple[spaces.Dict, spaces.Space]] = {}
    for group in GROUPS:
        parts: dict[str, spaces.Space] = {}
        if group != "planner" or not planner.announces:
            parts["shared"] = _real_line(shared_size(params, encodings, planner))
        if private[group]:
            parts["private"] = _real_line(private[group])
        single = len(heads[group]) == 1
        if single:
            parts["action_mask"] = spaces.Box(0, 1, (heads[group][0],), np.int8)
        actions = spaces.Discrete(heads[group][0]) if single else spaces.MultiDiscrete(list(heads[group]))
        result[group] = (spaces.Dict(parts), actions)
    return result


def _real_line(size: int) -> spaces.Box:
    return spaces.Box(-np.inf, np.inf, (size,), np.float32)
