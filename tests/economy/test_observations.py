"""Encodings by their definition, sizes, and who sees what."""

import math
from dataclasses import replace

import numpy
import pytest

from rbc_rllib.economy import GROUPS, AnnouncedState, EconomyParameters, Planner, initial_state
from rbc_rllib.economy.observations import (
    ENCODINGS,
    LOG_SCALE,
    calendar_page,
    encode_amount,
    encoding_size,
    observe,
    private_sizes,
    shared_size,
)
from tests.economy.samples import play

POWERS = 10.0 ** numpy.arange(1, 11)
AMOUNTS = (0.0, 0.01, 1.0, 9.999, 10.0, 12345.678, 2_200_000.0, 7.5e9, 3.2e11, -0.01, -1.0, -12345.678, -2.7e7)


def test_digits_of_an_amount_by_hand():
    digits = encode_amount(numpy.array(12345.678), ("digits",), POWERS)
    assert digits == pytest.approx(
        [0.5678, 0.45678, 0.345678, 0.2345678, 0.12345678, *(0.12345678 / 10**j for j in range(1, 6))], abs=1e-12
    )


@pytest.mark.parametrize("amount", AMOUNTS)
def test_digits_are_the_amount_modulo_each_power_of_ten(amount):
    digits = encode_amount(numpy.array(amount), ("digits",), POWERS)
    assert digits == pytest.approx([amount % 10**j / 10**j for j in range(1, 11)], abs=1e-6)
    assert ((digits >= 0) & (digits <= 1)).all()


@pytest.mark.parametrize("amount", AMOUNTS)
def test_log_is_signed(amount):
    encoded = encode_amount(numpy.array(amount), ("log",), POWERS)
    assert encoded == pytest.approx([math.copysign(math.log(1 + abs(amount)), amount) / LOG_SCALE], rel=1e-12)


def test_both_encodings_stand_side_by_side():
    amounts = numpy.array([[AMOUNTS[:6]], [AMOUNTS[6:12]]])
    both = encode_amount(amounts, ("digits", "log"), POWERS)
    assert both.shape == (2, 1, 6, 11)
    numpy.testing.assert_array_equal(both[..., :10], encode_amount(amounts, ("digits",), POWERS))
    numpy.testing.assert_array_equal(both[..., 10:], encode_amount(amounts, ("log",), POWERS))


@pytest.mark.parametrize(("encodings", "size"), [(("digits",), 10), (("log",), 1), (ENCODINGS, 11)])
@pytest.mark.parametrize(("num_consumers", "num_firms"), [(1, 1), (7, 3), (3, 7), (100, 10)])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_observations_have_the_announced_sizes(num_consumers, num_firms, encodings, size, dtype):
    params = EconomyParameters(num_consumers=num_consumers, num_firms=num_firms, dtype=dtype)
    assert encoding_size(encodings) == size
    assert shared_size(params, encodings) == num_firms * (3 + size) + 3
    assert private_sizes(params, encodings) == {"consumer": size + 1, "firm": size + 2 + num_firms, "planner": 0}
    assert tuple(private_sizes(params, encodings)) == GROUPS
    seen = observe(params, initial_state(params, 2), encodings)
    assert {name: array.shape for name, array in seen.items()} == {
        "shared": (2, shared_size(params, encodings)),
        "consumer": (2, num_consumers, private_sizes(params, encodings)["consumer"]),
        "firm": (2, num_firms, private_sizes(params, encodings)["firm"]),
    }
    assert {array.dtype.name for array in seen.values()} == {dtype}


@pytest.mark.parametrize(
    ("planner", "episode_length", "announced", "calendar"),
    [
        (Planner(), 10, 0, 0),
        (Planner(mode="constant"), 10, 18, 1),
        (Planner(mode="schedule"), 10, 18, 9),
        (Planner(mode="schedule"), 2, 2, 1),
        (Planner(mode="schedule"), 1, 0, 1),
        (Planner(mode="constant"), 1, 0, 1),
        (Planner(mode="fixed", rates=((0.0, 0.8),)), 10, 18, 0),
        (Planner(mode="fixed", rates="drawn"), 10, 18, 1),
    ],
    ids=str,
)
def test_what_is_announced_is_seen_by_all_and_a_calendar_by_its_planner(planner, episode_length, announced, calendar):
    params = EconomyParameters(num_consumers=2, num_firms=3, episode_length=episode_length)
    assert shared_size(params, ENCODINGS, planner) == shared_size(params, ENCODINGS) + announced
    sizes = private_sizes(params, ENCODINGS, planner)
    assert sizes == private_sizes(params, ENCODINGS) | {"planner": calendar}
    if planner.announces:
        plan = numpy.zeros((2, episode_length, 2), numpy.float32)
        seen = observe(params, initial_state(params, 2, tax_plan=plan))
        assert seen["shared"].shape == (2, shared_size(params, ENCODINGS, planner))


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_the_rates_of_the_quarters_after_the_first_are_announced_in_their_order(dtype, rng):
    """Income and corporate, quarter by quarter, at the end of what all see, in every quarter; nothing else changes."""
    params = EconomyParameters(num_consumers=4, num_firms=3, episode_length=5, dtype=dtype)
    plan = rng.random((6, 5, 2)).astype(dtype)
    by_hand = [[rate for quarter in range(1, 5) for rate in plan[env, quarter]] for env in range(6)]
    for quarter, state in enumerate(play(params, 6, rng)[0]):
        plain, announced = observe(params, state), observe(params, AnnouncedState(**vars(state), tax_plan=plan))
        assert announced.keys() == plain.keys()
        size = plain["shared"].shape[1]
        numpy.testing.assert_array_equal(announced["shared"][:, :size], plain["shared"], err_msg=str(quarter))
        numpy.testing.assert_array_equal(announced["shared"][:, size:], by_hand, err_msg=str(quarter))
        for group in ("consumer", "firm"):
            numpy.testing.assert_array_equal(announced[group], plain[group])
        assert announced["shared"].dtype == dtype


@pytest.mark.parametrize("sharpness", [1.0, 2.5, 1e6])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_a_calendar_shows_the_page_and_how_sharply_to_choose(dtype, sharpness):
    like = numpy.zeros((3, 2), dtype)
    for page in range(4):
        seen = calendar_page(4, page, sharpness, like)
        assert (seen.shape, seen.dtype) == ((3, 1, 4), dtype)
        expected = [sharpness * (k == page) for k in range(4)]
        assert seen.tolist() == [[expected]] * 3


def test_what_stands_where():
    params = EconomyParameters(num_consumers=2, num_firms=2, initial_capital=(4000, 8000), dtype="float64")
    state = replace(
        initial_state(params, 1),
        prices=numpy.array([[500.0, 2500.0]]),
        wages=numpy.array([[11.0, 44.0]]),
        inventories=numpy.array([[0.0, math.e**6 - 1]]),
        overdemanded=numpy.array([[1.0, 0.0]]),
        income_tax_rate=numpy.array([0.2]),
        corporate_tax_rate=numpy.array([0.8]),
        time=numpy.array([3.0]),
        consumer_budget=numpy.array([[math.e**12 - 1, 0.0]]),
        firm_budget=numpy.array([[1 - math.e**3, 0.0]]),
        capital=numpy.array([[4000.0, 12_000.0]]),
        labor_disutility=numpy.array([[0.01, 0.005]]),
        labor_elasticity=numpy.array([[0.3, 0.6]]),
    )
    seen = observe(params, state, ("log",))
    assert seen["shared"][0] == pytest.approx([0.2, 1.0, 0.25, 1.0, 0.0, 0.5, 1.0, 0.0, 0.2, 0.8, 0.3])
    assert seen["consumer"][0].ravel() == pytest.approx([1.0, 1.0, 0.0, 0.5])
    assert seen["firm"][0].ravel() == pytest.approx([-0.25, 0.5, 0.3, 1.0, 0.0, 0.0, 1.5, 0.6, 0.0, 1.0])


def test_inventories_stand_good_by_good_in_the_shared_observation(rng):
    params = EconomyParameters(num_consumers=2, num_firms=3, dtype="float64")
    inventories = rng.uniform(0, 1e6, (4, 3))
    shared = observe(params, replace(initial_state(params, 4), inventories=inventories))["shared"]
    for good in range(3):
        columns = slice(6 + 11 * good, 6 + 11 * (good + 1))
        numpy.testing.assert_array_equal(shared[:, columns], encode_amount(inventories[:, good], ENCODINGS, POWERS))


@pytest.mark.parametrize(
    ("field", "group"),
    [
        ("consumer_budget", "consumer"),
        ("labor_disutility", "consumer"),
        ("firm_budget", "firm"),
        ("capital", "firm"),
        ("labor_elasticity", "firm"),
    ],
)
def test_private_matters_are_seen_by_one_agent_alone(field, group):
    params = EconomyParameters(num_consumers=4, num_firms=3, dtype="float64")
    state = initial_state(params, 2)
    changed = getattr(state, field).copy()
    changed[1, 2] *= 0.7
    before, after = observe(params, state), observe(params, replace(state, **{field: changed}))
    for name in before:
        differs = (before[name] != after[name]).any(axis=-1)
        assert numpy.argwhere(differs).tolist() == ([[1, 2]] if name == group else [])


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_observations_of_whole_episodes_are_finite_and_of_order_one(dtype, rng):
    params = EconomyParameters(num_consumers=9, num_firms=3, interest_rate=0.1, dtype=dtype)
    for state in play(params, 4, rng)[0]:
        for array in observe(params, state).values():
            assert numpy.isfinite(array).all()
            assert numpy.abs(array).max() < 20


def test_menus_of_nothing_but_zero_leave_prices_wages_and_capital_as_they_are():
    params = EconomyParameters(
        num_firms=1, price_choices=[0], wage_choices=[0], initial_price=7, initial_wage=3, initial_capital=[0]
    )
    seen = observe(params, initial_state(params, 1), ("log",))
    assert seen["shared"][0, :2].tolist() == [7, 3]
    assert seen["firm"][0, 0, 1] == 0
