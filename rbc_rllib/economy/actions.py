"""What agents choose: menus, the `Actions` of a quarter, and which choices a range of prices or taxes allows."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import product

import numpy

from rbc_rllib.arrays import Array, namespace
from rbc_rllib.economy.parameters import EconomyParameters

GROUPS = ("consumer", "firm", "planner")
TOLERANCE = 1e-6  # of a range's bounds: 0.6000000000000001 still allows the choice 0.6

Range = tuple[float, float]


def on_menu(value: float, menu: Sequence[float]) -> float | None:
    """The choice of the menu that is meant, within `TOLERANCE`; None where there is none."""
    return next((choice for choice in menu if abs(value - choice) <= TOLERANCE), None)


@dataclass(frozen=True)
class Actions:
    """The choices of all agents in one quarter. Prices, wages and tax rates hold from the next quarter on."""

    consumption: Array  # [E, C, F] units demanded
    hours_index: Array  # [E, C] into `hours_choices`
    employer: Array  # [E, C] the firm worked for
    firm: Array  # [E, F] into `firm_menu`
    planner: Array  # [E] into `planner_menu`


@dataclass(frozen=True)
class ActionRanges:
    """The closed ranges from which firms and the planner may choose."""

    price: Range = (0.0, float("inf"))
    wage: Range = (0.0, float("inf"))
    income_tax_rate: Range = (0.0, 1.0)
    corporate_tax_rate: Range = (0.0, 1.0)


def group_sizes(params: EconomyParameters) -> dict[str, int]:
    """Agents of each group in one economy."""
    return {"consumer": params.num_consumers, "firm": params.num_firms, "planner": 1}


def head_sizes(params: EconomyParameters) -> dict[str, tuple[int, ...]]:
    """The number of options of each of an agent's simultaneous choices, by group."""
    consumer = (len(params.demand_choices),) * params.num_firms + (len(params.hours_choices), params.num_firms)
    return {"consumer": consumer, "firm": (len(firm_menu(params)),), "planner": (len(planner_menu(params)),)}


@lru_cache(maxsize=64)
def firm_menu(params: EconomyParameters) -> numpy.ndarray:
    """[prices * wages, 2] A firm's choices of (price, wage), price-major."""
    return _read_only(product(params.price_choices, params.wage_choices), params.dtype)


@lru_cache(maxsize=64)
def planner_menu(params: EconomyParameters) -> numpy.ndarray:
    """[taxes^2, 2] The planner's choices of (income tax rate, corporate tax rate), income-major."""
    return _read_only(product(params.tax_choices, repeat=2), params.dtype)


def _read_only(pairs: Iterable[tuple[float, ...]], dtype: str) -> numpy.ndarray:
    menu = numpy.array(list(pairs), dtype)
    menu.setflags(write=False)  # menus are kept and shared
    return menu


def allowed_actions(params: EconomyParameters, ranges: ActionRanges) -> dict[str, numpy.ndarray]:
    """Which of the firms' and the planner's choices lie in `ranges`: bool `[actions]` for each of the two groups.

    Where no choice of a menu lies in its range, the nearest one to the range's lower bound is allowed.
    """
    firm, planner = firm_menu(params), planner_menu(params)
    return {
        "firm": _within(firm[:, 0], ranges.price) & _within(firm[:, 1], ranges.wage),
        "planner": _within(planner[:, 0], ranges.income_tax_rate) & _within(planner[:, 1], ranges.corporate_tax_rate),
    }


def tax_choice(params: EconomyParameters, rates: tuple[float, float], ranges: ActionRanges = ActionRanges()) -> int:
    """The index into `planner_menu` of an income and a corporate tax rate.

    Rates above what `ranges` allow are lowered to it, so that given rates can be phased in; of each, the nearest one of
    `tax_choices` is taken, the lower one of two.
    """
    menu = numpy.asarray(params.tax_choices)
    highest = ranges.income_tax_rate[1], ranges.corporate_tax_rate[1]
    income, corporate = (int(numpy.abs(menu - min(pair)).argmin()) for pair in zip(rates, highest, strict=True))
    return income * len(menu) + corporate


def _within(values: numpy.ndarray, bounds: Range) -> numpy.ndarray:
    low, high = float(bounds[0]), float(bounds[1])
    inside = (values >= low - TOLERANCE) & (values <= high + TOLERANCE)
    if inside.any():
        return inside
    return values == values[numpy.abs(values - low).argmin()]


def choose(menu: Array, index: Array) -> Array:
    """menu[index] for a menu `[n]` or `[n, m]` and an index array of any shape."""
    xp = namespace(menu)
    return xp.reshape(xp.take(menu, xp.reshape(index, (-1,)), axis=0), (*index.shape, *menu.shape[1:]))


def decode(indices: dict[str, Array], demand_menu: Array) -> Actions:
    """`Actions` from the groups' index arrays: consumer `[E, C, F + 2]`, firm `[E, F]`, planner `[E, 1]`."""
    consumer, goods = indices["consumer"], indices["firm"].shape[1]
    return Actions(
        consumption=choose(demand_menu, consumer[..., :goods]),
        hours_index=consumer[..., goods],
        employer=consumer[..., goods + 1],
        firm=indices["firm"],
        planner=indices["planner"][..., 0],
    )
