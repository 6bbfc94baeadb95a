"""Fixtures of the tests that run trials."""

from pathlib import Path

import pytest
from pyarrow.fs import LocalFileSystem, SubTreeFileSystem

from rbc_rllib.runs.remote import Remote
from tests.runs.trials import trained
from tests.small import SMALL


@pytest.fixture(scope="session")
def small_run(tmp_path_factory, ray_on_this_machine) -> Path:
    """A run of the small economy whose firms are in debt, so that dual ascent has moved the penalty."""
    values = {"economy.initial_firm_budget": 0.0, "curriculum.debt_penalty_step": 1e-3}
    return trained(SMALL.with_values(values), tmp_path_factory.mktemp("runs") / "small")


@pytest.fixture
def remote(tmp_path) -> Remote:
    """A store that is a folder."""
    (tmp_path / "copies").mkdir()
    (tmp_path / "store" / "results").mkdir(parents=True)
    store = SubTreeFileSystem(str(tmp_path / "store"), LocalFileSystem())
    return Remote("s3://bucket/results?region=here", store, "results", tmp_path / "copies")
