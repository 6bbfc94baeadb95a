"""Play whole episodes of many economies at once, and turn what happened into advantages."""

from collections import defaultdict
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor

from rbc_rllib.arrays import from_torch, to_torch
from rbc_rllib.economy import GROUPS, Outcome, State
from rbc_rllib.economy.actions import decode, group_sizes
from rbc_rllib.experiment import DEVIATOR
from rbc_rllib.modules import GroupModule, MultiHeadCategorical
from rbc_rllib.vector_economy import VectorEconomy

AGENTS_AT_ONCE = 3200
"""Agents whose choices are computed at once on a CPU, so that its cache holds them."""


@dataclass(frozen=True)
class Experience:
    """What the agents of one group saw, did and got: E economies, T quarters, K agents."""

    observations: dict[str, Tensor]  # private [E, T, K, P], perhaps action_mask [E, T, actions]
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

    shared: Tensor  # [E, T, G], the observation that all share
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
    parts = {
        group: [
            (economies, _rows(kept[economies], size) if kept is not None and group == "consumer" else None)
            for economies in _at_once(economy.num_envs, size, torch_device)
        ]
        for group, size in group_sizes(params).items()
    }
    act = partial(_act, modules, explore, keep_logits, deviator)

    columns: dict[str, dict[str, list[Tensor]]] = {name: defaultdict(list) for name in modules}
    shared: list[Tensor] = []
    states: list[State] = []
    outcomes: list[Outcome] = []
    while True:
        shared.append(to_torch(observations["shared"]).float())
        indices: dict[str, Any] = {}
        for group in GROUPS:
            private = to_torch(observations[group]).float() if group in observations else nobody
            seen = {"shared": shared[-1], "private": private}
            if group in masks:
                seen["action_mask"] = masks[group]
            # For all at once, so that what is drawn does not depend on the parts.
            shape = (len(modules[group].head_sizes), *private.shape[:2])
            uniforms = torch.rand(shape, generator=generator, device=torch_device)
            acted = [
                act(group, {name: x[economies] for name, x in seen.items()}, uniforms[:, economies], rows)
                for economies, rows in parts[group]
            ]
            actions, records = (_joined(list(each)) for each in zip(*acted, strict=True))
            indices[group] = from_torch(actions, xp)
            for name, record in records.items():
                for column, x in record.items():
                    columns[name][column].append(x)

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
            rewards["consumer"] = rewards["consumer"].gather(1, kept)
        for name, column in columns.items():
            column["rewards"].append(rewards[name].float())
        if economy.done:
            break
        observations = economy.observe()

    experience = {name: _experience(column) for name, column in columns.items()}
    return Rollout(torch.stack(shared, dim=1), experience, states, outcomes)


def _act(
    modules: dict[str, GroupModule],
    explore: bool,
    keep_logits: bool,
    deviator: tuple[str, int] | None,
    group: str,
    seen: dict[str, Tensor],
    uniforms: Tensor,
    kept: Tensor | None,
) -> tuple[Tensor, dict[str, dict[str, Tensor]]]:
    """The actions of a group, and what to record of it (of its agents in the rows `kept`) and of a deviator in it."""
    module, private = modules[group], seen["private"]
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
    actions = action = chooser.sample(uniforms=uniforms)
    logp = distribution.logp(action)

    if not keep_logits:
        logits = logits[..., :0]
    records = {}
    if alone is not None:
        own_values = own.compute_values({}, own_embeddings)
        records[DEVIATOR] = _record(own_seen, action[:, alone], logp[:, alone], own_values, logits[:, alone])
    if kept is not None:
        private, action, logp, embeddings, logits = (
            _take(x, kept) for x in (private, action, logp, embeddings, logits)
        )
        seen = {**seen, "private": private}
    records[group] = _record(seen, action, logp, module.compute_values({}, embeddings), logits)
    return actions, records


def _record(seen: dict[str, Tensor], action: Tensor, logp: Tensor, values: Tensor, logits: Tensor) -> dict[str, Tensor]:
    """What the agents of one module saw and did in a quarter, but for the observation that all share."""
    own = {name: x for name, x in seen.items() if name != "shared"}
    return {**own, "actions": action, "action_logp": logp, "values": values, "logits": logits}


def _at_once(num_envs: int, agents: int, device: torch.device) -> list[slice]:
    """The economies whose `agents` act at once: all on a GPU, where launches count, and on a CPU as many as its cache
    holds.
    """
    size = max(1, AGENTS_AT_ONCE // agents) if device.type == "cpu" else num_envs
    return [slice(start, start + size) for start in range(0, num_envs, size)]


def _joined(parts: list[Any]) -> Any:
    """Tensors of some economies each, in nested dicts, joined to those of all."""
    first = parts[0]
    if len(parts) == 1:
        return first
    if isinstance(first, dict):
        return {name: _joined([part[name] for part in parts]) for name in first}
    return torch.cat(parts)


def _draw_consumers(
    economy: VectorEconomy, count: int | None, generator: torch.Generator, device: torch.device
) -> Tensor | None:
    """`count` consumers drawn without replacement in each economy, `[E, count]`; None for all of them."""
    everyone = economy.params.num_consumers
    if count is None or count >= everyone:
        return None
    lots = torch.rand((economy.num_envs, everyone), generator=generator, device=device)
    return lots.topk(count, dim=-1).indices


def _rows(agents: Tensor, size: int) -> Tensor:
    """The rows, of E x size, of these `agents` `[E, K]`."""
    return torch.arange(0, len(agents) * size, size, device=agents.device)[:, None] + agents


def _take(x: Tensor, rows: Tensor) -> Tensor:
    """Those `rows` `[E, K]` of x `[E, C, ...]`; whole rows are copied, faster than indexing."""
    return x.flatten(0, 1).index_select(0, rows.flatten()).unflatten(0, rows.shape)


def _experience(columns: dict[str, list[Tensor]]) -> Experience:
    # Economy-major rows: half of the rows are whole economies, not the first half of all episodes.
    stacked = {name: torch.stack(values, dim=1) for name, values in columns.items()}
    own: list[str] = [name for name in ("private", "action_mask") if name in stacked]
    return Experience(observations={name: stacked.pop(name) for name in own}, **stacked)


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
