"""Experiment trackers, Weights & Biases and MLflow: what they are told of a run, and that none of them ends it."""

import os
import re
import sys
from collections.abc import Callable
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from ray import tune

from rbc_rllib.runs.reports import numbers, settings
from rbc_rllib.runs.trial import experiment_of
from rbc_rllib.settings import ConfigError


@dataclass(frozen=True)
class Trackers:
    """Which trackers are told of a run; by default none. They find their credentials themselves."""

    wandb: str | None = None  # a project of Weights & Biases
    mlflow: str | None = None  # the URI of a tracking server or store

    def start(self, folder: Path) -> "list[Tracking]":
        """What tells them of the trials of the run in `folder`, after which they name what they keep; nothing where
        there is nobody to tell.

        Raises `ConfigError` where a tracker is not installed or does not start.
        """
        trackers: dict[str, Any] = {}
        for name, value, make in (("wandb", self.wandb, _wandb), ("mlflow", self.mlflow, _mlflow)):
            if value is None:
                continue
            if find_spec(name) is None:
                fix = f"run pip install '.[{name}]' where the project is"
                raise ConfigError(f"--{name}", value, f"{name} is not installed", fix)
            try:
                trackers[name] = make(value, folder)
                trackers[name].setup()
            except Exception as error:
                reason = f"{name} does not start: {_first_sentence(error)}"
                raise ConfigError(f"--{name}", value, reason, f"mend that, or leave --{name} out") from error
        return [Tracking(trackers)] if trackers else []


def _wandb(project: str, folder: Path) -> Any:
    from ray.air.integrations.wandb import WandbLoggerCallback

    # It works in processes that get no variable but its key.
    mode = os.environ.get("WANDB_MODE")
    return WandbLoggerCallback(project=project, group=folder.name, dir=str(folder), mode=mode, resume="allow")


def _mlflow(uri: str, folder: Path) -> Any:
    from rbc_rllib.runs.mlflow_tracker import MLflowTracker

    return MLflowTracker(uri, experiment_name=folder.name)


class Tracking(tune.Callback):
    """Tells trackers, loggers of Tune by name, of trials: the complete config, and the numbers of each report.

    What fails in a tracker is said once and ends no run.
    """

    def __init__(self, trackers: dict[str, Any]):
        self._trackers = trackers
        self._shown: dict[str, ShownTrial] = {}
        self._failed: set[str] = set()

    def on_trial_start(self, iteration: int, trials: list[Any], trial: Any, **_: Any) -> None:
        """A trial starts, or goes on."""
        shown = self._shown.setdefault(trial.trial_id, ShownTrial(trial))
        self._tell(lambda tracker: tracker.log_trial_start(shown))

    def on_trial_result(self, iteration: int, trials: list[Any], trial: Any, result: dict, **_: Any) -> None:
        """A trial reports."""
        shown = self._shown[trial.trial_id]
        report = numbers(result, experiment_of(trial.config)) | {"training_iteration": result["training_iteration"]}
        self._tell(lambda tracker: tracker.log_trial_result(iteration, shown, report))

    def on_trial_complete(self, iteration: int, trials: list[Any], trial: Any, **_: Any) -> None:
        """A trial is trained to its end."""
        self._end(trial, failed=False)

    def on_trial_error(self, iteration: int, trials: list[Any], trial: Any, **_: Any) -> None:
        """A trial has failed."""
        self._end(trial, failed=True)

    def on_experiment_end(self, trials: list[Any], **info: Any) -> None:
        """Trackers send what they still have."""
        self._tell(lambda tracker: tracker.on_experiment_end(trials, **info))

    def _end(self, trial: Any, failed: bool) -> None:
        shown = self._shown.pop(trial.trial_id, None)
        if shown:
            self._tell(lambda tracker: tracker.log_trial_end(shown, failed))

    def _tell(self, what: Callable[[Any], None]) -> None:
        for name, tracker in self._trackers.items():
            try:
                what(tracker)
            except Exception as error:
                if name not in self._failed:
                    print(f"{name} misses part of this run: {_first_sentence(error)}", file=sys.stderr, flush=True)
                self._failed.add(name)


class ShownTrial:
    """A Tune trial as trackers see it: its config is every setting by dotted key."""

    def __init__(self, trial: Any):
        self._trial = trial
        self.config = settings(experiment_of(trial.config))

    def __getattr__(self, name: str) -> Any:
        return getattr(self._trial, name)

    def __str__(self) -> str:
        return str(self._trial)


def _first_sentence(error: Exception) -> str:
    return re.split(r"\.\s|\n", str(error).strip())[0].rstrip(".") or type(error).__name__
