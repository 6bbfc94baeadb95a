"""One quarter: against the scalar reference on random economies, and against numbers worked out by hand."""

import math
from dataclasses import FrozenInstanceError, replace
from typing import Any

import numpy
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from rbc_rllib.economy import Actions, EconomyParameters, Outcome, State, initial_state, step
from tests.economy import scalar_reference
from tests.economy.samples import idle_actions, random_actions

DTYPES = ("float32", "float64")
ROUNDING = {"float32": 1e-5, "float64": 1e-13}
"""Error allowed in a quantity, as a share of the largest quantity with the same unit in the economy."""

UNITS = {
    "money": (
        *("consumer_budget", "firm_budget", "capital", "spending", "wage_income", "income_tax", "investment"),
        *("profit", "corporate_tax", "tax_revenue", "transfer", "consumer_interest", "firm_interest", "firm_reward"),
    ),
    "goods": ("inventories", "consumption", "exports", "output"),
    "utility": ("consumer_reward", "planner_reward"),
}


def assert_agrees_with_the_reference(params: EconomyParameters, state: State, actions: Actions) -> None:
    after, outcome = step(params, state, actions)
    rounding = ROUNDING[params.dtype]
    for env in range(state.time.shape[0]):
        before = scalar_reference.economy(state, env)
        expected_after, expected_outcome = scalar_reference.step(params, before, scalar_reference.economy(actions, env))
        expected = expected_after | expected_outcome
        actual = scalar_reference.economy(after, env) | scalar_reference.economy(outcome, env)
        assert actual.keys() == expected.keys()
        magnitudes = unit_magnitudes(params, before, expected)
        for name, values in expected.items():
            atol = rounding * magnitudes.get(name, 1.0)
            numpy.testing.assert_allclose(actual[name], values, rounding, atol, err_msg=f"{name} of economy {env}")


def unit_magnitudes(params: EconomyParameters, *records: dict[str, Any]) -> dict[str, float]:
    """For each quantity the largest absolute value, at least 1, that any quantity with its unit has in `records`."""
    magnitudes = {}
    for names in UNITS.values():
        values = [record[name] for record in records for name in names if name in record]
        magnitudes |= dict.fromkeys(names, max(1.0, *(float(numpy.abs(value).max()) for value in values)))
    if params.planner_welfare == "total":
        magnitudes["planner_reward"] += params.firm_welfare_weight * magnitudes["firm_reward"]
    return magnitudes


def whole_numbers(low: int, high: int, *edges: float) -> st.SearchStrategy[float]:
    """Floats that both dtypes hold exactly, with the `edges` more often than chance has them."""
    return st.one_of(st.sampled_from((float(low), *edges)), st.integers(low, high).map(float))


PARAMETERS = st.fixed_dictionaries(
    {
        "num_consumers": st.integers(1, 4),
        "num_firms": st.integers(1, 3),
        "episode_length": st.integers(1, 3),
        "crra": st.one_of(st.just(1.0), st.integers(0, 40).map(lambda n: n / 20)),
        "interest_rate": st.sampled_from([0.0, 0.1]),
        "total_factor_productivity": st.sampled_from([0.0, 0.01, 1.0]),
        "investment_share": st.sampled_from([0.0, 0.1, 1.0]),
        "labor_floor": whole_numbers(0, 2000, 260.0, 300.0, 520.0),
        "export_market": st.booleans(),
        "export_price": whole_numbers(0, 3000, 500.0),
        "export_quantity": whole_numbers(0, 300),
        "budget_guard": st.sampled_from([0.0, 0.01]),
        "penalty_coefficient": st.sampled_from([0.0, 5.0]),
        "planner_welfare": st.sampled_from(["consumer", "total"]),
        "dtype": st.sampled_from(DTYPES),
    }
).map(lambda values: EconomyParameters(**values))


@st.composite
def quarters(draw: st.DrawFn) -> tuple[EconomyParameters, State, Actions]:
    """Parameters, and a state and actions of two economies, all of them anything at all."""
    params = draw(PARAMETERS)
    num_envs, num_consumers, num_firms = 2, params.num_consumers, params.num_firms

    def floats(elements: st.SearchStrategy[float], *agents: int) -> numpy.ndarray:
        return draw(hnp.arrays(params.dtype, (num_envs, *agents), elements=elements))

    def integers(options: int, *agents: int) -> numpy.ndarray:
        return draw(hnp.arrays(numpy.int64, (num_envs, *agents), elements=st.integers(0, options - 1)))

    # Whether a good is overdemanded jumps where demand equals the inventory: the odd fraction keeps rounding out of it.
    inventory = st.one_of(st.just(0.0), st.integers(0, 200).map(lambda units: units + 0.140625))
    tenths = st.integers(0, 10).map(lambda n: float(numpy.float32(n / 10)))
    state = State(
        prices=floats(whole_numbers(0, 3000, 500.0, 1000.0), num_firms),
        wages=floats(whole_numbers(0, 50, 22.0), num_firms),
        inventories=floats(inventory, num_firms),
        overdemanded=floats(st.sampled_from([0.0, 1.0]), num_firms),
        income_tax_rate=floats(tenths),
        corporate_tax_rate=floats(tenths),
        time=floats(whole_numbers(0, params.episode_length - 1, params.episode_length - 1.0)),
        consumer_budget=floats(whole_numbers(-3000, 100_000, 0.0, 2000.0), num_consumers),
        firm_budget=floats(whole_numbers(-100_000, 1_000_000, 0.0), num_firms),
        capital=floats(whole_numbers(0, 50_000, 5000.0), num_firms),
        labor_disutility=floats(tenths, num_consumers),
        labor_elasticity=floats(tenths, num_firms),
    )
    actions = Actions(
        consumption=integers(len(params.demand_choices), num_consumers, num_firms),
        hours_index=integers(len(params.hours_choices), num_consumers),
        employer=integers(num_firms, num_consumers),
        firm=integers(len(params.price_choices) * len(params.wage_choices), num_firms),
        planner=integers(len(params.tax_choices) ** 2),
    )
    return params, state, actions


@settings(max_examples=400, deadline=None, derandomize=True)
@given(quarters())
def test_any_quarter_agrees_with_the_scalar_reference(case):
    assert_agrees_with_the_reference(*case)


EDGES: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "a working economy": ({}, {}),
    "empty inventories": ({}, {"inventories": 0}),
    "zero budgets": ({}, {"consumer_budget": 0, "firm_budget": 0}),
    "negative budgets": ({"interest_rate": 0.1}, {"consumer_budget": -100, "firm_budget": -1e6}),
    "goods for free": ({}, {"prices": 0}),
    "goods for free, zero budgets": ({}, {"prices": 0, "consumer_budget": 0}),
    "goods for free, negative budgets": ({}, {"prices": 0, "consumer_budget": -1}),
    "goods and budgets of a few cents": ({"budget_guard": 0}, {"prices": 0.0078125, "consumer_budget": 0.0625}),
    "work for free": ({}, {"wages": 0}),
    "one firm": ({"num_firms": 1}, {}),
    "one consumer": ({"num_consumers": 1}, {}),
    "one of each": ({"num_consumers": 1, "num_firms": 1}, {}),
    "no capital": ({}, {"capital": 0}),
    "output of labor alone": ({}, {"labor_elasticity": 1}),
    "output of capital alone": ({}, {"labor_elasticity": 0}),
    "labor floor": ({"labor_floor": 800}, {}),
    "labor floor that nobody reaches": ({"labor_floor": 1e6}, {}),
    "risk neutral": ({"crra": 0}, {}),
    "log utility": ({"crra": 1}, {}),
    "very risk averse": ({"crra": 3}, {}),
    "interest": ({"interest_rate": 0.1}, {}),
    "closed economy": ({"export_market": False}, {}),
    "no room for exports": ({"export_quantity": 0}, {}),
    "all income taxed": ({}, {"income_tax_rate": 1, "corporate_tax_rate": 1}),
    "last quarter with debt": ({"penalty_coefficient": 5}, {"time": 9, "firm_budget": -1e6}),
    "last quarter but one with debt": ({"penalty_coefficient": 5}, {"time": 8, "firm_budget": -1e6}),
    "total welfare": ({"planner_welfare": "total"}, {}),
    "total welfare in the last quarter with debt": (
        {"planner_welfare": "total", "penalty_coefficient": 5},
        {"time": 9, "firm_budget": -1e6},
    ),
}


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("edge", EDGES)
def test_edge_case_agrees_with_the_scalar_reference(edge, dtype, rng):
    overrides, values = EDGES[edge]
    params = EconomyParameters(**{"num_consumers": 9, "num_firms": 4, "dtype": dtype} | overrides)
    working = {"wages": 22, "inventories": 30, "income_tax_rate": 0.2, "corporate_tax_rate": 0.4, "time": 3}
    state = with_values(initial_state(params, 3), working | values)
    assert_agrees_with_the_reference(params, state, random_actions(params, 3, rng))


def with_values(state: State, values: dict[str, Any]) -> State:
    """The state with `values`, broadcast to the shape of the arrays that they replace."""
    arrays = {name: numpy.zeros_like(getattr(state, name)) + numpy.asarray(value) for name, value in values.items()}
    return replace(state, **{name: array.astype(state.prices.dtype) for name, array in arrays.items()})


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


@pytest.mark.parametrize("dtype", DTYPES)
def test_step_is_pure_and_keeps_the_dtype(dtype, rng):
    params = EconomyParameters(num_consumers=6, num_firms=3, interest_rate=0.1, dtype=dtype)
    state, actions = initial_state(params, 4), random_actions(params, 4, rng)
    arrays = [*vars(state).values(), *vars(actions).values()]
    copies = [array.copy() for array in arrays]
    for array in arrays:
        array.setflags(write=False)
    first, second = (step(params, state, actions) for _ in range(2))
    for array, copy in zip(arrays, copies, strict=True):
        numpy.testing.assert_array_equal(array, copy)
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
