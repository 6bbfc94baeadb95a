"""Play whole episodes of many economies at once, and turn what happened into advantages."""

from collections import defaultdict
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from rbc_rllib.arrays import from_torch, to_torch
from rbc_rllib.economy import Outcome, State
from rbc_rllib.economy.actions import group_sizes, head_sizes
from rbc_rllib.play.distribution import joined
from rbc_rllib.play.seats import NOBODY, Seat, Seen, check_seats
from rbc_rllib.play.vector_economy import VectorEconomy

AGENTS_AT_ONCE = 3200
"""Agents whose choices are computed at once on a CPU, so that its cache holds them."""


@dataclass(frozen=True)
class Experience:
    """What the recorded agents of one seat saw, did and got: E economies, T quarters, K agents."""

    observations: dict[str, Tensor]  # private [E, T, K, P], perhaps action_mask [E, T, actions]
    actions: Tensor  # [E, T, K, heads], or [E, T, K] where there is one head
    action_logp: Tensor  # [E, T, K]
    values: Tensor  # [E, T, K]
    rewards: Tensor  # [E, T, K] in the economy's units
    present: Tensor | None = None  # [E, K] bool, where a seat has somebody; None: everywhere


@dataclass(frozen=True)
class Rollout:
    """Whole episodes: the experience of each recorded policy, and the economy's own record of every quarter."""

    shared: Tensor  # [E, T, G], the observation that all share
    experience: dict[str, Experience]  # by policy
    states: list[State]  # T, those in which actions were taken
    outcomes: list[Outcome]  # T


@torch.no_grad()
def play(
    economy: VectorEconomy,
    seats: Sequence[Seat],
    generator: torch.Generator,
    *,
    recorded: Collection[str] = (),
    trained_consumers: int | None = None,
) -> Rollout:
    """One episode of every economy, all agents acting by the actors of their `seats`.

    The experience of the policies in `recorded` is kept; with `trained_consumers`, that of so many agents of a seat of
    consumers, drawn anew in each economy. Random numbers belong to agents, so they are the same whoever sits where and
    whatever is recorded. A plan is drawn and announced before the first quarter: the planner's row of a quarter is what
    it saw and chose then. Arrays pass between the economy's library and torch through DLPack, on the device where both
    lie. Raises `ConfigError` where an agent has no seat or two, or two seats have one policy.
    """
    check_seats(economy, seats)
    device = to_torch(economy.state.prices).device
    lots = torch.rand((economy.num_envs, economy.params.num_consumers), generator=generator, device=device)
    places = [_Place(economy, seat, seat.policy in recorded, trained_consumers, lots, device) for seat in seats]
    masks = {
        group: to_torch(economy.xp.asarray(mask, dtype=economy.xp.uint8)).bool().expand(economy.num_envs, -1)
        for group, mask in economy.action_masks.items()
    }
    nobody = torch.empty((economy.num_envs, 1, 0), device=device)  # what a planner with discretion sees alone
    observations = economy.reset(_announce(economy, places, masks, generator))

    shared: list[Tensor] = []
    states: list[State] = []
    outcomes: list[Outcome] = []
    while True:
        shared.append(to_torch(observations["shared"]).float())
        indices: dict[str, Any] = {}
        for group, heads in head_sizes(economy.params).items():
            if group == "planner" and economy.planner.announces:
                indices[group] = economy.xp.zeros((economy.num_envs, 1), dtype=economy.xp.int32, device=economy.device)
                continue
            private = to_torch(observations[group]).float() if group in observations else nobody
            seen = {"shared": shared[-1], "private": private}
            if group in masks:
                seen["action_mask"] = masks[group]
            # For the whole group at once, so that what is drawn depends neither on seats nor on parts.
            uniforms = torch.rand((len(heads), *private.shape[:2]), generator=generator, device=device)
            chosen = [(place, place.act(economy.quarter, seen, uniforms)) for place in places if place.group == group]
            indices[group] = from_torch(_whole_group(chosen, *private.shape[:2]), economy.xp)

        states.append(economy.state)
        outcome = economy.step(economy.decode(indices))
        outcomes.append(outcome)
        rewards = {
            "consumer": to_torch(outcome.consumer_reward),
            "firm": to_torch(outcome.firm_reward),
            "planner": to_torch(outcome.planner_reward)[:, None],
        }
        joint = _joint_reward(places, rewards)
        for place in places:
            place.reward(rewards[place.group], joint)
        if economy.done:
            break
        observations = economy.observe()

    experience = {place.policy: place.experience() for place in places if place.recorded}
    return Rollout(torch.stack(shared, dim=1), experience, states, outcomes)


def _announce(
    economy: VectorEconomy, places: Sequence["_Place"], masks: dict[str, Tensor], generator: torch.Generator
) -> Any:
    """The choices `[E, pages]` of the planner's plan; None where it makes none before the first quarter."""
    if not economy.pages:
        return None
    planners = [place for place in places if place.group == "planner"]
    choices = []
    for page in range(economy.pages):
        seen = {"private": to_torch(economy.calendar(page)).float(), "action_mask": masks["planner"]}
        uniforms = torch.rand((1, economy.num_envs, 1), generator=generator, device=seen["private"].device)
        chosen = [(place, place.act(page, seen, uniforms)) for place in planners]
        choices.append(_whole_group(chosen, economy.num_envs, 1))
    for place in planners:
        place.repeat_last(economy.params.episode_length - economy.pages)
    return from_torch(torch.cat(choices, dim=1).int(), economy.xp)


def _joint_reward(places: Sequence["_Place"], rewards: dict[str, Tensor]) -> Tensor | None:
    """`[E, 1]` The mean over a coalition, in which rewards count as their seats say; None where there is none."""
    counted = [place.pooled * place.own(rewards[place.group]) for place in places if place.pooled]
    return torch.cat(counted, 1).mean(1, keepdim=True) if counted else None


class _Place:
    """A seat in the economies that are played, and the record of what its agents do."""

    def __init__(
        self,
        economy: VectorEconomy,
        seat: Seat,
        recorded: bool,
        trained_consumers: int | None,
        lots: Tensor,
        device: torch.device,
    ):
        self.policy, self.group, self.actor, self.recorded = seat.policy, seat.group, seat.actor, recorded
        self.pooled = seat.pooled
        num_envs, group_size = economy.num_envs, group_sizes(economy.params)[seat.group]
        asked, size = num_envs, group_size
        self.agents = self.present = None
        if seat.agents is not None:
            # What is recorded has a row in every economy; who is not is asked only where somebody sits.
            self.economies = ((seat.agents != NOBODY).any(1) | recorded).nonzero()[:, 0].to(device)
            self.agents = seat.agents.to(device)[self.economies]
            self.present = self.agents != NOBODY
            asked, size = self.agents.shape
            # Of E x group_size. For nobody that of agent 0 is read, and one more is written, which is thrown away.
            self.rows = self.economies[:, None] * group_size + self.agents.clamp(min=0)
            self.targets = torch.where(self.present, self.rows, num_envs * group_size)
        kept = None  # [E, k] places within the seat; None: all are recorded
        if recorded and seat.group == "consumer" and trained_consumers is not None and trained_consumers < size:
            drawn = lots[:, :size] if self.present is None else lots[:, :size].where(self.present, -1)
            kept = drawn.topk(trained_consumers, dim=-1).indices
        self.kept = kept
        self.columns: dict[str, list[Tensor]] = defaultdict(list)
        self.parts = [
            (economies, None if kept is None else _rows(kept[economies], size))
            for economies in _at_once(asked, size, device)
        ]

    def act(self, quarter: int, seen: dict[str, Tensor], uniforms: Tensor) -> Tensor:
        """The actions of this seat's agents, `[E, K, heads]` or `[E, K]`; what is to be recorded is."""
        if self.agents is not None:
            private = _take(seen["private"], self.rows)
            others = {name: x[self.economies] for name, x in seen.items() if name != "private"}
            seen = others | {"private": private}
            uniforms = uniforms.flatten(1)[:, self.rows]
        actions, records = [], []
        for economies, kept in self.parts:
            part = {name: x[economies] for name, x in seen.items()}
            choice = self.actor.act(Seen(quarter, part), uniforms[:, economies])
            actions.append(choice.actions)
            if self.recorded:
                own = {name: x for name, x in part.items() if name != "shared"}
                did = {"actions": choice.actions, "action_logp": choice.logp, "values": choice.values}
                if kept is not None:
                    own["private"] = _take(own["private"], kept)
                    did = {name: _take(x, kept) for name, x in did.items()}
                records.append(own | did)
        for name in records[0] if records else ():
            self.columns[name].append(joined([record[name] for record in records]))
        return joined(actions)

    def repeat_last(self, times: int) -> None:
        """Record the last thing that was done `times` more."""
        for values in self.columns.values():
            values += values[-1:] * times

    def own(self, rewards: Tensor) -> Tensor:
        """`[E, K]` What the agents got, of the `rewards` of their group `[E, agents]`."""
        return rewards if self.agents is None else rewards.gather(1, self.agents.clamp(min=0))

    def reward(self, rewards: Tensor, joint: Tensor | None) -> None:
        """Record what the agents got, or, where they are in a coalition, what all of it got `[E, 1]`, in their unit."""
        if not self.recorded:
            return
        own = self.own(rewards)
        if self.pooled and joint is not None:
            own = (joint / self.pooled).expand_as(own)
        if self.kept is not None:
            own = own.gather(1, self.kept)
        self.columns["rewards"].append(own.float())

    def experience(self) -> Experience:
        """All that was recorded."""
        # Economy-major rows: half of the rows are whole economies, not the first half of all episodes.
        stacked = {name: torch.stack(values, dim=1) for name, values in self.columns.items()}
        own: list[str] = [name for name in ("private", "action_mask") if name in stacked]
        present = self.present if self.present is None or self.kept is None else self.present.gather(1, self.kept)
        return Experience(observations={name: stacked.pop(name) for name in own}, **stacked, present=present)


def _whole_group(chosen: list[tuple[_Place, Tensor]], num_envs: int, size: int) -> Tensor:
    """The actions of all `size` agents of a group in all economies, from those of its seats."""
    (place, actions), *others = chosen
    if place.agents is None and not others:
        return actions
    whole = actions.new_empty((num_envs * size + 1, *actions.shape[2:]))  # the last row: what nobody does
    for place, actions in chosen:
        whole[place.targets] = actions.to(whole.dtype)
    return whole[:-1].unflatten(0, (num_envs, size))


def _at_once(num_envs: int, agents: int, device: torch.device) -> list[slice]:
    """The economies whose `agents` act at once: all on a GPU, where launches count, and on a CPU as many as its cache
    holds.
    """
    size = max(1, AGENTS_AT_ONCE // agents) if device.type == "cpu" else num_envs
    return [slice(start, start + size) for start in range(0, num_envs, size)]


def _rows(agents: Tensor, size: int) -> Tensor:
    """The rows, of E x size, of these `agents` `[E, K]`."""
    return torch.arange(0, len(agents) * size, size, device=agents.device)[:, None] + agents


def _take(x: Tensor, rows: Tensor) -> Tensor:
    """Those `rows` `[E, K]` of x `[E, C, ...]`; whole rows are copied, faster than indexing."""
    return x.flatten(0, 1).index_select(0, rows.flatten()).unflatten(0, rows.shape)


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
