"""Gains of agents asked alone, drawn: nobody is left out."""

from dataclasses import replace

import numpy as np
import pytest

from analysis.gains import Solution, measure_each
from analysis.gains_figure import gains_figure
from rbc_rllib.economy import EconomyParameters
from rbc_rllib.economy.state import labor_disutilities
from tests.analysis.samples import gain

PARAMS = EconomyParameters(
    num_consumers=20,
    num_firms=10,
    initial_capital=tuple(1000.0 * (k + 1) for k in range(10)),
    labor_disutility_pareto_shape=2.0,
)
TRAITS = {"each_firm": PARAMS.labor_elasticities, "each_consumer": tuple(labor_disutilities(PARAMS))}


def test_deviators_have_a_color_and_starts_a_line_style():
    curves = {"another-run": ((1, 2.0), (2, 4.0)), "frozen": ((1, 1.0), (2, 3.0))}
    gains = tuple(replace(gain(name, 3.0, size=200.0), curve=curves) for name in ("firm", "consumer"))
    (ax,) = gains_figure(Solution("checkpoint_000001", 100, "their hash", 0.0, gains), PARAMS).axes
    *lines, _ = ax.get_lines()
    drawn = [(line.get_color(), line.get_linestyle(), line.get_xydata().tolist()) for line in lines]
    assert [points for *_, points in drawn] == 2 * [[[1, 1.0], [2, 2.0]], [[0, 0.0], [1, 0.5], [2, 1.5]]]
    assert [style for _, style, _ in drawn] == 2 * ["--", "-"]
    one, two = dict.fromkeys(color for color, *_ in drawn)
    assert [color for color, *_ in drawn] == [one, one, two, two]
    assert [text.get_text() for text in ax.get_legend().get_texts()] == [
        "firm",
        "consumer",
        "from frozen",
        "from another-run",
    ]


@pytest.mark.parametrize(("deviator", "group", "size"), [("each_firm", "firm", 10), ("each_consumer", "consumer", 20)])
def test_every_agent_is_a_point_at_its_trait(deviator, group, size, rng):
    before = rng.normal(10, 1, (40, size))
    gains, names = np.arange(1.0, size + 1), [f"{group}_{k}" for k in range(size)]
    measured = measure_each(
        deviator, names, before, before[None] + gains, gains[None], [0], untrained=0.0, size=20.0, params=PARAMS
    )
    ax, _ = gains_figure(Solution("checkpoint_000001", 100, "their hash", 0.0, (measured,)), PARAMS).axes
    drawn = [(x, y) for points, *_ in ax.containers for x, y in zip(*points.get_data(), strict=True)]
    np.testing.assert_allclose(sorted(drawn), sorted(zip(TRAITS[deviator], 5 * gains, strict=True)))
