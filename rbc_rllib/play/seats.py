"""Who acts for whom: seats, and the actors who sit in them.

A seat is a policy's name, agents of one group, and an actor: from what is seen, and uniform numbers, to actions.
Networks, tax rules, one agent that deviates alone, a different firm in every economy and a coalition are seats; `play`
knows nothing else.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Protocol

import torch
from torch import Tensor

from rbc_rllib.economy import GROUPS
from rbc_rllib.economy.actions import group_sizes, head_sizes
from rbc_rllib.experiment import ExperimentConfig
from rbc_rllib.play.distribution import FORBIDDEN, MultiHeadCategorical
from rbc_rllib.play.modules import GroupModule
from rbc_rllib.play.vector_economy import VectorEconomy
from rbc_rllib.settings import ConfigError

NOBODY = -1
"""In place of an agent, where a seat has fewer of them than in other economies."""


@dataclass(frozen=True)
class Seen:
    """What K agents of one group see in a quarter of E economies."""

    quarter: int  # from 0; of a plan that is made before the first quarter: its page
    observations: dict[str, Tensor]  # shared [E, G], private [E, K, P], perhaps action_mask [E, actions]


class Choice(Protocol):
    """What the agents choose. Log-probabilities and values are asked for only where they are recorded."""

    @property
    def actions(self) -> Tensor:
        """`[E, K, heads]`, or `[E, K]` where there is one head."""

    @property
    def logp(self) -> Tensor:
        """`[E, K]` of the joint choice."""

    @property
    def values(self) -> Tensor:
        """`[E, K]` of what is seen."""


class Actor(Protocol):
    """Chooses for the agents of a seat."""

    def act(self, seen: Seen, uniforms: Tensor) -> Choice:
        """The choice of every agent; `uniforms` `[heads, E, K]`, uniform in [0, 1), are all the chance there is."""


@dataclass(frozen=True)
class Seat:
    """An actor who chooses, as policy `policy`, for these agents of `group`."""

    policy: str
    group: str
    actor: Actor
    agents: Tensor | None = None  # [E, K] who they are in each economy, or NOBODY; None: the whole group
    # What a unit of their reward counts in the mean that each of a coalition is rewarded with; 0: they are in none.
    pooled: float = 0.0


@dataclass(frozen=True)
class Network:
    """A module that draws from its distribution, or takes what is most likely where it is `greedy`."""

    module: GroupModule
    greedy: bool = False

    def act(self, seen: Seen, uniforms: Tensor) -> "NetworkChoice":
        """One forward pass for all agents."""
        embeddings = self.module.trunk(seen.observations)
        distribution = MultiHeadCategorical(self.module.logits(seen.observations, embeddings), self.module.head_sizes)
        chooser = distribution.to_deterministic() if self.greedy else distribution
        return NetworkChoice(chooser.sample(uniforms=uniforms), self.module, embeddings, distribution)


@dataclass(frozen=True)
class NetworkChoice:
    """What a network chose, and what it knows about it."""

    actions: Tensor
    module: GroupModule
    embeddings: Tensor
    distribution: MultiHeadCategorical

    @cached_property
    def logp(self) -> Tensor:
        """`[E, K]` of the joint choice."""
        return self.distribution.logp(self.actions)

    @cached_property
    def values(self) -> Tensor:
        """`[E, K]` by the module's critic."""
        return self.module.compute_values({}, self.embeddings)


@dataclass(frozen=True)
class Certain:
    """A choice without chance, by an actor who learns nothing."""

    actions: Tensor

    @property
    def logp(self) -> Tensor:
        """`[E, K]` zeros: it is certain."""
        return torch.zeros(self.actions.shape[:2], device=self.actions.device)

    values = logp


@dataclass(frozen=True)
class AtRandom:
    """Who takes every choice that is allowed as often as any other, whatever there is to see."""

    head_sizes: tuple[int, ...]

    def act(self, seen: Seen, uniforms: Tensor) -> Certain:
        """A choice for every agent; nobody learns to draw."""
        private, mask = seen.observations["private"], seen.observations.get("action_mask")
        logits = private.new_zeros((*private.shape[:2], sum(self.head_sizes)))
        if mask is not None:
            logits = logits.masked_fill(mask[:, None] == 0, FORBIDDEN)
        return Certain(MultiHeadCategorical(logits, self.head_sizes).sample(uniforms=uniforms))


def seats_of(
    experiment: ExperimentConfig,
    modules: Mapping[str, GroupModule],
    economy: VectorEconomy,
    greedy: bool = False,
    played: int = 0,
) -> list[Seat]:
    """The seats of an experiment in `economy`, in which `modules` act by policy.

    Agents that deviate by themselves leave their group's seat for one of their own; where each does so alone, those
    whose turn it is after `played` economies. Where tax rates are given, nobody sits for the planner.
    """
    deviation, num_envs, sizes = experiment.deviation, economy.num_envs, group_sizes(experiment.economy)
    parts = deviation.parts if deviation else {}
    worth = deviation.worth(experiment.economy) if deviation else {}
    leaving = {part.group: part.agents for part in parts.values()} if deviation and deviation.apart else {}
    seats: list[Seat] = []
    for policy, group in experiment.policies.items():
        agents = None
        if group in leaving:
            own, size = leaving[group], sizes[group]
            agents = in_every_economy(own, num_envs) if own else one_by_one(size, num_envs, few_of(size), played)
            if policy not in parts:
                agents = others(size, agents)
        if agents is None or agents.shape[1]:
            pooled = worth[group] if policy in parts and parts[policy].agents else 0.0
            seats.append(Seat(policy, group, Network(modules[policy], greedy), agents, pooled))
    if experiment.planner.chooses and not experiment.planner.learns:
        seats.append(Seat("drawn_taxes", "planner", AtRandom(head_sizes(experiment.economy)["planner"])))
    return seats


def in_every_economy(agents: Collection[int], num_envs: int) -> Tensor:
    """`[E, K]` The same agents in every economy."""
    return torch.tensor(sorted(agents)).expand(num_envs, -1)


def one_by_one(group_size: int, num_envs: int, at_once: int = 1, played: int = 0) -> Tensor:
    """`[E, at_once]` Agent e mod K in economy e, or the next few; counted on from the `played` economies before, so
    that each agent of a group gets equally many turns."""
    return torch.arange(played * at_once, (played + num_envs) * at_once).view(num_envs, at_once) % group_size


def few_of(group_size: int) -> int:
    """So many agents of a group deviate at once where each is to deviate alone: too few to matter to each other."""
    return max(1, group_size // 20)


def others(group_size: int, agents: Tensor) -> Tensor:
    """`[E, K - k]` All agents of a group of K but those in `agents` `[E, k]`."""
    rest = torch.ones((len(agents), group_size), dtype=torch.bool).scatter_(1, agents, False)
    return rest.nonzero()[:, 1].view(len(agents), -1)


def check_seats(economy: VectorEconomy, seats: Sequence[Seat]) -> None:
    """Raise `ConfigError` unless every agent who chooses sits in exactly one seat, in each economy, and each seat has a
    policy of its own."""
    num_envs, all_sizes = economy.num_envs, group_sizes(economy.params)
    acting = [group for group in GROUPS if group != "planner" or economy.planner.chooses]
    names, sizes = [seat.policy for seat in seats], {group: all_sizes[group] for group in acting}
    if len({*names}) < len(names):
        raise ConfigError("seats", names, "each seat has a policy of its own", "give them different names")
    for seat in seats:
        if seat.group not in sizes:
            raise ConfigError("seats", seat.group, "no such group chooses here", f"take one of {', '.join(sizes)}")
        if seat.agents is not None and (
            seat.agents.ndim != 2 or len(seat.agents) != num_envs or (seat.agents == NOBODY).all()
        ):
            rule = f"the agents of a seat are [E, K], at least one in each of E = {num_envs} economies"
            raise ConfigError("seats", f"{seat.policy} {list(seat.agents.shape)}", rule, "see `in_every_economy`")
    for group, size in sizes.items():
        own = [seat for seat in seats if seat.group == group]
        everyone = torch.arange(size).expand(num_envs, -1)
        seated = [everyone if seat.agents is None else seat.agents.cpu() for seat in own]
        if len(own) == 1 and own[0].agents is None:
            continue
        together = torch.cat(seated, 1).sort(1).values if seated else everyone[:, :0]
        if not torch.equal(together[:, -size:], everyone) or (together[:, :-size] != NOBODY).any():
            rule = f"each {group} sits in exactly one seat, and these seats leave one out or hold one twice"
            fix = "give the others a seat with `others(group_size, agents)`"
            raise ConfigError("seats", [seat.policy for seat in own], rule, fix)
