"""The step against trajectories of the paper's published kernel, and the scalar reference against the same ones.

`golden/README.md` says where the recordings come from and what they hold.
"""

from dataclasses import replace
from pathlib import Path

import numpy
import pytest

from rbc_rllib.economy import Actions, AnnouncedState, EconomyParameters, State, initial_state, step
from tests.economy import scalar_reference

GOLDEN = Path(__file__).resolve().parent / "golden"
RECORDINGS = (
    *("closed_thrifty", "open_crra_half", "open_one_big_employer", "open_random", "open_thrifty_no_interest"),
    "small_labor_floor",
)

PARAMETERS = (
    *("num_consumers", "num_firms", "episode_length", "crra", "interest_rate", "export_market", "export_price"),
    *("export_quantity", "labor_floor", "total_factor_productivity", "investment_share"),
    *("hours_choices", "price_choices", "wage_choices", "tax_choices"),
)
TRAITS = ("labor_disutility", "labor_elasticity")
STATE = tuple(State.__dataclass_fields__)
OUTCOME = ("consumer_reward", "firm_reward", "consumption", "exports")
RTOL = 1e-4
ATOL = 1e-5  # of the array's scale
EXPORTS_ATOL = 1e-3  # in two recordings exports are nothing but the rounding left in a sold-out inventory

Recording = dict[str, numpy.ndarray]


@pytest.fixture(scope="module", params=RECORDINGS)
def golden(request) -> Recording:
    with numpy.load(GOLDEN / f"{request.param}.npz") as arrays:
        return dict(arrays)


def parameters(golden: Recording, dtype: str) -> EconomyParameters:
    return EconomyParameters(
        initial_wage=golden["wages"][0, 0, 0], dtype=dtype, **{name: golden[name] for name in PARAMETERS}
    )


def transitions(golden: Recording, dtype: str) -> tuple[State, Actions, Recording]:
    """Every recorded quarter as an economy of its own: state, actions, and what must come out, `[E * T, ...]`."""
    quarters = int(golden["episode_length"])

    def flat(values: numpy.ndarray) -> numpy.ndarray:
        return values.reshape(-1, *values.shape[2:])

    def states(entries: slice) -> Recording:
        changing = {name: flat(golden[name][:, entries]) for name in STATE if name not in TRAITS}
        return changing | {name: numpy.repeat(golden[name], quarters, axis=0) for name in TRAITS}

    before = State(**{name: values.astype(dtype) for name, values in states(slice(None, -1)).items()})
    actions = Actions(
        consumption=flat(golden["consumption_index"]),
        hours_index=flat(golden["hours_index"]),
        employer=flat(golden["employer"]),
        firm=flat(golden["firm_action_index"]),
        planner=flat(golden["planner_action_index"]),
    )
    return before, actions, states(slice(1, None)) | {name: flat(golden[name]) for name in OUTCOME}


def assert_golden(actual: Recording, expected: Recording) -> None:
    for name, values in expected.items():
        scale = max(numpy.abs(values).max(), 1.0)
        atol = EXPORTS_ATOL if name == "exports" else ATOL
        numpy.testing.assert_allclose(actual[name], values, RTOL, atol * scale, err_msg=name)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_initial_state_is_the_recorded_one(golden, dtype):
    num_envs = int(golden["num_envs"])
    recorded = {name: golden[name] if name in TRAITS else golden[name][:, 0] for name in STATE}
    assert_golden(vars(initial_state(parameters(golden, dtype), num_envs)), recorded)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_step_from_every_recorded_state(golden, dtype):
    before, actions, expected = transitions(golden, dtype)
    after, outcome = step(parameters(golden, dtype), before, actions)
    assert_golden(vars(after) | vars(outcome), expected)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_step_from_every_recorded_state_with_its_tax_rates_announced(golden, dtype):
    """Announced beforehand, whatever the planner chooses now. A plan ends with the last quarter, whose rates go on."""
    before, actions, expected = transitions(golden, dtype)
    quarters = int(golden["episode_length"])
    rates = numpy.stack([golden["income_tax_rate"], golden["corporate_tax_rate"]], axis=-1).astype(dtype)
    plan = numpy.repeat(rates[:, :quarters], quarters, axis=0)
    for name, column in (("income_tax_rate", 0), ("corporate_tax_rate", 1)):
        expected[name] = numpy.where(before.time == quarters - 1, plan[:, -1, column], expected[name])
    others = replace(actions, planner=len(golden["tax_choices"]) ** 2 - 1 - actions.planner)
    announced = AnnouncedState(**vars(before), tax_plan=plan)
    after, outcome = step(parameters(golden, dtype), announced, others)
    assert_golden(vars(after) | vars(outcome), expected)
    numpy.testing.assert_array_equal(after.tax_plan, plan)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_episode_from_the_initial_state_follows_the_recorded_one(golden, dtype):
    params = parameters(golden, dtype)
    num_envs, quarters = golden["consumption"].shape[:2]
    _, actions, expected = transitions(golden, dtype)

    def quarter(values: numpy.ndarray, t: int) -> numpy.ndarray:
        return values.reshape(num_envs, quarters, *values.shape[1:])[:, t]

    state = initial_state(params, num_envs)
    for t in range(quarters):
        chosen = Actions(**{name: quarter(values, t) for name, values in vars(actions).items()})
        state, outcome = step(params, state, chosen)
        assert_golden(vars(state) | vars(outcome), {name: quarter(values, t) for name, values in expected.items()})


def test_scalar_reference_from_every_recorded_state(golden):
    params = parameters(golden, "float64")
    before, actions, expected = transitions(golden, "float64")
    for quarter in range(before.time.size):
        after, outcome = scalar_reference.step(
            params, scalar_reference.economy(before, quarter), scalar_reference.economy(actions, quarter)
        )
        assert_golden(after | outcome, {name: values[quarter] for name, values in expected.items()})
