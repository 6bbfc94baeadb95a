"""Means over seeds and how far they can be trusted."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import nan

import numpy
from scipy import stats

CONFIDENCE = 0.95
RESAMPLES = 10_000


@dataclass(frozen=True)
class Interval:
    """A mean over seeds with its bootstrap interval; the bounds are NaN for fewer than two seeds."""

    mean: float
    low: float
    high: float
    count: int  # seeds

    @property
    def known(self) -> bool:
        """Whether there are bounds."""
        return not (numpy.isnan(self.low) or numpy.isnan(self.high))

    def overlaps(self, other: "Interval") -> bool:
        """Whether the two intervals have a point in common; False where either has no bounds."""
        return self.known and other.known and self.low <= other.high and other.low <= self.high


def mean_interval(
    values: Sequence[float] | numpy.ndarray,
    rng: numpy.random.Generator,
    confidence: float = CONFIDENCE,
    resamples: int = RESAMPLES,
) -> Interval:
    """The mean of `values` `[seeds]` and its percentile bootstrap interval.

    A NaN among the values is passed on, not dropped. Over a handful of seeds such an interval is too narrow
    (it cannot reach beyond the smallest and the largest value).
    """
    values = numpy.asarray(values, dtype=float)
    if values.size == 0:
        return Interval(nan, nan, nan, 0)
    mean = float(values.mean())
    if values.size < 2 or numpy.isnan(mean):
        return Interval(mean, nan, nan, values.size)
    result = stats.bootstrap(
        (values,), numpy.mean, n_resamples=resamples, confidence_level=confidence, method="percentile", rng=rng
    )
    bounds = result.confidence_interval
    return Interval(mean, float(bounds.low), float(bounds.high), values.size)
