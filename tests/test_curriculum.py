"""The schedules against numbers worked out by hand, and each part by itself."""

import math
import re
from dataclasses import asdict, replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rbc_rllib.curriculum import Curriculum, CurriculumStage
from rbc_rllib.economy import EconomyParameters
from rbc_rllib.economy.actions import allowed_actions, planner_menu, tax_choice
from rbc_rllib.experiment import ExperimentConfig
from rbc_rllib.settings import ConfigError, PerGroup

VALUES = {
    "total_env_steps": 1000,
    "starting_price": 1000.0,
    "starting_wage": 22.0,
    "final_price_range": (0.0, 2500.0),
    "final_wage_range": (0.0, 44.0),
    "firm_range_start": 0.1,
    "firm_range_end": 0.3,
    "tax_range_start": 0.4,
    "tax_range_end": 0.8,
    "labor_disutility_time_constant": 0.1,
    "initial_entropy_coeff": PerGroup(consumer=0.5, firm=0.4, planner=0.3),
    "final_entropy_coeff": PerGroup(consumer=0.05, firm=0.1, planner=0.2),
    "entropy_time_constant": 0.2,
}
CURRICULUM = Curriculum(**VALUES)
FIXED = {"fixed_income_tax_rate": 0.4, "fixed_corporate_tax_rate": 0.8}
MENUS = EconomyParameters()
SWITCHES = ("staged_training", "annealed_ranges", "annealed_labor_disutility", "annealed_entropy")
MOMENTS = (0, 50, 150, 250, 350, 450, 600, 750, 900, 1000)

WHOLE_PRICES, WHOLE_WAGES = (0.0, 2500.0), (0.0, 44.0)
STAGES = [
    # env steps, name, price, wage, highest tax rate, groups that learn
    (0, "consumers alone", (1000, 1000), (22, 22), 0, 1),
    (99, "consumers alone", (1000, 1000), (22, 22), 0, 1),
    (100, "prices and wages widen", (1000, 1000), (22, 22), 0, 1),
    (150, "prices and wages widen", (750, 1375), (16.5, 27.5), 0, 1),
    (200, "prices and wages widen", (500, 1750), (11, 33), 0, 1),
    (299, "prices and wages widen", (5, 2492.5), (0.11, 43.89), 0, 1),
    (300, "firms learn", WHOLE_PRICES, WHOLE_WAGES, 0, 2),
    (399, "firms learn", WHOLE_PRICES, WHOLE_WAGES, 0, 2),
    (400, "taxes widen", WHOLE_PRICES, WHOLE_WAGES, 0, 2),
    (500, "taxes widen", WHOLE_PRICES, WHOLE_WAGES, 0.25, 2),
    (799, "taxes widen", WHOLE_PRICES, WHOLE_WAGES, 0.9975, 2),
    (800, "planner learns", WHOLE_PRICES, WHOLE_WAGES, 1, 3),
    (1000, "planner learns", WHOLE_PRICES, WHOLE_WAGES, 1, 3),
    (50_000, "planner learns", WHOLE_PRICES, WHOLE_WAGES, 1, 3),
]


@pytest.mark.parametrize(
    ("env_steps", "name", "price", "wage", "tax", "learning"), STAGES, ids=[str(s[0]) for s in STAGES]
)
def test_stages_by_hand(env_steps, name, price, wage, tax, learning):
    stage = CURRICULUM.at(env_steps)
    assert stage.name == name
    assert stage.ranges.price == pytest.approx(price)
    assert stage.ranges.wage == pytest.approx(wage)
    assert stage.ranges.income_tax_rate == pytest.approx((0, tax))
    assert stage.ranges.corporate_tax_rate == pytest.approx((0, tax))
    assert stage.trainable_groups == ("consumer", "firm", "planner")[:learning]


@pytest.mark.parametrize(
    ("env_steps", "scale"),
    [(0, 0.0), (50, 0.3934693403), (100, 0.6321205588), (200, 0.8646647168), (1000, 0.9999546001), (2000, 0.9999546)],
)
def test_labor_disutility_rises_as_one_less_an_exponential(env_steps, scale):
    assert CURRICULUM.at(env_steps).labor_disutility_scale == pytest.approx(scale, abs=1e-10)


@pytest.mark.parametrize(
    ("env_steps", "consumer", "firm", "planner"),
    [
        (0, 0.5, 0.4, 0.3),
        (50, 0.3894003915, 0.3115203132, 0.2336402350),
        (200, 0.1839397206, 0.1471517765, 0.2),  # 0.3 / e is below the floor
        (400, 0.0676676416, 0.1, 0.2),
        (500, 0.05, 0.1, 0.2),
        (1000, 0.05, 0.1, 0.2),
    ],
)
def test_entropy_decays_to_its_floor_from_the_first_step(env_steps, consumer, firm, planner):
    expected = {"consumer": consumer, "firm": firm, "planner": planner}
    assert CURRICULUM.at(env_steps).entropy_coeff == pytest.approx(expected)


@pytest.mark.parametrize(
    ("env_steps", "consumer", "firm", "planner"),
    [
        (200, 0.1839397206, 0.4, 0.3),
        (300, 0.1115650801, 0.4, 0.3),
        (500, 0.05, 0.1471517765, 0.3),
        (800, 0.05, 0.1, 0.3),
        (850, 0.05, 0.1, 0.2336402350),
        (1000, 0.05, 0.1, 0.2),
    ],
)
def test_entropy_from_a_groups_own_start_waits_for_it(env_steps, consumer, firm, planner):
    curriculum = CURRICULUM.replace(entropy_from_own_start=True)
    expected = {"consumer": consumer, "firm": firm, "planner": planner}
    assert curriculum.at(env_steps).entropy_coeff == pytest.approx(expected)
    together = curriculum.replace(staged_training=False)
    assert together.at(env_steps).entropy_coeff == CURRICULUM.at(env_steps).entropy_coeff


def test_a_longer_training_runs_the_same_curriculum_more_slowly():
    longer = CURRICULUM.replace(total_env_steps=7000)
    assert [longer.at(7 * moment) for moment in MOMENTS] == [CURRICULUM.at(moment) for moment in MOMENTS]


def test_a_range_may_open_all_at_once():
    """Start and end at the same moment: a point before it, the whole menu from it on."""
    curriculum = CURRICULUM.replace(firm_range_start=0.3, tax_range_start=0.8)
    for before, moment in ((299, 300), (799, 800)):
        early, late = curriculum.at(before).ranges, curriculum.at(moment).ranges
        assert early.price == ((1000, 1000) if moment == 300 else WHOLE_PRICES)
        assert late.price == WHOLE_PRICES
        assert early.income_tax_rate == (0, 0)
        assert late.income_tax_rate == (0, 0 if moment == 300 else 1)


def test_at_is_pure():
    """The stage depends on the env steps alone: not on earlier calls, nor on the object that is asked."""
    stages = {moment: CURRICULUM.at(moment) for moment in reversed(MOMENTS)}
    for moment in MOMENTS:
        assert CURRICULUM.at(moment) == stages[moment] == Curriculum(**VALUES).at(moment)
    stages[0].entropy_coeff["firm"] = 99.0
    assert CURRICULUM.at(0).entropy_coeff["firm"] == 0.4


def curricula() -> st.SearchStrategy[Curriculum]:
    """Any order of the stages, any pace."""
    share = st.one_of(st.sampled_from([0.0, 0.5, 1.0]), st.floats(0, 1))
    span = st.tuples(share, share).map(sorted)
    return st.builds(
        lambda firm, tax, pace, fixed, switches: CURRICULUM.replace(
            firm_range_start=firm[0],
            firm_range_end=firm[1],
            tax_range_start=tax[0],
            tax_range_end=tax[1],
            labor_disutility_time_constant=pace,
            entropy_time_constant=pace,
            **(FIXED if fixed else {}),
            **dict(zip((*SWITCHES, "entropy_from_own_start"), switches, strict=True)),
        ),
        span,
        span,
        st.floats(0.001, 1),
        st.booleans(),
        st.tuples(*[st.booleans()] * 5),
    )


@settings(deadline=None)
@given(curriculum=curricula(), moments=st.lists(st.integers(0, 1100), min_size=2, max_size=2).map(sorted))
def test_nothing_that_was_opened_is_closed_again(curriculum, moments):
    early, late = (curriculum.at(moment) for moment in moments)
    for key in ("price", "wage"):
        (low, high), (later_low, later_high) = getattr(early.ranges, key), getattr(late.ranges, key)
        assert later_low <= low <= high <= later_high
    for key in ("income_tax_rate", "corporate_tax_rate"):
        (low, high), (later_low, later_high) = getattr(early.ranges, key), getattr(late.ranges, key)
        assert 0 <= high <= later_high <= 1
        assert low == later_low == 0
    assert 0 <= early.labor_disutility_scale <= late.labor_disutility_scale <= 1
    assert set(early.trainable_groups) <= set(late.trainable_groups)
    assert all(early.entropy_coeff[group] >= late.entropy_coeff[group] for group in early.entropy_coeff)
    before, after = (allowed_actions(MENUS, stage.ranges) for stage in (early, late))
    assert before["firm"].any()
    assert before["planner"].any()
    assert not (before["firm"] & ~after["firm"]).any()
    assert not (before["planner"] & ~after["planner"]).any()


PARTS = {
    "staged_training": {"trainable_groups": ("consumer", "firm", "planner")},
    "annealed_labor_disutility": {"labor_disutility_scale": 1.0},
    "annealed_entropy": {"entropy_coeff": {"consumer": 0.05, "firm": 0.1, "planner": 0.2}},
    "annealed_ranges": {
        "ranges": {
            "price": (0.0, math.inf),
            "wage": (0.0, math.inf),
            "income_tax_rate": (0.0, 1.0),
            "corporate_tax_rate": (0.0, 1.0),
        }
    },
    "annealed_debt_penalty": {},  # the callback's business
}


@pytest.mark.parametrize("switch", PARTS)
def test_a_switch_turns_off_its_own_part_only(switch):
    without = CURRICULUM.replace(**{switch: False})
    for moment in MOMENTS:
        expected = asdict(CURRICULUM.at(moment)) | PARTS[switch]
        assert asdict(without.at(moment)) == expected
    assert not PARTS[switch] or without.at(0) != CURRICULUM.at(0)


def test_without_stages_and_ranges_there_is_one_stage():
    curriculum = CURRICULUM.replace(staged_training=False, annealed_ranges=False)
    assert {curriculum.at(moment).name for moment in MOMENTS} == {"everyone learns"}


def everything(stage: CurriculumStage) -> bool:
    return all(mask.all() for mask in allowed_actions(MENUS, stage.ranges).values())


@pytest.mark.parametrize("off", [None, *PARTS])
@pytest.mark.parametrize("end", [0.0, 0.4, 1.0])
def test_the_final_stage_allows_whole_menus_and_everybody_learns(off, end):
    switches = {off: False} if off else {}
    curriculum = Curriculum(
        firm_range_start=0.0, firm_range_end=end, tax_range_start=0.0, tax_range_end=end, **switches
    )
    final = curriculum.final()
    assert everything(final)
    assert final.trainable_groups == ("consumer", "firm", "planner")
    assert final.labor_disutility_scale == 1
    long_after = curriculum.at(10 * curriculum.total_env_steps)
    assert final == replace(long_after, labor_disutility_scale=1.0)


def test_the_first_stage_allows_one_price_one_wage_and_no_taxes():
    allowed = allowed_actions(MENUS, Curriculum().at(0).ranges)
    assert allowed["firm"].nonzero()[0].tolist() == [2 * 5 + 2]
    assert allowed["planner"].nonzero()[0].tolist() == [0]


def imposed(curriculum: Curriculum, env_steps: int) -> list[float]:
    """The income and the corporate tax rate that a planner with fixed taxes imposes."""
    choice = tax_choice(MENUS, curriculum.fixed_tax_rates, curriculum.at(env_steps).ranges)
    return planner_menu(MENUS)[choice].tolist()


@pytest.mark.parametrize(
    ("env_steps", "income", "corporate"),
    [(0, 0, 0), (400, 0, 0), (500, 0.2, 0.2), (560, 0.4, 0.4), (640, 0.4, 0.6), (720, 0.4, 0.8), (1000, 0.4, 0.8)],
)
def test_fixed_taxes_are_phased_in_by_the_tax_ramp(env_steps, income, corporate):
    """The ramp of every planner; of rates between those on the menu the nearest one is imposed."""
    curriculum = CURRICULUM.replace(**FIXED)
    assert curriculum.at(env_steps).ranges == CURRICULUM.at(env_steps).ranges
    assert imposed(curriculum, env_steps) == pytest.approx([income, corporate])


@pytest.mark.parametrize("staged_training", [True, False])
@pytest.mark.parametrize("rates", [(0.4, 0.8), (0.0, 0.0), (1.0, 0.0)])
def test_a_planner_with_fixed_taxes_is_never_trained_and_ends_with_the_given_rates(rates, staged_training):
    curriculum = CURRICULUM.replace(
        fixed_income_tax_rate=rates[0], fixed_corporate_tax_rate=rates[1], staged_training=staged_training
    )
    assert curriculum.fixed_tax_rates == rates
    assert CURRICULUM.fixed_tax_rates is None
    for moment in MOMENTS:
        others = [group for group in CURRICULUM.at(moment).trainable_groups if group != "planner"]
        assert list(curriculum.at(moment).trainable_groups) == (others if staged_training else ["consumer", "firm"])
    assert curriculum.final().name == "fixed taxes"
    assert imposed(curriculum, curriculum.total_env_steps) == pytest.approx(rates)


def test_fixed_taxes_without_annealed_ranges_hold_from_the_first_step():
    curriculum = CURRICULUM.replace(annealed_ranges=False, **FIXED)
    for moment in MOMENTS:
        assert imposed(curriculum, moment) == pytest.approx([0.4, 0.8])


REFUSED = [
    # overrides, key, value, words of the rule, words of the fix
    ({"firm_range_start": 0.5}, "firm_range_start", 0.5, "its end, firm_range_end = 0.06", "raise firm_range_end"),
    ({"tax_range_start": 0.9}, "tax_range_start", 0.9, "after its end, tax_range_end = 0.2", "raise tax_range_end"),
    (
        {"fixed_corporate_tax_rate": 0.8},
        "fixed_income_tax_rate, fixed_corporate_tax_rate",
        (None, 0.8),
        "both tax rates are fixed",
        "both or neither",
    ),
    (
        {"fixed_income_tax_rate": 0.0},
        "fixed_income_tax_rate, fixed_corporate_tax_rate",
        (0.0, None),
        "both tax rates are fixed",
        "both or neither",
    ),
    ({"fixed_income_tax_rate": 40}, "fixed_income_tax_rate", 40, "less than or equal to 1", "leave it out"),
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
    ("values", "key", "menu"),
    [
        ({"starting_price": 999.0}, "starting_price", "economy.price_choices"),
        ({"starting_wage": 20.0}, "starting_wage", "economy.wage_choices"),
        (
            {"fixed_income_tax_rate": 0.5, "fixed_corporate_tax_rate": 0.8},
            "fixed_income_tax_rate",
            "economy.tax_choices",
        ),
        ({"fixed_income_tax_rate": 0.4, "fixed_corporate_tax_rate": 0.9}, "fixed_corporate_tax_rate", "tax_choices"),
    ],
    ids=str,
)
def test_values_that_are_not_on_the_menu_are_refused(values, key, menu):
    curriculum = Curriculum(**values)
    for refuse in (lambda: curriculum.fits(MENUS), lambda: ExperimentConfig(curriculum=curriculum)):
        with pytest.raises(ConfigError, match=menu) as refusal:
            refuse()
        assert refusal.value.key.removeprefix("curriculum.") == key
        assert refusal.value.value == values[key]
        assert refusal.value.fix == "take one of those"


def test_starting_values_matter_only_where_ranges_are_annealed():
    Curriculum(starting_price=999.0, annealed_ranges=False).fits(MENUS)
    with pytest.raises(ConfigError, match="tax_choices"):
        Curriculum(annealed_ranges=False, fixed_income_tax_rate=0.5, fixed_corporate_tax_rate=0.8).fits(MENUS)


def test_any_value_on_the_menu_fits():
    economy = EconomyParameters(price_choices=(10.0, 0.1 + 0.2 + 20), wage_choices=(1.0,), tax_choices=(0.0, 0.3))
    Curriculum(
        starting_price=20.3, starting_wage=1.0, fixed_income_tax_rate=0.1 + 0.2, fixed_corporate_tax_rate=0.0
    ).fits(economy)
