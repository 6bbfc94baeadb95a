"""The quantities that reports show: indicator names, words, units and formats, each in one place."""

import math
from dataclasses import dataclass

from analysis.intervals import Interval


@dataclass(frozen=True)
class Quantity:
    """An indicator of `rbc_rllib.economy.indicators.episode_indicators`, as a reader meets it."""

    name: str  # the indicator
    label: str
    unit: str
    format: str  # of one value

    @property
    def title(self) -> str:
        return f"{self.label} ({self.unit})" if self.unit else self.label

    def text(self, value: float, low: float = math.nan, high: float = math.nan) -> str:
        """`mean [low, high]`, or the mean alone where there are no bounds."""
        if math.isnan(value):
            return "unknown"
        text = format(value, self.format)
        return text if math.isnan(low) else f"{text} [{format(low, self.format)}, {format(high, self.format)}]"

    def of(self, interval: Interval) -> str:
        """The same of an interval."""
        return self.text(interval.mean, interval.low, interval.high)


QUANTITIES = (
    Quantity("social_welfare", "social welfare", "a quarter, whole economy", "z,.1f"),
    Quantity("consumer_reward", "consumer reward", "utility a quarter", "z,.2f"),
    Quantity("firm_reward", "firm reward", "money a quarter", "z,.0f"),
    Quantity("hours", "hours", "a quarter and consumer", "z,.0f"),
    Quantity("output", "output", "units a quarter, all firms", "z,.0f"),
    Quantity("consumption", "consumption", "units a quarter and consumer", "z,.2f"),
    Quantity("price", "price", "money a unit", "z,.0f"),
    Quantity("wage", "wage", "money an hour", "z,.1f"),
    Quantity("income_tax_rate", "income tax", "share", "z.0%"),
    Quantity("corporate_tax_rate", "corporate tax", "share", "z.0%"),
    Quantity("trivial_share", "trivial episodes", "share", "z.0%"),
)

MORE_QUANTITIES = (
    Quantity("exports", "exports", "units a quarter, all firms", "z,.0f"),
    Quantity("tax_revenue", "tax revenue", "money a quarter, whole economy", "z,.0f"),
    Quantity("inflation", "inflation", "share, first to last quarter", "z.0%"),
    Quantity("gini_consumption", "Gini of consumption", "0: all get the same", "z.2f"),
    Quantity("firm_debt", "firm debt", "money a firm, last quarter", "z,.0f"),
)
"""Those that the comparison of treatments leaves out; an evaluation prints all."""

BY_NAME = {quantity.name: quantity for quantity in (*QUANTITIES, *MORE_QUANTITIES)}


def quantity_of(name: str) -> Quantity:
    """How indicator `name` is shown; one that has no words here goes by its name, with four digits."""
    return BY_NAME.get(name) or Quantity(name, name.replace("_", " "), "", "z,.4g")
