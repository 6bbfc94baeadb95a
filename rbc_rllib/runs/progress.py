"""What a run shows of its trials: a line now and then, and in each one's folder its config and its progress."""

import csv
import math
import time
from pathlib import Path
from typing import Any

from ray import tune
from ray.tune.logger import CSVLoggerCallback
from ray.tune.utils import flatten_dict

from rbc_rllib.experiment import ExperimentConfig
from rbc_rllib.files import whole
from rbc_rllib.runs.trial import experiment_of

SECONDS_BETWEEN_LINES = 10.0
PROGRESS_FILE = "progress.csv"
NUMBER = "training_iteration"


class ConfigFile(tune.Callback):
    """Writes each trial's complete config into its folder, in that of the run, when it starts."""

    def __init__(self, run: Path) -> None:
        self._run = run

    def on_trial_start(self, iteration: int, trials: list[Any], trial: Any, **_: Any) -> None:
        """Write `config.json`."""
        folder = self._run / Path(trial.path).name
        folder.mkdir(parents=True, exist_ok=True)
        experiment_of(trial.config).to_json(folder / "config.json")


class ProgressFile(CSVLoggerCallback):
    """Writes `progress.csv` into each trial's folder, in that of the run: a row for every iteration, once, at once.

    Tune's own, whose place it takes, has two rows of an iteration between a checkpoint and a failure, and copies them
    to their folder twice a minute, so that those since are lost with its process.
    """

    def __init__(self, run: Path) -> None:
        super().__init__()
        self._run = run
        self._last: dict[str, tuple[float, list[str]]] = {}  # its number and all columns, by trial

    def log_trial_result(self, iteration: int, trial: Any, result: dict[str, Any]) -> None:
        """Add a row, in place of all that an earlier attempt at this iteration and those after it has left."""
        row = flatten_dict({key: value for key, value in result.items() if key != "config"}, delimiter="/")
        path, number = self._run / Path(trial.path).name / PROGRESS_FILE, row[NUMBER]
        last, columns = self._last.get(trial.trial_id, (math.inf, []))
        if number <= last:
            kept = rows_before(path, number)
            columns = list(kept[0] if kept else row)
            write_progress(path, kept, columns)
        with path.open("a", newline="") as file:
            csv.DictWriter(file, columns, extrasaction="ignore").writerow(row)
        self._last[trial.trial_id] = number, columns

    def log_trial_end(self, trial: Any, failed: bool = False) -> None:
        """Forget the trial: thousands may follow."""
        self._last.pop(trial.trial_id, None)


def rows_before(path: Path, number: int) -> list[dict[str, str]]:
    """The rows of a progress file before an iteration, without one that was cut off; none where there is no file."""
    if not path.is_file():
        return []
    with path.open(newline="") as file:
        rows = [row for row in csv.DictReader(file) if None not in row.values()]
    return [row for row in rows if int(row[NUMBER]) < number]


def write_progress(path: Path, rows: list[dict[str, str]], columns: list[str]) -> None:
    """A progress file with these rows."""
    with whole(path) as unfinished, unfinished.open("w", newline="") as file:
        writer = csv.DictWriter(file, columns)
        writer.writeheader()
        writer.writerows(rows)


class ProgressLines(tune.Callback):
    """Prints a line for a trial that has something new to tell, every few seconds."""

    def __init__(self) -> None:
        self._printed: dict[str, float] = {}

    def __enter__(self) -> "ProgressLines":
        return self

    def __exit__(self, *_: Any) -> None:
        """Lines stay."""

    def on_trial_result(self, iteration: int, trials: list[Any], trial: Any, result: dict, **_: Any) -> None:
        """Print the line, unless the trial has just had one."""
        last = self._printed.get(trial.trial_id, float("-inf"))
        if time.monotonic() - last < SECONDS_BETWEEN_LINES and not result["done"]:
            return
        self._printed[trial.trial_id] = time.monotonic()
        print(progress_line(str(trial), result, experiment_of(trial.config)), flush=True)


def progress_line(name: str, result: dict[str, Any], experiment: ExperimentConfig) -> str:
    """Where a trial stands, in one line."""
    economy = result["economy"]
    done = experiment.curriculum.progress(result["env_steps"])
    return (
        f"{name} {done:4.0%} {result['curriculum_stage']}: "
        f"welfare {economy['social_welfare']:.1f}, hours {economy['hours']:.0f}, "
        f"price {economy['price']:.0f}, wage {economy['wage']:.1f}, "
        f"taxes {economy['income_tax_rate']:.0%} income {economy['corporate_tax_rate']:.0%} corporate, "
        f"{result['agent_steps_per_second']:,.0f} agent-steps/s, {time_left(result)} left"
    )


def time_left(result: dict[str, Any]) -> str:
    """How long a trial will take, at the speed of its last iteration: minutes and seconds."""
    if not math.isfinite(result["seconds_left"]):
        return "unknown"
    minutes, seconds = divmod(round(result["seconds_left"]), 60)
    return f"{minutes}:{seconds:02d}"
