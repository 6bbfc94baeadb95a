"""Games small enough to solve exactly: every course of events is played, and a deviator's best response read off it."""

from dataclasses import dataclass, fields
from itertools import product
from typing import Any

import numpy as np
import torch

from rbc_rllib.economy import GROUPS, Actions, EconomyParameters, initial_state, step
from rbc_rllib.economy.actions import group_sizes, head_sizes
from rbc_rllib.economy.observations import observe
from rbc_rllib.experiment import ExperimentConfig
from rbc_rllib.play.distribution import MultiHeadCategorical
from rbc_rllib.play.modules import GroupModule


@dataclass(frozen=True)
class Agent:
    group: str
    index: int
    choices: np.ndarray  # [n, heads] its joint choices


def agents_of(params: EconomyParameters, planner_chooses: bool = True) -> list[Agent]:
    """All agents, consumers first; a planner who has announced a plan has one choice, which changes nothing."""
    heads = head_sizes(params) if planner_chooses else {**head_sizes(params), "planner": (1,)}
    return [
        Agent(name, k, np.array(list(product(*(range(n) for n in heads[name])))))
        for name in GROUPS
        for k in range(group_sizes(params)[name])
    ]


def joint_choices(agents: list[Agent]) -> np.ndarray:
    """`[rows, agents]` Every combination of the agents' choices; the last agent's changes fastest."""
    each = (np.arange(len(agent.choices)) for agent in agents)
    return np.stack(np.meshgrid(*each, indexing="ij"), -1).reshape(-1, len(agents))


def exact_values(
    game: ExperimentConfig,
    modules: dict[str, GroupModule],
    deviator: str,
    responses: dict[str, GroupModule] | None = None,
) -> tuple[float, float]:
    """The deviator's reward a quarter: with `responses`, by group (with its own policy where there are none), and the
    most it can get by any plan that may use all that has happened so far, while everybody else plays `modules`.

    Backward over the whole tree of joint choices: V(s) = max over (or the response's mean over) a of
    E_others[r(s, a, others) + V(s')], V = 0 after the last quarter. A group deviates as one player and must have one
    member. A coalition chooses together and gets the mean over its members, firms' money in utility where there are
    consumers too.
    """
    params = game.economy
    members = [(group, int(index or 0)) for group, _, index in (name.partition("_") for name in deviator.split("+"))]
    assert "_" in deviator or group_sizes(params)[deviator] == 1
    agents = agents_of(params)
    places = [(agent.group, agent.index) for agent in agents]
    mine = [places.index(member) for member in members]
    worth = {"firm": params.firm_welfare_weight} if len({group for group, _ in members}) > 1 else {}
    sizes = [len(agent.choices) for agent in agents]
    joint = joint_choices(agents)

    state = initial_state(params, 1)
    levels = []
    for _ in range(params.episode_length):
        nodes = len(state.time)
        beliefs = [_probabilities(game, state, modules[agent.group], agent) for agent in agents]
        own = np.ones((nodes, 1))
        for k in mine:
            next_own = _probabilities(game, state, (responses or modules)[agents[k].group], agents[k])
            own = (own[:, :, None] * next_own[:, None]).reshape(nodes, -1)
        everywhere = type(state)(**{f.name: np.repeat(getattr(state, f.name), len(joint), 0) for f in fields(state)})
        state, outcome = step(params, everywhere, actions_of(params, agents, np.tile(joint, (nodes, 1))))
        rewards = [
            worth.get(group, 1.0) * getattr(outcome, f"{group}_reward").reshape(nodes * len(joint), -1)[:, index]
            for group, index in members
        ]
        levels.append((beliefs, own, np.mean(rewards, 0, dtype=float)))

    best = value = np.zeros(len(state.time))
    for beliefs, own, reward in reversed(levels):
        best = _expected(reward + best, beliefs, sizes, mine).max(1)
        value = (_expected(reward + value, beliefs, sizes, mine) * own).sum(1)
    return float(value[0]) / params.episode_length, float(best[0]) / params.episode_length


def _expected(total: np.ndarray, beliefs: list[np.ndarray], sizes: list[int], mine: list[int]) -> np.ndarray:
    """`[nodes, my joint choices]` mean of `total` `[nodes * joint choices]` over what the others do."""
    nodes = len(beliefs[0])
    table = np.moveaxis(total.reshape(nodes, *sizes), [k + 1 for k in mine], range(1, len(mine) + 1))
    others = [belief for k, belief in enumerate(beliefs) if k not in mine]
    for belief in reversed(others):
        table = (table * belief.reshape(nodes, *(1,) * (table.ndim - 2), -1)).sum(-1)
    return table.reshape(nodes, -1)


@torch.no_grad()
def _probabilities(game: ExperimentConfig, state: Any, module: GroupModule, agent: Agent) -> np.ndarray:
    """`[nodes, choices]` How likely an agent takes each of its joint choices, heads being independent."""
    seen = observe(game.economy, state, game.learning.observation_encodings)
    observation = {"shared": torch.as_tensor(seen["shared"]).float()}
    if agent.group in seen:
        observation["private"] = torch.as_tensor(seen[agent.group][:, agent.index]).float()
    logits = module.logits(observation, module.trunk(observation))
    nodes, choices = len(logits), torch.as_tensor(agent.choices)
    if choices.shape[1] == 1:
        choices = choices[:, 0]
    spread = MultiHeadCategorical(logits[:, None].expand(nodes, len(choices), -1), module.head_sizes)
    return spread.logp(choices.expand(nodes, *choices.shape)).exp().double().numpy()


def actions_of(params: EconomyParameters, agents: list[Agent], joint: np.ndarray) -> Actions:
    """The `Actions` of every row of `joint` `[rows, agents]`."""
    chosen = {
        name: np.stack([a.choices[joint[:, k]] for k, a in enumerate(agents) if a.group == name], 1) for name in GROUPS
    }
    goods, demand = params.num_firms, np.asarray(params.demand_choices)
    return Actions(
        consumption=demand[chosen["consumer"][..., :goods]],
        hours_index=chosen["consumer"][..., goods],
        employer=chosen["consumer"][..., goods + 1],
        firm=chosen["firm"][..., 0],
        planner=chosen["planner"][:, 0, 0],
    )
