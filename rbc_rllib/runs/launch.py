"""Start or resume a sweep: one Tune run, whose trials end as folders that tell everything about them."""

import json
import os
import re
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import ray
from ray import tune

from rbc_rllib.experiment import ExperimentConfig, Sweep
from rbc_rllib.files import write_json
from rbc_rllib.runs.faults import RETRIES, Retries, cause_line, failure_line
from rbc_rllib.runs.gauges import Gauges
from rbc_rllib.runs.interruption import Interruption
from rbc_rllib.runs.live_table import LiveTable
from rbc_rllib.runs.progress import ConfigFile, ProgressFile, ProgressLines
from rbc_rllib.runs.remote import Remote, Sending
from rbc_rllib.runs.resources import check_address, check_cluster
from rbc_rllib.runs.sameness import check_same, describe_sweep
from rbc_rllib.runs.searches import tune_parts
from rbc_rllib.runs.snapshots import COPY, SnapshotCopy, check_own, mend
from rbc_rllib.runs.tensorboard import TensorBoard
from rbc_rllib.runs.tracking import Trackers
from rbc_rllib.runs.trial import Trial, known_of
from rbc_rllib.runs.trials_table import TrialsTable
from rbc_rllib.settings import ConfigError
from rbc_rllib.training.rllib_internals import give_callbacks, has_snapshot, quiet

SWEEP_FILE = "sweep.json"
LEFT_BY_A_START = {SWEEP_FILE, "tuner.pkl", ".validate_storage_marker"}
"""What is in the folder of a run that ended before Tune's first snapshot: it can be started again."""


@dataclass(frozen=True)
class Run:
    """How a run ended."""

    folder: Path
    finished: list[Path]  # the folders of the trials that are
    errors: list[str]  # a line for each trial that failed
    interrupted: bool
    remote: Remote | None = None  # what the folder is a copy of


@dataclass(frozen=True)
class RunOptions:
    """How a run is kept going, and who is told of it."""

    retries: int = RETRIES  # of a trial that fails, from its last checkpoint
    trust: bool = False  # whether to resume what another user, or nobody knows who, has written
    trackers: Trackers = Trackers()
    remote: Remote | None = None  # an object store in which results are kept

    def __post_init__(self) -> None:
        """Raise `ConfigError` where there cannot be so few retries."""
        if self.retries < 0:
            raise ConfigError("--retries", self.retries, "it must be 0 or more", f"the default is {RETRIES}")


def run(sweep: Sweep, folder: Path, resume: bool = False, options: RunOptions = RunOptions()) -> Run:
    """Train every trial of `sweep` in `folder`; one that fails is tried again from its last checkpoint.

    An existing folder is refused unless `resume`, which finishes what is unfinished in it; then the sweep must be the
    one that was started, by this user unless told to trust another. Raises `ConfigError` where it is not, where the
    cluster can never run such a trial, where the folder cannot be written, and where a tracker does not start.

    With `options.remote` the folder is a copy of one there, and what is said here of the folder is true of that one.
    """
    quiet()
    folder, remote = folder.absolute(), options.remote
    place = remote.uri_of(folder) if remote else str(folder)
    if resume and not can_resume(folder, remote):
        raise ConfigError("--resume", place, "there is no run to resume", "leave --resume out to start one")
    if not resume and (remote.names(folder) if remote else _names(folder)) - LEFT_BY_A_START:
        rule = "it holds an earlier run, which is never overwritten"
        raise ConfigError("--results", place, rule, "go on with it by --resume, or give another --results")
    if resume:
        if not options.trust:
            (remote.check_own if remote else check_own)(folder)
        check_same(_started_sweep(folder), sweep)
        mend(folder)
    tracking = options.trackers.start(folder)
    _start_ray()
    check_cluster(sweep)
    retries, interruption, display = Retries(options.retries), Interruption(), progress_display()
    watching = [TensorBoard(), Gauges(folder.name), *tracking, display]
    try:
        tuner = _restored_tuner(folder, remote) if resume else _new_tuner(sweep, folder, remote)
        # Those of this process, with its terminal and its trackers: of none is anything kept in the run's folder.
        files = [ConfigFile(folder), ProgressFile(folder), TrialsTable(folder)]
        files.append(SnapshotCopy(folder, remote))
        if remote:
            files.append(Sending(remote, folder))
        give_callbacks(tuner, [*files, *watching, retries, interruption])
        with interruption, display:
            grid = tuner.fit()
        if remote:
            remote.send(folder)
            remote.fetch(folder)
    except (OSError, tune.TuneError) as error:
        raise _unwritable(place, error) from error
    ended = {folder / Path(result.path).name: result for result in grid}
    finished = [path for path, r in ended.items() if r.error is None and _trained(path, r.metrics or {})]
    errors = [failure_line(path) for path, r in ended.items() if r.error is not None]
    return Run(folder, finished, errors, interruption.requested, remote)


def can_resume(folder: Path, remote: Remote | None = None) -> bool:
    """Whether there is a run in `folder`, or in what it is a copy of, that can be resumed."""
    if remote:
        remote.fetch(folder)
    return has_snapshot(folder) or (folder / COPY).exists()


def progress_display() -> LiveTable | ProgressLines:
    """A table where standard output is a terminal, or else lines."""
    return LiveTable() if sys.stdout.isatty() else ProgressLines()


def _unwritable(place: str, error: Exception) -> Exception:
    """`error`, or where the disk is full or cannot be written the refusal of such a place."""
    cause = cause_line(str(error))
    if not re.search(r"\[errno \d+\]|AWS Error", cause, re.IGNORECASE):
        return error
    fix = "make room there and go on with --resume, or give another --results"
    return ConfigError("--results", place, f"it cannot be written ({cause})", fix)


def _trained(trial: Path, report: dict[str, Any]) -> bool:
    """Whether a trial has come to the end of its training; one that a search has stopped has not."""
    if not report.get("done"):
        return False
    return report["env_steps"] >= ExperimentConfig.of_trial(trial).curriculum.total_env_steps


def _started_sweep(folder: Path) -> dict[str, Any]:
    """What `describe_sweep` said of the sweep when the run in `folder` was started."""
    try:
        return json.loads((folder / SWEEP_FILE).read_text())
    except (OSError, ValueError) as error:
        rule = f"its {SWEEP_FILE}, which says with what settings it was started, cannot be read ({error})"
        raise ConfigError("--resume", str(folder), rule, "start anew under another --results") from None


def _names(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()} if folder.exists() else set()


def _restored_tuner(folder: Path, remote: Remote | None) -> tune.Tuner:
    if remote:
        remote.send(folder)  # as it was mended
    return tune.Tuner.restore(
        remote.path_of(folder) if remote else str(folder),
        storage_filesystem=remote and remote.store,
        trainable=Trial,
        resume_unfinished=True,
        resume_errored=True,
    )


def _new_tuner(sweep: Sweep, folder: Path, remote: Remote | None) -> tune.Tuner:
    parts = tune_parts(sweep)
    folder.mkdir(parents=True, exist_ok=True)
    write_json(describe_sweep(sweep), folder / SWEEP_FILE)
    if remote:
        remote.send(folder)
    return tune.Tuner(
        Trial,
        param_space=parts.param_space,
        run_config=tune.RunConfig(
            name=folder.name,
            storage_path=remote.path if remote else str(folder.parent),
            storage_filesystem=remote and remote.store,
            verbose=0,
            callbacks=list(parts.callbacks),
            # When a trial saves one is its own affair (`iterations_per_checkpoint`).
            checkpoint_config=tune.CheckpointConfig(num_to_keep=parts.kept_checkpoints, checkpoint_at_end=True),
            sync_config=tune.SyncConfig(sync_period=30),
        ),
        tune_config=tune.TuneConfig(
            trial_name_creator=trial_name, trial_dirname_creator=trial_name, **parts.tune_config
        ),
    )


def trial_name(trial: Any) -> str:
    """Folder of a Tune trial: the experiment's name and seed, and a number where values were sampled."""
    experiment, draw = known_of(trial.config), trial.config.get("draw")
    number = trial.trial_id.split("_")[-1] if draw is None else f"{draw:05d}"
    sampled = f"_{number}" if trial.config["values"] else ""
    return f"{experiment.name}_seed{experiment.seed}{sampled}"


def _start_ray() -> None:
    """Join the cluster of `RAY_ADDRESS` (as `ray job submit` sets it), or start Ray on this machine."""
    if ray.is_initialized():
        return
    # Workers import this project from where the driver does.
    paths = os.pathsep.join([str(Path(__file__).parents[2]), *filter(None, [os.environ.get("PYTHONPATH")])])
    environment = {"env_vars": {"PYTHONPATH": paths, "PYTHONWARNINGS": "ignore"}}
    address = os.environ.get("RAY_ADDRESS")
    if address is not None:
        check_address(address)
    ray.init(log_to_driver=False, logging_level="ERROR", runtime_env=environment if address is None else None)
