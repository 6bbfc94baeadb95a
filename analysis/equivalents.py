"""What utility is worth in consumption."""

import math

import numpy as np
import scipy

from rbc_rllib.economy import EconomyParameters
from rbc_rllib.economy.consumers import utility

BASKETS_AT_ONCE = 2**16
"""So many are held in memory with what their utility takes."""

HIGHEST_FACTOR = 1e12
"""No consumption is multiplied by more in the search for a consumption equivalent."""


def consumption_equivalent(params: EconomyParameters, consumption: np.ndarray, gain: float) -> float:
    """The percentage by which all consumption would have to rise to be worth `gain` utility a quarter.

    With u(x) = sum_f ((x_f + 1)^(1-s) - 1) / (1-s), s = `crra`, it is 100 q for the q that solves

        mean u((1 + q) x) = mean u(x) + gain,

    means over the quarters and agents of `consumption` `[..., F]`, the baskets of before; hours stay as they are. The
    1 in u leaves no closed form. The left side rises with q from 0 at q = -1, so the root is unique. -100 where the
    gain takes more than all the joy of consumption, infinite where none of it is enough, NaN where nothing is consumed.
    """
    baskets = consumption.reshape(-1, 1, consumption.shape[-1])
    if not baskets.any() or math.isnan(gain):
        return math.nan
    if gain == 0:
        return 0.0

    def enjoyed(factor: float) -> float:
        total = 0.0
        for start in range(0, len(baskets), BASKETS_AT_ONCE):
            some = factor * baskets[start : start + BASKETS_AT_ONCE].astype(float)
            nothing = np.zeros(some.shape[:2])
            total += float(utility(params, some, nothing, nothing).sum())
        return total / len(baskets)

    wanted = enjoyed(1.0) + gain
    if wanted <= 0:
        return -100.0
    high = 2.0
    while enjoyed(high) < wanted:
        high *= 2
        if high > HIGHEST_FACTOR:
            return math.inf
    return 100 * (scipy.optimize.brentq(lambda factor: enjoyed(factor) - wanted, 0.0, high, xtol=1e-9) - 1)
