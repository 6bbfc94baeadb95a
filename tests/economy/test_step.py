"""One quarter, by numbers worked out by hand."""

import math
from dataclasses import FrozenInstanceError
from typing import Any

import numpy
import pytest

from rbc_rllib.economy import EconomyParameters, Outcome, State, initial_state, step
from tests.economy.samples import idle_actions, random_actions, with_values

DTYPES = ("float32", "float64")


def quarter(params: EconomyParameters, choices: dict[str, Any], **values: Any) -> tuple[State, Outcome]:
    """One quarter of one economy from the initial state with `values`; who has no choice to make is idle."""
    state = with_values(initial_state(params, 1), values)
    return step(params, state, idle_actions(params, 1, **choices))


def small_economy(**overrides: Any) -> EconomyParameters:
    """One consumer, one firm, no guard, round numbers: 100 hours with capital 10,000 make 10 units."""
    defaults = {
        "num_consumers": 1,
        "num_firms": 1,
        "hours_choices": (0, 100, 400),
        "labor_elasticities": (0.5,),
        "initial_capital": (10_000,),
        "labor_disutility": 0.02,
        "budget_guard": 0,
        "dtype": "float64",
    }
    return EconomyParameters(**defaults | overrides)


def test_basket_is_scaled_to_the_budget():
    params = small_economy(num_firms=2, initial_capital=(1, 1), labor_elasticities=(0.5, 0.5))
    # 3 units at 1000 and 2 at 500 cost 4000: half of them is affordable.
    after, outcome = quarter(params, {"consumption": [3, 2]}, consumer_budget=2000, prices=[1000, 500], inventories=100)
    assert outcome.consumption.tolist() == [[[1.5, 1.0]]]
    assert outcome.spending.tolist() == [[2000.0]]
    assert after.consumer_budget.tolist() == [[0.0]]
    assert after.overdemanded.tolist() == [[0.0, 0.0]]


def test_short_good_is_shared_in_proportion_to_demand():
    # 10 units are asked for, 5 are there.
    after, outcome = quarter(
        small_economy(num_consumers=3), {"consumption": [[4], [4], [2]]}, consumer_budget=1e5, inventories=5
    )
    assert outcome.consumption.ravel().tolist() == [2.0, 2.0, 1.0]
    assert after.inventories.tolist() == [[0.0]]
    assert after.overdemanded.tolist() == [[1.0]]
    assert after.consumer_budget.ravel().tolist() == [98_000.0, 98_000.0, 99_000.0]


def test_good_that_just_suffices_is_not_overdemanded():
    after, outcome = quarter(
        small_economy(num_consumers=2), {"consumption": [[3], [2]]}, consumer_budget=1e5, inventories=5
    )
    assert outcome.consumption.ravel().tolist() == [3.0, 2.0]
    assert after.overdemanded.tolist() == [[0.0]]


@pytest.mark.parametrize(("budget", "bought"), [(1.0, 4.0), (0.0, 4.0), (-1.0, 0.0)])
def test_free_goods_are_for_everybody_without_debt(budget, bought):
    _, outcome = quarter(small_economy(), {"consumption": 4}, consumer_budget=budget, prices=0, inventories=9)
    assert outcome.consumption.tolist() == [[[bought]]]


def test_work_is_paid_and_becomes_output_of_the_employer():
    params = small_economy(num_consumers=3, num_firms=2, labor_elasticities=(0.5, 1.0), initial_capital=(10_000, 1))
    after, outcome = quarter(
        params, {"hours_index": [1, 1, 2], "employer": [1, 1, 0]}, wages=[10, 20], firm_budget=5000
    )
    assert outcome.labor.tolist() == [[400.0, 200.0]]
    assert outcome.wage_income.tolist() == [[2000.0, 2000.0, 4000.0]]
    # 0.01 * sqrt(10000 * 400) = 20 and 0.01 * 200 = 2
    assert outcome.output[0] == pytest.approx([20.0, 2.0], rel=1e-14)
    assert after.inventories[0] == pytest.approx([20.0, 2.0], rel=1e-14)
    assert after.firm_budget.tolist() == [[1000.0, 1000.0]]


@pytest.mark.parametrize(("floor", "output"), [(100.0, 10.0), (100.5, 0.0)])
def test_hours_below_the_labor_floor_make_nothing_but_are_paid(floor, output):
    _, outcome = quarter(small_economy(labor_floor=floor), {"hours_index": 1}, wages=5)
    assert outcome.output.item() == pytest.approx(output, rel=1e-14)
    assert outcome.wage_income.tolist() == [[500.0]]


@pytest.mark.parametrize(
    ("price", "inventory", "exported"), [(500, 250, 100), (500, 60, 50), (500, 10, 0), (499, 250, 0)]
)
def test_foreign_market_buys_what_consumers_left(price, inventory, exported):
    after, outcome = quarter(
        small_economy(), {"consumption": 10}, prices=price, inventories=inventory, consumer_budget=1e5, firm_budget=0
    )
    assert outcome.exports.tolist() == [[exported]]
    assert after.inventories.tolist() == [[inventory - 10 - exported]]
    # A tenth of the income is invested.
    assert after.firm_budget.item() == pytest.approx(0.9 * price * (10 + exported), rel=1e-14)


def test_closed_economy_exports_nothing():
    after, outcome = quarter(small_economy(export_market=False), {}, inventories=250)
    assert outcome.exports.tolist() == [[0.0]]
    assert after.inventories.tolist() == [[250.0]]


def test_income_is_invested_then_taxed_and_the_revenue_paid_back():
    # Two units sold at 1000, 100 hours bought at 10: income 1000, invested 100, profit 900.
    after, outcome = quarter(
        small_economy(num_consumers=2),
        {"consumption": [[2], [0]], "hours_index": [1, 0]},
        wages=10,
        inventories=2,
        income_tax_rate=0.2,
        corporate_tax_rate=0.5,
        firm_budget=0,
    )
    assert outcome.investment.item() == 100.0
    assert outcome.profit.item() == 900.0
    assert outcome.corporate_tax.item() == 450.0
    assert outcome.income_tax.tolist() == [[200.0, 0.0]]
    assert outcome.tax_revenue.item() == 650.0
    assert outcome.transfer.item() == 325.0
    assert outcome.firm_reward.item() == 450.0
    assert after.firm_budget.item() == 450.0
    assert after.capital.item() == 10_100.0
    # 2000 - 2000 + 1000 - 200 + 325 and 2000 + 325
    assert after.consumer_budget.tolist() == [[1125.0, 2325.0]]


def test_loss_is_neither_invested_nor_taxed():
    after, outcome = quarter(small_economy(), {"hours_index": 1}, wages=10, corporate_tax_rate=0.5, firm_budget=400)
    assert outcome.profit.item() == outcome.firm_reward.item() == -1000.0
    assert outcome.investment.item() == outcome.corporate_tax.item() == 0.0
    assert after.firm_budget.item() == -600.0
    assert after.capital.item() == 10_000.0


def test_budget_guard_is_added_every_quarter():
    after, _ = quarter(small_economy(budget_guard=0.25), {}, consumer_budget=1)
    assert after.consumer_budget.tolist() == [[1.25]]


def test_interest_is_earned_on_positive_budgets_only():
    after, outcome = quarter(
        small_economy(num_consumers=2, interest_rate=0.1),
        {},
        consumer_budget=[200, -200],
        firm_budget=-50,
    )
    assert after.consumer_budget[0] == pytest.approx([220.0, -200.0], rel=1e-14)
    assert outcome.consumer_interest[0] == pytest.approx([20.0, 0.0], rel=1e-14)
    assert after.firm_budget.item() == -50.0
    assert outcome.firm_interest.item() == 0.0


@pytest.mark.parametrize(
    ("crra", "utility"), [(0.0, 11.0), (0.5, 2.0 + 4.0), (1.0, math.log(4) + math.log(9)), (2.0, 3 / 4 + 8 / 9)]
)
def test_utility_of_three_and_eight_units(crra, utility):
    params = small_economy(num_firms=2, crra=crra, initial_capital=(1, 1), labor_elasticities=(1, 1))
    choices = {"consumption": [3, 8], "hours_index": 1}
    _, outcome = quarter(params, choices, prices=1, inventories=100, consumer_budget=100)
    # 100 hours at a disutility of 0.02 / 2 cost 1.
    assert outcome.consumer_reward.item() == pytest.approx(utility - 1.0, rel=1e-14)


@pytest.mark.parametrize(("time", "budget", "penalty"), [(9, -1000, 50), (8, -1000, 0), (9, 1000, 0)])
def test_debt_is_penalised_in_the_last_quarter(time, budget, penalty):
    after, outcome = quarter(small_economy(penalty_coefficient=5), {}, time=time, firm_budget=budget)
    assert outcome.firm_reward.item() == -penalty
    assert after.firm_budget.item() == budget
    assert after.time.item() == time + 1


@pytest.mark.parametrize(("welfare", "expected"), [("consumer", 1.0), ("total", 1.0 + 0.0025 * 1800)])
def test_social_welfare(welfare, expected):
    # With crra 0 a unit is worth 1. One consumer gets 2 units for 2000, the other works 100 hours for nothing.
    _, outcome = quarter(
        small_economy(num_consumers=2, crra=0, planner_welfare=welfare),
        {"consumption": [[2], [0]], "hours_index": [0, 1]},
        inventories=2,
        labor_disutility=0.02,
    )
    assert outcome.planner_reward.item() == pytest.approx(expected, rel=1e-14)


def test_choices_hold_from_the_next_quarter_on():
    params = small_economy(num_firms=2, initial_capital=(1, 1), labor_elasticities=(1, 1))
    # Of 5 wages and 6 taxes: 7 = 1 * 5 + 2, 29 = 5 * 5 + 4, 8 = 1 * 6 + 2.
    choices = {"firm": [7, 29], "planner": 8, "consumption": [1, 0], "hours_index": 1}
    after, outcome = quarter(params, choices, inventories=100)
    assert outcome.spending.item() == 1000.0
    assert outcome.wage_income.item() == outcome.tax_revenue.item() == 0.0
    assert after.prices.tolist() == [[500.0, 2500.0]]
    assert after.wages.tolist() == [[22.0, 44.0]]
    assert after.income_tax_rate.item() == 0.2
    assert after.corporate_tax_rate.item() == 0.4


def test_initial_state_of_the_default_economy():
    state = initial_state(EconomyParameters(dtype="float64"), 3)
    assert state.prices.tolist() == [[1000.0] * 10] * 3
    assert state.wages.tolist() == state.inventories.tolist() == state.overdemanded.tolist() == [[0.0] * 10] * 3
    assert state.time.tolist() == state.income_tax_rate.tolist() == state.corporate_tax_rate.tolist() == [0.0] * 3
    assert state.consumer_budget.tolist() == [[2000.0] * 100] * 3
    assert state.firm_budget.tolist() == [[2_200_000.0] * 10] * 3
    assert state.capital.tolist() == [[5000.0] * 5 + [10_000.0] * 5] * 3
    assert state.labor_elasticity.tolist() == [[0.2, 0.3, 0.4, 0.6, 0.8] * 2] * 3
    assert state.labor_disutility[:, 0].tolist() == [0.01] * 3
    # The Pareto quantile of shape 4 at 75% is (1 - 0.75)^(-1/4) = sqrt(2).
    assert state.labor_disutility[0, 75] == pytest.approx(0.01 / math.sqrt(2), rel=1e-14)


@pytest.mark.parametrize("announced", [False, True])
@pytest.mark.parametrize("dtype", DTYPES)
def test_step_is_pure_and_keeps_the_dtype(dtype, announced, rng):
    params = EconomyParameters(num_consumers=6, num_firms=3, interest_rate=0.1, dtype=dtype)
    plan = rng.random((4, 10, 2)).astype(dtype) if announced else None
    state, actions = initial_state(params, 4, tax_plan=plan), random_actions(params, 4, rng)
    arrays = [*vars(state).values(), *vars(actions).values()]
    copies = [array.copy() for array in arrays]
    for array in arrays:
        array.setflags(write=False)
    first, second = (step(params, state, actions) for _ in range(2))
    for array, copy in zip(arrays, copies, strict=True):
        numpy.testing.assert_array_equal(array, copy)
    assert type(first[0]) is type(state)
    for record, again in zip(first, second, strict=True):
        for name, array in vars(record).items():
            assert array.dtype == dtype, name
            numpy.testing.assert_array_equal(array, getattr(again, name))


def test_records_are_frozen(rng):
    params = EconomyParameters(num_consumers=2, num_firms=1)
    state, actions = initial_state(params, 1), random_actions(params, 1, rng)
    for record in (state, actions, *step(params, state, actions)):
        with pytest.raises(FrozenInstanceError):
            setattr(record, next(iter(vars(record))), None)


def test_economies_in_one_batch_do_not_touch_each_other(rng):
    params = EconomyParameters(num_consumers=6, num_firms=3, dtype="float64")
    state = with_values(initial_state(params, 5), {"inventories": rng.uniform(0, 50, (5, 3))})
    actions = random_actions(params, 5, rng)
    batched = step(params, state, actions)
    for env in range(5):
        alone = step(params, *(type(r)(**{n: a[env : env + 1] for n, a in vars(r).items()}) for r in (state, actions)))
        for whole, part in zip(batched, alone, strict=True):
            for name, array in vars(part).items():
                numpy.testing.assert_allclose(getattr(whole, name)[env], array[0], rtol=1e-13, atol=1e-9, err_msg=name)
