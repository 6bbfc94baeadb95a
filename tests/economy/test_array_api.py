"""The ground floor keeps to the array API standard, gives NumPy's numbers, and leaves every array on its device."""

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import array_api_strict
import numpy
import pytest

from rbc_rllib.arrays import stack
from rbc_rllib.economy import Actions, EconomyParameters, initial_state, step
from rbc_rllib.economy.accounting import residuals
from rbc_rllib.economy.actions import decode
from rbc_rllib.economy.constants import Constants
from rbc_rllib.economy.indicators import episode_indicators
from rbc_rllib.economy.observations import calendar_page, observe
from rbc_rllib.economy.planner import plan_of_choices
from tests.economy.samples import random_actions

StrictArray = type(array_api_strict.zeros(1))
CPU = array_api_strict.Device("CPU_DEVICE")
DEVICES = ("CPU_DEVICE", "device1", "device2")
TO_THE_HOST = (
    *("__array__", "__bool__", "__buffer__", "__complex__", "__dlpack__", "__float__", "__index__", "__int__"),
    *("__iter__", "to_device"),
)
NUM_ENVS = 3

ECONOMIES = {
    "default": {},
    "log utility, total welfare": {"crra": 1, "planner_welfare": "total", "penalty_coefficient": 5},
    "closed, with interest and labor floor": {"export_market": False, "interest_rate": 0.1, "labor_floor": 500},
}


@pytest.fixture(autouse=True)
def strict_flags() -> Iterator[None]:
    """What no accelerator should have to do is switched off: shapes that depend on data, boolean indexing."""
    with array_api_strict.ArrayAPIStrictFlags(
        api_version="2024.12", boolean_indexing=False, data_dependent_shapes=False, enabled_extensions=()
    ):
        yield


@pytest.fixture
def sealed(monkeypatch) -> Iterator[pytest.MonkeyPatch]:
    """Until `undo`, no strict array may become a number or an array of the host."""

    def refuse(*_: Any, **__: Any) -> None:
        raise AssertionError("an array was brought to the host")

    with monkeypatch.context() as patch:
        for method in TO_THE_HOST:
            patch.setattr(StrictArray, method, refuse, raising=False)
        yield patch


def episode(params: EconomyParameters, state: Any, actions: list[Actions]) -> dict[str, Any]:
    """Everything that the ground floor computes in one episode, as one dict of arrays."""
    results, states, outcomes = {}, [state], []
    for t, chosen in enumerate(actions):
        state, outcome = step(params, states[-1], chosen)
        results |= {f"observed {name} {t}": array for name, array in observe(params, state).items()}
        results |= {f"residual {law} {t}": r for law, r in residuals(params, states[-1], outcome, state).items()}
        results |= {f"{name} {t}": array for name, array in (vars(state) | vars(outcome)).items()}
        states.append(state)
        outcomes.append(outcome)
    return results | episode_indicators(params, stack(states[:-1]), stack(outcomes))


def strict(record: Any, device: Any) -> Any:
    """A dataclass of NumPy arrays as one of strict arrays."""
    arrays = {name: array_api_strict.asarray(array, device=device) for name, array in vars(record).items()}
    return replace(record, **arrays)


def host(array: Any) -> numpy.ndarray:
    return numpy.from_dlpack(array.to_device(CPU))


@pytest.mark.parametrize("place", DEVICES)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("name", ECONOMIES)
def test_episode_gives_the_numbers_of_numpy_and_stays_on_its_device(name, dtype, place, rng, sealed):
    params = EconomyParameters(num_consumers=5, num_firms=3, dtype=dtype, **ECONOMIES[name])
    device = array_api_strict.Device(place)
    actions = [random_actions(params, NUM_ENVS, rng) for _ in range(params.episode_length)]
    state = initial_state(params, NUM_ENVS, array_api_strict, device)
    actual = episode(params, state, [strict(chosen, device) for chosen in actions])
    sealed.undo()

    expected = episode(params, initial_state(params, NUM_ENVS), actions)
    assert actual.keys() == expected.keys()
    for key, array in expected.items():
        assert isinstance(actual[key], StrictArray), key
        assert actual[key].device == device, key
        assert host(actual[key]).dtype == array.dtype == dtype, key
        numpy.testing.assert_allclose(host(actual[key]), array, rtol=1e-6, atol=1e-6, err_msg=key)


@pytest.mark.parametrize("place", DEVICES)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("pages", [1, 9])
def test_an_announced_episode_gives_the_numbers_of_numpy_and_stays_on_its_device(pages, dtype, place, rng, sealed):
    """From the choices of the plan, and what the planner sees when it makes them, to the last quarter."""
    params = EconomyParameters(num_consumers=5, num_firms=3, dtype=dtype)
    device = array_api_strict.Device(place)
    choices = rng.integers(36, size=(NUM_ENVS, pages))
    actions = [random_actions(params, NUM_ENVS, rng) for _ in range(params.episode_length)]

    def announced(xp: Any, where: Any, plan: Any, chosen: list[Actions]) -> dict[str, Any]:
        constants = Constants.like(xp.zeros(1, device=where), params)
        state = initial_state(params, NUM_ENVS, xp, where, plan_of_choices(params, plan, constants))
        return episode(params, state, chosen) | {"calendar": calendar_page(pages, pages - 1, 3.0, state.prices)}

    plan = array_api_strict.asarray(choices, device=device)
    actual = announced(array_api_strict, device, plan, [strict(chosen, device) for chosen in actions])
    sealed.undo()
    expected = announced(numpy, None, choices, actions)
    assert actual.keys() == expected.keys() >= {"tax_plan 9", "calendar"}
    for key, array in expected.items():
        assert isinstance(actual[key], StrictArray), key
        assert actual[key].device == device, key
        assert host(actual[key]).dtype == array.dtype == dtype, key
        numpy.testing.assert_allclose(host(actual[key]), array, rtol=1e-6, atol=1e-6, err_msg=key)


def test_float32_economy_needs_no_device_with_float64(rng, sealed):
    params = EconomyParameters(num_consumers=5, num_firms=3, dtype="float32")
    device = array_api_strict.Device("no_float64")
    actions = [strict(random_actions(params, NUM_ENVS, rng), device) for _ in range(params.episode_length)]
    results = episode(params, initial_state(params, NUM_ENVS, array_api_strict, device), actions)
    constants = Constants.like(array_api_strict.zeros(1, dtype=array_api_strict.float32, device=device), params)
    plan = plan_of_choices(
        params, array_api_strict.zeros((NUM_ENVS, 9), dtype=array_api_strict.int64, device=device), constants
    )
    announced = initial_state(params, NUM_ENVS, array_api_strict, device, plan)
    results |= {f"announced {name}": array for name, array in episode(params, announced, actions).items()}
    assert {(array.device, array.dtype) for array in results.values()} == {(device, array_api_strict.float32)}


@pytest.mark.parametrize("place", DEVICES)
def test_decoding_stays_on_its_device(place, rng, sealed):
    params = EconomyParameters(num_consumers=2, num_firms=3)
    device = array_api_strict.Device(place)
    shapes = {"consumer": (NUM_ENVS, 2, 5), "firm": (NUM_ENVS, 3), "planner": (NUM_ENVS, 1)}
    indices = {group: rng.integers(3, size=shape) for group, shape in shapes.items()}
    on_device = {group: array_api_strict.asarray(index, device=device) for group, index in indices.items()}
    demand = Constants.like(on_device["firm"], params).demand
    actions = decode(on_device, demand)
    assert {array.device for array in vars(actions).values()} == {device}
    sealed.undo()
    numpy.testing.assert_array_equal(host(actions.consumption), indices["consumer"][..., :3])
    numpy.testing.assert_array_equal(host(actions.hours_index), indices["consumer"][..., 3])


@pytest.mark.parametrize("conversion", [bool, float, int, complex, list, numpy.asarray, numpy.from_dlpack, host])
def test_the_seal_holds(conversion, sealed):
    array = array_api_strict.zeros((), device=array_api_strict.Device("device1"))
    with pytest.raises(AssertionError, match="brought to the host"):
        conversion(array)


def test_arrays_of_two_devices_do_not_mix(rng):
    params = EconomyParameters(num_consumers=2, num_firms=3)
    state = initial_state(params, NUM_ENVS, array_api_strict, array_api_strict.Device("device1"))
    with pytest.raises((RuntimeError, ValueError), match="device"):
        step(params, state, strict(random_actions(params, NUM_ENVS, rng), CPU))
