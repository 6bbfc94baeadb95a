"""A pool that is met in some economies: its members sit for their own agents there, and nothing that they do counts."""

from collections import Counter

import pytest
import torch

from rbc_rllib.economy import ActionRanges, Planner
from rbc_rllib.leaving import PoolMember
from rbc_rllib.play.pool import meet_pool
from rbc_rllib.play.rollout import play
from rbc_rllib.play.seats import NOBODY, AtRandom, Network
from rbc_rllib.play.vector_economy import VectorEconomy
from tests.play.networks import build_modules, group_seats
from tests.play.seating import SMALL, chosen_firm_actions

NUM_ENVS = 8
HIGHEST = 29  # of prices and wages


def member(deviator: str, choice: int = 0) -> tuple[PoolMember, Network]:
    """One that takes this choice of its first head, whatever it sees."""
    who = PoolMember(checkpoint="somewhere", deviator=deviator)
    module = build_modules(SMALL)[who.group]
    module.policy_head.bias.data[choice] = 1e6
    return who, Network(module)


def seated(*pool, share=0.5, seed=0):
    economy, generator = VectorEconomy(SMALL, NUM_ENVS), torch.Generator().manual_seed(seed)
    return economy, meet_pool(group_seats(build_modules(SMALL)), pool, share, economy, generator), generator


@pytest.mark.parametrize(("deviator", "away"), [("each_firm", 1), ("firm_0+firm_2", 2), ("firm", 3)])
def test_a_member_acts_for_its_agents_in_its_share_of_the_economies(deviator, away):
    economy, seats, generator = seated(member(deviator, HIGHEST))
    own = {seat.policy: seat.agents for seat in seats if seat.group == "firm"}
    present = own["pool_0"] != NOBODY
    assert present.any(1).tolist() == [False, True] * 4
    assert present.sum(1).tolist() == [0, away] * 4

    rollout = play(economy, seats, generator, recorded=["consumer", "firm", "planner"])
    chosen = torch.as_tensor(chosen_firm_actions(rollout))
    for e in range(NUM_ENVS):
        theirs = own["pool_0"][e][present[e]]
        assert (chosen[e][:, theirs] == HIGHEST).all()
        stay = [k for k in range(3) if k not in theirs.tolist()]
        assert not stay or (chosen[e][:, stay] != HIGHEST).any()
        assert rollout.experience["firm"].present[e].tolist() == [k in stay for k in range(3)]
        # What is recorded of those who stay is what they did.
        recorded = rollout.experience["firm"].actions[e][:-1].squeeze(-1)
        assert torch.equal(recorded[:, stay].long(), chosen[e][:, stay])
    assert rollout.experience["consumer"].present is None
    assert "pool_0" not in rollout.experience


def test_every_member_and_every_agent_has_its_turn_and_the_same_seed_gives_the_same():
    turns, pool = set(), [member("each_firm"), member("each_consumer"), member("firm")]
    for seed in range(30):
        _, seats, _ = seated(*pool, share=0.25, seed=seed)
        joined = {seat.policy: seat.agents for seat in seats if seat.policy.startswith("pool")}
        economies = torch.cat([(agents != NOBODY).any(1).nonzero()[:, 0] for agents in joined.values()])
        assert sorted(economies.tolist()) == [3, 7]
        turns |= {(policy, k) for policy, agents in joined.items() for k in agents[agents != NOBODY].tolist()}
    wanted = {("pool_0", k) for k in range(3)} | {("pool_1", k) for k in range(5)} | {("pool_2", k) for k in range(3)}
    assert turns == wanted
    one, other = seated(member("each_firm"), seed=5)[1], seated(member("each_firm"), seed=5)[1]
    assert all(torch.equal(a.agents, b.agents) for a, b in zip(one, other, strict=True) if a.agents is not None)


def test_a_trembling_hand_takes_any_choice_that_is_allowed():
    economy, generator = VectorEconomy(SMALL, NUM_ENVS), torch.Generator().manual_seed(0)
    economy.restrict(ActionRanges(price=(1000.0, 2500.0)))
    who = PoolMember(deviator="each_firm")
    seats = meet_pool(group_seats(build_modules(SMALL)), [(who, AtRandom((30,)))], 0.5, economy, generator)
    (own,) = [seat.agents for seat in seats if seat.policy == "pool_0"]
    taken = Counter[int]()
    for _ in range(200):
        chosen = torch.as_tensor(chosen_firm_actions(play(economy, seats, generator)))
        for e, k in enumerate(own[:, 0].tolist()):
            if k != NOBODY:
                taken.update(chosen[e][:, k].tolist())
    assert set(taken) == set(range(10, 30))  # of six prices the upper four, with each of five wages
    drawn = sum(taken.values())
    for count in taken.values():
        assert count / drawn == pytest.approx(1 / 20, abs=5 * (0.05 * 0.95 / drawn) ** 0.5)


def test_consumers_who_learn_are_drawn_among_those_who_stay():
    economy, seats, generator = seated(member("consumer_0+consumer_1+consumer_2"))
    rollout = play(economy, seats, generator, recorded=["consumer"], trained_consumers=2)
    assert rollout.experience["consumer"].present.all()
    rollout = play(economy, seats, generator, recorded=["consumer"], trained_consumers=3)
    assert rollout.experience["consumer"].present.sum(1).tolist() == [3, 2] * 4


def test_a_plan_is_announced_by_whoever_sits_for_the_planner():
    planner = Planner(mode="schedule")
    modules = build_modules(SMALL, planner=planner)
    economy, generator = VectorEconomy(SMALL, NUM_ENVS, planner=planner), torch.Generator().manual_seed(0)
    other = build_modules(SMALL, planner=planner)["planner"]
    for table in (other.income, other.corporate):
        table.data[:, -1] = 1e6
    pool = [(PoolMember(checkpoint="somewhere", deviator="planner"), Network(other))]
    seats = meet_pool(group_seats(modules), pool, 0.5, economy, generator)
    rollout = play(economy, seats, generator, recorded=["planner"])
    rates = rollout.states[-1].corporate_tax_rate
    assert (rates[1::2] == 1).all()
    assert (rates[::2] < 1).any()
    assert rollout.experience["planner"].present[:, 0].tolist() == [True, False] * 4
