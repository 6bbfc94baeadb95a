"""`trials.parquet`: what a sweep's trials were and came to, a row each, written as they end. It outlives Tune."""

import importlib.metadata
import subprocess
from functools import cache
from pathlib import Path
from typing import Any

import pyarrow
import pyarrow.compute
import pyarrow.parquet
from ray import tune

from rbc_rllib.economy.actions import group_sizes
from rbc_rllib.files import whole
from rbc_rllib.runs.faults import cause_in
from rbc_rllib.runs.trial import known_of
from rbc_rllib.training.rllib_internals import forget_statistics

FILE = "trials.parquet"
BEST = ("social_welfare", "consumer_reward", "firm_reward")
"""Indicators of which the highest value over training is kept beside the last one."""

VERSIONS = ("ray", "torch", "numpy")


class TrialsTable(tune.Callback):
    """Adds a row to `trials.parquet` in the run's folder whenever a trial ends, or replaces the one that it had.

    Columns: `trial` (its folder's name), `name`, `seed`, `status` (TERMINATED or ERROR), `error` (why it failed for the
    last time), `failures` (how often it failed, retries included), `config` (complete, as JSON), `checkpoint` (the
    newest one's folder, from the run's), `env_steps`, `agent_steps`, `seconds`, `final/<indicator>` of the last
    iteration, `best/<indicator>` over training, `gain/each_firm` (in percent) where that was measured,
    `version/<package>` and `commit`.
    """

    def __init__(self, run: Path) -> None:
        self._path = run / FILE
        self._table: pyarrow.Table | None = None  # all rows: to write them is cheap, to read them again is not

    def on_trial_complete(self, iteration: int, trials: list[Any], trial: Any, **_: Any) -> None:
        """A row for a trial that was trained to its end, in the place of Tune's statistics.

        One that was stopped before it began keeps the row of its failure.
        """
        if "env_steps" in (trial.last_result or {}):
            self._keep(trial, None)
        forget_statistics(trial)

    def on_trial_error(self, iteration: int, trials: list[Any], trial: Any, **_: Any) -> None:
        """A row for a trial that failed."""
        self._keep(trial, cause_in(trial.error_file))

    def _keep(self, trial: Any, error: str | None) -> None:
        before = read_table(self._path) if self._table is None else self._table
        self._table = with_row(before, row_of(trial, error))
        write_table(self._table, self._path)


def row_of(trial: Any, error: str | None) -> dict[str, Any]:
    """What `TrialsTable` keeps of a Tune trial that has ended."""
    experiment, result, name = known_of(trial.config), trial.last_result or {}, Path(trial.path).name
    steps = int(result.get("env_steps", 0))
    row = {
        "trial": name,
        "name": experiment.name,
        "seed": experiment.seed,
        "status": "ERROR" if error else "TERMINATED",
        "error": error,
        "failures": trial.num_failures,
        "config": experiment.model_dump_json(),
        "checkpoint": f"{name}/{Path(trial.checkpoint.path).name}" if trial.checkpoint else None,
        "env_steps": steps,
        "agent_steps": steps * sum(group_sizes(experiment.economy).values()),
        "seconds": float(result.get("time_total_s", 0.0)),
    }
    row |= {f"final/{name}": float(value) for name, value in result.get("economy", {}).items()}
    highest = {name: trial.metric_analysis.get(f"economy/{name}", {}).get("max") for name in BEST}
    row |= {f"best/{name}": float(value) for name, value in highest.items() if value is not None}
    row |= {f"gain/{name}": float(value) for name, value in result.get("gain", {}).items()}
    return row | versions() | {"commit": commit()}


@cache
def versions() -> dict[str, str]:
    """Of the packages that make the numbers."""
    return {f"version/{name}": importlib.metadata.version(name) for name in VERSIONS}


@cache
def commit() -> str | None:
    """The commit of the project that runs; None where it is no working tree."""
    command = ["git", "-C", str(Path(__file__).parent), "rev-parse", "HEAD"]
    try:
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return None


def read_table(path: Path) -> pyarrow.Table:
    """The rows there are; none before the first trial has ended."""
    return pyarrow.parquet.read_table(path) if path.is_file() else pyarrow.table({})


def with_row(table: pyarrow.Table, row: dict[str, Any]) -> pyarrow.Table:
    """A table with one more row, or another one of that trial, and the columns of both."""
    if "trial" in table.column_names:
        table = table.filter(pyarrow.compute.field("trial") != row["trial"])
    # In one piece: a row group of many small ones takes ten times as long to write.
    joined = pyarrow.concat_tables([table, pyarrow.Table.from_pylist([row])], promote_options="default")
    return joined.combine_chunks()


def write_table(table: pyarrow.Table, path: Path) -> None:
    """Write a table, whole."""
    with whole(path) as unfinished:
        pyarrow.parquet.write_table(table, unfinished)
