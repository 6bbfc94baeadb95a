"""A roll-out as one tidy table: one row for each quarter, agent and quantity.

    import pandas
    table = pandas.read_parquet("results/quickstart/commitment_seed0/rollout.parquet")
    table[table.quantity == "prices"].pivot_table("value", "quarter", "agent")

A quantity is called as its field of `State` (at the start of the quarter) or `Outcome` (of the quarter), whose units it
has. Only what a consumer got, which has a firm's good as one more axis, becomes a quantity for each good:
`consumption_from_firm_3`.
"""

from collections.abc import Iterator
from pathlib import Path

import numpy
import pandas

from analysis.rollout import Rollout

AGENT_TYPES = ("consumer", "firm", "planner", "economy")

FIELDS = {
    "consumer": (
        *("consumer_budget", "labor_disutility", "consumer_reward", "consumption", "hours_worked"),
        *("spending", "wage_income", "income_tax", "consumer_interest"),
    ),
    "firm": (
        *("prices", "wages", "inventories", "overdemanded", "firm_budget", "capital", "labor_elasticity"),
        *("firm_reward", "exports", "labor", "output", "investment", "profit", "corporate_tax", "firm_interest"),
    ),
    "planner": ("income_tax_rate", "corporate_tax_rate", "planner_reward", "tax_revenue", "transfer"),
    "economy": ("time",),
}
"""The agent type to which each field of `State` and `Outcome` belongs."""


def tidy_table(rollout: Rollout) -> pandas.DataFrame:
    """The table of the arrays in `rollout`, `state/<field>` and `outcome/<field>` of shape `[T, E, ...]`.

    Columns: `episode` from 0; `quarter` from 1, as in the figure; `agent_type`, one of `AGENT_TYPES`; `agent` from 0,
    as in `firm_0` (0 for the planner and for the economy); `quantity`; `value`, in the dtype of the arrays. The rows of
    a quantity are in the order of its array: their values reshaped to `[T, E, agents]` are the array again.

    Raises `ValueError` for a field that `FIELDS` gives to no agent type.
    """
    blocks = [block for key, values in rollout.items() for block in _blocks(key, values)]
    agent_types, quantities, values = zip(*blocks, strict=True)
    sizes = [block.size for block in values]

    def index(axis: int) -> numpy.ndarray:
        """The index along one axis of `[T, E, agents]`, row by row."""
        return numpy.concatenate(
            [numpy.broadcast_to(_along(axis, block.shape[axis]), block.shape).ravel() for block in values]
        )

    def labels(names: tuple[str, ...], categories: tuple[str, ...]) -> pandas.Categorical:
        codes = numpy.repeat([categories.index(name) for name in names], sizes)
        return pandas.Categorical.from_codes(codes, categories=list(categories))

    columns = {
        "episode": index(1),
        "quarter": index(0) + numpy.int32(1),
        "agent_type": labels(agent_types, AGENT_TYPES),
        "agent": index(2),
        "quantity": labels(quantities, quantities),
        "value": numpy.concatenate([block.ravel() for block in values]),
    }
    return pandas.DataFrame(columns, copy=False)


def save_table(rollout: Rollout, path: str | Path) -> Path:
    """Write `tidy_table` of `rollout` as a Parquet file, and return its path."""
    tidy_table(rollout).to_parquet(path, engine="pyarrow", compression="zstd", index=False)
    return Path(path)


def _blocks(key: str, values: numpy.ndarray) -> Iterator[tuple[str, str, numpy.ndarray]]:
    """Agent type, quantity and values `[T, E, agents]` of each quantity of a field."""
    field = key.split("/")[-1]
    agent_type = next((name for name, fields in FIELDS.items() if field in fields), None)
    if agent_type is None:
        raise ValueError(f"{key} belongs to no agent type: give it one in FIELDS of analysis/tidy.py")
    if values.ndim == 4:  # [T, E, agents, F]: each firm makes one good
        for firm in range(values.shape[3]):
            yield agent_type, f"{field}_from_firm_{firm}", values[..., firm]
    else:
        yield agent_type, field, values.reshape(*values.shape[:2], -1)


def _along(axis: int, length: int) -> numpy.ndarray:
    """0, 1, .. `length` - 1 along one of three axes."""
    return numpy.arange(length, dtype=numpy.int32).reshape([length if each == axis else 1 for each in range(3)])
