"""Fixtures of the tests that run trials."""

from pathlib import Path

import pytest

from tests.runs.trials import trained
from tests.small import SMALL


@pytest.fixture(scope="session")
def small_run(tmp_path_factory, ray_on_this_machine) -> Path:
    """A run of the small economy whose firms are in debt, so that dual ascent has moved the penalty."""
    values = {"economy.initial_firm_budget": 0.0, "curriculum.debt_penalty_step": 1e-3}
    return trained(SMALL.with_values(values), tmp_path_factory.mktemp("runs") / "small")
