"""The tidy table of a roll-out."""

import inspect
import itertools
import re
from dataclasses import fields
from pathlib import Path

import numpy
import pandas
import pytest

from analysis.tidy import AGENT_TYPES, FIELDS, save_table, tidy_table
from rbc_rllib.economy import EconomyParameters, Outcome, State
from tests.analysis.samples import played

Rollout = dict[str, numpy.ndarray]

AGENT_TYPES_BY_AXES = {"E": {"planner", "economy"}, "E, C": {"consumer"}, "E, F": {"firm"}, "E, C, F": {"consumer"}}


def numbered(consumers: int, firms: int) -> Rollout:
    """A roll-out with every field, in which no number appears twice, so that none can be mistaken for another."""
    params = EconomyParameters(num_consumers=consumers, num_firms=firms, episode_length=3)
    count = itertools.count()
    return {
        name: numpy.fromiter(itertools.islice(count, values.size), numpy.float32).reshape(values.shape)
        for name, values in played(params, 2, numpy.random.default_rng(0)).items()
    }


def test_every_field_belongs_to_the_agents_of_its_declared_axes() -> None:
    """The axes are those of the shape comments, `prices: Array  # [E, F]`."""
    declared = {
        name: axes
        for record in (State, Outcome)
        for name, axes in re.findall(r"(\w+): Array  # \[([A-Z, ]+)\]", inspect.getsource(record))
    }
    names = [field.name for record in (State, Outcome) for field in fields(record)]
    assert sorted(declared) == sorted(names)  # no name twice either, as a quantity goes by it
    assert sorted(name for group in FIELDS.values() for name in group) == sorted(names)
    assert set(FIELDS) == set(AGENT_TYPES)
    for agent_type, group in FIELDS.items():
        for name in group:
            assert agent_type in AGENT_TYPES_BY_AXES[declared[name]], name


@pytest.mark.parametrize(("consumers", "firms"), [(4, 4), (5, 3), (2, 4), (1, 1)])
def test_every_number_of_every_array_has_its_row(consumers: int, firms: int) -> None:
    rollout = numbered(consumers, firms)
    table = tidy_table(rollout)
    assert list(table) == ["episode", "quarter", "agent_type", "agent", "quantity", "value"]
    found = {tuple(row): value for *row, value in table.itertuples(index=False)}
    expected = {}
    for key, values in rollout.items():
        field = key.split("/")[1]
        (agent_type,) = [name for name, group in FIELDS.items() if field in group]
        for (quarter, episode, *rest), value in numpy.ndenumerate(values):
            agent = rest[0] if rest else 0
            quantity = f"{field}_from_firm_{rest[1]}" if len(rest) == 2 else field
            expected[episode, quarter + 1, agent_type, agent, quantity] = value
    assert len(table) == len(expected)
    assert found == expected


def test_the_rows_of_a_quantity_are_its_array() -> None:
    rollout = numbered(4, 4)
    table = tidy_table(rollout)
    prices = table.loc[table["quantity"] == "prices", "value"].to_numpy()
    numpy.testing.assert_array_equal(prices.reshape(3, 2, 4), rollout["state/prices"])


def test_a_file_holds_the_table_with_its_types(tmp_path: Path) -> None:
    rollout = numbered(5, 3)
    path = save_table(rollout, tmp_path / "rollout.parquet")
    table = pandas.read_parquet(path)
    pandas.testing.assert_frame_equal(table, tidy_table(rollout))
    assert [str(dtype) for dtype in table.dtypes] == ["int32", "int32", "category", "int32", "category", "float32"]


def test_a_field_of_nobody_is_refused_with_the_place_to_name_it() -> None:
    with pytest.raises(ValueError, match=r"outcome/bread .* FIELDS of analysis/tidy\.py"):
        tidy_table(numbered(2, 2) | {"outcome/bread": numpy.zeros((3, 2, 2))})
