"""The accounts close in every quarter of any economy, and a falsified entry shows."""

from dataclasses import replace

import numpy
import pytest

from rbc_rllib.economy import EconomyParameters, Outcome, State, initial_state, step
from rbc_rllib.economy.accounting import residuals
from tests.economy.samples import idle_actions, play

ROUNDING = {"float32": 2e-6, "float64": 1e-14}

ECONOMIES = {
    "default": {},
    "paper scale": {"num_consumers": 100, "num_firms": 10},
    "closed": {"export_market": False, "interest_rate": 0.1},
    "open with interest": {"interest_rate": 0.1, "initial_wage": 22},
    "indebted firms": {"initial_firm_budget": 0, "initial_wage": 44, "interest_rate": 0.1, "penalty_coefficient": 5},
    "plenty to trade": {"initial_inventory": 200, "initial_consumer_budget": 20_000, "interest_rate": 0.05},
    "everything invested": {"investment_share": 1, "initial_inventory": 200},
    "no guard": {"budget_guard": 0, "interest_rate": 0.1},
    "labor floor": {"labor_floor": 2000, "export_quantity": 3},
    "one of each": {"num_consumers": 1, "num_firms": 1, "initial_inventory": 20},
}


def economy(name: str, dtype: str = "float64") -> EconomyParameters:
    return EconomyParameters(**{"num_consumers": 7, "num_firms": 3, "dtype": dtype} | ECONOMIES[name])


@pytest.mark.parametrize("dtype", ROUNDING)
@pytest.mark.parametrize("name", ECONOMIES)
def test_accounts_close_in_every_quarter(name, dtype, rng):
    params, num_envs = economy(name, dtype), 5
    states, outcomes, _ = play(params, num_envs, rng)
    for before, outcome, after in zip(states[:-1], outcomes, states[1:], strict=True):
        accounts = residuals(params, before, outcome, after)
        assert {law: residual.shape for law, residual in accounts.items()} == {
            "goods": (num_envs, params.num_firms),
            "money": (num_envs,),
            "taxes": (num_envs,),
        }
        for law, residual in accounts.items():
            assert numpy.abs(residual).max() <= ROUNDING[dtype], law


@pytest.fixture
def closed_books(rng) -> tuple[EconomyParameters, State, Outcome, State]:
    params = economy("open with interest")
    states, outcomes, _ = play(params, 2, rng)
    return params, states[4], outcomes[4], states[5]


@pytest.mark.parametrize(
    ("record", "field", "broken"),
    [
        ("before", "inventories", {"goods"}),
        ("before", "consumer_budget", {"money"}),
        ("before", "firm_budget", {"money"}),
        ("outcome", "output", {"goods"}),
        ("outcome", "consumption", {"goods"}),
        ("outcome", "exports", {"goods", "money"}),
        ("outcome", "investment", {"money"}),
        ("outcome", "consumer_interest", {"money"}),
        ("outcome", "firm_interest", {"money"}),
        ("outcome", "income_tax", {"taxes"}),
        ("outcome", "corporate_tax", {"taxes"}),
        ("outcome", "transfer", {"taxes"}),
        ("after", "inventories", {"goods"}),
        ("after", "consumer_budget", {"money"}),
        ("after", "firm_budget", {"money"}),
    ],
)
def test_falsified_entry_shows_in_its_account_and_nowhere_else(closed_books, record, field, broken):
    params, before, outcome, after = closed_books
    records = {"before": before, "outcome": outcome, "after": after}
    entries = getattr(records[record], field).copy()
    entries[(1, *[-1] * (entries.ndim - 1))] += 1.0
    records[record] = replace(records[record], **{field: entries})
    found = {
        law
        for law, residual in residuals(params, *records.values()).items()
        if numpy.abs(residual[1]).max() > 1e3 * ROUNDING["float64"]
    }
    assert found == broken


def test_forgotten_budget_guard_shows(closed_books):
    params, *records = closed_books
    residual = residuals(params.replace(budget_guard=0), *records)["money"]
    assert (numpy.abs(residual) > 1e3 * ROUNDING["float64"]).all()


def test_residual_is_a_share_of_the_account():
    params = EconomyParameters(
        num_consumers=1,
        num_firms=1,
        initial_inventory=20,
        initial_firm_budget=300,
        initial_consumer_budget=200,
        budget_guard=0,
        export_market=False,
        dtype="float64",
    )
    before = initial_state(params, 1)
    after, outcome = step(params, before, idle_actions(params, 1))
    stolen = replace(after, inventories=after.inventories - 4, firm_budget=after.firm_budget - 50)
    shares = residuals(params, before, replace(outcome, income_tax=outcome.income_tax + 3), stolen)
    assert {law: share.item() for law, share in shares.items()} == pytest.approx(
        {
            "goods": 4 / (0 + 20 + 16 + 1),  # made, there before, there after
            "money": -50 / (200 + 300 + 200 + 250 + 1),  # budgets before, budgets after
            "taxes": 3 / (3 + 1),  # paid
        },
        rel=1e-14,
    )
