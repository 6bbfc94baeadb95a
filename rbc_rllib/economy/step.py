"""One quarter of the economy. The function reads as the quarter's timeline."""

from dataclasses import replace

from rbc_rllib.arrays import namespace
from rbc_rllib.economy import consumers, firms, markets, planner
from rbc_rllib.economy.actions import Actions, choose
from rbc_rllib.economy.constants import Constants
from rbc_rllib.economy.parameters import EconomyParameters
from rbc_rllib.economy.state import Outcome, State


def step(
    params: EconomyParameters, state: State, actions: Actions, constants: Constants | None = None
) -> tuple[State, Outcome]:
    """The state of the next quarter and what happened in this one; pure, for arrays of any library.

    Everything happens at the prices, wages and tax rates in `state`; those chosen now hold from the next
    quarter on; a tax plan that was announced is in force whatever the planner chooses. Whoever steps often gives the
    `constants` of `params`. Reproduces the published reference economy (Curry et al., section 3).
    """
    xp = namespace(state.prices)
    menus = constants or Constants.like(state.prices, params)
    hours = choose(menus.hours, actions.hours_index)
    wanted = xp.astype(actions.consumption, state.prices.dtype, copy=False)

    # Goods market
    demand = consumers.affordable_demand(wanted, state.prices, state.consumer_budget)
    consumption, sold, overdemanded = markets.ration(demand, state.inventories)
    spending = consumers.spending(consumption, state.prices)
    unsold = state.inventories - sold
    exports = markets.export(params, state.prices, unsold)

    # Labor market and production
    labor, wage_income = markets.hire(hours, actions.employer, state.wages, menus.firm_identity)
    output = firms.produce(params, state.capital, labor, state.labor_elasticity)

    # Income, taxes and transfers
    revenue = state.prices * (sold + exports)
    investment, profit = firms.split_income(params, revenue, state.wages * labor)
    income_tax, corporate_tax = planner.tax(wage_income, profit, state.income_tax_rate, state.corporate_tax_rate)
    tax_revenue = xp.sum(income_tax, axis=1) + xp.sum(corporate_tax, axis=1)
    transfer = tax_revenue / params.num_consumers

    # Budgets
    consumer_budget = (
        state.consumer_budget + params.budget_guard - spending + wage_income - income_tax + transfer[:, None]
    )
    firm_budget = state.firm_budget + profit - corporate_tax
    consumer_interest = consumers.earn_interest(params, consumer_budget)
    firm_interest = consumers.earn_interest(params, firm_budget)
    consumer_budget = consumer_budget + consumer_interest
    firm_budget = firm_budget + firm_interest

    # Rewards
    time = state.time + 1.0
    consumer_reward = consumers.utility(params, consumption, hours, state.labor_disutility)
    penalty = firms.ponzi_penalty(params, firm_budget, time >= params.episode_length)
    firm_reward = profit - corporate_tax - penalty

    income_tax_rate, corporate_tax_rate = planner.next_rates(state, actions.planner, menus)
    next_state = replace(
        state,
        prices=choose(menus.prices, actions.firm),
        wages=choose(menus.wages, actions.firm),
        inventories=unsold - exports + output,
        overdemanded=overdemanded,
        income_tax_rate=income_tax_rate,
        corporate_tax_rate=corporate_tax_rate,
        time=time,
        consumer_budget=consumer_budget,
        firm_budget=firm_budget,
        capital=state.capital + investment,
    )
    outcome = Outcome(
        consumer_reward=consumer_reward,
        firm_reward=firm_reward,
        planner_reward=planner.social_welfare(params, consumer_reward, firm_reward),
        consumption=consumption,
        exports=exports,
        hours_worked=hours,
        labor=labor,
        output=output,
        spending=spending,
        wage_income=wage_income,
        income_tax=income_tax,
        investment=investment,
        profit=profit,
        corporate_tax=corporate_tax,
        tax_revenue=tax_revenue,
        transfer=transfer,
        consumer_interest=consumer_interest,
        firm_interest=firm_interest,
    )
    return next_state, outcome
