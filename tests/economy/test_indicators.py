"""The Gini coefficient, the indicators of an episode written out in loops, and what counts as a dead economy."""

from statistics import fmean

import numpy
import pytest

from rbc_rllib.arrays import stack
from rbc_rllib.economy import Actions, EconomyParameters, Outcome, State, initial_state, step
from rbc_rllib.economy.indicators import episode_indicators, gini, potential_output
from tests.economy.samples import idle_actions, play


@pytest.mark.parametrize(
    ("amounts", "expected"),
    [
        ([1, 1, 1, 1], 0),
        ([0, 0, 0, 8], 3 / 4),
        ([1, 3], 1 / 4),
        ([3, 1], 1 / 4),
        ([1, 2, 3, 4, 5], 4 / 15),
        ([7], 0),
        ([0, 0, 0], 0),
    ],
)
def test_gini_by_hand(amounts, expected):
    assert gini(numpy.array(amounts, float)) == pytest.approx(expected, abs=1e-15)


def test_gini_is_the_mean_difference_over_twice_the_mean(rng):
    amounts = rng.exponential(size=(5, 20)) * rng.integers(0, 2, size=(5, 20))
    differences = numpy.abs(amounts[:, :, None] - amounts[:, None, :]).mean(axis=(1, 2))
    numpy.testing.assert_allclose(gini(amounts), differences / (2 * amounts.mean(axis=1)), rtol=1e-12)


def test_gini_knows_neither_order_nor_currency(rng):
    amounts = rng.exponential(size=30)
    assert gini(rng.permutation(amounts)) == pytest.approx(gini(amounts), rel=1e-12)
    assert gini(amounts * 1e4) == pytest.approx(gini(amounts), rel=1e-12)
    assert gini(amounts / 1e4) == pytest.approx(gini(amounts), rel=1e-12)


def test_potential_output_by_hand():
    params = EconomyParameters(
        num_consumers=8,
        num_firms=2,
        hours_choices=(0, 100),
        initial_capital=(100, 10_000),
        labor_elasticities=(1.0, 0.5),
    )
    # 400 hours at each firm: 0.01 * 400 and 0.01 * sqrt(10000 * 400)
    assert potential_output(params) == pytest.approx(4 + 20)


def indicators_in_loops(
    params: EconomyParameters, states: list[State], outcomes: list[Outcome], env: int
) -> dict[str, float]:
    """The indicators of one economy from the states in which it acted."""

    def mean(records: list, field: str) -> float:
        return fmean(float(value) for record in records for value in getattr(record, field)[env].ravel())

    def total(records: list, field: str) -> float:
        return sum(float(value) for record in records for value in getattr(record, field)[env].ravel())

    quarters = len(outcomes)
    got = [sum(outcome.consumption[env, c].sum() for outcome in outcomes) for c in range(params.num_consumers)]
    first, last = states[0].prices[env], states[-1].prices[env]
    return {
        "social_welfare": fmean(outcome.planner_reward[env] for outcome in outcomes),
        "consumer_reward": mean(outcomes, "consumer_reward"),
        "firm_reward": mean(outcomes, "firm_reward"),
        "hours": mean(outcomes, "hours_worked"),
        "output": total(outcomes, "output") / quarters,
        "consumption": total(outcomes, "consumption") / quarters / params.num_consumers,
        "exports": total(outcomes, "exports") / quarters,
        "price": mean(states, "prices"),
        "wage": mean(states, "wages"),
        "inflation": (fmean(last) - fmean(first)) / params.initial_price,
        "income_tax_rate": mean(states[1:], "income_tax_rate"),
        "corporate_tax_rate": mean(states[1:], "corporate_tax_rate"),
        "tax_revenue": total(outcomes, "tax_revenue") / quarters,
        "gini_consumption": sum(abs(a - b) for a in got for b in got) / (2 * len(got) * sum(got)),
        "firm_debt": fmean(max(-budget, 0.0) for budget in states[-1].firm_budget[env]),
        "trivial_share": 0.0,
    }


def test_indicators_agree_with_loops_over_the_episode(rng):
    params = EconomyParameters(
        num_consumers=7,
        num_firms=3,
        initial_inventory=40,
        initial_wage=22,
        initial_firm_budget=20_000,
        planner_welfare="total",
        dtype="float64",
    )
    states, outcomes, _ = play(params, 4, rng)
    indicators = episode_indicators(params, stack(states[:-1]), stack(outcomes))
    assert {values.shape for values in indicators.values()} == {(4,)}
    for env in range(4):
        expected = indicators_in_loops(params, states[:-1], outcomes, env)
        assert {name: values[env] for name, values in indicators.items()} == pytest.approx(expected, rel=1e-9)
    assert (indicators["firm_debt"] > 0).any()


@pytest.mark.parametrize(("quarters", "income", "corporate"), [(4, 0.6, 0.3), (2, 0.4, 0.1), (1, 0.1, 0.9)])
def test_tax_rates_leave_out_the_first_quarter_in_which_they_are_given(quarters, income, corporate, rng):
    """They are 10%, 40%, 60%, 80% and 90%, 10%, 30%, 50%; where there is one quarter alone, its own."""
    params = EconomyParameters(num_consumers=2, num_firms=1, episode_length=quarters, dtype="float64")
    states, outcomes, _ = play(params, 2, rng)
    played = stack(states[:-1]) | {
        "income_tax_rate": numpy.array([[0.1, 0.4, 0.6, 0.8]] * 2).T[:quarters],
        "corporate_tax_rate": numpy.array([[0.9, 0.1, 0.3, 0.5]] * 2).T[:quarters],
    }
    indicators = episode_indicators(params, played, stack(outcomes))
    assert indicators["income_tax_rate"].tolist() == pytest.approx([income] * 2)
    assert indicators["corporate_tax_rate"].tolist() == pytest.approx([corporate] * 2)


def trivial(params: EconomyParameters, actions: Actions) -> list[float]:
    """The flags of economies in which everybody does the same in every quarter."""
    states, outcomes = [initial_state(params, actions.planner.shape[0])], []
    for _ in range(params.episode_length):
        state, outcome = step(params, states[-1], actions)
        states.append(state)
        outcomes.append(outcome)
    return episode_indicators(params, stack(states[:-1]), stack(outcomes))["trivial_share"].tolist()


WORKING = {"consumption": 1, "hours_index": 2, "employer": [0, 1, 2, 0, 1, 2, 0], "firm": 7, "planner": 0}


@pytest.mark.parametrize(
    ("changes", "flag"),
    [
        ({}, 0.0),
        ({"hours_index": 0}, 1.0),
        ({"consumption": 0}, 1.0),
        ({"hours_index": 0, "consumption": 0}, 1.0),
    ],
    ids=["everybody works and buys", "nobody works", "nobody buys", "nobody does anything"],
)
def test_economy_is_trivial_when_nobody_works_or_nobody_buys(changes, flag):
    params = EconomyParameters(num_consumers=7, num_firms=3, initial_wage=22)
    assert trivial(params, idle_actions(params, 2, **WORKING | changes)) == [flag, flag]


def test_economy_that_works_without_output_is_trivial():
    params = EconomyParameters(num_consumers=7, num_firms=3, initial_inventory=100, labor_floor=1e6)
    assert trivial(params, idle_actions(params, 1, **WORKING)) == [1.0]


@pytest.mark.parametrize(("share", "flag"), [(0.009, 1.0), (0.011, 0.0)])
@pytest.mark.parametrize("field", ["hours_worked", "output", "consumption"])
def test_one_percent_of_full_employment_is_the_limit_of_the_trivial(field, share, flag, rng):
    params = EconomyParameters(num_consumers=8, num_firms=2, labor_elasticities=(0.5, 0.5), initial_capital=(400, 400))
    # Half of 8 * 1040 hours at each firm: 0.01 * sqrt(400 * 4160) = 12.9 units, twice.
    full = {"hours_worked": 1040, "output": 0.2 * 4160**0.5, "consumption": 0.4 * 4160**0.5 / 8 / 2}
    states, outcomes, _ = play(params, 1, rng)
    shares = dict.fromkeys(full, 1.0) | {field: share}
    faked = {
        name: numpy.full_like(values, full[name] * shares[name])
        for name, values in stack(outcomes).items()
        if name in full
    }
    indicators = episode_indicators(params, stack(states[:-1]), stack(outcomes) | faked)
    assert indicators["trivial_share"].tolist() == [flag]


def test_inflation_from_a_price_of_zero_is_the_price(rng):
    params = EconomyParameters(num_consumers=2, num_firms=3, initial_price=0, dtype="float64")
    states, outcomes, _ = play(params, 2, rng)
    inflation = episode_indicators(params, stack(states[:-1]), stack(outcomes))["inflation"]
    assert inflation.tolist() == pytest.approx(states[-2].prices.mean(axis=1).tolist())


def test_each_economy_of_a_batch_has_its_own_flag():
    params = EconomyParameters(num_consumers=7, num_firms=3, initial_wage=22)
    hours = [[2] * 7, [0] * 7]
    assert trivial(params, idle_actions(params, 2, **WORKING | {"hours_index": hours})) == [0.0, 1.0]
