"""Means over samples, such as seeds or episodes, and how far they can be trusted."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from math import nan
from typing import Any, Self

import numpy
import scipy  # its parts are loaded when they are used, which takes a second

from analysis.writing import number, plain

CONFIDENCE = 0.95
RESAMPLES = 10_000
BATCH = 1000  # resamples held in memory at once
BOOTSTRAP_SEED = 0  # the same numbers give the same interval at every call


@dataclass(frozen=True)
class Interval:
    """A mean over samples and its bounds, NaN where too few samples give none."""

    mean: float
    low: float
    high: float
    count: int  # samples

    @property
    def known(self) -> bool:
        """Whether there are bounds."""
        return not (numpy.isnan(self.low) or numpy.isnan(self.high))

    @property
    def above_zero(self) -> bool:
        """Whether it is distinguishable from 0, and above; False where there are no bounds."""
        return self.low > 0

    @classmethod
    def read(cls, record: Mapping[str, Any]) -> Self:
        """An interval from JSON, in which bounds that are unknown are None."""
        mean, low, high = (nan if record[name] is None else float(record[name]) for name in ("mean", "low", "high"))
        return cls(mean, low, high, record["count"])

    def scaled(self, factor: float) -> "Interval":
        """The same in another unit."""
        return Interval(self.mean * factor, self.low * factor, self.high * factor, self.count)

    def overlaps(self, other: "Interval") -> bool:
        """Whether the two intervals have a point in common; False where either has no bounds."""
        return self.known and other.known and self.low <= other.high and other.low <= self.high

    def record(self) -> dict[str, float | None]:
        """`mean`, `low` and `high` for JSON, which has no NaN: None for what is not finite."""
        return plain({"mean": self.mean, "low": self.low, "high": self.high})


def bounded(interval: Interval | None, text: Callable[[float], str] = number) -> str:
    """`mean [low, high]`, the mean alone where there are no bounds, `-` where nothing is known."""
    if interval is None:
        return "-"
    bounds = f" [{text(interval.low)}, {text(interval.high)}]" if interval.known else ""
    return f"{text(interval.mean)}{bounds}"


def mean_interval(
    values: Sequence[float] | numpy.ndarray,
    rng: numpy.random.Generator,
    confidence: float = CONFIDENCE,
    resamples: int = RESAMPLES,
) -> Interval:
    """The mean of independent samples `values` `[N]`, such as seeds or episodes, and its percentile bootstrap interval.

    A NaN among the values is passed on, not dropped. Over a handful of samples such an interval is too narrow
    (it cannot reach beyond the smallest and the largest value).
    """
    values = numpy.asarray(values, dtype=float)
    mean = float(values.mean()) if values.size else nan
    if values.size < 2 or numpy.isnan(mean):
        return Interval(mean, nan, nan, values.size)
    return replace(crossed_interval(values[None], rng, confidence, resamples), count=values.size)


def t_interval(values: Sequence[float] | numpy.ndarray, confidence: float = CONFIDENCE) -> Interval:
    """The mean of `values` `[n]` and its Student t interval, mean +- t(n - 1) * standard deviation / sqrt(n).

    Exact for independent draws from a normal distribution, whatever their number; over a handful of skewed values
    only roughly right. Of paired differences it is the interval of the paired t test: it holds 0 where that test
    finds no difference. No bounds for fewer than two values, and a NaN among them is passed on.
    """
    values = numpy.asarray(values, dtype=float)
    if values.size < 2 or numpy.isnan(values).any():
        return Interval(float(values.mean()) if values.size else nan, nan, nan, values.size)
    mean = float(values.mean())
    error = values.std(ddof=1) / numpy.sqrt(values.size)
    half = float(scipy.stats.t.ppf((1 + confidence) / 2, values.size - 1) * error)
    return Interval(mean, mean - half, mean + half, values.size)


def proportion_interval(hits: int, count: int) -> Interval:
    """The share of `hits` among `count` trials and its Wilson (1927) score interval; no bounds for none."""
    if not count:
        return Interval(nan, nan, nan, 0)
    bounds = scipy.stats.binomtest(hits, count).proportion_ci(CONFIDENCE, method="wilson")
    return Interval(hits / count, float(bounds.low), float(bounds.high), count)


def crossed_interval(
    values: numpy.ndarray,
    rng: numpy.random.Generator,
    confidence: float = CONFIDENCE,
    resamples: int = RESAMPLES,
) -> Interval:
    """The mean of `values` `[seeds, episodes]` and its percentile bootstrap interval over both.

    All seeds were judged on the same episodes, so seeds and episodes are resampled independently of each other and
    crossed. With one seed only episodes are resampled: the interval then says nothing about other seeds. With a
    handful it is too narrow, as in `mean_interval`. No bounds for fewer than two episodes; `count` is of seeds.
    """
    seeds, episodes = values.shape
    mean = float(values.mean())
    if episodes < 2:
        return Interval(mean, nan, nan, seeds)

    def mean_of(episode: numpy.ndarray, seed: numpy.ndarray | None = None, axis: int = -1) -> numpy.ndarray:
        columns = values[:, episode.astype(int)]  # [seeds, ..., episodes]
        if seed is None:
            return columns.mean((0, -1))
        by_seed = columns.mean(-1).reshape(seeds, -1)  # [seeds, resamples]
        drawn = seed.astype(int).reshape(-1, seeds)  # [resamples, seeds]
        picked = numpy.take_along_axis(by_seed.T, drawn, 1) if by_seed.shape[1] > 1 else by_seed.T[:, drawn[0]]
        return picked.mean(-1).reshape(seed.shape[:-1])

    indices = (numpy.arange(episodes),) if seeds == 1 else (numpy.arange(episodes), numpy.arange(seeds))
    bounds = scipy.stats.bootstrap(
        indices,
        mean_of,
        n_resamples=resamples,
        batch=BATCH,
        confidence_level=confidence,
        method="percentile",
        vectorized=True,
        rng=rng,
    ).confidence_interval
    return Interval(mean, float(bounds.low), float(bounds.high), seeds)
