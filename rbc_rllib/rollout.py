"""Play whole episodes of many economies at once, and turn what happened into advantages."""

from collections import defaultdict
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from rbc_rllib.arrays import from_torch, to_torch
from rbc_rllib.economy import GROUPS, Outcome, State
from rbc_rllib.economy.actions import decode
from rbc_rllib.experiment import DEVIATOR
from rbc_rllib.modules import GroupModule, MultiHeadCategorical
from rbc_rllib.vector_economy import VectorEconomy


@dataclass(frozen=True)
class Experience:
    """What the agents of one group saw, did and got: E economies, T quarters, K agents."""

    observations: dict[str, Tensor]  # shared [E, T, G], private [E, T, K, P], perhaps action_mask [E, T, actions]
    actions: Tensor  # [E, T, K, heads], or [E, T, K] where there is one head
    action_logp: Tensor  # [E, T, K]
    values: Tensor  # [E, T, K]
    rewards: Tensor  # [E, T, K] in the economy's units
    logits: Tensor  # [E, T, K, options], or [E, T, K, 0] where they were not asked for


@dataclass(frozen=True)
class Rollout:
    """Whole episodes: the experience of each group (and of a single deviator, K = 1), and the economy's own record of
    every quarter.
    """

    experience: dict[str, Experience]
    states: list[State]  # T, those in which actions were taken
    outcomes: list[Outcome]  # T


@torch.no_grad()
def play(
    economy: VectorEconomy,
    modules: dict[str, GroupModule],
    generator: torch.Generator,
    *,
    trained_consumers: int | None = None,
    explore: bool = True,
    keep_logits: bool = False,
    deviator: tuple[str, int] | None = None,
) -> Rollout:
    """One episode of every economy, all agents acting by their group's module.

    With `deviator`, (group, index), that agent alone acts by the module `modules["deviator"]`. The random numbers
    that agents draw are the same with and without one.

    Arrays pass between the economy's library and torch through DLPack, on the device where both lie. With
    `trained_consumers`, only the experience of that many consumers, drawn anew in each economy, is kept.
    Without `explore`, every agent takes its most likely action.
    """
    params, xp, where = economy.params, economy.xp, economy.device
    observations = economy.reset()
    masks = {
        group: to_torch(xp.asarray(mask, dtype=xp.uint8)).bool().expand(economy.num_envs, -1)
        for group, mask in economy.action_masks.items()
    }
    torch_device = to_torch(observations["shared"]).device
    nobody = torch.empty((economy.num_envs, 1, 0), device=torch_device)  # the planner's private observation
    kept = _draw_consumers(economy, trained_consumers, generator, torch_device)

    columns: dict[str, dict[str, list[Tensor]]] = {name: defaultdict(list) for name in modules}
    states: list[State] = []
    outcomes: list[Outcome] = []
    while True:
        shared = to_torch(observations["shared"]).float()
        indices: dict[str, Any] = {}
        for group in GROUPS:
            module = modules[group]
            private = to_torch(observations[group]).float() if group in observations else nobody
            seen = {"shared": shared, "private": private}
            if group in masks:
                seen["action_mask"] = masks[group]
            embeddings = module.trunk(seen)
            logits = module.logits(seen, embeddings)
            alone = slice(deviator[1], deviator[1] + 1) if deviator and deviator[0] == group else None
            if alone is not None:
                own = modules[DEVIATOR]
                own_seen = {**seen, "private": private[:, alone]}
                own_embeddings = own.trunk(own_seen)
                own_logits = own.logits(own_seen, own_embeddings)
                logits[:, alone] = own_logits
            distribution = MultiHeadCategorical(logits, module.head_sizes)
            chooser = distribution if explore else distribution.to_deterministic()
            action = chooser.sample(generator=generator)
            indices[group] = from_torch(action, xp)

            logp = distribution.logp(action)

            if not keep_logits:
                logits = logits[..., :0]
            if alone is not None:
                own_values = own.compute_values({}, own_embeddings)
                _record(columns[DEVIATOR], own_seen, action[:, alone], logp[:, alone], own_values, logits[:, alone])
            if group == "consumer" and kept is not None:
                seen["private"], action, logp, embeddings, logits = (
                    _take(x, kept) for x in (private, action, logp, embeddings, logits)
                )
            _record(columns[group], seen, action, logp, module.compute_values({}, embeddings), logits)

        states.append(economy.state)
        outcome = economy.step(decode(params, indices, xp, where))
        outcomes.append(outcome)
        rewards = {
            "consumer": to_torch(outcome.consumer_reward),
            "firm": to_torch(outcome.firm_reward),
            "planner": to_torch(outcome.planner_reward)[:, None],
        }
        if deviator:
            rewards[DEVIATOR] = rewards[deviator[0]][:, deviator[1], None]
        if kept is not None:
            rewards["consumer"] = _take(rewards["consumer"], kept)
        for name, column in columns.items():
            column["rewards"].append(rewards[name].float())
        if economy.done:
            break
        observations = economy.observe()

    return Rollout({name: _experience(column) for name, column in columns.items()}, states, outcomes)


def _record(
    column: dict[str, list[Tensor]],
    seen: dict[str, Tensor],
    action: Tensor,
    logp: Tensor,
    values: Tensor,
    logits: Tensor,
) -> None:
    """Append what the agents of one module saw and did in a quarter."""
    for name, x in {**seen, "actions": action, "action_logp": logp, "values": values, "logits": logits}.items():
        column[name].append(x)


def _draw_consumers(
    economy: VectorEconomy, count: int | None, generator: torch.Generator, device: torch.device
) -> Tensor | None:
    """`count` consumers drawn without replacement in each economy, as rows `[E, count]` of E x C; None for all."""
    num_envs, everyone = economy.num_envs, economy.params.num_consumers
    if count is None or count >= everyone:
        return None
    lots = torch.rand((num_envs, everyone), generator=generator, device=device)
    first = torch.arange(0, num_envs * everyone, everyone, device=device)
    return first[:, None] + lots.topk(count, dim=-1).indices


def _take(x: Tensor, rows: Tensor) -> Tensor:
    """Those `rows` `[E, K]` of x `[E, C, ...]`; whole rows are copied, faster than indexing."""
    return x.flatten(0, 1).index_select(0, rows.flatten()).unflatten(0, rows.shape)


def _experience(columns: dict[str, list[Tensor]]) -> Experience:
    # Economy-major rows: half of the rows are whole economies, not the first half of all episodes.
    stacked = {name: torch.stack(values, dim=1) for name, values in columns.items()}
    seen: list[str] = [name for name in ("shared", "private", "action_mask") if name in stacked]
    observations = {name: stacked.pop(name) for name in seen}
    return Experience(observations=observations, **stacked)


def advantages(rewards: Tensor, values: Tensor, discount: float, gae_lambda: float) -> Tensor:
    """Generalised advantage estimates `[E, T, K]` of episodes that end after T quarters (Schulman et al., 2016).

    A[t] = delta[t] + discount * lambda * A[t+1], delta[t] = r[t] + discount * V[t+1] - V[t], with V[T] = A[T] = 0.
    """
    result = torch.empty_like(rewards)
    following = following_value = torch.zeros_like(rewards[:, 0])
    for t in range(rewards.shape[1] - 1, -1, -1):
        delta = rewards[:, t] + discount * following_value - values[:, t]
        following = delta + discount * gae_lambda * following
        result[:, t], following_value = following, values[:, t]
    return result
