"""Fixtures of the tests that play."""

import pytest
import torch


@pytest.fixture
def torch_rng() -> torch.Generator:
    """A generator with the same numbers in every test."""
    return torch.Generator().manual_seed(7)
