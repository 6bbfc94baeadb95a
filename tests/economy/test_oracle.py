"""One quarter against the scalar reference: of anything at all, and of the cases at the edges."""

from typing import Any

import numpy
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from rbc_rllib.economy import Actions, AnnouncedState, EconomyParameters, State, initial_state, step
from tests.economy import scalar_reference
from tests.economy.samples import random_actions, with_values

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
    """Parameters, and a state and actions of two economies, all of them anything at all; taxes announced or not."""
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
    if draw(st.booleans()):
        state = AnnouncedState(**vars(state), tax_plan=floats(tenths, params.episode_length, 2))
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
