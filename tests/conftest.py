"""Fixtures that every test may ask for."""

import numpy
import pytest


@pytest.fixture
def rng() -> numpy.random.Generator:
    """A generator with the same numbers in every run and in every test."""
    return numpy.random.default_rng(7)
