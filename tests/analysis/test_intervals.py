"""Intervals over seeds and episodes."""

import itertools
import math

import numpy
import pytest
from scipy import stats

from analysis.intervals import Interval, crossed_interval, mean_interval, t_interval


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


def test_a_record_is_valid_json() -> None:
    assert Interval(1.0, 0.5, 2.0, 3).record() == {"mean": 1.0, "low": 0.5, "high": 2.0}
    assert Interval(1.0, math.nan, math.nan, 1).record() == {"mean": 1.0, "low": None, "high": None}
    assert Interval(math.inf, math.nan, math.nan, 2).record() == {"mean": None, "low": None, "high": None}


def test_overlap() -> None:
    low, middle, high = Interval(1, 0, 2, 3), Interval(2, 1.5, 3, 3), Interval(4, 3.5, 5, 3)
    single = Interval(1, math.nan, math.nan, 1)
    assert low.overlaps(middle)
    assert middle.overlaps(low)
    assert not low.overlaps(high)
    assert not low.overlaps(single)


def test_a_crossed_interval_is_that_of_all_resamples_of_seeds_and_episodes() -> None:
    """With two seeds and three episodes all 4 x 27 resamples can be listed."""
    values = numpy.array([[1.0, 2.0, 6.0], [0.0, 5.0, 3.0]])
    means = [
        values[numpy.ix_(seeds, episodes)].mean()
        for seeds in itertools.product(range(2), repeat=2)
        for episodes in itertools.product(range(3), repeat=3)
    ]
    interval = crossed_interval(values, numpy.random.default_rng(0), confidence=0.8, resamples=40_000)
    assert interval.mean == pytest.approx(values.mean())
    assert interval.low == pytest.approx(numpy.quantile(means, 0.1), abs=0.05)
    assert interval.high == pytest.approx(numpy.quantile(means, 0.9), abs=0.05)
    assert interval.count == 2


def test_a_crossed_interval_is_wider_where_seeds_differ() -> None:
    rng = numpy.random.default_rng(2)
    noise = rng.normal(size=(5, 100))
    alike = crossed_interval(noise, numpy.random.default_rng(0))
    apart = crossed_interval(noise + 3 * numpy.arange(5)[:, None], numpy.random.default_rng(0))
    assert apart.high - apart.low > 3 * (alike.high - alike.low)


def test_one_seed_leaves_an_interval_over_episodes_and_one_episode_none() -> None:
    values = numpy.random.default_rng(3).normal(size=(1, 400))
    one_seed = crossed_interval(values, numpy.random.default_rng(0))
    over_episodes = mean_interval(values[0], numpy.random.default_rng(0))
    assert one_seed.low == pytest.approx(over_episodes.low, abs=0.01)
    assert one_seed.high == pytest.approx(over_episodes.high, abs=0.01)
    assert one_seed.count == 1
    assert not crossed_interval(values[:, :1], numpy.random.default_rng(0)).known


@pytest.mark.parametrize("values", [[1.0, 2.0, 6.0], [1.0, 2.0], [-3.0, 5.0, 4.0, 4.5, 100.0]])
def test_the_t_interval_is_that_of_the_t_test(values: list[float]) -> None:
    expected = stats.ttest_1samp(values, 0).confidence_interval(0.9)
    interval = t_interval(values, confidence=0.9)
    assert (interval.low, interval.high) == pytest.approx((expected.low, expected.high))
    assert (interval.mean, interval.count) == (pytest.approx(numpy.mean(values)), len(values))


def test_a_t_interval_covers_the_mean_of_three_seeds_as_often_as_it_says_and_a_bootstrap_does_not() -> None:
    rng = numpy.random.default_rng(0)
    samples = rng.normal(size=(400, 3))
    student = [t_interval(sample) for sample in samples]
    resampled = [mean_interval(sample, rng, resamples=200) for sample in samples]
    covered = [numpy.mean([each.low <= 0 <= each.high for each in intervals]) for intervals in (student, resampled)]
    assert covered[0] == pytest.approx(0.95, abs=0.03)
    assert covered[1] < 0.85


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("values", [[], [4.0], [4.0, math.nan]])
def test_fewer_than_two_numbers_have_no_t_interval(values: list[float]) -> None:
    interval = t_interval(values)
    assert not interval.known
    assert interval.count == len(values)
    assert (interval.mean == 4.0) == (values == [4.0])


@pytest.mark.filterwarnings("error")
def test_equal_seeds_have_a_t_interval_of_no_width() -> None:
    assert t_interval([2.0, 2.0, 2.0]) == Interval(2.0, 2.0, 2.0, 3)
