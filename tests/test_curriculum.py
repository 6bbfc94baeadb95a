"""The schedules against numbers worked out by hand, and each part by itself."""

import math
from dataclasses import asdict, replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rbc_rllib.curriculum import SETTLED, Curriculum, CurriculumStage
from rbc_rllib.economy import EconomyParameters, Planner
from rbc_rllib.economy.actions import allowed_actions
from rbc_rllib.experiment import ExperimentConfig
from rbc_rllib.play.vector_economy import VectorEconomy
from rbc_rllib.settings import PerGroup

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
    "cooled_entropy_coeff": None,
    "plan_settling_start": 0.5,
    "plan_settling_end": 0.8,
}
CURRICULUM = Curriculum(**VALUES)
FIXED = Planner(mode="fixed", rates=((0.4, 0.8),))
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
    (800, "everyone learns", WHOLE_PRICES, WHOLE_WAGES, 1, 3),
    (1000, "everyone learns", WHOLE_PRICES, WHOLE_WAGES, 1, 3),
    (50_000, "everyone learns", WHOLE_PRICES, WHOLE_WAGES, 1, 3),
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


def test_a_stage_is_named_by_what_widens_or_else_by_who_learns():
    def names(**values):
        curriculum = CURRICULUM.replace(**values)
        return [curriculum.at(moment).name for moment in (0, 100, 299, 300, 400, 799, 800)]

    prices, taxes, last = "prices and wages widen", "taxes widen", "everyone learns"
    assert names(staged_training=False) == [last, prices, prices, last, taxes, taxes, last]
    assert names(annealed_ranges=False) == [*["consumers alone"] * 3, *["firms learn"] * 3, last]
    planner_first = {"tax_range_start": 0.0, "tax_range_end": 0.1}
    assert names(annealed_ranges=False, **planner_first)[:4] == ["consumers alone", *["the planner learns"] * 2, last]


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
        lambda firm, tax, plan, pace, cooled, switches: CURRICULUM.replace(
            firm_range_start=firm[0],
            firm_range_end=firm[1],
            tax_range_start=tax[0],
            tax_range_end=tax[1],
            plan_settling_start=plan[0],
            plan_settling_end=plan[1],
            labor_disutility_time_constant=pace,
            entropy_time_constant=pace,
            cooled_entropy_coeff=PerGroup(consumer=0.02, firm=0.0, planner=0.2) if cooled else None,
            **dict(zip((*SWITCHES, "entropy_from_own_start"), switches, strict=True)),
        ),
        span,
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
    assert 1 <= early.plan_sharpness <= late.plan_sharpness <= SETTLED
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
RENAMED = {
    "staged_training": {"consumers alone": "everyone learns", "firms learn": "everyone learns"},
    "annealed_ranges": {"prices and wages widen": "consumers alone", "taxes widen": "firms learn"},
}
"""What stages are called where that part is off."""


@pytest.mark.parametrize("switch", PARTS)
def test_a_switch_turns_off_its_own_part_only(switch):
    without = CURRICULUM.replace(**{switch: False})
    for moment in MOMENTS:
        expected = asdict(CURRICULUM.at(moment)) | PARTS[switch]
        expected["name"] = RENAMED.get(switch, {}).get(expected["name"], expected["name"])
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
    assert final.plan_sharpness == SETTLED
    long_after = curriculum.at(10 * curriculum.total_env_steps)
    assert final == replace(long_after, labor_disutility_scale=1.0)


def test_the_first_stage_allows_one_price_one_wage_and_no_taxes():
    allowed = allowed_actions(MENUS, Curriculum().at(0).ranges)
    assert allowed["firm"].nonzero()[0].tolist() == [2 * 5 + 2]
    assert allowed["planner"].nonzero()[0].tolist() == [0]


def imposed(curriculum: Curriculum, env_steps: int, planner: Planner = FIXED) -> list[float]:
    """The income and the corporate tax rate that a planner with fixed taxes announces for every quarter but the first.

    In an economy to which the curriculum's stage has come.
    """
    economy = VectorEconomy(MENUS, 1, planner=planner)
    stage = curriculum.at(env_steps)
    economy.restrict(stage.ranges, stage.plan_sharpness)
    economy.reset()
    first, *others = economy.state.tax_plan[0].tolist()
    assert first == [0.0, 0.0]
    assert others == [others[0]] * 9
    return others[0]


@pytest.mark.parametrize(
    ("env_steps", "income", "corporate"),
    [(0, 0, 0), (400, 0, 0), (500, 0.2, 0.2), (560, 0.4, 0.4), (640, 0.4, 0.6), (720, 0.4, 0.8), (1000, 0.4, 0.8)],
)
def test_fixed_taxes_are_phased_in_by_the_tax_ramp(env_steps, income, corporate):
    """The ramp of every planner; of rates between those on the menu the nearest one is imposed."""
    assert imposed(CURRICULUM, env_steps) == pytest.approx([income, corporate])


@pytest.mark.parametrize("staged_training", [True, False])
@pytest.mark.parametrize("rates", [(0.4, 0.8), (0.0, 0.0), (1.0, 0.0)])
def test_a_planner_with_fixed_taxes_is_never_trained_and_ends_with_the_given_rates(rates, staged_training):
    """Whatever groups a stage trains: there is no policy of the planner's."""
    curriculum, planner = CURRICULUM.replace(staged_training=staged_training), Planner(mode="fixed", rates=(rates,))
    assert tuple(ExperimentConfig(curriculum=curriculum, planner=planner).policies) == ("consumer", "firm")
    assert curriculum.final().name == "everyone learns"
    assert imposed(curriculum, curriculum.total_env_steps, planner) == pytest.approx(rates)


def test_fixed_taxes_without_annealed_ranges_hold_from_the_first_step():
    curriculum = CURRICULUM.replace(annealed_ranges=False)
    for moment in MOMENTS:
        assert imposed(curriculum, moment) == pytest.approx([0.4, 0.8])


@pytest.mark.parametrize(
    ("env_steps", "sharpness"),
    [(0, 1), (500, 1), (560, 1.25), (650, 2), (750, 6), (799, 300), (800, SETTLED), (1000, SETTLED), (2000, SETTLED)],
)
def test_plans_settle_as_the_share_that_is_left_to_chance_falls(env_steps, sharpness):
    """1 over what is left of the span in which they settle, half to four fifths of the training by default."""
    assert CURRICULUM.at(env_steps).plan_sharpness == pytest.approx(sharpness)


@pytest.mark.parametrize(("end", "before"), [(0.0, None), (0.7, 699), (1.0, 999)])
def test_plans_may_settle_all_at_once(end, before):
    curriculum = CURRICULUM.replace(plan_settling_start=end, plan_settling_end=end)
    assert before is None or curriculum.at(before).plan_sharpness == 1
    assert curriculum.at(int(1000 * end)).plan_sharpness == curriculum.final().plan_sharpness == SETTLED


@pytest.mark.parametrize(
    ("env_steps", "consumer", "firm", "planner"),
    [
        (200, 0.1839397206, 0.1471517765, 0.2),  # as without
        (600, 0.05, 0.1, 0.2),
        (700, 0.04, 0.08, 0.2),  # the planner's is below what it would be cooled to
        (800, 0.03, 0.06, 0.2),
        (1000, 0.01, 0.02, 0.2),
        (3000, 0.01, 0.02, 0.2),
    ],
)
def test_entropy_is_cooled_linearly_at_the_end_and_never_raised(env_steps, consumer, firm, planner):
    cooled = PerGroup(consumer=0.01, firm=0.02, planner=0.5)
    curriculum = CURRICULUM.replace(cooled_entropy_coeff=cooled, cooling_start=0.6, cooling_end=1.0)
    expected = {"consumer": consumer, "firm": firm, "planner": planner}
    assert curriculum.at(env_steps).entropy_coeff == pytest.approx(expected)
    assert asdict(replace(curriculum.at(env_steps), entropy_coeff={})) == asdict(
        replace(CURRICULUM.at(env_steps), entropy_coeff={})
    )


def test_cooling_may_end_before_training_does():
    cooled = PerGroup(consumer=0.01, firm=0.02, planner=0.5)
    curriculum = CURRICULUM.replace(cooled_entropy_coeff=cooled, cooling_start=0.4, cooling_end=0.8)
    total = curriculum.total_env_steps
    early, half, late, end = (curriculum.at(int(x * total)).entropy_coeff["firm"] for x in (0.4, 0.6, 0.8, 1.0))
    assert half == pytest.approx((early + 0.02) / 2)
    assert late == end == pytest.approx(0.02)


def test_what_is_cooled_may_still_be_falling_and_may_never_have_been_annealed():
    cooled = PerGroup(consumer=0.01, firm=0.02, planner=0.5)
    late = CURRICULUM.replace(cooled_entropy_coeff=cooled, cooling_start=0.6, cooling_end=1.0)
    slow = late.replace(entropy_time_constant=1.0)
    assert slow.at(800).entropy_coeff["consumer"] == pytest.approx((0.2246644821 + 0.01) / 2)  # 0.5 exp(-0.8)
    flat = late.replace(annealed_entropy=False)
    assert [flat.at(moment).entropy_coeff["firm"] for moment in (0, 600, 900)] == pytest.approx([0.1, 0.1, 0.04])
