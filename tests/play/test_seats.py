"""Who acts for whom: seats share out the agents, and nothing else is changed by them."""

import re

import numpy
import pytest
import torch
from torch import Tensor
from torch.testing import assert_close

from rbc_rllib.economy import GROUPS, Planner
from rbc_rllib.leaving import DEVIATOR
from rbc_rllib.play.modules import GroupModule
from rbc_rllib.play.seats import Network, Seat, in_every_economy, one_by_one, others, seats_of
from rbc_rllib.play.vector_economy import VectorEconomy
from rbc_rllib.settings import ConfigError
from tests.play.networks import build_modules, group_seats
from tests.play.seating import (
    NUM_ENVS,
    SMALL,
    Always,
    assert_same_play,
    chosen_firm_actions,
    deviating,
    played,
    with_firms,
)

FIRMS = torch.arange(3).expand(NUM_ENVS, -1)


# Every agent has one seat


def firm_seats(*agents: Tensor | None) -> list[Seat]:
    network = Network(build_modules(SMALL)["firm"])
    return [Seat(f"firm{number}", "firm", network, own) for number, own in enumerate(agents)]


WRONG = {
    "no firm has a seat": [],
    "firm 1 has none": [FIRMS[:, [0, 2]]],
    "firm 1 has none beside others": [FIRMS[:, [0]], FIRMS[:, [2]]],
    "firm 0 has two": [FIRMS, FIRMS[:, [0]]],
    "firm 0 has the place of firm 1": [FIRMS[:, [0, 2]], FIRMS[:, [0]]],
    "firm 0 twice in one seat": [FIRMS[:, [0, 0, 1, 2]]],
    "all firms have two": [None, None],
    "firm 2 has two, one of them with all": [None, FIRMS[:, [2]]],
    "there is no firm 3": [FIRMS[:, [0, 1]], FIRMS[:, [2]] + 1],
    "there is no firm -2": [FIRMS[:, [1, 2]], FIRMS[:, [0]] - 2],
    "the last economy alone has firm 0 twice": [FIRMS[:, :2], torch.tensor([[2], [2], [2], [0]])],
}


@pytest.mark.parametrize("agents", WRONG.values(), ids=WRONG)
def test_an_agent_without_a_seat_or_with_two_is_refused(agents):
    with pytest.raises(ConfigError, match="each firm sits in exactly one seat") as refusal:
        played(with_firms(*firm_seats(*agents)))
    error = refusal.value
    assert error.key == "seats"
    assert error.value == [f"firm{number}" for number in range(len(agents))]
    assert str(error) == f"seats = {error.value!r} is refused: {error.rule}; {error.fix}."
    assert not re.search(r"\. [A-Z]", str(error))


MISSHAPEN = {
    "more economies than are played": FIRMS.repeat(2, 1),
    "nobody": FIRMS[:, :0],
    "no economy": torch.arange(3),
}


@pytest.mark.parametrize("agents", MISSHAPEN.values(), ids=MISSHAPEN)
def test_agents_that_are_not_there_in_each_economy_are_refused(agents):
    with pytest.raises(ConfigError, match=rf"at least one in each of E = {NUM_ENVS} economies"):
        played(with_firms(*firm_seats(agents)))


def test_a_seat_of_no_group_and_two_seats_of_one_policy_are_refused():
    (seat,) = firm_seats(None)
    with pytest.raises(ConfigError, match="no such group chooses here; take one of consumer, firm, planner"):
        played([*with_firms(seat), Seat("robots", "robot", seat.actor)])
    halves = [Seat("firm", "firm", seat.actor, own) for own in (FIRMS[:, :2], FIRMS[:, 2:])]
    with pytest.raises(ConfigError, match="a policy of its own"):
        played(with_firms(*halves))


CHOOSING = [Planner(), Planner(mode="constant"), Planner(mode="schedule"), Planner(mode="fixed", rates="drawn")]
FIXED = Planner(mode="fixed", rates=((0.0, 0.8),))


@pytest.mark.parametrize("planner", CHOOSING, ids=str)
@pytest.mark.parametrize("group", GROUPS)
def test_every_group_that_chooses_is_asked_for(group, planner):
    seats = group_seats(build_modules(SMALL, planner=planner))
    with pytest.raises(ConfigError, match=f"each {group} sits in exactly one seat"):
        played([seat for seat in seats if seat.group != group], planner=planner)


def test_where_rates_are_given_there_is_no_seat_for_a_planner():
    seats = group_seats(build_modules(SMALL))
    with pytest.raises(ConfigError, match=r"'planner' .*no such group chooses here; take one of consumer, firm\."):
        played(seats, planner=FIXED)
    with pytest.raises(ConfigError, match="each firm sits in exactly one seat"):
        played(group_seats(build_modules(SMALL, planner=FIXED))[:1], planner=FIXED)


RIGHT = {
    "all": [None],
    "all of them by name": [FIRMS],
    "one by one": [FIRMS[:, [1]], FIRMS[:, [0]], FIRMS[:, [2]]],
    "in any order": [FIRMS[:, [2, 0]], FIRMS[:, [1]]],
    "different ones in every economy": [
        torch.tensor([[0], [2], [1], [1]]),
        torch.tensor([[1, 2], [0, 1], [2, 0], [0, 2]]),
    ],
}


@pytest.mark.parametrize("agents", RIGHT.values(), ids=RIGHT)
def test_the_play_is_the_same_whoever_sits_where(agents):
    """Random numbers belong to agents; so what agents with one network choose does not depend on their seats."""
    plain = played(group_seats(build_modules(SMALL)))
    assert_same_play(played(with_firms(*firm_seats(*agents))), plain)
    assert_same_play(played(with_firms(*firm_seats(*agents))[::-1]), plain)


def test_consumers_sit_where_they_like_too():
    alone = one_by_one(5, NUM_ENVS)
    seats = group_seats(build_modules(SMALL))
    apart = [Seat(f"c{k}", "consumer", seats[0].actor, own) for k, own in enumerate((alone, others(5, alone)))]
    assert_same_play(played([*seats[1:], *apart]), played(seats))


@pytest.mark.parametrize(
    "options",
    [
        {"recorded": GROUPS},
        {"recorded": ["planner"]},
        {"recorded": GROUPS, "trained_consumers": 2},
        {"recorded": ["consumer"], "trained_consumers": 1},
        {"trained_consumers": 3},
    ],
    ids=str,
)
def test_what_is_recorded_changes_nothing_of_the_play(options):
    seats = group_seats(build_modules(SMALL))
    recorded = played(seats, **options)
    assert_same_play(recorded, played(seats))
    assert tuple(recorded.experience) == tuple(options.get("recorded", ()))


# Some agents by themselves


@pytest.mark.parametrize(("group", "index"), [("consumer", 3), ("firm", 2), ("consumer", 0)])
def test_a_lone_deviator_with_a_copy_of_its_groups_policy_changes_nothing(group, index):
    """Its own row is recorded, its rewards are its own, and everybody draws the same random numbers."""
    modules = build_modules(SMALL)
    experiment = deviating(f"{group}_{index}")
    plain = played(group_seats(modules), recorded=GROUPS)
    seats = seats_of(experiment, modules | {DEVIATOR: modules[group]}, VectorEconomy(SMALL, NUM_ENVS))
    alone = played(seats, recorded=[*GROUPS, DEVIATOR])
    assert_same_play(alone, plain)

    whole, own = plain.experience[group], alone.experience[DEVIATOR]
    rest = [k for k in range(whole.rewards.shape[2]) if k != index]
    for experience, agents in ((own, [index]), (alone.experience[group], rest)):
        assert torch.equal(experience.actions, whole.actions[:, :, agents])
        assert torch.equal(experience.rewards, whole.rewards[:, :, agents])
        assert_close(experience.action_logp, whole.action_logp[:, :, agents])
        assert_close(experience.values, whole.values[:, :, agents])
        assert torch.equal(experience.observations["private"], whole.observations["private"][:, :, agents])
    for other in {*GROUPS} - {group}:
        assert torch.equal(alone.experience[other].actions, plain.experience[other].actions)


def stubborn(choice: int) -> GroupModule:
    """A firm's network that takes one choice, next to certainly."""
    module = build_modules(SMALL)["firm"]
    with torch.no_grad():
        module.policy_head.weight.zero_()
        module.policy_head.bias.zero_()
        module.policy_head.bias[choice] = 100.0
    return module


def test_a_lone_deviator_acts_by_its_own_policy_and_nobody_else_does():
    modules = build_modules(SMALL)
    params = SMALL.replace(episode_length=1)  # before what it does has reached the others
    seats = seats_of(deviating("firm_1"), modules | {DEVIATOR: stubborn(17)}, VectorEconomy(SMALL, NUM_ENVS))
    plain = played(group_seats(modules), params, recorded=GROUPS)
    both = played(seats, params, recorded=[*GROUPS, DEVIATOR])
    assert (both.experience[DEVIATOR].actions == 17).all()
    assert both.experience[DEVIATOR].actions.shape == (NUM_ENVS, 1, 1)
    assert (plain.experience["firm"].actions[:, :, 1] != 17).any()
    assert torch.equal(both.experience["firm"].actions, plain.experience["firm"].actions[:, :, [0, 2]])
    for group in ("consumer", "planner"):
        assert torch.equal(both.experience[group].actions, plain.experience[group].actions)


def test_a_coalition_acts_by_one_network_and_learns_from_its_own_firms_in_their_order():
    modules = build_modules(SMALL) | {DEVIATOR: stubborn(17)}
    experiment = deviating("firm_2+firm_0")
    seats = seats_of(experiment, modules, VectorEconomy(SMALL, NUM_ENVS))
    assert {(seat.policy, seat.group) for seat in seats} == set(experiment.policies.items())
    rollout = played(seats, recorded=["firm", DEVIATOR])
    together, left = rollout.experience[DEVIATOR], rollout.experience["firm"]
    assert (together.actions == 17).all()
    actions = chosen_firm_actions(rollout)
    assert (actions[..., [0, 2]] == 17).all()
    assert (actions[..., 1] == left.actions[:, :-1, 0].numpy()).all()
    assert (actions[..., 1] != 17).any()

    watched = VectorEconomy(SMALL, NUM_ENVS)
    for t, outcome in enumerate(rollout.outcomes):
        watched.state = rollout.states[t]
        seen = watched.observe()["firm"]
        joint = outcome.firm_reward[:, [0, 2]].mean(1, keepdims=True).repeat(2, axis=1)
        for experience, firms, own in ((together, [0, 2], joint), (left, [1], outcome.firm_reward[:, [1]])):
            numpy.testing.assert_allclose(experience.rewards[:, t].numpy(), own, rtol=1e-6)
            numpy.testing.assert_array_equal(experience.observations["private"][:, t].numpy(), seen[:, firms])
    assert (rollout.outcomes[-1].firm_reward[:, 0] != rollout.outcomes[-1].firm_reward[:, 2]).any()
    assert_close(together.action_logp, torch.zeros(NUM_ENVS, 4, 2))


def test_consumers_and_firms_together_are_rewarded_with_their_mean_each_in_its_unit():
    modules = build_modules(SMALL)
    experiment = deviating("firm_2+consumer_4+consumer_0+firm_0", **{"economy.firm_welfare_weight": 0.004})
    own = {policy: modules[group] for policy, group in experiment.policies.items()}
    rollout = played(seats_of(experiment, own, VectorEconomy(SMALL, NUM_ENVS)), recorded=own)
    consumers, firms = (rollout.experience[f"deviator_{group}"].rewards for group in ("consumer", "firm"))
    for t, outcome in enumerate(rollout.outcomes):
        utility = (outcome.consumer_reward[:, [0, 4]].sum(1) + 0.004 * outcome.firm_reward[:, [0, 2]].sum(1)) / 4
        numpy.testing.assert_allclose(consumers[:, t], utility[:, None].repeat(2, axis=1), rtol=1e-5)
        numpy.testing.assert_allclose(firms[:, t], utility[:, None].repeat(2, axis=1) / 0.004, rtol=1e-5)
        numpy.testing.assert_allclose(rollout.experience["firm"].rewards[:, t], outcome.firm_reward[:, [1]], rtol=1e-6)
    assert_same_play(rollout, played(group_seats(modules), recorded=GROUPS))


def test_all_of_a_coalition_count_also_where_few_of_it_are_recorded():
    modules = build_modules(SMALL)
    experiment = deviating("consumer_1+consumer_3+consumer_4")
    seats = seats_of(experiment, modules | {DEVIATOR: modules["consumer"]}, VectorEconomy(SMALL, NUM_ENVS))
    rollout = played(seats, recorded=[DEVIATOR], trained_consumers=2)
    recorded = rollout.experience[DEVIATOR].rewards
    assert recorded.shape == (NUM_ENVS, 4, 2)
    for t, outcome in enumerate(rollout.outcomes):
        joint = outcome.consumer_reward[:, [1, 3, 4]].mean(1)
        numpy.testing.assert_allclose(recorded[:, t].numpy(), joint[:, None].repeat(2, axis=1), rtol=1e-5)


@pytest.mark.parametrize(("deviator", "pooled"), [("firm_1", True), ("firm_0+firm_1", True), ("each_firm", False)])
def test_only_those_who_are_named_pool_their_rewards(deviator, pooled):
    modules = build_modules(SMALL)
    seats = seats_of(deviating(deviator), modules | {DEVIATOR: modules["firm"]}, VectorEconomy(SMALL, NUM_ENVS))
    assert {seat.policy for seat in seats if seat.pooled} == ({DEVIATOR} if pooled else set())


def test_a_coalition_of_all_leaves_no_seat_to_its_group():
    experiment = deviating("firm_0+firm_1+firm_2")
    modules = build_modules(SMALL) | {DEVIATOR: stubborn(17)}
    seats = seats_of(experiment, modules, VectorEconomy(SMALL, NUM_ENVS))
    assert [seat.policy for seat in seats if seat.group == "firm"] == [DEVIATOR]
    assert (chosen_firm_actions(played(seats)) == 17).all()


def test_one_by_one_in_every_economy_another_firm_acts_alone():
    """Firm e mod F in economy e: of 4 economies and 3 firms the first firm has its turn twice."""
    alone = one_by_one(3, NUM_ENVS)
    assert alone.tolist() == [[0], [1], [2], [0]]
    seats = with_firms(Seat("alone", "firm", Always(29), alone), Seat("others", "firm", Always(3), others(3, alone)))
    rollout = played(seats, recorded=["alone"])
    by_hand = [[29, 3, 3], [3, 29, 3], [3, 3, 29], [29, 3, 3]]
    for t in range(3):
        assert chosen_firm_actions(rollout)[:, t].tolist() == by_hand
    for t, outcome in enumerate(rollout.outcomes):
        mine = outcome.firm_reward[[0, 1, 2, 3], [0, 1, 2, 0]]
        numpy.testing.assert_array_equal(rollout.experience["alone"].rewards[:, t, 0].numpy(), mine)


@pytest.mark.parametrize(
    ("agents", "rest"),
    [
        ([[1]], [[0, 2, 3]]),
        ([[3, 0]], [[1, 2]]),
        ([[0], [3]], [[1, 2, 3], [0, 1, 2]]),
        ([[2, 1, 0, 3]], [[]]),
        ([[]], [[0, 1, 2, 3]]),
    ],
    ids=str,
)
def test_the_others_are_all_but_these(agents, rest):
    assert others(4, torch.tensor(agents, dtype=torch.int64)).tolist() == rest


def test_the_same_agents_in_every_economy_come_in_their_order():
    assert in_every_economy({5, 0, 2}, 2).tolist() == [[0, 2, 5]] * 2
