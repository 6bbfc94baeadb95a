"""`trials.parquet`: what a sweep's trials were and came to, a row each, written as they end. It outlives Tune."""

import importlib.metadata
import subprocess
from functools import cache
from pathlib import Path
from typing import Any

import pyarrow
import pyarrow.parquet
from ray import tune

from rbc_rllib.economy.actions import group_sizes
from rbc_rllib.runs.faults import cause_in
from rbc_rllib.runs.trial import experiment_of

FILE = "trials.parquet"
BEST = ("social_welfare", "consumer_reward", "firm_reward")
"""Indicators of which the highest value over training is kept beside the last one."""

VERSIONS = ("ray", "torch", "numpy")


class TrialsTable(tune.Callback):
    """Adds a row to `trials.parquet` in the run's folder whenever a trial ends, or replaces the one that it had.

    Columns: `trial` (its folder's name), `name`, `seed`, `status` (TERMINATED or ERROR), `error` (why it failed for the
    last time), `failures` (how often it failed, retries included), `config` (complete, as JSON), `checkpoint` (the
    newest one's folder, from the run's), `env_steps`, `agent_steps`, `seconds`, `final/<indicator>` of the last
    iteration, `best/<indicator>` over training, `version/<package>` and `commit`.
    """

    def __init__(self, run: Path) -> None:
        self._path = run / FILE

    def on_trial_complete(self, iteration: int, trials: list[Any], trial: Any, **_: Any) -> None:
        """A row for a trial that was trained to its end."""
        self._keep(trial, None)

    def on_trial_error(self, iteration: int, trials: list[Any], trial: Any, **_: Any) -> None:
        """A row for a trial that failed."""
        self._keep(trial, cause_in(trial.error_file))

    def _keep(self, trial: Any, error: str | None) -> None:
        rows = {row["trial"]: row for row in read_rows(self._path)}
        new = row_of(trial, error)
        write_rows(list((rows | {new["trial"]: new}).values()), self._path)


def row_of(trial: Any, error: str | None) -> dict[str, Any]:
    """What `TrialsTable` keeps of a Tune trial that has ended."""
    experiment, result, name = experiment_of(trial.config), trial.last_result or {}, Path(trial.path).name
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
    return row | {f"version/{name}": importlib.metadata.version(name) for name in VERSIONS} | {"commit": commit()}


@cache
def commit() -> str | None:
    """The commit of the project that runs; None where it is no working tree."""
    command = ["git", "-C", str(Path(__file__).parent), "rev-parse", "HEAD"]
    try:
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return None


def read_rows(path: Path) -> list[dict[str, Any]]:
    """The rows there are; none before the first trial has ended."""
    return pyarrow.parquet.read_table(path).to_pylist() if path.is_file() else []


def write_rows(rows: list[dict[str, Any]], path: Path) -> None:
    """Write all rows, each with the columns of all; a reader finds the old file or the new one, never half of one."""
    columns = dict.fromkeys(name for row in rows for name in row)
    table = pyarrow.Table.from_pylist([{name: row.get(name) for name in columns} for row in rows])
    unfinished = path.with_suffix(".part")
    pyarrow.parquet.write_table(table, unfinished)
    unfinished.replace(path)
