"""Menus and numbers of one economy as arrays: built once by whoever steps it, so that a GPU gets them once."""

from dataclasses import dataclass
from typing import Any

import numpy

from rbc_rllib.arrays import Array, device, namespace
from rbc_rllib.economy.actions import firm_menu, planner_menu
from rbc_rllib.economy.parameters import EconomyParameters


@dataclass(frozen=True)
class Constants:
    """Arrays of one library on one device. They depend on menus and sizes alone, not on what a curriculum anneals."""

    hours: Array  # [hours choices]
    prices: Array  # [firm actions]
    wages: Array  # [firm actions]
    income_tax_rates: Array  # [planner actions]
    corporate_tax_rates: Array  # [planner actions]
    demand: Array  # [demand choices]
    firm_identity: Array  # [F, F] one-hot
    powers_of_ten: Array  # [10] 10^1 .. 10^10

    @classmethod
    def like(cls, array: Array, params: EconomyParameters) -> "Constants":
        """Those of `params`, in the library and on the device of `array`."""
        xp, where = namespace(array), device(array)

        def constant(values: Any) -> Array:
            return xp.asarray(numpy.asarray(values).tolist(), dtype=getattr(xp, params.dtype), device=where)

        firm, planner = firm_menu(params), planner_menu(params)
        return cls(
            hours=constant(params.hours_choices),
            prices=constant(firm[:, 0]),
            wages=constant(firm[:, 1]),
            income_tax_rates=constant(planner[:, 0]),
            corporate_tax_rates=constant(planner[:, 1]),
            demand=constant(params.demand_choices),
            firm_identity=constant(numpy.eye(params.num_firms)),
            powers_of_ten=constant(10.0 ** numpy.arange(1, 11)),
        )
