"""Small games solved exactly, by their whole tree: what everybody does under each tax plan, and without one."""

from dataclasses import fields

import numpy as np

from rbc_rllib.economy import EconomyParameters, initial_state, step
from rbc_rllib.economy.actions import planner_menu
from tests.exact import actions_of, agents_of, joint_choices

ROUNDING = 1e-9
"""Of an agent's largest reward: what differs by less is equal."""


def all_plans(params: EconomyParameters, pages: int) -> np.ndarray:
    """`[plans, T, 2]` Every tax plan of `pages` choices; the first quarter is untaxed, the last choice stays."""
    menu = planner_menu(params)
    chosen = np.stack(np.meshgrid(*[np.arange(len(menu))] * pages, indexing="ij"), -1).reshape(-1, pages)
    quarters = np.minimum(np.arange(params.episode_length - 1), pages - 1)
    return np.concatenate([np.zeros((len(chosen), 1, 2), params.dtype), menu[chosen[:, quarters]]], axis=1)


def solve(params: EconomyParameters, plans: np.ndarray | None = None) -> tuple[np.ndarray, list[np.ndarray]]:
    """The subgame-perfect equilibrium under each announced plan, `plans` `[P, T, 2]`; without plans, with discretion.

    Backward over the tree of all joint choices a, V(s) = equilibrium over a of r(s, a) + V(s'), V = 0 after the last
    quarter, for all agents at once (`equilibrium`); where a plan is announced, its planner has nothing to choose.
    Returns each agent's reward a quarter `[P, agents]` (consumers, firms, planner: social welfare), and what is chosen
    at each node, for every quarter t: `[nodes in t]`, an index of `joint_choices`. Raises `ValueError` where rewards
    are not the same in all equilibria.
    """
    agents = agents_of(params, planner_chooses=plans is None)
    sizes, joint = [len(agent.choices) for agent in agents], joint_choices(agents)
    state = initial_state(params, 1 if plans is None else len(plans), tax_plan=plans)
    levels = []
    for _ in range(params.episode_length):
        nodes = len(state.time)
        everywhere = type(state)(**{f.name: np.repeat(getattr(state, f.name), len(joint), 0) for f in fields(state)})
        state, outcome = step(params, everywhere, actions_of(params, agents, np.tile(joint, (nodes, 1))))
        levels.append(np.column_stack([outcome.consumer_reward, outcome.firm_reward, outcome.planner_reward]))
    value, chosen = np.zeros_like(levels[-1]), []
    for rewards in reversed(levels):
        value, choice = equilibrium((rewards + value).reshape(-1, *sizes, len(agents)))
        chosen.insert(0, choice)
    return value / params.episode_length, chosen


def equilibrium(payoffs: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """What each agent gets, `[G, agents]`, and one joint choice, `[G]`, in every equilibrium of G games.

    Iterated strict dominance: agent i drops choice a where some b gives u_i(b, c) > u_i(a, c) for all choices c that
    are left to the others. No equilibrium, mixed or correlated, contains a dropped choice; so what everybody gets is
    certain where it is the same in all that is left. Else raises `ValueError`.

    Args: payoffs `[G, choices of agent 0, of agent 1, .., agents]`.
    """
    games, *sizes, agents = payoffs.shape
    rounding = ROUNDING * np.abs(payoffs).max(axis=tuple(range(payoffs.ndim - 1)))
    left = np.ones((games, *sizes), bool)
    before = left.sum() + 1
    while left.sum() < before:
        before = left.sum()
        for agent in range(agents):
            own = np.moveaxis(payoffs[..., agent], agent + 1, 1).reshape(games, sizes[agent], -1)
            possible = np.moveaxis(left, agent + 1, 1)
            others = possible.any(1).reshape(games, 1, -1)
            for choice in range(sizes[agent]):
                better = own - own[:, choice, None] > rounding[agent]
                dominated = (better | ~others).all(2).any(1)
                possible[dominated, choice] = False
    spread = np.where(left[..., None], payoffs, -np.inf).reshape(games, -1, agents)
    highest, lowest = spread.max(1), np.where(left[..., None], payoffs, np.inf).reshape(games, -1, agents).min(1)
    undecided = (highest - lowest > rounding).any(1)
    if undecided.any():
        raise ValueError(f"{undecided.sum()} of {games} games have equilibria that may differ in rewards")
    return highest, left.reshape(games, -1).argmax(1)
