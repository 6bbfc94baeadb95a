"""Parameters refuse nonsense in one sentence, and defaults follow the numbers of consumers and firms."""

import math
import pickle
import re

import numpy
import pytest
from pydantic import ValidationError

from rbc_rllib.economy import EconomyParameters
from rbc_rllib.settings import ConfigError

NAN, INF = math.nan, math.inf
MENUS = ("demand_choices", "hours_choices", "price_choices", "wage_choices", "tax_choices")
DEPENDENT = ("initial_firm_budget", "initial_capital", "labor_elasticities")

REFUSED = [
    # overrides, key, value, words of the rule, words of the fix
    ({"num_consumers": -3}, "num_consumers", -3, "greater than 0", "100"),
    ({"num_consumers": 0}, "num_consumers", 0, "greater than 0", "100"),
    ({"num_firms": -1}, "num_firms", -1, "greater than 0", "10"),
    ({"episode_length": 0}, "episode_length", 0, "greater than 0", "10"),
    ({"num_firms": 2.5}, "num_firms", 2.5, "valid integer", "10"),
    ({"num_consumers": "many"}, "num_consumers", "many", "valid integer", "100"),
    ({"num_consumers": numpy.array([3, 4])}, "num_consumers", [3, 4], "valid integer", "100"),
    ({"crra": -0.5}, "crra", -0.5, "greater than or equal to 0", "0.1"),
    ({"crra": None}, "crra", None, "valid number", "0.1"),
    ({"crra": [0.1, 0.2]}, "crra", [0.1, 0.2], "valid number", "0.1"),
    ({"crra": NAN}, "crra", NAN, "finite", "0.1"),
    ({"initial_price": INF}, "initial_price", INF, "finite", "1000.0"),
    ({"interest_rate": -INF}, "interest_rate", -INF, "finite|greater than or equal to 0", "0.0"),
    ({"interest_rate": numpy.float32(NAN)}, "interest_rate", NAN, "finite", "0.0"),
    ({"labor_disutility_pareto_shape": 0}, "labor_disutility_pareto_shape", 0, "greater than 0", "4.0"),
    ({"investment_share": 1.1}, "investment_share", 1.1, "less than or equal to 1", "0.1"),
    ({"investment_share": -0.1}, "investment_share", -0.1, "greater than or equal to 0", "0.1"),
    ({"export_market": "perhaps"}, "export_market", "perhaps", "valid boolean", "True"),
    ({"planner_welfare": "rich"}, "planner_welfare", "rich", "'consumer' or 'total'", "'consumer'"),
    ({"dtype": "float16"}, "dtype", "float16", "'float32' or 'float64'", "'float32'"),
    ({"initial_firm_budget": NAN}, "initial_firm_budget", NAN, "finite", "leave it out"),
    ({"initial_capital": 5000.0}, "initial_capital", 5000.0, "valid tuple", "leave it out"),
    ({"num_firms": 2, "initial_capital": [1.0, INF]}, "initial_capital.1", INF, "finite", "leave it out"),
    ({"num_firms": 2, "initial_capital": [1.0, -1.0]}, "initial_capital.1", -1.0, "greater than or equal", "leave it"),
    ({"num_firms": 3, "initial_capital": [1.0]}, "initial_capital", (1.0,), "3 firms.*not 1", "leave it out"),
    ({"initial_capital": [1.0] * 3}, "initial_capital", (1.0,) * 3, "10 firms.*not 3", "leave it out"),
    ({"num_firms": 1, "labor_elasticities": []}, "labor_elasticities", (), "1 firms.*not 0", "leave it out"),
    ({"num_firms": 2, "labor_elasticities": [0.5, 1.2]}, "labor_elasticities", (0.5, 1.2), r"\[0, 1\]", "replace 1.2"),
    ({"num_firms": 1, "labor_elasticities": [-0.1]}, "labor_elasticities", (-0.1,), r"\[0, 1\]", "replace -0.1"),
    ({"num_firms": 1, "labor_elasticities": [NAN]}, "labor_elasticities.0", NAN, "finite", "leave it out"),
    ({"tax_choices": [0, 0.5, 1.5]}, "tax_choices", (0.0, 0.5, 1.5), "cannot exceed 1", "20% as 0.2"),
    ({"price_choices": [-500, 0]}, "price_choices.0", -500, "greater than or equal to 0", "500.0"),
    ({"wage_choices": 11}, "wage_choices", 11, "valid tuple", "11.0, 22.0"),
    ({"hours_choices": ["a", "b"]}, "hours_choices.0", "a", "valid number", "260.0"),
    *(({menu: []}, menu, (), "at least one choice", "from low to high") for menu in MENUS),
    *(({menu: [0.4, 0.2]}, menu, (0.4, 0.2), "increase strictly", "sort") for menu in MENUS),
    *(({menu: [0.2, 0.2]}, menu, (0.2, 0.2), "increase strictly", "repeated") for menu in MENUS),
    *(({menu: [0.0, NAN]}, f"{menu}.1", NAN, "finite", "the default is") for menu in MENUS),
    ({"num_firm": 3}, "num_firm", 3, "no such key", "write num_firms"),
    ({"labour_floor": 3}, "labour_floor", 3, "no such key", "write labor_floor"),
    ({"theta": 3}, "theta", 3, "no such key", "the keys are num_consumers, num_firms,"),
]


def same(value: object, other: object) -> bool:
    return value == other or (value != value and other != other)


@pytest.mark.parametrize(
    ("overrides", "key", "value", "rule", "fix"), REFUSED, ids=[repr(overrides) for overrides, *_ in REFUSED]
)
def test_nonsense_is_refused_in_one_sentence(overrides, key, value, rule, fix):
    with pytest.raises(ConfigError, match=rule) as refusal:
        EconomyParameters(**overrides)
    error, sentence = refusal.value, str(refusal.value)
    assert error.key == key
    assert same(error.value, value)
    assert sentence.startswith(f"{key} = ")
    assert fix in error.fix
    assert sentence.endswith(f"is refused: {error.rule}; {error.fix}.")
    assert not re.search(r"\. [A-Z]", sentence)
    assert "\n" not in sentence
    assert "ydantic" not in sentence


def test_refusal_is_a_value_error_and_survives_pickling():
    with pytest.raises(ValueError, match="crra") as refusal:
        EconomyParameters(crra=-1)
    copy = pickle.loads(pickle.dumps(refusal.value))
    assert str(copy) == str(refusal.value)
    assert (copy.key, copy.value) == ("crra", -1)


def test_refused_count_is_named_rather_than_what_depends_on_it():
    with pytest.raises(ConfigError, match="num_consumers"):
        EconomyParameters(num_consumers=-1)
    with pytest.raises(ConfigError, match="num_firms"):
        EconomyParameters().replace(num_firms=-1)


@pytest.mark.parametrize(("num_consumers", "num_firms"), [(1, 1), (7, 3), (100, 10), (5, 12)])
def test_defaults_follow_the_numbers_of_consumers_and_firms(num_consumers, num_firms):
    params = EconomyParameters(num_consumers=num_consumers, num_firms=num_firms)
    assert params.initial_firm_budget == 22_000 * num_consumers
    assert params.initial_capital == (5000.0,) * (num_firms // 2) + (10_000.0,) * (num_firms - num_firms // 2)
    assert params.labor_elasticities == ((0.2, 0.3, 0.4, 0.6, 0.8) * 3)[:num_firms]
    replaced = EconomyParameters(crra=0.3).replace(num_consumers=num_consumers, num_firms=num_firms)
    assert all(getattr(replaced, name) == getattr(params, name) for name in DEPENDENT)
    assert replaced.crra == 0.3


def test_default_that_follows_several_replacements():
    params = EconomyParameters().replace(num_firms=3).replace(num_consumers=4).replace(crra=1)
    assert params == EconomyParameters(num_consumers=4, num_firms=3, crra=1)


def test_given_value_stays_when_the_counts_change():
    params = EconomyParameters(num_firms=2, initial_firm_budget=5, initial_capital=[1, 2])
    assert params.replace(num_consumers=3).initial_firm_budget == 5
    assert params.replace(num_consumers=3).initial_capital == (1, 2)
    with pytest.raises(ConfigError, match="initial_capital"):
        params.replace(num_firms=3)


def test_replace_validates_and_leaves_the_original_alone():
    params = EconomyParameters()
    assert params.replace(crra=0.5).crra == 0.5
    assert params.crra == 0.1
    with pytest.raises(ConfigError, match="write crra"):
        params.replace(cra=0.5)


def test_annealed_copy_has_the_changes_and_keeps_the_rest():
    params = EconomyParameters(num_consumers=7)
    annealed = params.annealed(labor_disutility=0.002, penalty_coefficient=3.0)
    assert (annealed.labor_disutility, annealed.penalty_coefficient) == (0.002, 3.0)
    assert annealed == params.replace(labor_disutility=0.002, penalty_coefficient=3.0)
    assert (params.labor_disutility, params.penalty_coefficient) == (0.01, 0.0)


def test_numpy_scalars_and_arrays_are_taken_for_what_they_hold():
    params = EconomyParameters(
        num_consumers=numpy.int64(4),
        num_firms=numpy.array(2),
        crra=numpy.float32(0.5),
        export_market=numpy.False_,
        price_choices=numpy.arange(0, 30, 10),
        labor_elasticities=numpy.array([0.25, 0.5], numpy.float32),
        planner_welfare=numpy.str_("total"),
    )
    plain = EconomyParameters(
        num_consumers=4,
        num_firms=2,
        crra=0.5,
        export_market=False,
        price_choices=[0, 10, 20],
        labor_elasticities=(0.25, 0.5),
        planner_welfare="total",
    )
    assert params == plain
    assert hash(params) == hash(plain)
    assert type(params.num_consumers) is int
    assert all(type(price) is float for price in params.price_choices)


def test_parameters_are_frozen():
    params = EconomyParameters()
    with pytest.raises(ValidationError, match="frozen"):
        params.crra = 0.5
    with pytest.raises(TypeError):
        params.price_choices[0] = 5.0
    assert params == EconomyParameters()


def test_equal_parameters_are_one_key_of_a_dict():
    assert {EconomyParameters(crra=0.1, num_firms=3): 1}[EconomyParameters(num_firms=3)] == 1
