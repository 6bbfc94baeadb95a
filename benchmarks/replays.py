"""Sweeps of trials that replay the reports of a real one, on our side and on Tune's; measured by `benchmarks.trials`.

A module of its own, since the processes of trials import it by its name.
"""

import os
import time
from collections.abc import Callable
from contextlib import ExitStack, redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from unittest import mock

import ray
from ray import tune
from ray.tune.execution.tune_controller import TuneController

from benchmarks.cases import ray_of_our_own
from benchmarks.timing import PartTimer, peak_bytes
from rbc_rllib.experiment import ExperimentConfig, Sweep
from rbc_rllib.runs import launch
from rbc_rllib.runs.faults import Retries
from rbc_rllib.runs.gauges import Gauges
from rbc_rllib.runs.interruption import Interruption
from rbc_rllib.runs.live_table import LiveTable
from rbc_rllib.runs.progress import ConfigFile, ProgressFile
from rbc_rllib.runs.searches import KEPT_CHECKPOINTS, param_space
from rbc_rllib.runs.snapshots import SnapshotCopy
from rbc_rllib.runs.tensorboard import TensorBoard
from rbc_rllib.runs.trial import Trial
from rbc_rllib.runs.trials_table import TrialsTable
from rbc_rllib.training.checkpoints import TrainingState, describe
from rbc_rllib.training.rllib_internals import give_callbacks


def tiny(iterations: int) -> ExperimentConfig:
    """An experiment with so many reports and one checkpoint."""
    values = {
        "economy.num_consumers": 4,
        "economy.num_firms": 2,
        "economy.episode_length": 2,
        "learning.economies_per_update": 2,
        "learning.updates_per_iteration": 1,
        "curriculum.total_env_steps": 4 * iterations,
        "iterations_per_checkpoint": iterations,
    }
    return ExperimentConfig(name="tiny").with_values(values)


CALLBACKS = (
    ConfigFile,
    ProgressFile,
    TrialsTable,
    SnapshotCopy,
    TensorBoard,
    Gauges,
    LiveTable,
    Retries,
    Interruption,
)
EVENTS = {
    "report": ("on_trial_result",),
    "trial": ("on_trial_start", "on_trial_save", "on_trial_complete"),
    "step": ("on_step_begin", "on_step_end"),
}
"""When they are called: for a report; for the start, the checkpoints and the end of a trial; before and after anything
that happens."""

SNAPSHOT = "Tune's snapshot"
PARTS = (*(callback.__name__ for callback in CALLBACKS), SNAPSHOT)

Report = dict[str, Any]


@dataclass(frozen=True)
class Recording:
    """One real trial."""

    seconds_to_start: float  # from asking for its process until it could train
    cpu_seconds_to_start: float  # of that process
    reports: list[Report]


def record(experiment: ExperimentConfig) -> Recording:
    """Train a trial in a process, as Tune would."""
    with ray_of_our_own():
        start = time.perf_counter()
        trial = ray.remote(Trial).remote({"experiment": experiment.model_dump(mode="json"), "values": {}})
        cpu_seconds_to_start = ray.get(trial.__ray_call__.remote(lambda _: time.process_time()))
        seconds_to_start = time.perf_counter() - start
        reports = [ray.get(trial.train.remote())]
        while not reports[-1]["done"]:
            reports.append(ray.get(trial.train.remote()))
        ray.kill(trial)
    return Recording(seconds_to_start, cpu_seconds_to_start, reports)


class Replay(tune.Trainable):
    """A trial that reports what another one has reported, and trains nothing."""

    def setup(self, config: dict[str, Any], reports: list[Report]) -> None:
        """Take the reports from Ray's object store."""
        self.reports = reports

    def step(self) -> Report:
        """Nothing."""
        return {}

    def log_result(self, result: Report) -> None:
        """The next report, in the place of what Tune has put together, as `Trial` does."""
        result.clear()
        result.update(self.reports[self.iteration - 1])

    def save_checkpoint(self, checkpoint_dir: str) -> None:
        """A checkpoint without networks."""
        describe(Path(checkpoint_dir), TrainingState(self.reports[self.iteration - 1]["env_steps"], 0.0), {})

    @classmethod
    def default_resource_request(cls, config: Any) -> Any:
        """That of a trial, which the driver works out for each."""
        return Trial.default_resource_request(config)

    def reset_config(self, new_config: dict[str, Any]) -> bool:
        """This process goes on as another trial."""
        return True


@dataclass(frozen=True)
class Mark:
    """Where a sweep stood when one of its trials ended."""

    seconds: float
    cpu_seconds: float  # of this process
    peak_bytes: int
    by_part: dict[str, float]  # CPU seconds


class Watch(tune.Callback):
    """Marks the beginning of a sweep and the end of each trial."""

    def __init__(self, timer: PartTimer):
        self._timer = timer
        self.marks: list[Mark] = []
        self.mark()

    def mark(self) -> None:
        """Now."""
        self.marks.append(Mark(time.perf_counter(), time.process_time(), peak_bytes(), dict(self._timer.seconds)))

    def on_trial_complete(self, iteration: int, trials: list[Any], trial: Any, **_: Any) -> None:
        """One more trial has ended."""
        self.mark()


def ours(sweep: Sweep, folder: Path, trainable: Any, watch: Watch) -> None:
    """Run `sweep` as this project does, with the table of a terminal that nobody sees."""

    def give(tuner: Any, callbacks: list[Any]) -> None:
        give_callbacks(tuner, [*callbacks, watch])

    with (
        mock.patch.multiple(launch, Trial=trainable, give_callbacks=give, progress_display=LiveTable),
        mock.patch.dict(os.environ, {"TTY_COMPATIBLE": "1", "COLUMNS": "140", "LINES": "50"}),
        Path(os.devnull).open("w") as nowhere,
        redirect_stdout(nowhere),
    ):
        launch.run(sweep, folder)


def bare(sweep: Sweep, folder: Path, trainable: Any, watch: Watch) -> None:
    """Run `sweep` with Tune alone."""
    run_config = tune.RunConfig(
        name=folder.name,
        storage_path=str(folder.parent),
        verbose=0,
        callbacks=[watch],
        checkpoint_config=tune.CheckpointConfig(num_to_keep=KEPT_CHECKPOINTS, checkpoint_at_end=True),
    )
    tune_config = tune.TuneConfig(**sweep.tune_config)
    tune.Tuner(trainable, param_space=param_space(sweep), run_config=run_config, tune_config=tune_config).fit()


SIDES = {"bare": bare, "ours": ours}


What = Callable[[Mark], float]


@dataclass(frozen=True)
class Measured:
    """A sweep: where it stood at its start, at the end of each trial and at its own end; and its last snapshot."""

    marks: list[Mark]
    snapshot_bytes: int

    @property
    def trials(self) -> int:
        """How many there were."""
        return len(self.marks) - 2

    def a_trial(self, what: What) -> float:
        """What a trial took, with its share of the sweep's start and end."""
        return (what(self.marks[-1]) - what(self.marks[0])) / self.trials

    def tenths(self, what: What) -> dict[str, float]:
        """What a trial took in the first and in the last tenth of them."""
        ends, number = self.marks[1:-1], max(1, self.trials // 10)
        spans = {"first tenth": (ends[0], ends[number]), "last tenth": (ends[-1 - number], ends[-1])}
        return {name: (what(end) - what(start)) / number for name, (start, end) in spans.items()}


def measure(side: str, experiment: ExperimentConfig, trials: int, reports: list[Report]) -> Measured:
    """Run a sweep of so many trials, each with a seed of its own."""
    experiments = tuple(experiment.replace(seed=seed) for seed in range(trials))
    sweep = Sweep(experiments, tune_config={"reuse_actors": True})
    timer = PartTimer(time.process_time)
    with ray_of_our_own(), TemporaryDirectory() as folder, ExitStack() as patches:
        for callback in CALLBACKS:
            for event, functions in EVENTS.items():
                for function in functions:
                    patches.enter_context(timer.patch(callback, function, f"{callback.__name__} {event}"))
        patches.enter_context(timer.patch(TuneController, "save_to_dir", f"{SNAPSHOT} step"))
        watch = Watch(timer)
        SIDES[side](sweep, Path(folder) / side, tune.with_parameters(Replay, reports=reports), watch)
        watch.mark()
        if len(watch.marks) != trials + 2:
            raise RuntimeError(f"of {trials} trials {len(watch.marks) - 2} came to their end")
        snapshot = next((Path(folder) / side).glob("experiment_state-*.json"))
        return Measured(watch.marks, snapshot.stat().st_size)
