"""What an economy carries from one quarter to the next, and what happened in a quarter.

Axis order everywhere: [env, agent, good]; E economies, C consumers, F firms (each makes one good).
"""

from dataclasses import dataclass
from typing import Any

import numpy

from rbc_rllib.arrays import Array, namespace
from rbc_rllib.economy.parameters import EconomyParameters


@dataclass(frozen=True)
class State:
    """The state in which a quarter's actions are taken (field names as in the golden trajectories)."""

    prices: Array  # [E, F] per unit, in force this quarter
    wages: Array  # [E, F] per hour, in force this quarter
    inventories: Array  # [E, F] units
    overdemanded: Array  # [E, F] 1 where last quarter's demand exceeded the inventory, else 0
    income_tax_rate: Array  # [E] share
    corporate_tax_rate: Array  # [E] share
    time: Array  # [E] quarters since the start
    consumer_budget: Array  # [E, C]
    firm_budget: Array  # [E, F] negative: debt
    capital: Array  # [E, F]
    labor_disutility: Array  # [E, C] fixed trait
    labor_elasticity: Array  # [E, F] fixed trait, exponent on hours


@dataclass(frozen=True)
class AnnouncedState(State):
    """The state of an economy whose planner has announced all tax rates before the first quarter."""

    tax_plan: Array  # [E, T, 2] income and corporate tax rate of each quarter


@dataclass(frozen=True)
class Outcome:
    """What happened in one quarter. Money flows are per quarter, before interest."""

    consumer_reward: Array  # [E, C] utility
    firm_reward: Array  # [E, F] profit after tax, less the no-Ponzi penalty in the last quarter
    planner_reward: Array  # [E] social welfare
    consumption: Array  # [E, C, F] units that the consumer really got
    exports: Array  # [E, F] units
    hours_worked: Array  # [E, C] hours
    labor: Array  # [E, F] hours worked at the firm
    output: Array  # [E, F] units, in the inventory from next quarter on
    spending: Array  # [E, C]
    wage_income: Array  # [E, C] before tax
    income_tax: Array  # [E, C]
    investment: Array  # [E, F] income kept as capital
    profit: Array  # [E, F] before tax
    corporate_tax: Array  # [E, F]
    tax_revenue: Array  # [E]
    transfer: Array  # [E] to each consumer
    consumer_interest: Array  # [E, C]
    firm_interest: Array  # [E, F]


def labor_disutilities(params: EconomyParameters) -> numpy.ndarray:
    """[C] The base disutility divided by the Pareto quantile at c/C: theta (1 - c/C)^(1/shape)."""
    quantiles = numpy.arange(params.num_consumers) / params.num_consumers
    return params.labor_disutility * (1 - quantiles) ** (1 / params.labor_disutility_pareto_shape)


def initial_state(
    params: EconomyParameters, num_envs: int, xp: Any = numpy, device: Any = None, tax_plan: Array | None = None
) -> State:
    """The state of the first quarter of `num_envs` equal economies, as arrays of library `xp`.

    Where a `tax_plan` `[E, T, 2]` is announced, it is an `AnnouncedState`.
    """
    xp = namespace(xp.zeros(1))
    dtype = getattr(xp, params.dtype)
    firms = (num_envs, params.num_firms)
    consumers = (num_envs, params.num_consumers)

    def full(shape: tuple[int, ...], value: float) -> Array:
        return xp.full(shape, value, dtype=dtype, device=device)

    def each(values: Any, shape: tuple[int, ...]) -> Array:
        return xp.broadcast_to(xp.asarray(list(values), dtype=dtype, device=device)[None, :], shape) + full(shape, 0.0)

    state = State(
        prices=full(firms, params.initial_price),
        wages=full(firms, params.initial_wage),
        inventories=full(firms, params.initial_inventory),
        overdemanded=full(firms, 0.0),
        income_tax_rate=full((num_envs,), 0.0),
        corporate_tax_rate=full((num_envs,), 0.0),
        time=full((num_envs,), 0.0),
        consumer_budget=full(consumers, params.initial_consumer_budget),
        firm_budget=full(firms, params.initial_firm_budget),
        capital=each(params.initial_capital, firms),
        labor_disutility=each(labor_disutilities(params).tolist(), consumers),
        labor_elasticity=each(params.labor_elasticities, firms),
    )
    return state if tax_plan is None else AnnouncedState(**vars(state), tax_plan=tax_plan)
