"""Menus and numbers as arrays: what they hold, where they lie, and that they change nothing of a quarter."""

from dataclasses import fields

import array_api_strict
import numpy
import pytest

from rbc_rllib.economy import EconomyParameters, initial_state, step
from rbc_rllib.economy.actions import firm_menu, planner_menu
from rbc_rllib.economy.constants import Constants
from rbc_rllib.economy.observations import observe
from tests.economy.samples import play, random_actions


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_constants_are_the_menus_in_the_dtype_of_the_economy(dtype):
    params = EconomyParameters(num_firms=3, dtype=dtype)
    fixed = Constants.like(numpy.zeros(1), params)
    numpy.testing.assert_array_equal(numpy.stack([fixed.prices, fixed.wages], axis=1), firm_menu(params))
    numpy.testing.assert_array_equal(
        numpy.stack([fixed.income_tax_rates, fixed.corporate_tax_rates], axis=1), planner_menu(params)
    )
    assert fixed.hours.tolist() == list(params.hours_choices)
    assert fixed.demand.tolist() == list(params.demand_choices)
    assert fixed.firm_identity.tolist() == [[1, 0, 0], [0, 1, 0], [0, 0, 1]]
    assert fixed.powers_of_ten.tolist() == [10**j for j in range(1, 11)]
    assert {array.dtype.name for array in vars(fixed).values()} == {dtype}


@pytest.mark.parametrize("place", ["CPU_DEVICE", "device1", "device2"])
def test_constants_lie_where_the_array_lies(place):
    """In its library and on its device, like CuPy's, whose devices are equal by number and have no hash."""
    device = array_api_strict.Device(place)
    fixed = Constants.like(array_api_strict.zeros(1, device=device), EconomyParameters(num_firms=3))
    assert {type(array) for array in vars(fixed).values()} == {type(array_api_strict.zeros(1))}
    assert {array.device for array in vars(fixed).values()} == {device}


@pytest.mark.parametrize("change", [{"labor_disutility": 0.003}, {"penalty_coefficient": 7.0}], ids=str)
def test_what_a_curriculum_anneals_is_none_of_the_constants(change):
    params = EconomyParameters(num_firms=3)
    one, other = (Constants.like(numpy.zeros(1), each) for each in (params, params.annealed(**change)))
    for field in fields(Constants):
        numpy.testing.assert_array_equal(getattr(one, field.name), getattr(other, field.name), err_msg=field.name)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_a_quarter_with_constants_is_the_quarter_without(dtype, rng):
    params = EconomyParameters(num_consumers=5, num_firms=3, interest_rate=0.1, initial_inventory=20, dtype=dtype)
    fixed = Constants.like(numpy.zeros(1), params)
    for state in play(params, 3, rng)[0]:
        actions = random_actions(params, 3, rng)
        for given, own in zip(step(params, state, actions, fixed), step(params, state, actions), strict=True):
            for name, array in vars(own).items():
                numpy.testing.assert_array_equal(getattr(given, name), array, err_msg=name)
        seen = observe(params, state, constants=fixed)
        for name, array in observe(params, state).items():
            numpy.testing.assert_array_equal(seen[name], array, err_msg=name)


def test_a_quarter_takes_its_menus_from_the_constants_that_it_is_given(rng):
    """So that nothing is built again: those of another menu show."""
    params = EconomyParameters(num_consumers=2, num_firms=1)
    dearer = Constants.like(numpy.zeros(1), params.replace(price_choices=(3000.0, *range(3500, 6000, 500))))
    actions = random_actions(params, 4, rng)
    after, _ = step(params, initial_state(params, 4), actions, dearer)
    numpy.testing.assert_array_equal(after.prices, 3000 + 500 * (actions.firm // 5))
