"""Bootstrap intervals over seeds."""

import itertools
import math

import numpy
import pytest

from analysis.intervals import Interval, mean_interval


def test_the_interval_is_that_of_all_resamples() -> None:
    """With three seeds all 27 resamples can be listed."""
    values = [1.0, 2.0, 6.0]
    means = [numpy.mean(sample) for sample in itertools.product(values, repeat=3)]
    interval = mean_interval(values, numpy.random.default_rng(0), confidence=0.8, resamples=20_000)
    assert interval.mean == 3.0
    assert interval.low == pytest.approx(numpy.quantile(means, 0.1), abs=1e-9)
    assert interval.high == pytest.approx(numpy.quantile(means, 0.9), abs=1e-9)
    assert interval.count == 3


def test_many_seeds_give_the_textbook_interval() -> None:
    values = numpy.random.default_rng(1).normal(5.0, 2.0, size=400)
    interval = mean_interval(values, numpy.random.default_rng(0))
    half = 1.96 * values.std() / 20
    assert interval.low == pytest.approx(values.mean() - half, abs=0.1 * half)
    assert interval.high == pytest.approx(values.mean() + half, abs=0.1 * half)


def test_the_same_generator_gives_the_same_interval() -> None:
    values = numpy.random.default_rng(2).normal(size=10)
    first, second, other = (mean_interval(values, numpy.random.default_rng(seed), resamples=200) for seed in (0, 0, 1))
    assert first == second
    assert first != other


@pytest.mark.parametrize("values", [[], [4.0], [4.0, math.nan]])
def test_fewer_than_two_numbers_have_no_interval(values: list[float]) -> None:
    interval = mean_interval(values, numpy.random.default_rng(0))
    assert not interval.known
    assert math.isnan(interval.low)
    assert math.isnan(interval.high)
    assert interval.count == len(values)
    assert (interval.mean == 4.0) == (values == [4.0])


@pytest.mark.filterwarnings("error")
def test_equal_seeds_have_an_interval_of_no_width() -> None:
    assert mean_interval([2.0, 2.0], numpy.random.default_rng(0)) == Interval(2.0, 2.0, 2.0, 2)


def test_overlap() -> None:
    low, middle, high = Interval(1, 0, 2, 3), Interval(2, 1.5, 3, 3), Interval(4, 3.5, 5, 3)
    single = Interval(1, math.nan, math.nan, 1)
    assert low.overlaps(middle)
    assert middle.overlaps(low)
    assert not low.overlaps(high)
    assert not low.overlaps(single)
