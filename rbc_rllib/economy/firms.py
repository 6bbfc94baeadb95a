"""Firms: production, the split of income into investment and profit, and the no-Ponzi penalty."""

from rbc_rllib.arrays import Array, namespace
from rbc_rllib.economy.parameters import EconomyParameters


def produce(params: EconomyParameters, capital: Array, labor: Array, labor_elasticity: Array) -> Array:
    """`[E, F]` Cobb-Douglas output Y = A k^(1-a) L^a, with L = 0 below the labor floor (paper, equation 3).

    a is the labor elasticity, A the total factor productivity, k the capital before this quarter's investment.
    """
    xp = namespace(capital)
    hired = xp.where(labor < params.labor_floor, xp.zeros_like(labor), labor)
    return params.total_factor_productivity * capital ** (1.0 - labor_elasticity) * hired**labor_elasticity


def split_income(params: EconomyParameters, revenue: Array, labor_cost: Array) -> tuple[Array, Array]:
    """Investment and profit, each `[E, F]`, of income = revenue - labor cost.

    investment = max(investment_share * income, 0); profit = income - investment.
    """
    income = revenue - labor_cost
    investment = namespace(income).maximum(params.investment_share * income, 0.0)
    return investment, income - investment


def ponzi_penalty(params: EconomyParameters, firm_budget: Array, last_quarter: Array) -> Array:
    """`[E, F]` penalty_coefficient * debt / 100 in the last quarter, 0 before.

    Args: firm_budget `[E, F]` after the quarter, last_quarter `[E]` bool.
    """
    xp = namespace(firm_budget)
    debt = xp.maximum(-firm_budget, 0.0)
    return xp.where(last_quarter[:, None], params.penalty_coefficient * debt / 100.0, xp.zeros_like(debt))
