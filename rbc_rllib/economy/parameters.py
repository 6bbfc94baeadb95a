"""Parameters of the economy, with the defaults of the paper's Table 1 and published code."""

import itertools
from typing import Any, Literal, Self

from pydantic import Field, NonNegativeFloat, PositiveFloat, PositiveInt, model_validator

from rbc_rllib.settings import ConfigError, Settings

LABOR_ELASTICITIES = (0.2, 0.3, 0.4, 0.6, 0.8)
"""Exponents on hours, repeated cyclically over the firms (paper, Table 1: two firms of each)."""


class EconomyParameters(Settings):
    """Everything that stays the same while an economy runs. One quarter is one step.

    Money is in the paper's currency units, labor in hours per quarter, goods in units.
    Source: Curry et al. (arXiv 2201.01163), Table 1 and section 3, and their published code.
    """

    num_consumers: PositiveInt = 100
    num_firms: PositiveInt = 10
    episode_length: PositiveInt = 10  # quarters

    crra: NonNegativeFloat = 0.1  # relative risk aversion s; 1 is log utility
    labor_disutility: NonNegativeFloat = 0.01  # utility per two hours, of the consumer who minds most
    labor_disutility_pareto_shape: PositiveFloat = 4.0
    interest_rate: NonNegativeFloat = 0.0  # per quarter, on positive budgets

    initial_price: NonNegativeFloat = 1000.0
    initial_wage: NonNegativeFloat = 0.0
    initial_inventory: NonNegativeFloat = 0.0
    initial_consumer_budget: NonNegativeFloat = 2000.0
    initial_firm_budget: NonNegativeFloat = Field(default_factory=lambda p: 22000.0 * p["num_consumers"])
    initial_capital: tuple[NonNegativeFloat, ...] = Field(
        default_factory=lambda p: tuple(5000.0 if f < p["num_firms"] // 2 else 10000.0 for f in range(p["num_firms"]))
    )
    labor_elasticities: tuple[float, ...] = Field(
        default_factory=lambda p: tuple(LABOR_ELASTICITIES[f % 5] for f in range(p["num_firms"]))
    )
    total_factor_productivity: NonNegativeFloat = 0.01
    investment_share: float = Field(0.1, ge=0, le=1)  # of positive income
    labor_floor: NonNegativeFloat = 0.0  # hours at a firm below which it produces nothing

    export_market: bool = True
    export_price: NonNegativeFloat = 500.0  # the foreign market buys at any price from here on
    export_quantity: NonNegativeFloat = 100.0  # units per firm and quarter, at most

    budget_guard: NonNegativeFloat = 0.01  # the reference adds it to every consumer's budget each quarter
    penalty_coefficient: NonNegativeFloat = 0.0  # no-Ponzi penalty on a firm's final debt, per 100
    planner_welfare: Literal["consumer", "total"] = "consumer"
    firm_welfare_weight: NonNegativeFloat = 0.0025  # of firm rewards in "total" welfare

    demand_choices: tuple[NonNegativeFloat, ...] = tuple(float(units) for units in range(11))
    hours_choices: tuple[NonNegativeFloat, ...] = (0.0, 260.0, 520.0, 780.0, 1040.0)
    price_choices: tuple[NonNegativeFloat, ...] = (0.0, 500.0, 1000.0, 1500.0, 2000.0, 2500.0)
    wage_choices: tuple[NonNegativeFloat, ...] = (0.0, 11.0, 22.0, 33.0, 44.0)
    tax_choices: tuple[NonNegativeFloat, ...] = (0.0, 0.2, 0.4, 0.6, 0.8, 1.0)

    dtype: Literal["float32", "float64"] = "float32"

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        for key in ("initial_capital", "labor_elasticities"):
            values = getattr(self, key)
            if len(values) != self.num_firms:
                rule = f"it must hold one number for each of the {self.num_firms} firms (num_firms), not {len(values)}"
                raise ConfigError(key, values, rule, "leave it out to get the default for any number of firms")
        for share in self.labor_elasticities:
            if not 0 <= share <= 1:
                rule = "every labor elasticity must lie in [0, 1], as capital has the rest of the exponent"
                raise ConfigError("labor_elasticities", self.labor_elasticities, rule, f"replace {share}, e.g. by 0.6")
        for key in ("demand_choices", "hours_choices", "price_choices", "wage_choices", "tax_choices"):
            _check_menu(key, getattr(self, key))
        if self.tax_choices[-1] > 1:
            rule = "a tax rate is a share and cannot exceed 1"
            raise ConfigError("tax_choices", self.tax_choices, rule, "write 20% as 0.2")
        return self

    def with_defaults_unset(self) -> Self:
        """The same parameters, in which values that are the defaults for these numbers of agents count as not given: so
        they follow other numbers, as `replace` has it, also where the parameters were saved whole."""
        following = [name for name, field in type(self).model_fields.items() if field.default_factory]
        given = self.model_dump()
        usual = type(self)(**{key: value for key, value in given.items() if key not in following})
        unset = {key for key in following if given[key] == getattr(usual, key)}
        return type(self)(**{key: value for key, value in given.items() if key not in unset})

    def annealed(self, **changes: Any) -> Self:
        """A copy with `changes` that were validated elsewhere; fast enough for every rollout."""
        return self.model_copy(update=changes)


def _check_menu(key: str, menu: tuple[float, ...]) -> None:
    if not menu:
        raise ConfigError(key, menu, "a menu needs at least one choice", "list the choices from low to high")
    if any(low >= high for low, high in itertools.pairwise(menu)):
        raise ConfigError(key, menu, "the choices must increase strictly", "sort them and drop repeated ones")
