"""Trials without Tune, and the folders that they leave."""

from pathlib import Path
from typing import Any

from rbc_rllib.experiment import ExperimentConfig
from rbc_rllib.runs.trial import Trial
from rbc_rllib.training.checkpoints import TrainingState, describe
from tests.play.networks import build_modules


def trial_of(experiment: ExperimentConfig, values: dict[str, Any] | None = None, **asked: Any) -> Trial:
    """What Tune would train; `asked` is what a search asks of it."""
    return Trial({"experiment": experiment.model_dump(mode="json"), "values": values or {}, **asked})


def trained(experiment: ExperimentConfig, folder: Path, checkpoints: int = 1) -> Path:
    """The folder of a trial that was trained to its end, without Tune; its last checkpoint is from there."""
    trial = trial_of(experiment)
    for number in range(checkpoints):
        for _ in range(experiment.num_iterations // checkpoints):
            done = trial.train()["done"]
        checkpoint = folder / f"checkpoint_{number:06}"
        checkpoint.mkdir(parents=True)
        trial.save_checkpoint(str(checkpoint))
    assert done
    trial.stop()
    experiment.to_json(folder / "config.json")
    return folder


def untrained(experiment: ExperimentConfig, folder: Path) -> Path:
    """A trial's folder with a checkpoint of networks that have learned nothing."""
    learning, checkpoint = experiment.learning, folder / "checkpoint_000000"
    encodings, planner = learning.observation_encodings, experiment.planner
    modules = build_modules(experiment.economy, encodings, learning.hidden_sizes, planner)
    modules = {policy: modules[group] for policy, group in experiment.policies.items()}
    describe(checkpoint, TrainingState(0, 0.0), {policy: module.get_state() for policy, module in modules.items()})
    experiment.to_json(folder / "config.json")
    return folder
