"""The array library and its bridge to torch."""

import re
import sys
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

import array_api_strict
import numpy
import pytest
import torch

from rbc_rllib.arrays import (
    array_library,
    from_torch,
    pull_floats,
    stack,
    sum_inner,
    to_numpy,
    to_torch,
)
from rbc_rllib.settings import ConfigError

DTYPES = ("float32", "float64", "int64", "uint8")


def fake_cupy(devices: int) -> SimpleNamespace:
    """As much of CuPy as `array_library` asks for."""
    return SimpleNamespace(cuda=SimpleNamespace(runtime=SimpleNamespace(getDeviceCount=lambda: devices)))


def broken_cupy() -> SimpleNamespace:
    """CuPy on a machine without a driver: it can be imported, and no more."""

    def fail() -> int:
        raise RuntimeError("cudaErrorInsufficientDriver: too old\nsecond line")

    return SimpleNamespace(cuda=SimpleNamespace(runtime=SimpleNamespace(getDeviceCount=fail)))


WITHOUT_GPU = {"not installed": None, "no device": fake_cupy(0), "no driver": broken_cupy()}


@pytest.mark.parametrize("dtype", DTYPES)
def test_to_torch_shares_memory_with_numpy(dtype):
    array = numpy.zeros((2, 3), dtype)
    tensor = to_torch(array)
    assert tensor.dtype == getattr(torch, dtype)
    array[1, 2] = 5
    assert tensor[1, 2] == 5
    tensor[0, 1] = 7
    assert array[0, 1] == 7


@pytest.mark.parametrize("dtype", DTYPES)
def test_from_torch_shares_memory_with_numpy(dtype):
    tensor = torch.zeros((2, 3), dtype=getattr(torch, dtype))
    array = from_torch(tensor, numpy)
    assert isinstance(array, numpy.ndarray)
    assert array.dtype == dtype
    tensor[1, 2] = 5
    assert array[1, 2] == 5
    array[0, 1] = 7
    assert tensor[0, 1] == 7


def test_strided_arrays_keep_their_elements(rng):
    array = rng.normal(size=(4, 6))
    for view in (array.T, array[::2, 1:5], array[:, :, None]):
        numpy.testing.assert_array_equal(to_torch(view).numpy(), view)
        numpy.testing.assert_array_equal(from_torch(to_torch(view), numpy), view)


def test_from_torch_takes_tensors_that_have_a_gradient():
    weights = torch.ones(3, requires_grad=True)
    assert from_torch(weights * 2, numpy).tolist() == [2.0, 2.0, 2.0]


def test_to_numpy_takes_arrays_of_every_library():
    expected = numpy.array([1.0, 2.0])
    on_gpu = SimpleNamespace(get=lambda: expected)  # CuPy's way to the host
    for array in (expected, torch.tensor([1.0, 2.0], requires_grad=True), on_gpu, [1.0, 2.0]):
        assert isinstance(to_numpy(array), numpy.ndarray)
        numpy.testing.assert_array_equal(to_numpy(array), expected)


def test_numpy_is_numpy(monkeypatch):
    monkeypatch.setitem(sys.modules, "cupy", fake_cupy(1))
    assert array_library("numpy") is numpy


@pytest.mark.parametrize("name", ["auto", "cupy"])
def test_cupy_is_taken_where_it_has_a_device(name, monkeypatch):
    cupy = fake_cupy(1)
    monkeypatch.setitem(sys.modules, "cupy", cupy)
    assert array_library(name) is cupy


@pytest.mark.parametrize("cupy", WITHOUT_GPU.values(), ids=WITHOUT_GPU)
def test_auto_is_numpy_where_cupy_has_no_device(cupy, monkeypatch):
    monkeypatch.setitem(sys.modules, "cupy", cupy)
    assert array_library("auto") is numpy


@pytest.mark.parametrize(
    ("cupy", "reason"),
    zip(WITHOUT_GPU.values(), ("cannot be used here", "no CUDA device", "cudaErrorInsufficientDriver"), strict=True),
    ids=WITHOUT_GPU,
)
def test_cupy_is_refused_in_one_sentence_where_it_has_no_device(cupy, reason, monkeypatch):
    monkeypatch.setitem(sys.modules, "cupy", cupy)
    with pytest.raises(ConfigError, match=reason) as refusal:
        array_library("cupy")
    error = refusal.value
    assert (error.key, error.value, error.fix) == ("array_library", "cupy", "use numpy or auto")
    assert str(error).count("\n") == 0
    assert not re.search(r"\. [A-Z]", str(error))


@pytest.mark.parametrize("name", ["torch", "NumPy", ""])
def test_another_library_is_refused(name):
    with pytest.raises(ConfigError, match="one of auto, numpy, cupy") as refusal:
        array_library(name)
    assert (refusal.value.key, refusal.value.value) == ("array_library", name)


@dataclass(frozen=True)
class Record:
    prices: Any
    time: Any


@pytest.mark.parametrize("xp", [numpy, array_api_strict], ids=["numpy", "strict"])
def test_stack_puts_a_new_axis_before_every_field(xp):
    records = [Record(xp.asarray([[t, 1.0]]), xp.asarray([10.0 * t])) for t in range(3)]
    stacked = stack(records)
    assert list(stacked) == ["prices", "time"]
    assert all(isinstance(array, type(xp.zeros(1))) for array in stacked.values())
    assert to_list(stacked["prices"]) == [[[0.0, 1.0]], [[1.0, 1.0]], [[2.0, 1.0]]]
    assert to_list(stacked["time"]) == [[0.0], [10.0], [20.0]]


@pytest.mark.parametrize("xp", [numpy, array_api_strict], ids=["numpy", "strict"])
@pytest.mark.parametrize("axis", [1, 2])
def test_the_sum_as_a_product_is_the_sum(axis, xp, rng):
    values = rng.normal(size=(3, 5, 4))
    summed = sum_inner(xp.asarray(values), axis)
    numpy.testing.assert_allclose(numpy.asarray(to_list(summed)), values.sum(axis), rtol=1e-12)


def to_list(array: Any) -> list:
    return numpy.from_dlpack(array).tolist()


def test_pull_floats_brings_scalars_of_any_type_in_their_order():
    third = numpy.float32(1 / 3)
    values = {"b": numpy.asarray(third), "a": numpy.asarray(2**40 + 1), "c": numpy.asarray(True)}
    pulled = pull_floats(values)
    assert list(pulled.items()) == [("b", float(third)), ("a", 2.0**40 + 1), ("c", 1.0)]
    assert {type(value) for value in pulled.values()} == {float}
