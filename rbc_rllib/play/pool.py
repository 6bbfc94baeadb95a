"""A pool of deviators: in some economies of a batch one of them acts for its agents."""

from collections.abc import Sequence
from dataclasses import replace

import torch
from torch import Tensor

from rbc_rllib.economy.actions import group_sizes
from rbc_rllib.leaving import PoolMember
from rbc_rllib.play.seats import NOBODY, Actor, Seat, few_of, in_every_economy
from rbc_rllib.play.vector_economy import VectorEconomy


def meet_pool(
    seats: Sequence[Seat],
    pool: Sequence[tuple[PoolMember, Actor]],
    share: float,
    economy: VectorEconomy,
    generator: torch.Generator,
) -> list[Seat]:
    """`seats`, each of a whole group, and those of the pool, to which agents have moved in a `share` of the economies.

    These economies lie evenly among the others, so that every minibatch has some of both. In each of them one member is
    drawn, and of agents who deviate alone the few who do so now.
    """
    num_envs, sizes = economy.num_envs, group_sizes(economy.params)

    def draw(below: int) -> Tensor:
        return torch.randint(below, (num_envs,), generator=generator, device=generator.device).cpu()

    met = torch.tensor([int((e + 1) * share) > int(e * share) for e in range(num_envs)])
    drawn, turns = draw(len(pool)), draw(2**31)[:, None]
    staying = {who.group: in_every_economy(range(sizes[who.group]), num_envs).clone() for who, _ in pool}
    joined = []
    for number, (who, actor) in enumerate(pool):
        size, here = sizes[who.group], met & (drawn == number)
        agents = in_every_economy(who.agents or range(size), num_envs)
        if who.each:
            agents = (turns + torch.arange(few_of(size))) % size
        if here.any():
            staying[who.group][here] = staying[who.group][here].scatter(1, agents[here], NOBODY)
            agents = torch.where(here[:, None], agents, NOBODY)
            joined.append(Seat(f"pool_{number}", who.group, actor, agents))
    return [*(replace(seat, agents=staying.get(seat.group, seat.agents)) for seat in seats), *joined]
