"""What a checkpoint holds and where: the networks by policy, in RLlib's files, and the state of training as JSON.

`checkpoint.json` is written last, so a folder without it is one that was never completed. Nothing in a checkpoint names
a place: its folder can be moved or copied.
"""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from rbc_rllib.arrays import to_numpy
from rbc_rllib.experiment import ExperimentConfig
from rbc_rllib.play.modules import GroupModule, untrained_modules
from rbc_rllib.settings import ConfigError

NETWORKS = Path("learner_group") / "learner" / "rl_module"
"""Where RLlib keeps the networks of an algorithm, a folder for each policy."""

AVERAGES = Path("averages")
"""Where averages of a run's weights are, a folder for each policy, if it keeps some: these are then its networks."""

STATE_FILE = "checkpoint.json"

Weights = Mapping[str, Mapping[str, Any]]
"""Arrays by policy and name."""


@dataclass(frozen=True)
class TrainingState:
    """What training had come to."""

    env_steps: int  # lifetime
    penalty_increase: float  # what dual ascent had added to the no-Ponzi penalty


def describe(checkpoint: Path, state: TrainingState, weights: Weights) -> None:
    """Complete a checkpoint that RLlib has written: the state of training, and the shapes of all parameters."""
    record = asdict(state) | {"networks": _shapes(weights)}
    unfinished = checkpoint / f"{STATE_FILE}.part"
    unfinished.write_text(json.dumps(record, indent=2) + "\n")
    unfinished.rename(checkpoint / STATE_FILE)


def training_state(checkpoint: Path) -> TrainingState:
    """The state of training in a checkpoint; raises `ConfigError` where it cannot be read."""
    record = _record(checkpoint)
    return TrainingState(int(record["env_steps"]), float(record["penalty_increase"]))


def checkpoints_in(trial: Path) -> list[Path]:
    """The complete checkpoints in a trial's folder, oldest first; raises `ConfigError` where there is none."""
    found = sorted(path for path in trial.glob("checkpoint_*") if (path / STATE_FILE).is_file())
    if not found:
        raise ConfigError("trial", str(trial), "it holds no checkpoint", "train it first, or name another trial")
    return found


def newest_checkpoint(trial: Path) -> Path:
    """The last one of `checkpoints_in`."""
    return checkpoints_in(trial)[-1]


def check_fit(checkpoint: Path, experiment: ExperimentConfig) -> None:
    """Raise `ConfigError` unless the checkpoint holds networks of the experiment's policies and sizes."""
    fix = "take a checkpoint that this very trial has written"
    held = _record(checkpoint)["networks"]
    wanted = _shapes({policy: module.get_state() for policy, module in untrained_modules(experiment, seed=0).items()})
    if missing := [policy for policy in wanted if policy not in held]:
        rule = f"it holds no network of {missing[0]}, only of {', '.join(held)}"
        raise ConfigError("checkpoint", checkpoint.name, rule, fix)
    for policy, shapes in wanted.items():
        for name, shape in shapes.items():
            if held[policy].get(name) != shape:
                economy, learning = experiment.economy, experiment.learning
                rule = (
                    f"its {policy} network is for another economy or has other layers than the trial's"
                    f" ({economy.num_firms} firms, layers of {learning.hidden_sizes}):"
                    f" {name} is {held[policy].get(name)}, not {shape}"
                )
                raise ConfigError("checkpoint", checkpoint.name, rule, fix)


def load_networks(checkpoint: Path, experiment: ExperimentConfig) -> dict[str, GroupModule]:
    """The networks of the experiment's policies as they were in `checkpoint`, frozen, on the CPU.

    Raises `ConfigError` where they do not fit the experiment.
    """
    check_fit(checkpoint, experiment)
    modules = untrained_modules(experiment, seed=0)
    for policy, module in modules.items():
        module.restore_from_path(network_folder(checkpoint, policy))
        module.eval().requires_grad_(False)
    return modules


def initial_weights(experiment: ExperimentConfig) -> Weights:
    """The weights with which every policy of a deviation starts, those of its group in a checkpoint; without one that
    is untrained."""
    deviation, game = experiment.deviation, experiment.replace(deviation=None)
    assert deviation is not None
    starts = {policy: start for policy in experiment.policies if (start := deviation.start_of(policy))}
    modules = {start: load_networks(Path(start), game) for start in {*starts.values()}}
    return {policy: modules[start][experiment.policies[policy]].get_state() for policy, start in starts.items()}


def network_folder(checkpoint: Path, policy: str) -> Path:
    """Where a checkpoint keeps the network of `policy` that is judged and deviated from."""
    average = checkpoint.absolute() / AVERAGES / policy
    return average if average.is_dir() else checkpoint.absolute() / NETWORKS / policy


def save_averages(checkpoint: Path, experiment: ExperimentConfig, averages: Weights) -> None:
    """Add averaged weights to a checkpoint, which are its networks from then on."""
    modules = untrained_modules(experiment, seed=0) if averages else {}
    for policy, module in modules.items():
        module.set_state(dict(averages[policy]))
        module.save_to_path(checkpoint.absolute() / AVERAGES / policy)


def weights_hash(state: Mapping[str, Any]) -> str:
    """SHA-256 of a network's state, arrays by name, in whatever order."""
    digest = hashlib.sha256()
    for name in sorted(state):
        digest.update(name.encode())
        digest.update(np.ascontiguousarray(to_numpy(state[name])).tobytes())
    return digest.hexdigest()


def _shapes(weights: Weights) -> dict[str, dict[str, list[int]]]:
    return {policy: {name: list(array.shape) for name, array in own.items()} for policy, own in weights.items()}


def _record(checkpoint: Path) -> dict[str, Any]:
    path = checkpoint / STATE_FILE
    try:
        record = json.loads(path.read_text())
        assert record.keys() >= {"env_steps", "penalty_increase", "networks"}
    except (OSError, ValueError, AssertionError, AttributeError) as error:
        rule = f"its {STATE_FILE} cannot be read ({type(error).__name__})"
        raise ConfigError("checkpoint", str(checkpoint), rule, "take another checkpoint of the trial") from None
    return record
