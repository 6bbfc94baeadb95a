"""The tax map: what followers make of every pair of constant tax rates, in numbers.

Followers (consumers and firms) were trained with rates drawn anew for each economy and episode, so one training answers
the whole menu. How far that differs from followers who know one pair only is measured on pairs that were retrained.
Arrays are `[seed, income rate, corporate rate]`, rates in the order of the menu.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import product
from typing import Any, Literal, Self

import numpy
import pandas

from analysis.intervals import Interval, t_interval
from analysis.quantities import BY_NAME, Quantity
from analysis.taxes import DEFINITIONS, Definition
from analysis.writing import plain
from rbc_rllib.economy import EconomyParameters
from rbc_rllib.economy.indicators import is_trivial
from rbc_rllib.economy.planner import Rates, social_welfare

WELFARE = BY_NAME["social_welfare"]
REVENUE = BY_NAME["tax_revenue"]
MAPPED = (
    *(Quantity(f"{each}_welfare", f"{each} welfare", WELFARE.unit, WELFARE.format) for each in DEFINITIONS),
    *(BY_NAME[name] for name in ("firm_reward", "tax_revenue", "hours", "output")),
)
"""The quantities of the map, a heat map each."""

NUMBERS = (*(quantity.name for quantity in MAPPED), "trivial_share")
Tax = Literal["income", "corporate"]
TAXES: tuple[Tax, ...] = ("income", "corporate")


def cell_numbers(
    params: EconomyParameters, indicators: Mapping[str, numpy.ndarray], rewards: Mapping[str, numpy.ndarray]
) -> dict[str, float]:
    """The mapped quantities and the share of trivial episodes: means over held-out episodes, of `indicators`
    `[episodes]` and of the welfare of mean `rewards` a quarter, `[episodes, C]` of consumers, `[episodes, F]` of firms.
    """
    consumer, firm = (numpy.asarray(rewards[group], dtype=float) for group in ("consumer", "firm"))
    welfare = {
        f"{each}_welfare": social_welfare(params.annealed(planner_welfare=each), consumer, firm) for each in DEFINITIONS
    }
    return {name: float(numpy.mean({**indicators, **welfare}[name], dtype=float)) for name in NUMBERS}


def cells(params: EconomyParameters) -> list[Rates]:
    """All pairs of the menu, income-major, as in `planner_menu`."""
    return list(product(params.tax_choices, params.tax_choices))


@dataclass(frozen=True)
class Best:
    """The cell with the highest welfare by one definition."""

    definition: Definition
    rates: Rates
    welfare: Interval  # mean over seeds
    elsewhere: Interval  # of the cell that is best on all seeds but one, on that one; nobody's luck is in it
    agreeing: int  # seeds on which it is the best cell as well
    rivals: tuple[Rates, ...]  # other cells, whose difference to it, paired by seed, has an interval that holds 0
    trivial: bool


@dataclass(frozen=True)
class Peak:
    """Where revenue is highest along one tax rate, the other being held."""

    tax: Tax  # which rate varies
    held: float  # the other one
    rate: float  # at the peak
    revenue: Interval  # there
    by_seed: tuple[float, ...]  # each seed's own peak
    fall: Interval | None  # from the peak to the highest rate, paired by seed; None where the peak is there

    @property
    def bends(self) -> bool:
        """Whether revenue falls again, distinguishably: the curve that Laffer drew."""
        return self.fall is not None and self.fall.above_zero


@dataclass(frozen=True)
class Check:
    """One quantity of one retrained cell beside the map's."""

    rates: Rates
    quantity: Quantity
    mapped: Interval
    retrained: Interval
    difference: Interval  # d_s = map_s - retrained_s, paired by seed

    @property
    def differs(self) -> bool:
        """Whether the interval of the difference leaves out 0."""
        return self.difference.known and not self.difference.low <= 0 <= self.difference.high


@dataclass(frozen=True)
class TaxMap:
    """Every cell of the menu, for S seeds of the followers."""

    params: EconomyParameters
    seeds: tuple[int, ...]
    values: dict[str, numpy.ndarray]  # [S, rates, rates] each, mapped quantities and the share of trivial episodes
    retrained: dict[Rates, dict[int, dict[str, float]]]  # `cell_numbers` of followers who know one cell only, by seed
    episodes: int  # behind each value
    env_steps: int  # of each training

    @property
    def trivial(self) -> list[Rates]:
        """The cells of whose episodes, over all seeds, at least half are trivial."""
        shares = self.values["trivial_share"].mean(0).flat
        return [rates for rates, share in zip(cells(self.params), shares, strict=True) if is_trivial(share)]

    def interval(self, name: str, rates: Rates) -> Interval:
        """Mean over seeds of a cell's quantity, with its 95% Student t interval."""
        return t_interval(self.of_cell(name, rates))

    def of_cell(self, name: str, rates: Rates) -> list[float]:
        """`[S]` A quantity at these rates of the menu."""
        income, corporate = map(self.params.tax_choices.index, rates)
        return self.values[name][:, income, corporate].tolist()

    def best(self, definition: Definition) -> Best:
        """The best cell by mean welfare; trivial ones compete like all others."""
        welfare = self.values[f"{definition}_welfare"].reshape(len(self.seeds), -1)  # [S, cells]
        chosen, menu = int(welfare.mean(0).argmax()), cells(self.params)
        lead = [t_interval(welfare[:, chosen] - welfare[:, k]) for k in range(len(menu))]
        return Best(
            definition=definition,
            rates=menu[chosen],
            welfare=t_interval(welfare[:, chosen]),
            elsewhere=t_interval(chosen_on_others(welfare)),
            agreeing=int((welfare.argmax(1) == chosen).sum()),
            rivals=tuple(menu[k] for k, each in enumerate(lead) if k != chosen and not each.above_zero),
            trivial=menu[chosen] in self.trivial,
        )

    def peaks(self, tax: Tax) -> list[Peak]:
        """Where revenue is highest along `tax`, for each rate of the other one; none where there is no revenue."""
        revenue, menu = self.values["tax_revenue"], self.params.tax_choices
        curves = revenue if tax == "corporate" else revenue.swapaxes(1, 2)  # [S, held, varied]
        found = (peak_of(curves[:, k], menu, tax, held) for k, held in enumerate(menu))
        return [peak for peak in found if peak]

    def checks(self) -> list[Check]:
        """Every mapped quantity of every retrained cell, over the seeds that it shares with the map."""
        checks = []
        for (rates, own), quantity in product(self.retrained.items(), MAPPED):
            mapped = dict(zip(self.seeds, self.of_cell(quantity.name, rates), strict=True))
            pairs = numpy.array([(mapped[seed], own[seed][quantity.name]) for seed in own if seed in mapped])
            if len(pairs):
                columns = (pairs[:, 0], pairs[:, 1], pairs[:, 0] - pairs[:, 1])
                checks.append(Check(rates, quantity, *map(t_interval, columns)))
        return checks

    def cell_records(self) -> list[dict[str, Any]]:
        """One a cell: of each quantity the mean over seeds, its interval and the seeds' values."""
        return [
            {"income_tax_rate": rates[0], "corporate_tax_rate": rates[1], "trivial": rates in self.trivial}
            | {name: self.interval(name, rates).record() | {"by_seed": self.of_cell(name, rates)} for name in NUMBERS}
            for rates in cells(self.params)
        ]

    def record(self) -> dict[str, Any]:
        """For JSON: plain numbers, None for what is unknown."""
        record = {
            "seeds": self.seeds,
            "held_out_episodes": self.episodes,
            "env_steps": self.env_steps,
            "units": {quantity.name: quantity.unit for quantity in MAPPED},
            "cells": self.cell_records(),
            "best": [asdict(self.best(definition)) for definition in DEFINITIONS],
            "peaks": [asdict(peak) for tax in TAXES for peak in self.peaks(tax)],
            "retrained": [asdict(check) | {"quantity": check.quantity.name} for check in self.checks()],
            "retrained_by_seed": [
                {"rates": rates, "seed": seed, "numbers": numbers}
                for rates, own in self.retrained.items()
                for seed, numbers in own.items()
            ],
        }
        return plain(record)

    @classmethod
    def read(cls, record: dict[str, Any], params: EconomyParameters) -> Self:
        """The map whose `record` it is, in the economy of `params`."""
        seeds, size = tuple(record["seeds"]), len(params.tax_choices)
        values = {
            name: numpy.array([cell[name]["by_seed"] for cell in record["cells"]], dtype=float).T.reshape(
                -1, size, size
            )
            for name in NUMBERS
        }
        retrained: dict[Rates, dict[int, dict[str, float]]] = {}
        for each in record["retrained_by_seed"]:
            income, corporate = each["rates"]
            retrained.setdefault((income, corporate), {})[each["seed"]] = each["numbers"]
        return cls(params, seeds, values, retrained, record["held_out_episodes"], record["env_steps"])

    def frame(self) -> pandas.DataFrame:
        """One row a cell; of each quantity `<name>_mean` over seeds and the interval, `<name>_low` to `<name>_high`."""
        frame = pandas.json_normalize(self.cell_records(), sep="_").filter(regex="(?<!_by_seed)$")
        numbers = [column for column in frame if column.endswith(("_mean", "_low", "_high"))]
        return frame.astype(dict.fromkeys(numbers, float))  # None, an unknown bound, is NaN


def chosen_on_others(values: numpy.ndarray) -> numpy.ndarray:
    """`[S]` Of `values` `[S, columns]`, for each seed that of the column with the best mean over all other seeds; NaN
    for one seed, as nothing is left to choose on."""
    if len(values) < 2:
        return numpy.full(len(values), numpy.nan)
    others = [int(numpy.delete(values, seed, axis=0).mean(0).argmax()) for seed in range(len(values))]
    return values[numpy.arange(len(values)), others]


def peak_of(curves: numpy.ndarray, rates: Sequence[float], tax: Tax, held: float) -> Peak | None:
    """The peak of mean revenue, of `curves` `[S, rates]`: the lowest rate of several; None where none brings any."""
    means = curves.mean(0)
    top = int(means.argmax())
    if not means[top] > 0:
        return None
    fall = None if top == len(rates) - 1 else t_interval(curves[:, top] - curves[:, -1])
    by_seed = tuple(rates[k] for k in curves.argmax(1))
    return Peak(tax, held, rates[top], t_interval(curves[:, top]), by_seed, fall)
