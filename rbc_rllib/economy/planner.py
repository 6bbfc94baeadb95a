"""The planner: taxes, their redistribution, and social welfare."""

from rbc_rllib.arrays import Array, namespace
from rbc_rllib.economy.parameters import EconomyParameters


def tax(wage_income: Array, profit: Array, income_tax_rate: Array, corporate_tax_rate: Array) -> tuple[Array, Array]:
    """Income tax `[E, C]` on wage income and corporate tax `[E, F]` on positive profit, at flat rates `[E]`."""
    taxable = namespace(profit).maximum(profit, 0.0)
    return income_tax_rate[:, None] * wage_income, corporate_tax_rate[:, None] * taxable


def social_welfare(params: EconomyParameters, consumer_reward: Array, firm_reward: Array) -> Array:
    """`[E]` sum of consumer rewards; with planner_welfare "total" also firm_welfare_weight * sum of firm rewards."""
    xp = namespace(consumer_reward)
    welfare = xp.sum(consumer_reward, axis=1)
    if params.planner_welfare == "total":
        welfare = welfare + params.firm_welfare_weight * xp.sum(firm_reward, axis=1)
    return welfare
