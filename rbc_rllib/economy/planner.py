"""The planner: how taxes are decided, taxes, their redistribution, and social welfare.

With *discretion* the planner chooses each quarter's rates as it goes. With *commitment* it announces a tax plan before
the first quarter, which is seen by everybody and in force as announced (Kydland and Prescott, 1977).
"""

from typing import Annotated, Any, Literal, Self

from pydantic import BeforeValidator, Field, model_validator

from rbc_rllib.arrays import Array, namespace
from rbc_rllib.economy.actions import choose, on_menu
from rbc_rllib.economy.constants import Constants
from rbc_rllib.economy.parameters import EconomyParameters
from rbc_rllib.economy.state import AnnouncedState, State
from rbc_rllib.settings import ConfigError, Settings

TaxRate = Annotated[float, Field(ge=0, le=1)]
Rates = tuple[TaxRate, TaxRate]
"""Income and corporate tax rate."""


def _pairs(rates: Any) -> Any:
    """One pair of rates as a plan of one."""
    pair = isinstance(rates, list | tuple) and len(rates) == 2 and not any(isinstance(r, list | tuple) for r in rates)
    return (rates,) if pair else rates


class Planner(Settings):
    """How taxes are decided.

    `discretion`: rates are chosen in each quarter, from the state. All other modes announce a plan: `constant` learns
    one income and one corporate rate, `schedule` both for every quarter, `fixed` follows the given `rates`. The first
    quarter is untaxed in every mode.
    """

    mode: Literal["discretion", "constant", "schedule", "fixed"] = "discretion"
    # Of `fixed`: a pair of rates for all quarters after the first, or a pair for each of them; "drawn": a pair drawn
    # anew for each economy and episode, so that others learn to answer all of them.
    rates: Annotated[tuple[Rates, ...] | Literal["drawn"] | None, BeforeValidator(_pairs)] = None

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.mode == "fixed" and not self.rates:
            fix = "give e.g. planner.rates=[0, 0.8], or a pair for each quarter after the first"
            raise ConfigError("rates", self.rates, "a planner with fixed taxes needs their rates", fix)
        if self.mode != "fixed" and self.rates is not None:
            rule = f"a planner in mode {self.mode} decides itself"
            raise ConfigError("rates", self.rates, rule, "leave them out, or set planner.mode=fixed")
        return self

    def fits(self, params: EconomyParameters) -> None:
        """Raise `ConfigError` where rates are not on the economy's menu or not as many as its quarters."""
        if not isinstance(self.rates, tuple):
            return
        announced = params.episode_length - 1
        if len(self.rates) not in (1, announced):
            rule = f"a plan has one pair of rates, or one for each of the {announced} quarters after the first"
            counts = f"1 or {announced} pairs" if announced > 1 else "one pair"
            raise ConfigError("rates", self.rates, rule, f"give {counts}, not {len(self.rates)}")
        for pair in self.rates:
            for rate in pair:
                if on_menu(rate, params.tax_choices) is None:
                    rule = f"{rate} must be on the menu economy.tax_choices = {params.tax_choices}"
                    raise ConfigError("rates", self.rates, rule, "take rates from there")

    @property
    def announces(self) -> bool:
        """Whether everybody sees all rates before the first quarter."""
        return self.mode != "discretion"

    @property
    def learns(self) -> bool:
        """Whether the planner is a policy that learns."""
        return self.mode != "fixed"

    @property
    def chooses(self) -> bool:
        """Whether somebody has to choose for the planner; given rates leave nothing to choose."""
        return self.learns or self.rates == "drawn"

    def num_pages(self, params: EconomyParameters) -> int:
        """Pages of the planner's calendar: choices that it makes before the first quarter."""
        if not self.announces or not self.chooses:
            return 0
        return max(1, params.episode_length - 1) if self.mode == "schedule" else 1


def plan_of_choices(params: EconomyParameters, choices: Array, constants: Constants) -> Array:
    """The announced rates `[E, T, 2]` (income, corporate) of `choices` `[E, pages]` into `planner_menu`.

    The choice on page k holds in quarter k + 1, as what is chosen with discretion in quarter k would; the last page for
    all later ones. The first quarter is untaxed.
    """
    xp = namespace(choices)
    announced = params.episode_length - 1
    pages = [choices, *[choices[:, -1:]] * max(0, announced - choices.shape[1])]
    index = xp.concat(pages, axis=1)[:, :announced]
    rates = xp.stack([choose(constants.income_tax_rates, index), choose(constants.corporate_tax_rates, index)], axis=-1)
    untaxed = xp.zeros((rates.shape[0], 1, 2), dtype=rates.dtype, device=constants.hours.device)
    return xp.concat([untaxed, rates], axis=1)


def next_rates(state: State, choice: Array, menus: Constants) -> tuple[Array, Array]:
    """Income and corporate tax rate `[E]` of the next quarter: as announced, and else as chosen, `choice` `[E]`."""
    if not isinstance(state, AnnouncedState):
        return choose(menus.income_tax_rates, choice), choose(menus.corporate_tax_rates, choice)
    xp = namespace(state.time)
    last = state.tax_plan.shape[1] - 1
    quarters = xp.arange(last + 1, dtype=state.time.dtype, device=state.time.device)
    is_next = xp.astype(quarters[None, :] == xp.minimum(state.time + 1.0, float(last))[:, None], state.time.dtype)
    rates = xp.matmul(is_next[:, None, :], state.tax_plan)[:, 0, :]
    return rates[:, 0], rates[:, 1]


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
