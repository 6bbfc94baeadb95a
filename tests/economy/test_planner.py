"""How taxes are decided: what is refused, what a plan is made of, and that what was announced is in force."""

import re
from dataclasses import replace
from typing import Any

import numpy
import pytest

from rbc_rllib.economy import Actions, AnnouncedState, EconomyParameters, Outcome, Planner, State, initial_state, step
from rbc_rllib.economy.actions import planner_menu
from rbc_rllib.economy.constants import Constants
from rbc_rllib.economy.planner import plan_of_choices
from rbc_rllib.experiment import ExperimentConfig
from rbc_rllib.play.by_agent import EnvSettings
from rbc_rllib.settings import ConfigError
from tests.economy.samples import random_actions

PARAMS = EconomyParameters()
SMALL = EconomyParameters(num_consumers=4, num_firms=3, episode_length=5, interest_rate=0.1)
NUM_ENVS = 3


# Settings


def assert_one_sentence(error: ConfigError) -> None:
    assert str(error).startswith(f"{error.key} = ")
    assert str(error).endswith(f"is refused: {error.rule}; {error.fix}.")
    assert not re.search(r"\. [A-Z]", str(error))


REFUSED = [
    # values, key, value, words of the rule, words of the fix
    ({"mode": "fixed"}, "rates", None, "fixed taxes needs their rates", "give e.g. planner.rates=[0, 0.8]"),
    ({"mode": "fixed", "rates": None}, "rates", None, "fixed taxes needs their rates", "planner.rates=[0, 0.8]"),
    ({"mode": "fixed", "rates": ()}, "rates", (), "fixed taxes needs their rates", "planner.rates=[0, 0.8]"),
    ({"rates": (0.0, 0.8)}, "rates", ((0.0, 0.8),), "in mode discretion decides itself", "set planner.mode=fixed"),
    ({"mode": "constant", "rates": ((0, 1),)}, "rates", ((0.0, 1.0),), "in mode constant decides itself", "leave"),
    ({"mode": "schedule", "rates": "drawn"}, "rates", "drawn", "in mode schedule decides itself", "leave them out"),
    ({"mode": "plan"}, "mode", "plan", "'discretion', 'constant', 'schedule' or 'fixed'", "'discretion'"),
    ({"mods": "fixed"}, "mods", "fixed", "no such key", "write mode"),
    ({"mode": "fixed", "rates": 0.4}, "rates", 0.4, "valid tuple", ""),
    ({"mode": "fixed", "rates": "draw"}, "rates", "draw", "it should be", ""),
    ({"mode": "fixed", "rates": (0.4,)}, "rates.0", 0.4, "valid tuple", ""),
    ({"mode": "fixed", "rates": (0.4, 80)}, "rates.0.1", 80, "less than or equal to 1", ""),
    ({"mode": "fixed", "rates": (-0.2, 0.4)}, "rates.0.0", -0.2, "greater than or equal to 0", ""),
    ({"mode": "fixed", "rates": ((0.2, 0.4), (0.2,))}, "rates.1.1", (0.2,), "required", ""),
]


@pytest.mark.parametrize(
    ("values", "key", "value", "rule", "fix"), REFUSED, ids=[repr(values) for values, *_ in REFUSED]
)
def test_a_planner_that_cannot_be_is_refused_in_one_sentence(values, key, value, rule, fix):
    """By itself, and by its whole key in an experiment and in the settings of an environment."""
    makers = {
        "": lambda: Planner(**values),
        "planner.": lambda: ExperimentConfig(planner=values),
        "planner. ": lambda: EnvSettings(planner=values),
    }
    for prefix, make in makers.items():
        with pytest.raises(ConfigError, match=re.escape(rule)) as refusal:
            make()
        assert refusal.value.key == prefix.strip() + key
        assert refusal.value.value == value
        assert fix in refusal.value.fix
        assert_one_sentence(refusal.value)


@pytest.mark.parametrize(
    ("rates", "episode_length", "rule", "fix"),
    [
        (((0.0, 0.5),), 10, "0.5 must be on the menu economy.tax_choices = (0.0, 0.2,", "take rates from there"),
        (((0.0, 0.2), (0.9, 0.0)), 3, "0.9 must be on the menu economy.tax_choices", "take rates from there"),
        (((0.0, 0.2),) * 10, 10, "one for each of the 9 quarters after the first", "give 1 or 9 pairs, not 10"),
        (((0.0, 0.2),) * 2, 10, "one for each of the 9 quarters after the first", "give 1 or 9 pairs, not 2"),
        (((0.0, 0.2),) * 2, 1, "one for each of the 0 quarters after the first", "not 2"),
    ],
)
def test_rates_that_do_not_fit_the_economy_are_refused(rates, episode_length, rule, fix):
    planner, params = Planner(mode="fixed", rates=rates), EconomyParameters(episode_length=episode_length)
    makers = {
        "rates": lambda: planner.fits(params),
        "planner.rates": lambda: ExperimentConfig(economy=params, planner=planner),
    }
    makers["planner.rates "] = lambda: EnvSettings(economy=params, planner=planner)
    for key, make in makers.items():
        with pytest.raises(ConfigError, match=re.escape(rule)) as refusal:
            make()
        assert (refusal.value.key, refusal.value.value) == (key.strip(), rates)
        assert fix in refusal.value.fix
        assert_one_sentence(refusal.value)


@pytest.mark.parametrize(
    ("rates", "episode_length"),
    [
        (((0.1 + 0.2, 0.0),), 10),  # 0.30000000000000004 is the 0.3 of the menu
        (((0.0, 0.3),) * 9, 10),
        (((0.0, 0.3),), 1),
        ("drawn", 10),
    ],
    ids=str,
)
def test_rates_on_the_menu_fit(rates, episode_length):
    economy = EconomyParameters(tax_choices=(0.0, 0.3), episode_length=episode_length)
    Planner(mode="fixed", rates=rates).fits(economy)


@pytest.mark.parametrize("rates", [(0, 0.8), [0, 0.8], ((0, 0.8),), [[0, 0.8]], numpy.array([0, 0.8])], ids=repr)
def test_one_pair_of_rates_needs_no_brackets_of_its_own(rates):
    """As `--set planner.rates=[0,0.8]` gives it, and also in an episode of two quarters after the first."""
    planner = Planner(mode="fixed", rates=rates)
    assert planner.rates == ((0.0, 0.8),)
    planner.fits(EconomyParameters(episode_length=3))


def test_two_pairs_are_two_pairs():
    assert Planner(mode="fixed", rates=((0, 0.8), (0.2, 1))).rates == ((0.0, 0.8), (0.2, 1.0))


MODES = [
    # planner, announces, learns, chooses, pages of 1, 2 and 10 quarters
    (Planner(), False, True, True, (0, 0, 0)),
    (Planner(mode="constant"), True, True, True, (1, 1, 1)),
    (Planner(mode="schedule"), True, True, True, (1, 1, 9)),
    (Planner(mode="fixed", rates=((0.0, 0.8),)), True, False, False, (0, 0, 0)),
    (Planner(mode="fixed", rates="drawn"), True, False, True, (1, 1, 1)),
]


@pytest.mark.parametrize(("planner", "announces", "learns", "chooses", "pages"), MODES, ids=str)
def test_who_announces_who_learns_and_who_has_what_to_choose(planner, announces, learns, chooses, pages):
    assert (planner.announces, planner.learns, planner.chooses) == (announces, learns, chooses)
    for length, number in zip((1, 2, 10), pages, strict=True):
        assert planner.num_pages(EconomyParameters(episode_length=length)) == number


# Plans


def announced(params: EconomyParameters, choices: Any) -> numpy.ndarray:
    choices = numpy.asarray(choices)
    return plan_of_choices(params, choices, Constants.like(numpy.zeros(1, params.dtype), params))


def test_a_plan_by_hand():
    """Choice 6 i + c is income 20% i, corporate 20% c."""
    schedule = announced(EconomyParameters(episode_length=4, dtype="float64"), [[8, 0, 35]])
    assert schedule.tolist() == [[[0.0, 0.0], [0.2, 0.4], [0.0, 0.0], [1.0, 1.0]]]
    constant = announced(EconomyParameters(episode_length=4, dtype="float64"), [[4], [17]])
    assert constant.tolist() == [[[0.0, 0.0], *[[0.0, 0.8]] * 3], [[0.0, 0.0], *[[0.4, 1.0]] * 3]]


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("mode", ["constant", "schedule"])
@pytest.mark.parametrize("episode_length", [1, 2, 10])
def test_a_plan_is_made_of_its_pages(episode_length, mode, dtype, rng):
    """Page k says what holds in quarter k + 1, the last one what holds in all later ones; the first is untaxed."""
    params = EconomyParameters(episode_length=episode_length, dtype=dtype)
    pages = Planner(mode=mode).num_pages(params)
    choices = rng.integers(36, size=(NUM_ENVS, pages))
    plan, menu = announced(params, choices), planner_menu(params)
    assert (plan.shape, plan.dtype) == ((NUM_ENVS, episode_length, 2), dtype)
    for env in range(NUM_ENVS):
        assert plan[env, 0].tolist() == [0.0, 0.0]
        for quarter in range(1, episode_length):
            assert plan[env, quarter].tolist() == menu[choices[env, min(quarter, pages) - 1]].tolist()


# In force as announced


def episode(params: EconomyParameters, state: State, actions: list[Actions]) -> tuple[list[State], list[Outcome]]:
    """The T + 1 states and the T outcomes."""
    states, outcomes = [state], []
    for chosen in actions:
        state, outcome = step(params, states[-1], chosen)
        states.append(state)
        outcomes.append(outcome)
    return states, outcomes


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("mode", ["constant", "schedule"])
@pytest.mark.parametrize("episode_length", [1, 2, 10])
def test_what_was_announced_is_in_force_whatever_the_planner_chooses(episode_length, mode, dtype, rng):
    params = SMALL.replace(episode_length=episode_length, dtype=dtype)
    plan = announced(params, rng.integers(36, size=(NUM_ENVS, Planner(mode=mode).num_pages(params))))
    actions = [random_actions(params, NUM_ENVS, rng) for _ in range(episode_length)]
    states, outcomes = episode(params, initial_state(params, NUM_ENVS, tax_plan=plan), actions)
    for quarter, state in enumerate(states):
        assert isinstance(state, AnnouncedState)
        numpy.testing.assert_array_equal(state.tax_plan, plan)
        in_force = plan[:, min(quarter, episode_length - 1)]
        numpy.testing.assert_array_equal(state.income_tax_rate, in_force[:, 0], err_msg=str(quarter))
        numpy.testing.assert_array_equal(state.corporate_tax_rate, in_force[:, 1], err_msg=str(quarter))
    for state, outcome in zip(states, outcomes, strict=False):
        taxes = state.corporate_tax_rate[:, None] * numpy.maximum(outcome.profit, 0)
        numpy.testing.assert_allclose(outcome.corporate_tax, taxes, rtol=1e-6)
    idle = [replace(chosen, planner=numpy.zeros_like(chosen.planner)) for chosen in actions]
    again = episode(params, states[0], idle)
    for record, other in zip([*states, *outcomes], [*again[0], *again[1]], strict=True):
        for name, array in vars(record).items():
            numpy.testing.assert_array_equal(array, getattr(other, name), err_msg=name)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_an_announced_episode_is_the_one_in_which_the_same_rates_are_chosen_quarter_by_quarter(dtype, rng):
    """Bit for bit, but for the plan, which is part of the state."""
    params = SMALL.replace(dtype=dtype, planner_welfare="total", penalty_coefficient=5)
    chosen = [random_actions(params, NUM_ENVS, rng) for _ in range(5)]
    chosen[-1] = replace(chosen[-1], planner=chosen[-2].planner)  # after the last quarter its rates go on
    schedule = numpy.stack([actions.planner for actions in chosen[:-1]], axis=1)
    others = [replace(actions, planner=rng.integers(36, size=NUM_ENVS)) for actions in chosen]
    plan = announced(params, schedule)
    states, outcomes = episode(params, initial_state(params, NUM_ENVS), chosen)
    bound_states, bound_outcomes = episode(params, initial_state(params, NUM_ENVS, tax_plan=plan), others)
    assert len({float(rate) for state in states for rate in state.corporate_tax_rate}) > 3
    for free, bound in zip([*states, *outcomes], [*bound_states, *bound_outcomes], strict=True):
        assert vars(bound).keys() - vars(free).keys() == ({"tax_plan"} if isinstance(free, State) else set())
        for name, array in vars(free).items():
            numpy.testing.assert_array_equal(getattr(bound, name), array, err_msg=name)


def test_after_the_last_quarter_its_rates_go_on():
    params = SMALL.replace(episode_length=2, dtype="float64")
    state = initial_state(params, 1, tax_plan=announced(params, [[22]]))
    for _ in range(4):
        state, _ = step(params, state, random_actions(params, 1, numpy.random.default_rng(0)))
    assert (state.time.item(), state.income_tax_rate.item(), state.corporate_tax_rate.item()) == (4, 0.6, 0.8)


def test_economies_of_one_batch_have_plans_of_their_own(rng):
    params = SMALL.replace(dtype="float64")
    plan = announced(params, rng.integers(36, size=(NUM_ENVS, 4)))
    actions = [random_actions(params, NUM_ENVS, rng) for _ in range(5)]
    together, _ = episode(params, initial_state(params, NUM_ENVS, tax_plan=plan), actions)
    for env in range(NUM_ENVS):
        one = slice(env, env + 1)
        own = [Actions(**{name: array[one] for name, array in vars(chosen).items()}) for chosen in actions]
        alone, _ = episode(params, initial_state(params, 1, tax_plan=plan[one]), own)
        for whole, part in zip(together, alone, strict=True):
            for name, array in vars(part).items():
                numpy.testing.assert_allclose(getattr(whole, name)[one], array, rtol=1e-12, atol=1e-9, err_msg=name)
