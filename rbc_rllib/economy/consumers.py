"""Consumers: what they can afford, what they enjoy, and their money."""

from rbc_rllib.arrays import Array, namespace, sum_inner
from rbc_rllib.economy.parameters import EconomyParameters


def affordable_demand(demand: Array, prices: Array, budget: Array) -> Array:
    """The basket, scaled down to the budget where it costs more: d min(1, max(B, 0) / (p . d)).

    Args: demand `[E, C, F]` units, prices `[E, F]`, budget `[E, C]`. Returns `[E, C, F]` units.
    """
    xp = namespace(demand)
    cost = spending(demand, prices)
    one = xp.ones_like(cost)
    part = xp.maximum(budget, 0.0) / xp.where(cost > 0, cost, one)
    return demand * xp.where(cost > budget, part, one)[:, :, None]


def spending(consumption: Array, prices: Array) -> Array:
    """`[E, C]` sum_f p[f] x[c,f]."""
    return namespace(consumption).matmul(consumption, prices[:, :, None])[:, :, 0]


def utility(params: EconomyParameters, consumption: Array, hours: Array, labor_disutility: Array) -> Array:
    """`[E, C]` CRRA utility less the disutility of labor (paper, equation 1).

    sum_f ((x_f + 1)^(1-s) - 1) / (1-s) - theta_c / 2 h with s = crra; sum_f log(x_f + 1) at s = 1.
    """
    xp = namespace(consumption)
    log = xp.log(consumption + 1.0)
    curvature = 1.0 - params.crra
    # expm1(a log(x + 1)) is the power less 1: faster than a power, and exact near log utility.
    enjoyed = log if curvature == 0 else xp.expm1(curvature * log) / curvature
    return sum_inner(enjoyed, axis=2) - 0.5 * labor_disutility * hours


def earn_interest(params: EconomyParameters, budget: Array) -> Array:
    """Interest on a positive budget; debt bears none."""
    return params.interest_rate * namespace(budget).maximum(budget, 0.0)
