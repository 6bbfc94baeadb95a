"""Who acts for whom: seats, and the actors who sit in them.

A seat is a policy's name, agents of one group, and an actor: from what is seen, and uniform numbers, to actions.
Networks, fixed tax rates, one agent that deviates alone, a different firm in every economy and a coalition are seats;
`play` knows nothing else.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Protocol

import torch
from torch import Tensor

from rbc_rllib.economy import ActionRanges, EconomyParameters
from rbc_rllib.economy.actions import group_sizes, tax_choice
from rbc_rllib.experiment import ExperimentConfig
from rbc_rllib.play.distribution import MultiHeadCategorical
from rbc_rllib.play.modules import GroupModule
from rbc_rllib.play.vector_economy import VectorEconomy
from rbc_rllib.settings import ConfigError


@dataclass(frozen=True)
class Seen:
    """What K agents of one group see in a quarter of E economies."""

    quarter: int  # from 0
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
    agents: Tensor | None = None  # [E, K] who they are in each economy; None: the whole group


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
class FixedTaxes:
    """A planner who follows given rates: what is chosen in quarter t holds in quarter t + 1."""

    choices: tuple[int, ...]  # into `planner_menu`, for each quarter; the last one for all later ones

    @classmethod
    def at(
        cls,
        params: EconomyParameters,
        rates: Sequence[tuple[float, float]],
        ranges: ActionRanges = ActionRanges(),
    ) -> "FixedTaxes":
        """Income and corporate tax rate for each quarter, phased in as far as `ranges` allow (`tax_choice`)."""
        return cls(tuple(tax_choice(params, pair, ranges) for pair in rates))

    def act(self, seen: Seen, uniforms: Tensor) -> Certain:
        """The quarter's choice in all economies."""
        choice = self.choices[min(seen.quarter, len(self.choices) - 1)]
        return Certain(torch.full_like(uniforms[0], choice, dtype=torch.int32))


def seats_of(
    experiment: ExperimentConfig,
    modules: Mapping[str, GroupModule],
    economy: VectorEconomy,
    greedy: bool = False,
) -> list[Seat]:
    """The seats of an experiment in `economy`, in which `modules` act by policy.

    Agents that deviate by themselves leave their group's seat for one of their own. Fixed taxes are as high as the
    economy's ranges allow by now.
    """
    deviation, num_envs = experiment.deviation, economy.num_envs
    seats: list[Seat] = []
    for policy, group in experiment.policies.items():
        agents = None
        if deviation and deviation.agents and group == deviation.group:
            agents = in_every_economy(deviation.agents, num_envs)
            if policy != deviation.policy:
                agents = others(group_sizes(experiment.economy)[group], agents)
        if agents is None or agents.shape[1]:
            seats.append(Seat(policy, group, Network(modules[policy], greedy), agents))
    if rates := experiment.curriculum.fixed_tax_rates:
        seats.append(Seat("fixed_taxes", "planner", FixedTaxes.at(experiment.economy, [rates], economy.ranges)))
    return seats


def in_every_economy(agents: Collection[int], num_envs: int) -> Tensor:
    """`[E, K]` The same agents in every economy."""
    return torch.tensor(sorted(agents)).expand(num_envs, -1)


def one_by_one(group_size: int, num_envs: int) -> Tensor:
    """`[E, 1]` Agent e mod K in economy e, so that all agents of a group get their turn in one batch."""
    return (torch.arange(num_envs) % group_size)[:, None]


def others(group_size: int, agents: Tensor) -> Tensor:
    """`[E, K - k]` All agents of a group of K but those in `agents` `[E, k]`."""
    rest = torch.ones((len(agents), group_size), dtype=torch.bool).scatter_(1, agents, False)
    return rest.nonzero()[:, 1].view(len(agents), -1)


def check_seats(params: EconomyParameters, num_envs: int, seats: Sequence[Seat]) -> None:
    """Raise `ConfigError` unless every agent of every group sits in exactly one seat, in each economy, and each seat
    has a policy of its own."""
    names, sizes = [seat.policy for seat in seats], group_sizes(params)
    if len({*names}) < len(names):
        raise ConfigError("seats", names, "each seat has a policy of its own", "give them different names")
    for seat in seats:
        if seat.group not in sizes:
            raise ConfigError("seats", seat.group, "there is no such group", f"take one of {', '.join(sizes)}")
        if seat.agents is not None and (
            seat.agents.ndim != 2 or len(seat.agents) != num_envs or not seat.agents.numel()
        ):
            rule = f"the agents of a seat are [E, K], at least one in each of E = {num_envs} economies"
            raise ConfigError("seats", f"{seat.policy} {list(seat.agents.shape)}", rule, "see `in_every_economy`")
    for group, size in sizes.items():
        own = [seat for seat in seats if seat.group == group]
        everyone = torch.arange(size).expand(num_envs, -1)
        seated = [everyone if seat.agents is None else seat.agents.cpu() for seat in own]
        if len(own) == 1 and own[0].agents is None:
            continue
        together = torch.cat(seated, 1) if seated else everyone[:, :0]
        if together.shape[1] != size or not torch.equal(together.sort(1).values, everyone):
            rule = f"each {group} sits in exactly one seat, and these seats leave one out or hold one twice"
            fix = "give the others a seat with `others(group_size, agents)`"
            raise ConfigError("seats", [seat.policy for seat in own], rule, fix)
