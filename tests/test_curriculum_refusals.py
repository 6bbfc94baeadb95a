"""A curriculum that makes no sense is refused in one sentence that names the key, the value, the rule and the fix."""

import re

import pytest

from rbc_rllib.curriculum import Curriculum
from rbc_rllib.economy import EconomyParameters
from rbc_rllib.experiment import ExperimentConfig
from rbc_rllib.settings import ConfigError

REFUSED = [
    # overrides, key, value, words of the rule, words of the fix
    ({"firm_range_start": 0.5}, "firm_range_start", 0.5, "its end, firm_range_end = 0.06", "raise firm_range_end"),
    ({"tax_range_start": 0.9}, "tax_range_start", 0.9, "after its end, tax_range_end = 0.2", "raise tax_range_end"),
    (
        {"plan_settling_start": 0.9},
        "plan_settling_start",
        0.9,
        "after its end, plan_settling_end = 0.75",
        "raise plan_settling_end",
    ),
    ({"plan_settling_end": 1.2}, "plan_settling_end", 1.2, "less than or equal to 1", "0.75"),
    (
        {"cooling_start": 0.9, "cooling_end": 0.8},
        "cooling_start",
        0.9,
        "cannot start after its end",
        "lower it or raise cooling_end",
    ),
    ({"cooled_entropy_coeff": 0.02}, "cooled_entropy_coeff", 0.02, "valid dictionary", "leave it out"),
    ({"firm_range_end": 1.5}, "firm_range_end", 1.5, "less than or equal to 1", "0.06"),
    ({"total_env_steps": 0}, "total_env_steps", 0, "greater than 0", "480000"),
    ({"entropy_time_constant": 0}, "entropy_time_constant", 0, "greater than 0", "0.05"),
    ({"final_price_range": (0,)}, "final_price_range.1", (0,), "required", "(0.0, 2500.0)"),
    ({"initial_entropy_coeff": {"firm": 1, "planner": 1}}, "initial_entropy_coeff.consumer", None, "required", ""),
    ({"starting_prize": 500}, "starting_prize", 500, "no such key", "write starting_price"),
    ({"speed": 2}, "speed", 2, "no such key", "the keys are total_env_steps, staged_training,"),
]


@pytest.mark.parametrize(
    ("overrides", "key", "value", "rule", "fix"), REFUSED, ids=[repr(overrides) for overrides, *_ in REFUSED]
)
def test_nonsense_is_refused_in_one_sentence(overrides, key, value, rule, fix):
    with pytest.raises(ConfigError, match=rule) as refusal:
        Curriculum(**overrides)
    error = refusal.value
    assert error.key == key
    assert value in (None, error.value)
    assert fix in error.fix
    assert str(error) == f"{key} = {error.value!r} is refused: {error.rule}; {error.fix}."
    assert not re.search(r"\. [A-Z]", str(error))


@pytest.mark.parametrize(
    ("values", "key", "menu", "fix"),
    [
        ({"starting_price": 999.0}, "starting_price", "economy.price_choices", "take one of those"),
        ({"starting_wage": 20.0}, "starting_wage", "economy.wage_choices", "take one of those"),
        ({"final_price_range": (500.0, 2500.0)}, "final_price_range", "economy.price_choices, 0.0 to", "widen it"),
        ({"final_wage_range": (0.0, 33.0)}, "final_wage_range", "economy.wage_choices, 0.0 to 44.0", "widen it"),
    ],
    ids=str,
)
def test_values_that_are_not_on_the_menu_are_refused(values, key, menu, fix):
    curriculum = Curriculum(**values)
    for refuse in (lambda: curriculum.fits(EconomyParameters()), lambda: ExperimentConfig(curriculum=curriculum)):
        with pytest.raises(ConfigError, match=menu) as refusal:
            refuse()
        assert refusal.value.key.removeprefix("curriculum.") == key
        assert refusal.value.value == values[key]
        assert refusal.value.fix == fix


def test_starting_values_matter_only_where_ranges_are_annealed():
    Curriculum(starting_price=999.0, annealed_ranges=False).fits(EconomyParameters())


def test_any_value_on_the_menu_fits():
    economy = EconomyParameters(price_choices=(10.0, 0.1 + 0.2 + 20), wage_choices=(1.0,), tax_choices=(0.0, 0.3))
    Curriculum(starting_price=20.3, starting_wage=1.0).fits(economy)
