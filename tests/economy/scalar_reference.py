"""One quarter of one economy, written out in loops and floats: the oracle of the vectorised step.

It takes no formula from `rbc_rllib.economy`: the two agree because both are right. States, actions and outcomes are
dicts of numbers and nested lists, under the names of `State`, `Actions` and `Outcome`, without the env axis.

The paper leaves two cases open: a negative budget buys nothing, not even goods that are free; a budget of 0 still gets
goods of price 0, since their cost does not exceed it.
"""

import math
from typing import Any

from rbc_rllib.economy import EconomyParameters

Record = dict[str, Any]


def economy(record: Any, env: int) -> Record:
    """One economy out of a dataclass of arrays `[E, ...]`."""
    return {name: array[env].tolist() for name, array in vars(record).items()}


def step(params: EconomyParameters, state: Record, actions: Record) -> tuple[Record, Record]:
    """The state of the next quarter and what happened in this one."""
    consumers, firms = range(params.num_consumers), range(params.num_firms)
    prices, wages, inventories = state["prices"], state["wages"], state["inventories"]

    # 1. Affordable demand
    demand = [affordable(actions["consumption"][c], prices, state["consumer_budget"][c]) for c in consumers]

    # 2. Rationing
    consumption = [[0.0] * params.num_firms for _ in consumers]
    overdemanded, unsold = [], []
    for f in firms:
        wanted = sum(demand[c][f] for c in consumers)
        short = wanted > inventories[f]
        for c in consumers:
            consumption[c][f] = demand[c][f] * inventories[f] / wanted if short else demand[c][f]
        overdemanded.append(1.0 if short else 0.0)
        unsold.append(0.0 if short else inventories[f] - wanted)
    spending = [sum(prices[f] * consumption[c][f] for f in firms) for c in consumers]

    # 3. Labor
    hours = [params.hours_choices[actions["hours_index"][c]] for c in consumers]
    labor = [0.0] * params.num_firms
    wage_income = []
    for c in consumers:
        employer = actions["employer"][c]
        labor[employer] += hours[c]
        wage_income.append(wages[employer] * hours[c])

    # 4. Exports
    exports = []
    for f in firms:
        bought_abroad = params.export_market and prices[f] >= params.export_price
        exports.append(min(params.export_quantity, unsold[f]) if bought_abroad else 0.0)

    # 5. Profit
    investment, profit, corporate_tax = [], [], []
    for f in firms:
        sold = inventories[f] - unsold[f]
        income = prices[f] * (sold + exports[f]) - wages[f] * labor[f]
        investment.append(max(params.investment_share * income, 0.0))
        profit.append(income - investment[f])
        corporate_tax.append(state["corporate_tax_rate"] * max(profit[f], 0.0))

    # 6. Production
    output = []
    for f in firms:
        productive_hours = labor[f] if labor[f] >= params.labor_floor else 0.0
        share = state["labor_elasticity"][f]
        output.append(params.total_factor_productivity * state["capital"][f] ** (1 - share) * productive_hours**share)

    # 7. Taxes and transfers
    income_tax = [state["income_tax_rate"] * income for income in wage_income]
    tax_revenue = sum(income_tax) + sum(corporate_tax)
    transfer = tax_revenue / params.num_consumers

    # 8. Budgets
    consumer_budget, consumer_interest = [], []
    for c in consumers:
        budget = state["consumer_budget"][c] + params.budget_guard - spending[c]
        budget += wage_income[c] - income_tax[c] + transfer
        consumer_interest.append(params.interest_rate * max(budget, 0.0))
        consumer_budget.append(budget + consumer_interest[c])
    firm_budget, firm_interest = [], []
    for f in firms:
        budget = state["firm_budget"][f] + profit[f] - corporate_tax[f]
        firm_interest.append(params.interest_rate * max(budget, 0.0))
        firm_budget.append(budget + firm_interest[f])

    # 9. Rewards
    consumer_reward = []
    for c in consumers:
        enjoyed = sum(enjoyment(units, params.crra) for units in consumption[c])
        consumer_reward.append(enjoyed - state["labor_disutility"][c] / 2 * hours[c])
    last_quarter = state["time"] + 1 >= params.episode_length
    firm_reward = []
    for f in firms:
        debt = max(-firm_budget[f], 0.0)
        penalty = params.penalty_coefficient * debt / 100 if last_quarter else 0.0
        firm_reward.append(profit[f] - corporate_tax[f] - penalty)
    planner_reward = sum(consumer_reward)
    if params.planner_welfare == "total":
        planner_reward += params.firm_welfare_weight * sum(firm_reward)

    # What was chosen now holds from the next quarter on
    price_and_wage = [divmod(choice, len(params.wage_choices)) for choice in actions["firm"]]
    income_tax_index, corporate_tax_index = divmod(actions["planner"], len(params.tax_choices))
    income_tax_rate, corporate_tax_rate = params.tax_choices[income_tax_index], params.tax_choices[corporate_tax_index]
    announced = {}
    if "tax_plan" in state:  # rates hold as announced; those of the last quarter go on
        next_quarter = min(int(state["time"]) + 1, params.episode_length - 1)
        income_tax_rate, corporate_tax_rate = state["tax_plan"][next_quarter]
        announced = {"tax_plan": state["tax_plan"]}
    next_state = {
        "prices": [params.price_choices[price] for price, _ in price_and_wage],
        "wages": [params.wage_choices[wage] for _, wage in price_and_wage],
        "inventories": [unsold[f] - exports[f] + output[f] for f in firms],
        "overdemanded": overdemanded,
        "income_tax_rate": income_tax_rate,
        "corporate_tax_rate": corporate_tax_rate,
        "time": state["time"] + 1,
        "consumer_budget": consumer_budget,
        "firm_budget": firm_budget,
        "capital": [state["capital"][f] + investment[f] for f in firms],
        "labor_disutility": state["labor_disutility"],
        "labor_elasticity": state["labor_elasticity"],
        **announced,
    }
    outcome = {
        "consumer_reward": consumer_reward,
        "firm_reward": firm_reward,
        "planner_reward": planner_reward,
        "consumption": consumption,
        "exports": exports,
        "hours_worked": hours,
        "labor": labor,
        "output": output,
        "spending": spending,
        "wage_income": wage_income,
        "income_tax": income_tax,
        "investment": investment,
        "profit": profit,
        "corporate_tax": corporate_tax,
        "tax_revenue": tax_revenue,
        "transfer": transfer,
        "consumer_interest": consumer_interest,
        "firm_interest": firm_interest,
    }
    return next_state, outcome


def affordable(basket: list[float], prices: list[float], budget: float) -> list[float]:
    """The basket as far as the budget goes."""
    cost = sum(price * units for price, units in zip(prices, basket, strict=True))
    if cost <= budget:
        return [float(units) for units in basket]
    if budget <= 0:
        return [0.0 for _ in basket]
    return [units * budget / cost for units in basket]


def enjoyment(units: float, crra: float) -> float:
    """Utility of one good."""
    if crra == 1:
        return math.log(units + 1)
    return ((units + 1) ** (1 - crra) - 1) / (1 - crra)
