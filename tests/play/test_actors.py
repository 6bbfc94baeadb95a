"""What sits in a seat: networks, tax rules and whoever can choose; what they see, and what they are asked for."""

from dataclasses import dataclass
from typing import Any

import numpy
import pytest
import torch
from torch import Tensor

from rbc_rllib.economy import GROUPS, ActionRanges, Planner
from rbc_rllib.economy.actions import allowed_actions
from rbc_rllib.experiment import ExperimentConfig
from rbc_rllib.leaving import DEVIATOR
from rbc_rllib.play.rollout import Rollout, play
from rbc_rllib.play.seats import AtRandom, Certain, Network, NetworkChoice, Seat, Seen, others, seats_of
from rbc_rllib.play.vector_economy import VectorEconomy
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


def test_an_actor_of_ones_own_takes_a_seat():
    rollout = played(with_firms(Seat("always", "firm", Always(7))), recorded=["always"])
    assert (chosen_firm_actions(rollout) == 7).all()
    for state in rollout.states[1:]:  # 7 = 1 * 5 + 2
        assert (state.prices == 500).all()
        assert (state.wages == 22).all()
    experience = rollout.experience["always"]
    assert (experience.actions == 7).all()
    assert not experience.action_logp.any()
    assert not experience.values.any()
    assert experience.rewards.any()


def test_an_actor_sees_the_quarter_and_its_own_agents_observations():
    seen_by_actor: list[Seen] = []

    class Watching(Always):
        def act(self, seen: Seen, uniforms: Tensor) -> Certain:
            assert uniforms.shape == (1, NUM_ENVS, 2)
            seen_by_actor.append(seen)
            return super().act(seen, uniforms)

    economy = VectorEconomy(SMALL, NUM_ENVS)
    economy.restrict(ActionRanges(price=(500.0, 1500.0)))
    agents = torch.tensor([[0, 2], [2, 1], [1, 0], [0, 1]])
    seats = with_firms(
        Seat("watching", "firm", Watching(7), agents), Seat("rest", "firm", Always(3), others(3, agents))
    )
    rollout = play(economy, seats, torch.Generator().manual_seed(0))
    assert [seen.quarter for seen in seen_by_actor] == [0, 1, 2, 3]
    watched = VectorEconomy(SMALL, NUM_ENVS)
    for state, seen in zip(rollout.states, seen_by_actor, strict=True):
        watched.state = state
        expected = watched.observe()
        numpy.testing.assert_array_equal(seen.observations["shared"], expected["shared"])
        own = expected["firm"][numpy.arange(NUM_ENVS)[:, None], agents.numpy()]
        numpy.testing.assert_array_equal(seen.observations["private"], own)
        numpy.testing.assert_array_equal(seen.observations["action_mask"][2], economy.action_masks["firm"])


class Unasked(Network):
    """A network that is only to act."""

    def act(self, seen: Seen, uniforms: Tensor) -> Any:
        return UnaskedChoice(super().act(seen, uniforms).actions)


@dataclass(frozen=True)
class UnaskedChoice:
    actions: Tensor

    @property
    def logp(self) -> Tensor:
        raise AssertionError("asked for a log-probability that nobody records")

    @property
    def values(self) -> Tensor:
        raise AssertionError("asked for values that nobody records")


def test_who_only_plays_is_asked_for_nothing_but_actions_and_nothing_is_recorded():
    """As in an evaluation: neither log-probabilities nor values are computed."""
    modules = build_modules(SMALL)
    seats = [Seat(group, group, Unasked(module)) for group, module in modules.items()]
    rollout = played(seats)
    assert rollout.experience == {}
    assert_same_play(rollout, played(group_seats(modules)))
    with pytest.raises(AssertionError, match="nobody records"):
        played(seats, recorded=["firm"])


def test_a_network_computes_log_probabilities_and_values_when_they_are_asked_for():
    modules = build_modules(SMALL)
    economy = VectorEconomy(SMALL, NUM_ENVS)
    arrays = {"shared": economy.reset()["shared"], "private": economy.observe()["consumer"]}
    seen = Seen(0, {name: torch.from_numpy(array) for name, array in arrays.items()})
    with torch.no_grad():
        choice = Network(modules["consumer"]).act(seen, torch.full((5, NUM_ENVS, 5), 0.5))
        assert isinstance(choice, NetworkChoice)
        assert not {"logp", "values"} & vars(choice).keys()
        assert choice.logp.shape == choice.values.shape == choice.actions.shape[:2] == (NUM_ENVS, 5)


# Tax rules


def rates_in_force(rollout: Rollout, economy: VectorEconomy) -> list[tuple[float, float]]:
    """(Income, corporate) rate of every quarter, and of the one after the last, the same in all economies."""
    states = [*rollout.states, economy.state]
    rates = [numpy.stack([state.income_tax_rate, state.corporate_tax_rate], -1).round(6) for state in states]
    assert all((pairs == pairs[0]).all() for pairs in rates)
    return [tuple(pairs[0].tolist()) for pairs in rates]


def taxed(planner: Planner, ranges: ActionRanges = ActionRanges()) -> list[tuple[float, float]]:
    """`rates_in_force` in an episode in which nobody sits for the planner."""
    economy = VectorEconomy(WIDE, NUM_ENVS, planner=planner)
    economy.restrict(ranges)
    seats = group_seats(build_modules(WIDE, planner=planner))
    assert [seat.group for seat in seats] == ["consumer", "firm"]
    return rates_in_force(play(economy, seats, torch.Generator().manual_seed(0)), economy)


WIDE = SMALL.replace(dtype="float64")


def test_fixed_taxes_hold_as_given_from_the_second_quarter_on_and_the_last_rates_go_on():
    rates = ((0.2, 0.4), (0.0, 1.0), (0.8, 0.6))
    assert taxed(Planner(mode="fixed", rates=rates)) == [(0.0, 0.0), *rates, rates[-1]]


def test_one_pair_of_fixed_taxes_holds_in_all_quarters_but_the_first():
    assert taxed(Planner(mode="fixed", rates=((0.2, 0.6),))) == [(0.0, 0.0), *[(0.2, 0.6)] * 4]


@pytest.mark.parametrize(
    ("highest", "expected"),
    [
        (0.0, [(0.0, 0.0), (0.0, 0.0), (0.0, 0.0)]),
        (0.25, [(0.2, 0.2), (0.0, 0.2), (0.2, 0.0)]),
        (0.65, [(0.2, 0.6), (0.0, 0.6), (0.6, 0.0)]),
        (1.0, [(0.2, 0.8), (0.0, 1.0), (0.6, 0.0)]),
    ],
)
def test_fixed_taxes_are_phased_in_by_the_ranges(highest, expected):
    ranges = ActionRanges(income_tax_rate=(0.0, highest), corporate_tax_rate=(0.0, highest))
    rates = taxed(Planner(mode="fixed", rates=((0.2, 0.8), (0.0, 1.0), (0.6, 0.0))), ranges)
    assert rates == [(0.0, 0.0), *expected, expected[-1]]


@pytest.mark.parametrize(("highest", "expected"), [(0.3, (0.2, 0.2)), (0.5, (0.4, 0.4)), (1.0, (0.4, 0.8))])
def test_an_experiment_with_fixed_taxes_seats_no_planner_and_announces_the_rates(highest, expected):
    planner = Planner(mode="fixed", rates=((0.4, 0.8),))
    experiment = ExperimentConfig(economy=WIDE, planner=planner)
    economy = VectorEconomy(WIDE, NUM_ENVS, planner=planner)
    economy.restrict(ActionRanges(income_tax_rate=(0.0, highest), corporate_tax_rate=(0.0, highest)))
    seats = seats_of(experiment, build_modules(WIDE, planner=planner), economy)
    assert [(seat.policy, seat.group) for seat in seats] == [("consumer", "consumer"), ("firm", "firm")]
    rollout = play(economy, seats, torch.Generator().manual_seed(0), recorded=list(experiment.policies))
    assert rates_in_force(rollout, economy) == [(0.0, 0.0)] + [expected] * 4
    assert set(rollout.experience) == {"consumer", "firm"}
    announced = rollout.shared[..., -6:]
    torch.testing.assert_close(announced, torch.tensor([*expected] * 3).expand_as(announced))


def test_firms_that_deviate_under_fixed_taxes_sit_beside_no_planner():
    planner = Planner(mode="fixed", rates=((0.0, 0.8),))
    experiment = deviating("firm_1", planner=planner.model_dump())
    modules = build_modules(SMALL, planner=planner)
    modules = {policy: modules[group] for policy, group in experiment.policies.items()}
    seats = seats_of(experiment, modules, VectorEconomy(SMALL, NUM_ENVS, planner=planner))
    assert {seat.policy for seat in seats} == {"consumer", "firm", DEVIATOR}
    rollout = played(seats, planner=planner, recorded=[DEVIATOR])
    assert rollout.experience[DEVIATOR].rewards.shape == (NUM_ENVS, 4, 1)


def test_an_experiment_whose_taxes_are_drawn_seats_who_draws_them():
    planner = Planner(mode="fixed", rates="drawn")
    economy = VectorEconomy(SMALL, NUM_ENVS, planner=planner)
    modules = build_modules(SMALL, planner=planner)
    seats = seats_of(ExperimentConfig(economy=SMALL, planner=planner), modules, economy)
    assert [(seat.policy, seat.group) for seat in seats][2:] == [("drawn_taxes", "planner")]
    assert isinstance(seats[-1].actor, AtRandom)


@pytest.mark.parametrize(
    ("ranges", "allowed"),
    [
        (ActionRanges(income_tax_rate=(0.0, 0.25), corporate_tax_rate=(0.4, 0.85)), [2, 3, 4, 8, 9, 10]),
        (ActionRanges(income_tax_rate=(0.0, 0.0), corporate_tax_rate=(0.0, 0.0)), [0]),
        (ActionRanges(), list(range(36))),
    ],
    ids=str,
)
def test_drawn_taxes_are_any_of_those_allowed_and_each_pair_as_likely_as_any_other(ranges, allowed):
    """Choice 6 i + c is income 20% i, corporate 20% c."""
    economies, mask = 20_000, torch.from_numpy(allowed_actions(SMALL, ranges)["planner"]).expand(20_000, -1)
    uniforms = torch.rand((1, economies, 1), generator=torch.Generator().manual_seed(3))
    choice = AtRandom((36,)).act(Seen(0, {"private": torch.ones(economies, 1, 1), "action_mask": mask}), uniforms)
    assert choice.actions.shape == (economies, 1)
    shares = numpy.bincount(choice.actions[:, 0], minlength=36) / economies
    assert shares.nonzero()[0].tolist() == allowed
    expected = 1 / len(allowed)
    tolerance = 5 * (expected * (1 - expected) / economies) ** 0.5
    numpy.testing.assert_allclose(shares[allowed], expected, atol=tolerance)
    assert not choice.logp.any()  # nobody learns to draw


# Networks


@pytest.mark.parametrize("greedy", [True, False])
def test_the_seats_of_an_experiment_explore_unless_they_are_greedy(greedy):
    experiment, modules = ExperimentConfig(economy=SMALL), build_modules(SMALL)
    seats = seats_of(experiment, modules, VectorEconomy(SMALL, NUM_ENVS), greedy)
    one, other = (played(seats, seed=seed, recorded=GROUPS) for seed in (1, 2))
    for group in GROUPS:
        assert torch.equal(one.experience[group].actions, other.experience[group].actions) == greedy


def test_a_greedy_network_takes_the_most_likely_choice_of_every_head():
    """However little more likely: of 11, 11, 11, 5 and 3 options these."""
    likely = torch.tensor([4, 0, 10, 2, 1])
    modules = build_modules(SMALL)
    with torch.no_grad():
        modules["consumer"].policy_head.weight.zero_()
        modules["consumer"].policy_head.bias.zero_()
        modules["consumer"].policy_head.bias[likely + torch.tensor([0, 11, 22, 33, 38])] = 0.01
    chosen = played(group_seats(modules, greedy=True), recorded=["consumer"]).experience["consumer"].actions
    assert torch.equal(chosen, likely.to(chosen.dtype).expand_as(chosen))
    drawn = played(group_seats(modules), recorded=["consumer"]).experience["consumer"].actions
    assert not torch.equal(drawn, chosen)
