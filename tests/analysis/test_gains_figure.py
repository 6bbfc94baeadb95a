"""Gains of agents asked alone, drawn: nobody is left out."""

import numpy as np
import pytest

from analysis.gains import Solution, measure_each
from analysis.gains_figure import gains_figure
from rbc_rllib.economy import EconomyParameters
from rbc_rllib.economy.state import labor_disutilities

PARAMS = EconomyParameters(
    num_consumers=20,
    num_firms=10,
    initial_capital=tuple(1000.0 * (k + 1) for k in range(10)),
    labor_disutility_pareto_shape=2.0,
)
TRAITS = {"each_firm": PARAMS.labor_elasticities, "each_consumer": tuple(labor_disutilities(PARAMS))}


@pytest.mark.parametrize(("deviator", "group", "size"), [("each_firm", "firm", 10), ("each_consumer", "consumer", 20)])
def test_every_agent_is_a_point_at_its_trait(deviator, group, size, rng):
    before = rng.normal(10, 1, (40, size))
    gains, names = np.arange(1.0, size + 1), [f"{group}_{k}" for k in range(size)]
    gain = measure_each(
        deviator, names, before, before[None] + gains, gains[None], [0], untrained=0.0, size=20.0, params=PARAMS
    )
    ax, _ = gains_figure(Solution("checkpoint_000001", 100, "their hash", 0.0, (gain,)), PARAMS).axes
    drawn = [(x, y) for points, *_ in ax.containers for x, y in zip(*points.get_data(), strict=True)]
    np.testing.assert_allclose(sorted(drawn), sorted(zip(TRAITS[deviator], 5 * gains, strict=True)))
