"""The curriculum: a pure function from lifetime env steps to what is annealed, restricted and trained.

The paper's stages (section 4.2): consumers learn alone while firms and planner are held still and work becomes
gradually unpleasant; the firms' range of prices and wages widens while they act at random; firms learn; the range of
tax rates widens while the planner acts at random; the planner learns. Times are shares of the whole training, so a
longer training runs the same curriculum more slowly. Every part can be switched off by itself.
"""

import math
from dataclasses import dataclass, replace
from typing import Self

from pydantic import Field, NonNegativeFloat, PositiveFloat, PositiveInt, model_validator

from rbc_rllib.economy import GROUPS, ActionRanges, EconomyParameters
from rbc_rllib.economy.actions import on_menu
from rbc_rllib.settings import ConfigError, NonNegativePerGroup, PerGroup, Settings

SETTLED = 1e6
"""Sharpness at which a plan is its most likely one, unless logits differ by rounding errors only."""

WHO_LEARNS = {
    ("consumer",): "consumers alone",
    ("consumer", "firm"): "firms learn",
    ("consumer", "planner"): "the planner learns",
    GROUPS: "everyone learns",
}
"""Names of stages in which no range widens."""


@dataclass(frozen=True)
class CurriculumStage:
    """Everything the curriculum decides, at one moment of training."""

    name: str
    ranges: ActionRanges
    labor_disutility_scale: float  # 0 work is free .. 1 the economy's own
    entropy_coeff: dict[str, float]  # by group
    trainable_groups: tuple[str, ...]
    plan_sharpness: float  # of a planner who learns a plan: 1 draws from what it has learned .. SETTLED its likeliest


class Curriculum(Settings):
    """Schedules of a structured curriculum; `at` evaluates them.

    Times and time constants are shares of `total_env_steps`. Source of the defaults: the paper's stages with the
    numbers that learned well at full size.
    """

    total_env_steps: PositiveInt = 480_000  # length of the training; one env step is one quarter of one economy

    staged_training: bool = True  # groups start to learn one after the other
    annealed_ranges: bool = True  # prices, wages and taxes widen from a point to their menus
    annealed_labor_disutility: bool = True
    annealed_entropy: bool = True
    annealed_debt_penalty: bool = True

    starting_price: NonNegativeFloat = 1000.0
    starting_wage: NonNegativeFloat = 22.0
    final_price_range: tuple[NonNegativeFloat, NonNegativeFloat] = (0.0, 2500.0)
    final_wage_range: tuple[NonNegativeFloat, NonNegativeFloat] = (0.0, 44.0)
    firm_range_start: float = Field(0.0, ge=0, le=1)
    firm_range_end: float = Field(0.06, ge=0, le=1)  # the firms start to learn
    # When the firms start to learn, work nearly stops for a while. Random taxes in that while can stop it for good.
    # A planner who starts late leaves little time to the others to find out how to live with the taxes that it learns.
    tax_range_start: float = Field(0.12, ge=0, le=1)
    tax_range_end: float = Field(0.2, ge=0, le=1)  # the planner starts to learn

    labor_disutility_time_constant: PositiveFloat = 0.05

    initial_entropy_coeff: NonNegativePerGroup = PerGroup(consumer=0.5, firm=0.5, planner=0.5)
    final_entropy_coeff: NonNegativePerGroup = PerGroup(consumer=0.05, firm=0.05, planner=0.05)
    entropy_time_constant: PositiveFloat = 0.05
    entropy_from_own_start: bool = False  # whether a group's entropy stays high until it starts to learn
    # To which the bonus falls linearly late in training, so that policies end closer to a best response, where it is
    # higher than that; None keeps it as it is.
    cooled_entropy_coeff: NonNegativePerGroup | None = PerGroup(consumer=0.02, firm=0.01, planner=0.02)
    cooling_start: float = Field(0.5, ge=0, le=1)
    cooling_end: float = Field(0.85, ge=0, le=1)

    # A planner who learns a plan keeps ever closer to its most likely one, so that others end by answering that one.
    plan_settling_start: float = Field(0.5, ge=0, le=1)
    plan_settling_end: float = Field(0.75, ge=0, le=1)

    debt_penalty_step: NonNegativeFloat = 1e-5  # dual ascent: coefficient += step * mean firm debt, each iteration

    @model_validator(mode="after")
    def _in_order(self) -> Self:
        for start, end in (
            ("firm_range_start", "firm_range_end"),
            ("tax_range_start", "tax_range_end"),
            ("plan_settling_start", "plan_settling_end"),
            ("cooling_start", "cooling_end"),
        ):
            if getattr(self, start) > getattr(self, end):
                rule = f"what changes gradually cannot start after its end, {end} = {getattr(self, end)}"
                raise ConfigError(start, getattr(self, start), rule, f"lower it or raise {end}")
        return self

    def fits(self, params: EconomyParameters) -> None:
        """Raise `ConfigError` where a value is not on the economy's menus or a final range leaves choices out."""
        if not self.annealed_ranges:
            return
        for name in ("price", "wage"):
            menu, choices = f"economy.{name}_choices", getattr(params, f"{name}_choices")
            start, (low, high) = getattr(self, f"starting_{name}"), getattr(self, f"final_{name}_range")
            if low > choices[0] or high < choices[-1]:
                rule = f"the range must end as wide as the menu {menu}, {choices[0]} to {choices[-1]}"
                raise ConfigError(f"final_{name}_range", (low, high), rule, "widen it")
            if on_menu(start, choices) is None:
                rule = f"it must be on the menu {menu} = {choices}"
                raise ConfigError(f"starting_{name}", start, rule, "take one of those")

    def progress(self, env_steps: int) -> float:
        """Share of the training that is over, at most 1."""
        return min(1.0, env_steps / self.total_env_steps)

    def at(self, env_steps: int) -> CurriculumStage:
        """The stage after `env_steps` quarters of all economies since the start of training."""
        x = self.progress(env_steps)
        return CurriculumStage(
            name=self._name(x),
            ranges=self._ranges(x),
            labor_disutility_scale=self._labor_disutility_scale(x),
            entropy_coeff={group: self._entropy_coeff(group, x) for group in GROUPS},
            trainable_groups=self._trainable_groups(x),
            plan_sharpness=self._plan_sharpness(x),
        )

    def final(self) -> CurriculumStage:
        """The stage in which training ends: the economy itself, in which policies are judged."""
        return replace(self.at(self.total_env_steps), labor_disutility_scale=1.0)

    def _starts_at(self, group: str) -> float:
        if not self.staged_training:
            return 0.0
        return {"consumer": 0.0, "firm": self.firm_range_end, "planner": self.tax_range_end}[group]

    def _name(self, x: float) -> str:
        if self.annealed_ranges and self.firm_range_start <= x < self.firm_range_end:
            return "prices and wages widen"
        if self.annealed_ranges and self.tax_range_start <= x < self.tax_range_end:
            return "taxes widen"
        return WHO_LEARNS[self._trainable_groups(x)]

    def _ranges(self, x: float) -> ActionRanges:
        price = wage = (0.0, math.inf)
        highest_tax = 1.0
        if self.annealed_ranges:
            share = _ramp(x, self.firm_range_start, self.firm_range_end)
            price = _widened(self.starting_price, self.final_price_range, share)
            wage = _widened(self.starting_wage, self.final_wage_range, share)
            highest_tax = _ramp(x, self.tax_range_start, self.tax_range_end)
        return ActionRanges(
            price=price,
            wage=wage,
            income_tax_rate=(0.0, highest_tax),
            corporate_tax_rate=(0.0, highest_tax),
        )

    def _labor_disutility_scale(self, x: float) -> float:
        if not self.annealed_labor_disutility:
            return 1.0
        return 1.0 - math.exp(-x / self.labor_disutility_time_constant)

    def _entropy_coeff(self, group: str, x: float) -> float:
        coeff = getattr(self.final_entropy_coeff, group)
        if self.annealed_entropy:
            elapsed = max(0.0, x - (self._starts_at(group) if self.entropy_from_own_start else 0.0))
            initial = getattr(self.initial_entropy_coeff, group)
            coeff = max(coeff, initial * math.exp(-elapsed / self.entropy_time_constant))
        if self.cooled_entropy_coeff:
            cooled = getattr(self.cooled_entropy_coeff, group)
            coeff += min(0.0, cooled - coeff) * _ramp(x, self.cooling_start, self.cooling_end)
        return coeff

    def _trainable_groups(self, x: float) -> tuple[str, ...]:
        return tuple(group for group in GROUPS if x >= self._starts_at(group))

    def _plan_sharpness(self, x: float) -> float:
        left = 1.0 - _ramp(x, self.plan_settling_start, self.plan_settling_end)
        return min(SETTLED, 1.0 / left) if left else SETTLED


def _ramp(x: float, start: float, end: float) -> float:
    """0 before start, 1 from end on, linear between."""
    if x >= end:
        return 1.0
    return 0.0 if x <= start else (x - start) / (end - start)


def _widened(start: float, final: tuple[float, float], share: float) -> tuple[float, float]:
    """The range that has grown from the point `start` to `final` by `share` of the way."""
    low, high = final
    return (start + (low - start) * share, start + (high - start) * share)
