"""Plans that a planner draws and announces before the first quarter: tables, episodes, what is recorded, settling."""

from itertools import product
from typing import Any

import numpy
import pytest
import torch
from ray.rllib.core.columns import Columns
from torch.testing import assert_close

from rbc_rllib.curriculum import SETTLED
from rbc_rllib.economy import GROUPS, ActionRanges, EconomyParameters, Planner
from rbc_rllib.economy.actions import planner_menu
from rbc_rllib.experiment import ExperimentConfig
from rbc_rllib.play.modules import GroupModule, PlanModule, settled_plan
from rbc_rllib.play.rollout import Rollout, play
from rbc_rllib.play.seats import seats_of
from rbc_rllib.play.vector_economy import VectorEconomy
from tests.play.networks import build_modules, group_seats
from tests.play.seating import SMALL, assert_same_play

LEARNED = ("constant", "schedule")
HALF_OPEN = ActionRanges(income_tax_rate=(0.0, 0.25), corporate_tax_rate=(0.0, 0.65))
ALLOWED = [6 * income + corporate for income in range(2) for corporate in range(4)]
"""Choices in `HALF_OPEN`: income 0 and 20%, corporate 0 to 60%."""

both_modes = pytest.mark.parametrize("mode", LEARNED)


def announcing(
    mode: str,
    params: EconomyParameters = SMALL,
    num_envs: int = 20,
    *,
    ranges: ActionRanges = ActionRanges(),
    sharpness: float = 1.0,
    seed: int = 0,
    modules: dict[str, GroupModule] | None = None,
    greedy: bool = False,
    **options: Any,
) -> Rollout:
    """One episode of fresh economies whose planner learns a plan, recorded unless `options` say otherwise."""
    planner = Planner(mode=mode)
    economy = VectorEconomy(params, num_envs, planner=planner)
    economy.restrict(ranges, sharpness)
    seats = group_seats(modules or build_modules(params, planner=planner), greedy)
    return play(economy, seats, torch.Generator().manual_seed(seed), **{"recorded": GROUPS} | options)


def rates(rollout: Rollout, quarter: int) -> numpy.ndarray:
    """`[E, 2]` in force in a quarter."""
    state = rollout.states[quarter]
    return numpy.stack([state.income_tax_rate, state.corporate_tax_rate], axis=-1)


# Episodes


@pytest.mark.parametrize("ranges", [ActionRanges(), HALF_OPEN], ids=["whole menu", "half open"])
@pytest.mark.parametrize("episode_length", [1, 2, 4])
@both_modes
def test_what_a_planner_has_chosen_in_a_quarters_row_is_in_force_in_the_next_one(mode, episode_length, ranges):
    """In each economy what its own planner has drawn there; only allowed rates, and all of them somewhere."""
    params = SMALL.replace(episode_length=episode_length)
    modules = build_modules(params, planner=Planner(mode=mode))
    with torch.no_grad():  # nearly uniform, so that all that is allowed is drawn
        for parameter in (modules["planner"].income, modules["planner"].corporate):
            parameter.mul_(0.2)
    rollout = announcing(mode, params, 400, ranges=ranges, modules=modules)
    actions = rollout.experience["planner"].actions[..., 0].long().numpy()
    assert actions.shape == (400, episode_length)
    menu = planner_menu(params)
    assert not rates(rollout, 0).any()
    for quarter in range(episode_length - 1):
        numpy.testing.assert_array_equal(rates(rollout, quarter + 1), menu[actions[:, quarter]])
    for state in rollout.states:
        numpy.testing.assert_array_equal(state.tax_plan, rollout.states[0].tax_plan)
    numpy.testing.assert_array_equal(rollout.states[0].tax_plan[:, 1:], menu[actions[:, : episode_length - 1]])
    allowed = list(range(36)) if ranges == ActionRanges() else ALLOWED
    for quarter in range(episode_length):
        assert sorted(set(actions[:, quarter].tolist())) == allowed
    distinct = {tuple(row) for row in actions.tolist()}
    assert len(distinct) > len(allowed) if mode == "schedule" and episode_length == 4 else len(distinct) == len(allowed)


def test_a_constant_plan_is_one_choice_and_every_quarters_row_is_that_one():
    rollout = announcing("constant")
    experience = rollout.experience["planner"]
    for values in (experience.actions, experience.action_logp, experience.values, *experience.observations.values()):
        assert values.shape[:2] == (20, 4)
        assert (values == values[:, :1]).all()
    assert len(experience.actions[:, 0].unique()) > 5  # economies draw their own


@both_modes
def test_the_planners_rows_are_the_pages_of_its_calendar_and_the_last_one_for_what_is_left(mode):
    rollout = announcing(mode, ranges=HALF_OPEN, sharpness=2.5)
    experience = rollout.experience["planner"]
    pages = {"constant": 1, "schedule": 3}[mode]
    assert experience.observations["private"].shape == (20, 4, 1, pages)
    for quarter in range(4):
        expected = [2.5 * (page == min(quarter, pages - 1)) for page in range(pages)]
        assert experience.observations["private"][:, quarter, 0].tolist() == [expected] * 20
    assert experience.observations["action_mask"].shape == (20, 4, 36)
    assert (experience.observations["action_mask"].nonzero()[:, 2].view(20, 4, 8) == torch.tensor(ALLOWED)).all()
    for values in (experience.actions, experience.action_logp, experience.values, experience.rewards):
        assert values.shape == (20, 4, 1)
    for quarter, outcome in enumerate(rollout.outcomes):
        numpy.testing.assert_array_equal(experience.rewards[:, quarter, 0], outcome.planner_reward)


@pytest.mark.parametrize("sharpness", [1.0, 3.0])
@both_modes
def test_the_learner_recomputes_a_plans_log_probabilities_and_values_from_its_rows(mode, sharpness):
    module = build_modules(SMALL, planner=Planner(mode=mode))["planner"]
    experience = announcing(mode, ranges=HALF_OPEN, sharpness=sharpness).experience["planner"]
    batch = {Columns.OBS: {name: values.flatten(0, 1) for name, values in experience.observations.items()}}
    with torch.no_grad():
        output = module.forward_train(batch)
        values = module.compute_values(batch, output[Columns.EMBEDDINGS])
    distribution = module.action_dist_cls.from_logits(output[Columns.ACTION_DIST_INPUTS])
    assert_close(distribution.logp(experience.actions.flatten(0, 1)), experience.action_logp.flatten(0, 1))
    assert_close(values, experience.values.flatten(0, 1))
    assert experience.action_logp.unique().numel() > 3


@both_modes
def test_everybody_sees_the_plan_in_every_quarter(mode):
    rollout = announcing(mode)
    plan = rollout.states[0].tax_plan[:, 1:].reshape(20, 6)
    for quarter in range(4):
        numpy.testing.assert_array_equal(rollout.shared[:, quarter, -6:], plan)


@pytest.mark.parametrize(
    "options",
    [
        {"recorded": ()},
        {"recorded": ["planner"]},
        {"recorded": ["consumer"], "trained_consumers": 2},
        {"recorded": ["firm"]},
    ],
    ids=str,
)
@both_modes
def test_what_is_recorded_changes_neither_the_plan_nor_what_others_draw(mode, options):
    whole, part = announcing(mode), announcing(mode, **options)
    assert_same_play(part, whole)
    assert tuple(part.experience) == tuple(options["recorded"])


@both_modes
def test_a_seed_draws_the_same_plans_again_and_another_seed_others(mode):
    one, same, other = (announcing(mode, seed=seed) for seed in (1, 1, 2))
    assert_same_play(one, same)
    assert (one.states[0].tax_plan != other.states[0].tax_plan).any()


@both_modes
def test_others_draw_the_same_numbers_whatever_the_planner_announces(mode):
    """In the first quarter, in which all see the same plan but for its numbers: networks that are blind to it."""
    modules = build_modules(SMALL, planner=Planner(mode=mode))
    with torch.no_grad():
        for group in ("consumer", "firm"):
            modules[group].shared_layer.weight[:, -6:] = 0.0
    untaxed = ActionRanges(income_tax_rate=(0.0, 0.0), corporate_tax_rate=(0.0, 0.0))
    free, bound = (announcing(mode, ranges=each, modules=modules) for each in (ActionRanges(), untaxed))
    assert (free.states[0].tax_plan != bound.states[0].tax_plan).any()
    for group in ("consumer", "firm"):
        assert torch.equal(free.experience[group].actions[:, 0], bound.experience[group].actions[:, 0])


def test_an_economy_that_is_played_again_announces_a_new_plan():
    economy = VectorEconomy(SMALL, 20, planner=Planner(mode="schedule"))
    seats, generator = group_seats(build_modules(SMALL, planner=economy.planner)), torch.Generator().manual_seed(0)
    first, second = (play(economy, seats, generator).states[0].tax_plan for _ in range(2))
    assert (first != second).any()
    again = play(economy, seats, torch.Generator().manual_seed(0)).states[0].tax_plan
    numpy.testing.assert_array_equal(again, first)


def test_an_announced_plan_replays_as_the_same_episode():
    """Through fresh economies that are given the recorded choices; whatever is said for the planner in the quarters."""
    rollout = announcing("schedule", num_envs=6)
    actions = {group: rollout.experience[group].actions.numpy() for group in GROUPS}
    fresh = VectorEconomy(SMALL, 6, planner=Planner(mode="schedule"))
    fresh.reset(actions["planner"][:, :3, 0])
    for quarter in range(4):
        numpy.testing.assert_array_equal(rollout.shared[:, quarter], fresh.observe()["shared"])
        said = {"planner": actions["planner"][:, -1 - quarter]}
        outcome = fresh.step(fresh.decode({group: actions[group][:, quarter] for group in ("consumer", "firm")} | said))
        for name, values in vars(outcome).items():
            numpy.testing.assert_array_equal(getattr(rollout.outcomes[quarter], name), values, err_msg=name)
    assert fresh.done


# What is drawn


TINY = EconomyParameters(num_consumers=1, num_firms=1, episode_length=3)
MANY = 20_000


def likelihoods(table: PlanModule, page: int, sharpness: float, allowed: list[int]) -> numpy.ndarray:
    """[36] By hand: the product of both rates' shares, among what is allowed."""
    income, corporate = table.income[page].tolist(), table.corporate[page].tolist()
    weights = [numpy.exp(sharpness * (i + c)) for i, c in product(income, corporate)]
    weights = numpy.where(numpy.isin(numpy.arange(36), allowed), weights, 0.0)
    return weights / weights.sum()


def assert_frequencies(drawn: Any, expected: Any) -> None:
    """Within five standard deviations of a binomial's share."""
    expected = numpy.asarray(expected)
    shares = numpy.bincount(numpy.asarray(drawn), minlength=expected.size) / len(drawn)
    tolerance = 5 * numpy.sqrt(expected * (1 - expected) / len(drawn))
    assert (numpy.abs(shares - expected) <= tolerance).all()


@pytest.mark.parametrize(
    ("sharpness", "ranges", "allowed"),
    [(1.0, ActionRanges(), list(range(36))), (1.0, HALF_OPEN, ALLOWED), (2.0, ActionRanges(), list(range(36)))],
    ids=["as learned", "half open", "sharper"],
)
@both_modes
def test_plans_are_drawn_as_often_as_the_table_says(mode, sharpness, ranges, allowed):
    modules = build_modules(TINY, planner=Planner(mode=mode))
    rollout = announcing(mode, TINY, MANY, ranges=ranges, sharpness=sharpness, modules=modules, recorded=["planner"])
    actions = rollout.experience["planner"].actions[..., 0].long()
    table = modules["planner"]
    assert isinstance(table, PlanModule)
    pages = len(table.income)
    expected = [likelihoods(table, page, sharpness, allowed) for page in range(pages)]
    assert max(expected[0]) > 1.5 / len(allowed)  # not uniform
    for page in range(pages):
        assert_frequencies(actions[:, page], expected[page])
        assert_close(
            rollout.experience["planner"].action_logp[:, page, 0].double(),
            torch.tensor(numpy.log(expected[page][actions[:, page]])),
            rtol=1e-4,
            atol=1e-4,
        )
    if pages == 2:  # drawn independently of each other
        assert_frequencies(36 * actions[:, 0] + actions[:, 1], numpy.outer(expected[0], expected[1]).ravel())


@pytest.mark.parametrize("highest", [0.25, 1.0])
def test_drawn_rates_are_one_allowed_pair_an_economy_and_episode(highest):
    planner = Planner(mode="fixed", rates="drawn")
    economy = VectorEconomy(TINY, MANY, planner=planner)
    economy.restrict(ActionRanges(income_tax_rate=(0.0, highest), corporate_tax_rate=(0.0, highest)))
    modules = build_modules(TINY, planner=planner)
    seats = seats_of(ExperimentConfig(economy=TINY, planner=planner), modules, economy)
    plan = play(economy, seats, torch.Generator().manual_seed(0)).states[-1].tax_plan
    assert not plan[:, 0].any()
    numpy.testing.assert_array_equal(plan[:, 1], plan[:, 2])
    index = (plan[:, 1] * 5).round().astype(int)  # of 20% each
    allowed = [int(max(pair) <= 5 * highest) for pair in product(range(6), repeat=2)]
    assert_frequencies(6 * index[:, 0] + index[:, 1], numpy.array(allowed) / sum(allowed))


# What is left when plans have settled


def likeliest(table: PlanModule, page: int, allowed: list[int]) -> int:
    """By hand, from all pairs."""
    income, corporate = table.income[page].tolist(), table.corporate[page].tolist()
    return max(allowed, key=lambda choice: income[choice // 6] + corporate[choice % 6])


@pytest.mark.parametrize("greedy", [False, True])
@both_modes
def test_a_settled_planner_announces_its_most_likely_plan_in_every_economy(mode, greedy):
    experiment = ExperimentConfig(economy=SMALL.replace(dtype="float64"), planner=Planner(mode=mode))
    modules = build_modules(experiment.economy, planner=experiment.planner)
    plan = settled_plan(experiment, modules)
    table = modules["planner"]
    assert isinstance(table, PlanModule)
    expected = [likeliest(table, page, list(range(36))) for page in range(len(table.income))]
    menu = planner_menu(experiment.economy)
    assert plan == tuple(tuple(menu[choice].tolist()) for choice in expected)
    sharpness = 1.0 if greedy else SETTLED
    rollout = announcing(mode, experiment.economy, 500, sharpness=sharpness, modules=modules, greedy=greedy)
    for quarter in range(1, 4):
        assert rates(rollout, quarter).tolist() == [list(plan[min(quarter, len(plan)) - 1])] * 500
    if not greedy:
        assert not rollout.experience["planner"].action_logp.any()


def test_a_settled_planner_keeps_to_what_is_allowed():
    modules = build_modules(SMALL, planner=Planner(mode="schedule"))
    actions = announcing("schedule", ranges=HALF_OPEN, sharpness=SETTLED, modules=modules).experience["planner"].actions
    expected = [likeliest(modules["planner"], page, ALLOWED) for page in range(3)]
    assert actions[..., 0].tolist() == [[*expected, expected[-1]]] * 20


def test_who_has_not_begun_to_learn_draws_its_plans_and_announces_none_as_its_own():
    experiment = ExperimentConfig(economy=SMALL, planner=Planner(mode="schedule"))
    modules = build_modules(SMALL, planner=experiment.planner)
    assert settled_plan(experiment, modules) is not None
    with torch.no_grad():
        modules["planner"].corporate[1].zero_()
    assert settled_plan(experiment, modules) is None
    actions = announcing("schedule", sharpness=SETTLED, modules=modules).experience["planner"].actions
    assert len(set(actions[:, 1, 0].flatten().tolist())) > 1


def test_logits_that_differ_little_are_told_apart_when_a_plan_has_settled():
    modules = build_modules(SMALL, planner=Planner(mode="constant"))
    with torch.no_grad():
        modules["planner"].income.fill_(5.0)
        modules["planner"].corporate.fill_(-5.0)
        modules["planner"].income[0, 2] += 1e-3
        modules["planner"].corporate[0, 4] += 1e-3
    actions = announcing("constant", sharpness=SETTLED, modules=modules).experience["planner"].actions
    assert (actions == 6 * 2 + 4).all()


@pytest.mark.parametrize(
    ("planner", "expected"),
    [
        (Planner(), None),
        (Planner(mode="fixed", rates="drawn"), None),
        (Planner(mode="fixed", rates=((0.2, 0.8),)), ((0.2, 0.8),)),
        (Planner(mode="fixed", rates=((0.2, 0.8), (0.0, 1.0), (0.4, 0.0))), ((0.2, 0.8), (0.0, 1.0), (0.4, 0.0))),
    ],
    ids=str,
)
def test_given_rates_are_the_settled_plan_and_discretion_has_none(planner, expected):
    assert settled_plan(ExperimentConfig(economy=SMALL, planner=planner), {}) == expected


# Economies that are given a plan


def test_economies_announce_the_plan_that_they_are_given_from_their_reset_on(rng):
    economy = VectorEconomy(SMALL, 5, planner=Planner(mode="schedule"))
    choices = rng.integers(36, size=(5, 3))
    observations = economy.reset(choices)
    numpy.testing.assert_array_equal(economy.state.tax_plan[:, 1:], planner_menu(SMALL)[choices])
    numpy.testing.assert_array_equal(observations["shared"][:, -6:], planner_menu(SMALL)[choices].reshape(5, 6))


@pytest.mark.parametrize(
    ("planner", "expected"),
    [
        (Planner(mode="constant"), [[0.0, 0.0]] * 3),
        (Planner(mode="schedule"), [[0.0, 0.0]] * 3),
        (Planner(mode="fixed", rates="drawn"), [[0.0, 0.0]] * 3),
        (Planner(mode="fixed", rates=((1.0, 0.4),)), [[0.2, 0.4]] * 3),
        (
            Planner(mode="fixed", rates=((0.0, 0.8), (0.4, 0.2), (0.2, 0.6))),
            [[0.0, 0.6], [0.2, 0.2], [0.2, 0.6]],
        ),
    ],
    ids=str,
)
def test_without_a_plan_given_rates_are_announced_as_high_as_allowed_and_else_none(planner, expected):
    economy = VectorEconomy(SMALL, 2, planner=planner)
    economy.restrict(HALF_OPEN)
    economy.reset()
    numpy.testing.assert_allclose(economy.state.tax_plan, [[[0.0, 0.0], *expected]] * 2, rtol=1e-6)


def test_how_sharply_a_planner_chooses_is_set_with_the_ranges():
    economy = VectorEconomy(SMALL, 2, planner=Planner(mode="schedule"))
    assert economy.calendar(1).tolist() == [[[0.0, 1.0, 0.0]]] * 2
    economy.restrict(ActionRanges(), plan_sharpness=4.0)
    assert economy.calendar(2).tolist() == [[[0.0, 0.0, 4.0]]] * 2
    economy.restrict(ActionRanges())
    assert economy.calendar(0).tolist() == [[[1.0, 0.0, 0.0]]] * 2
