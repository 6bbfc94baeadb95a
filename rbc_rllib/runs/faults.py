"""When a trial fails: what is said of it, and how often it is tried again from its last checkpoint."""

import re
from pathlib import Path
from typing import Any

from ray import tune

from rbc_rllib.runs.trial import is_refused

RETRIES = 3
"""Of each trial, unless set otherwise."""

ERROR_FILE = "error.txt"
FAILURE = "Failure # "
"""Where Tune says of a trial why it failed, and how each entry there begins."""

PROCESSES = {"Trial": "the trial's process", "BatchedEnvRunner": "an env runner", "_WrappedExecutable": "a learner"}
"""What the classes are of which Ray says that one died."""

GUESSES = "Some common causes include"
"""How Ray goes on where it does not know what ended a process."""


class Retries(tune.Callback):
    """Has Tune try failed trials again, each `number` times in this run, whatever it failed in earlier ones."""

    def __init__(self, number: int) -> None:
        self.number = number
        self._granted: set[str] = set()

    def on_step_begin(self, iteration: int, trials: list[Any], **_: Any) -> None:
        """Grant trials that are new, or new in this run, their retries; none to those whose values are refused."""
        if len(trials) == len(self._granted):  # a run never loses one
            return
        for trial in trials:
            if trial.trial_id not in self._granted:
                self._granted.add(trial.trial_id)
                trial.max_failures = trial.num_failures + (0 if is_refused(trial.config) else self.number)

    def on_trial_recover(self, iteration: int, trials: list[Any], trial: Any, **_: Any) -> None:
        """Say why the trial failed and where it goes on."""
        cause = cause_in(trial.error_file)
        start = Path(trial.checkpoint.path).name if trial.checkpoint else "its beginning"
        left = trial.max_failures - trial.num_failures
        print(f"{trial} failed and goes on from {start} ({left} more retries): {cause}", flush=True)

    def on_trial_error(self, iteration: int, trials: list[Any], trial: Any, **_: Any) -> None:
        """Say why a trial is not tried again."""
        print(f"{trial} failed for good: {cause_in(trial.error_file)}", flush=True)


def cause_in(error_file: str | Path | None) -> str:
    """The last cause in a trial's `error.txt`, in one line: what was raised, or which process died."""
    path = Path(error_file or "")
    text = path.read_text().rpartition(FAILURE)[2] if path.is_file() else ""
    last = cause_line(text)
    process = re.search(r"class_name: (?:\S+\.)?(\w+)", text)
    who = process and PROCESSES.get(process[1], process[1])
    return f"{who} died: {last.partition(GUESSES)[0].strip()}" if who else last


def cause_line(text: str) -> str:
    """The last line of a traceback, without the module of what was raised."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return re.sub(r"^(\w+\.)+(?=\w+:)", "", lines[-1]) if lines else "unknown"


def failure_line(trial: Path) -> str:
    """What is said of a trial's folder whose training failed for good."""
    times = (trial / ERROR_FILE).read_text().count(FAILURE) if (trial / ERROR_FILE).is_file() else 1
    return f"{trial.name}, {times} time{'s' * (times != 1)}: {cause_in(trial / ERROR_FILE)}"
