"""Residuals of the economy's accounts: zero in every quarter, up to rounding. Used by tests and by reports."""

from rbc_rllib.arrays import Array, namespace
from rbc_rllib.economy.parameters import EconomyParameters
from rbc_rllib.economy.state import Outcome, State


def residuals(params: EconomyParameters, before: State, outcome: Outcome, after: State) -> dict[str, Array]:
    """What is missing in each account, as a share of the account's size; one array a law.

    goods `[E, F]`: output = consumed + exported + change of inventories;
    money `[E]`: change of all budgets = exports + interest + budget guard - investment;
    taxes `[E]`: taxes paid = transfers received.
    """
    xp = namespace(before.prices)

    def total(values: Array) -> Array:
        return xp.sum(values, axis=1)

    consumed = xp.sum(outcome.consumption, axis=1)
    goods = outcome.output - consumed - outcome.exports - (after.inventories - before.inventories)
    goods_size = outcome.output + before.inventories + after.inventories

    budgets_before = total(before.consumer_budget) + total(before.firm_budget)
    budgets_after = total(after.consumer_budget) + total(after.firm_budget)
    money = (
        (budgets_after - budgets_before)
        - total(before.prices * outcome.exports)
        - total(outcome.consumer_interest)
        - total(outcome.firm_interest)
        - params.budget_guard * params.num_consumers
        + total(outcome.investment)
    )
    money_size = sum(
        total(xp.abs(budget))
        for budget in (before.consumer_budget, before.firm_budget, after.consumer_budget, after.firm_budget)
    )

    taxes = total(outcome.income_tax) + total(outcome.corporate_tax)
    received = outcome.transfer * params.num_consumers
    return {
        "goods": goods / (goods_size + 1.0),
        "money": money / (money_size + 1.0),
        "taxes": (taxes - received) / (taxes + 1.0),
    }
