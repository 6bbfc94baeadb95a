"""Menus, ranges and the decoding of indices."""

import numpy
import pytest

from rbc_rllib.economy import GROUPS, ActionRanges, EconomyParameters, initial_state, step
from rbc_rllib.economy.actions import (
    allowed_actions,
    choose,
    decode,
    firm_menu,
    group_sizes,
    head_sizes,
    planner_menu,
    tax_choice,
)
from tests.economy.samples import idle_actions


@pytest.mark.parametrize(("num_consumers", "num_firms"), [(1, 1), (7, 3), (100, 10)])
def test_sizes_of_groups_and_heads(num_consumers, num_firms):
    params = EconomyParameters(num_consumers=num_consumers, num_firms=num_firms)
    assert group_sizes(params) == {"consumer": num_consumers, "firm": num_firms, "planner": 1}
    assert head_sizes(params) == {"consumer": (11,) * num_firms + (5, num_firms), "firm": (30,), "planner": (36,)}
    assert tuple(group_sizes(params)) == tuple(head_sizes(params)) == GROUPS


def test_heads_follow_the_menus():
    params = EconomyParameters(
        num_firms=2,
        demand_choices=(0, 1, 5),
        hours_choices=(0, 500),
        price_choices=(1, 2, 3, 4),
        wage_choices=(1, 2),
        tax_choices=(0.5,),
    )
    assert head_sizes(params) == {"consumer": (3, 3, 2, 2), "firm": (8,), "planner": (1,)}


def test_firm_menu_is_price_major_and_planner_menu_income_major():
    params = EconomyParameters(price_choices=(100, 200), wage_choices=(1, 2, 3), tax_choices=(0, 0.5), dtype="float64")
    assert firm_menu(params).tolist() == [[100, 1], [100, 2], [100, 3], [200, 1], [200, 2], [200, 3]]
    assert planner_menu(params).tolist() == [[0, 0], [0, 0.5], [0.5, 0], [0.5, 0.5]]


def test_unbounded_ranges_allow_everything():
    for allowed in allowed_actions(EconomyParameters(), ActionRanges()).values():
        assert allowed.dtype == bool
        assert allowed.all()


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize(
    ("ranges", "expected"),
    [
        (ActionRanges(price=(1000, 1000), wage=(22, 22)), {(1000, 22)}),
        (ActionRanges(price=(500, 1000), wage=(0, 11)), {(500, 0), (500, 11), (1000, 0), (1000, 11)}),
        (ActionRanges(price=(600, 1400), wage=(20, 23)), {(1000, 22)}),
        (ActionRanges(price=(2400, float("inf")), wage=(44, 44)), {(2500, 44)}),
    ],
)
def test_firm_may_choose_within_closed_ranges(ranges, expected, dtype):
    params = EconomyParameters(dtype=dtype)
    allowed = allowed_actions(params, ranges)["firm"]
    assert {tuple(choice) for choice in firm_menu(params)[allowed].tolist()} == expected


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize(
    ("ranges", "expected"),
    [
        (ActionRanges(income_tax_rate=(0, 0), corporate_tax_rate=(0, 0)), {(0, 0)}),
        (ActionRanges(income_tax_rate=(0, 0.2), corporate_tax_rate=(1, 1)), {(0, 1), (0.2, 1)}),
        # The sum of 0.1, 0.2 and 0.3 is not 0.6.
        (ActionRanges(income_tax_rate=(0.1 + 0.2 + 0.3, 0.7), corporate_tax_rate=(0.8, 0.8)), {(0.6, 0.8)}),
        (ActionRanges(income_tax_rate=(0.5, 1 - 0.4), corporate_tax_rate=(0.8, 0.8)), {(0.6, 0.8)}),
    ],
)
def test_planner_may_choose_within_closed_ranges(ranges, expected, dtype):
    params = EconomyParameters(dtype=dtype)
    allowed = allowed_actions(params, ranges)["planner"]
    assert {tuple(choice) for choice in planner_menu(params)[allowed].round(6).tolist()} == {
        tuple(planner_menu(params).dtype.type(rate).round(6).item() for rate in choice) for choice in expected
    }


@pytest.mark.parametrize(
    ("price", "allowed_price"), [((100, 200), 0), ((250, 250), 0), ((300, 450), 500), ((9000, 9999), 2500)]
)
def test_range_without_a_choice_allows_the_nearest(price, allowed_price):
    params = EconomyParameters()
    allowed = allowed_actions(params, ActionRanges(price=price, wage=(11, 11)))["firm"]
    assert firm_menu(params)[allowed].tolist() == [[allowed_price, 11]]


@pytest.mark.parametrize(
    ("rates", "choice"),
    [
        ((0.0, 0.0), (0.0, 0.0)),
        ((0.2, 0.8), (0.2, 0.8)),
        ((1.0, 0.6), (1.0, 0.6)),
        ((0.29, 0.31), (0.2, 0.4)),  # the nearest of the menu
        ((0.1 + 0.2 + 0.3, 1 - 0.4), (0.6, 0.6)),
    ],
)
def test_tax_choice_is_the_nearest_on_the_menu(rates, choice):
    params = EconomyParameters(dtype="float64")
    assert planner_menu(params)[tax_choice(params, rates)].tolist() == list(choice)


def test_of_two_tax_rates_equally_near_the_lower_one_is_taken():
    params = EconomyParameters(tax_choices=(0.0, 0.5, 1.0), dtype="float64")
    assert planner_menu(params)[tax_choice(params, (0.25, 0.75))].tolist() == [0.0, 0.5]


@pytest.mark.parametrize(
    ("highest", "choice"),
    [
        ((0.0, 0.0), (0.0, 0.0)),
        ((0.25, 0.25), (0.2, 0.2)),
        ((0.55, 0.55), (0.4, 0.6)),
        ((1.0, 0.1), (0.4, 0.0)),
        ((0.3, 1.0), (0.2, 0.8)),
        ((1.0, 1.0), (0.4, 0.8)),
    ],
)
def test_tax_choice_is_lowered_to_the_ranges_of_each_rate(highest, choice):
    """40% and 80% are phased in: each is as high as its own range allows."""
    params = EconomyParameters(dtype="float64")
    ranges = ActionRanges(income_tax_rate=(0.0, highest[0]), corporate_tax_rate=(0.0, highest[1]))
    assert planner_menu(params)[tax_choice(params, (0.4, 0.8), ranges)].tolist() == list(choice)


def test_tax_choice_counts_income_major():
    assert tax_choice(EconomyParameters(), (0.2, 0.8)) == 6 * 1 + 4


def test_choose_looks_up_indices_of_any_shape():
    menu = numpy.array([5.0, 6.0, 7.0])
    assert choose(menu, numpy.array([[0, 2], [1, 1]], numpy.int8)).tolist() == [[5, 7], [6, 6]]
    assert choose(menu, numpy.array([2])).tolist() == [7]


def test_decode_splits_the_heads_of_a_consumer():
    params = EconomyParameters(num_consumers=2, num_firms=3, demand_choices=(0, 1, 2.5), dtype="float64")
    indices = {
        "consumer": numpy.array([[[0, 1, 2, 4, 1], [2, 2, 0, 3, 0]]]),
        "firm": numpy.array([[7, 8, 9]]),
        "planner": numpy.array([[35]]),
    }
    actions = decode(indices, numpy.array(params.demand_choices))
    assert actions.consumption.tolist() == [[[0, 1, 2.5], [2.5, 2.5, 0]]]
    assert actions.hours_index.tolist() == [[4, 3]]
    assert actions.employer.tolist() == [[1, 0]]
    assert actions.firm.tolist() == [[7, 8, 9]]
    assert actions.planner.tolist() == [35]


def test_every_action_of_the_menus_becomes_the_next_prices_wages_and_taxes():
    params = EconomyParameters(num_consumers=1, num_firms=1)
    for group, menu, fields in (
        ("firm", firm_menu(params), ("prices", "wages")),
        ("planner", planner_menu(params), ("income_tax_rate", "corporate_tax_rate")),
    ):
        every = numpy.arange(len(menu))
        index = every[:, None] if group == "firm" else every
        after, _ = step(params, initial_state(params, len(menu)), idle_actions(params, len(menu), **{group: index}))
        numpy.testing.assert_array_equal(numpy.stack([getattr(after, field).ravel() for field in fields], axis=1), menu)
