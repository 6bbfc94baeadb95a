"""Start or resume an experiment: one Tune run, whose trials end as folders that tell everything about them."""

import os
import signal
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import ray
from ray import tune
from ray.tune.result import SHOULD_CHECKPOINT

from analysis.report import write_report
from rbc_rllib.algorithm import quiet
from rbc_rllib.evaluate import evaluate_trial
from rbc_rllib.experiment import ExperimentConfig
from rbc_rllib.settings import ConfigError
from rbc_rllib.trial import Trial, experiment_of

SECONDS_BETWEEN_LINES = 10.0
KEPT_CHECKPOINTS = 4  # the newest ones of each trial


@dataclass(frozen=True)
class Sweep:
    """What to train: every experiment, at `num_samples` draws of the search space (dotted keys, `tune.*` values)."""

    experiments: tuple[ExperimentConfig, ...]
    search_space: dict[str, Any] = field(default_factory=dict)
    num_samples: int = 1
    tune_config: dict[str, Any] = field(default_factory=dict)  # of `tune.TuneConfig`: metric, scheduler, ...

    def with_values(self, values: dict[str, Any]) -> "Sweep":
        """The same sweep with dotted keys set in every experiment; a key that is set is no longer searched."""
        experiments = tuple(experiment.with_values(values) for experiment in self.experiments)
        space = {key: domain for key, domain in self.search_space.items() if key not in values}
        return Sweep(experiments, space, self.num_samples, self.tune_config)

    @property
    def param_space(self) -> dict[str, Any]:
        """Tune's view of it, the config of each trial once Tune has drawn."""
        if not self.experiments:
            raise ConfigError("experiments", (), "a sweep needs at least one experiment", "give it one")
        names = [(experiment.name, experiment.seed) for experiment in self.experiments]
        doubles = sorted({name for name in names if names.count(name) > 1})
        if doubles:
            rule = "each experiment of a sweep has its own name and seed"
            raise ConfigError("experiments", doubles, rule, "give them different names or seeds")
        complete = [experiment.model_dump(mode="json", exclude_unset=True) for experiment in self.experiments]
        return {"experiment": tune.grid_search(complete), "values": dict(self.search_space)}


def judge(folder: Path, finished: list[Path]) -> str:
    """Judge each finished trial on held-out episodes and write the report on the experiment in `folder`."""
    for trial in finished:
        evaluate_trial(trial)
    return write_report(folder)


def run(
    sweep: Sweep,
    name: str,
    results: Path,
    resume: bool,
    conclude: Callable[[Path, list[Path]], str] = judge,
) -> Path:
    """Train every trial of `sweep`, then print what `conclude` says of the folder and of the trials that are finished
    in it (by default: the report on held-out episodes); returns the folder.

    An existing folder is refused unless `resume`, which finishes what is unfinished in it. Raises `ConfigError` there,
    and `SystemExit` when trials failed or the run was interrupted.
    """
    quiet()
    folder = results.absolute() / name
    how_to_resume = f"{' '.join(_command())} --resume"
    interruption = Interruption()
    run_config = tune.RunConfig(
        name=name,
        storage_path=str(results.absolute()),
        verbose=0,
        callbacks=[ConfigFile(), ProgressLines(), interruption],
        checkpoint_config=tune.CheckpointConfig(
            num_to_keep=KEPT_CHECKPOINTS,
            checkpoint_frequency=min(e.iterations_per_checkpoint for e in sweep.experiments),
            checkpoint_at_end=True,
        ),
        sync_config=tune.SyncConfig(sync_period=30),
    )
    started = tune.Tuner.can_restore(str(folder))
    if resume and not started:
        raise ConfigError("--resume", str(folder), "there is no run to resume", "leave --resume out to start one")
    if not resume and folder.exists() and any(folder.iterdir()):
        fix = f"resume it ({how_to_resume}) or give another --results"
        raise ConfigError("--results", str(folder), "it holds an earlier run, which is never overwritten", fix)
    if resume:
        tuner = tune.Tuner.restore(str(folder), trainable=Trial, resume_unfinished=True, resume_errored=True)
        # A restored tuner has pickled copies of the callbacks; Ctrl-C needs this process's own.
        tuner._local_tuner._run_config.callbacks = run_config.callbacks
    else:
        tuner = tune.Tuner(
            Trial,
            param_space=sweep.param_space,
            run_config=run_config,
            tune_config=tune.TuneConfig(
                num_samples=sweep.num_samples,
                trial_name_creator=trial_name,
                trial_dirname_creator=trial_name,
                **sweep.tune_config,
            ),
        )
    _start_ray()
    with interruption:
        grid = tuner.fit()
    finished = [Path(r.path) for r in grid if r.metrics and r.metrics.get("done") and r.error is None]
    if any(folder.glob("*/config.json")):
        print(f"\n{conclude(folder, finished)}\n\nResults: {folder}")
    if interruption.requested:
        print(f"Interrupted. Every running trial has saved a checkpoint; go on with: {how_to_resume}")
        sys.exit(130)
    if grid.errors:
        for error in grid.errors:
            print(f"Failed: {str(error).strip().splitlines()[-1]}", file=sys.stderr)
        print(f"Failed trials go on from their last checkpoint with: {how_to_resume}", file=sys.stderr)
        sys.exit(1)
    return folder


def trial_name(trial: Any) -> str:
    """Folder of a Tune trial: the experiment's name and seed, and a number where values were sampled."""
    experiment = experiment_of(trial.config)
    sampled = f"_{trial.trial_id.split('_')[-1]}" if trial.config["values"] else ""
    return f"{experiment.name}_seed{experiment.seed}{sampled}"


def _command() -> list[str]:
    module = Path(sys.argv[0]).stem
    arguments = [argument for argument in sys.argv[1:] if argument != "--resume"]
    return ["python", "-m", f"rbc_rllib.{module}", *arguments]


def _start_ray() -> None:
    """Join the cluster of `RAY_ADDRESS` (as `ray job submit` sets it), or start Ray on this machine."""
    if ray.is_initialized():
        return
    # Workers import this project from where the driver does.
    paths = os.pathsep.join([str(Path(__file__).parent.parent), *filter(None, [os.environ.get("PYTHONPATH")])])
    environment = {"env_vars": {"PYTHONPATH": paths, "PYTHONWARNINGS": "ignore"}}
    in_cluster = "RAY_ADDRESS" in os.environ
    ray.init(log_to_driver=False, logging_level="ERROR", runtime_env=None if in_cluster else environment)


class ConfigFile(tune.Callback):
    """Writes each trial's complete config into its folder when it starts."""

    def on_trial_start(self, iteration: int, trials: list[Any], trial: Any, **_: Any) -> None:
        """Write `config.json`."""
        folder = Path(trial.path)
        folder.mkdir(parents=True, exist_ok=True)
        experiment_of(trial.config).to_json(folder / "config.json")


class Interruption(tune.Callback):
    """Catches Ctrl-C: every running trial saves a checkpoint after its present iteration, then the run ends."""

    def __init__(self) -> None:
        self.requested = False
        self._saved: set[str] = set()

    def __enter__(self) -> None:
        os.environ["TUNE_DISABLE_SIGINT_HANDLER"] = "1"
        self._previous = signal.signal(signal.SIGINT, self._request)

    def __exit__(self, *_: Any) -> None:
        signal.signal(signal.SIGINT, self._previous)

    def _request(self, *_: Any) -> None:
        if self.requested:
            raise KeyboardInterrupt
        self.requested = True
        print("\nInterrupted: saving a checkpoint of every running trial (Ctrl-C again stops at once) ...", flush=True)

    def on_trial_result(self, iteration: int, trials: list[Any], trial: Any, result: dict, **_: Any) -> None:
        """Ask for a checkpoint, or not: every row says so, since a `progress.csv` has the columns of its first row."""
        result[SHOULD_CHECKPOINT] = self.requested

    def on_trial_save(self, iteration: int, trials: list[Any], trial: Any, **_: Any) -> None:
        """Count the checkpoints that were asked for."""
        if self.requested:
            self._saved.add(trial.trial_id)

    def on_step_end(self, iteration: int, trials: list[Any], **_: Any) -> None:
        """End the run when all running trials are saved; Tune ends gracefully on SIGUSR1."""
        running = {trial.trial_id for trial in trials if trial.status == "RUNNING"}
        if self.requested and running <= self._saved:
            os.kill(os.getpid(), signal.SIGUSR1)


class ProgressLines(tune.Callback):
    """Prints a line for a trial that has something new to tell, every few seconds."""

    def __init__(self) -> None:
        self._printed: dict[str, float] = {}

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
    minutes, seconds = divmod(round(result["seconds_left"]), 60)
    return (
        f"{name} {done:4.0%} {result['curriculum_stage']}: "
        f"welfare {economy['social_welfare']:.1f}, hours {economy['hours']:.0f}, "
        f"price {economy['price']:.0f}, wage {economy['wage']:.1f}, "
        f"taxes {economy['income_tax_rate']:.0%} income {economy['corporate_tax_rate']:.0%} corporate, "
        f"{result['agent_steps_per_second']:,.0f} agent-steps/s, {minutes}:{seconds:02d} left"
    )
