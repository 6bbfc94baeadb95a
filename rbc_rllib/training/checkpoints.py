"""What a checkpoint holds and where: the networks by policy as safetensors, the state of training as JSON, and RLlib's
own files, with which training goes on.

RLlib's files are pickles, which can run anything when they are read: only a training that goes on reads them.
`checkpoint.json` is written last, so a folder without it is one that was never completed; it also says how long every
file is, since Tune copies files to their place in no order. Nothing in a checkpoint names a place: its folder can be
moved or copied.
"""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
import torch
from pyarrow.fs import FileSelector
from ray.tune import Checkpoint
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file

from rbc_rllib.arrays import to_numpy
from rbc_rllib.experiment import ExperimentConfig
from rbc_rllib.files import write_json
from rbc_rllib.leaving import Deviation
from rbc_rllib.play.modules import GroupModule, untrained_modules
from rbc_rllib.settings import ConfigError

NETWORKS = "networks"
"""Where the networks are that are judged and deviated from, averaged ones if a run keeps averages: a file for each
policy."""

STATE_FILE = "checkpoint.json"

Weights = Mapping[str, Mapping[str, Any]]
"""Arrays by policy and name."""


@dataclass(frozen=True)
class TrainingState:
    """What training had come to."""

    env_steps: int  # lifetime
    penalty_increase: float  # what dual ascent had added to the no-Ponzi penalty


def describe(checkpoint: Path, state: TrainingState, weights: Weights) -> None:
    """Complete a checkpoint that RLlib has written: the networks, the state of training, the shapes of all parameters
    and the sizes of all files."""
    (checkpoint / NETWORKS).mkdir(parents=True, exist_ok=True)
    for policy, own in weights.items():
        tensors = {name: torch.tensor(to_numpy(array)) for name, array in own.items()}
        save_file(tensors, network_file(checkpoint, policy))
    files = {str(path.relative_to(checkpoint)): path.stat().st_size for path in _files(checkpoint)}
    record = asdict(state) | {"networks": _shapes(weights), "files": files}
    write_json(record, checkpoint / STATE_FILE)


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


def check_fit(checkpoint: Path, experiment: ExperimentConfig) -> dict[str, GroupModule]:
    """Untrained networks of the experiment's policies; raises `ConfigError` unless the checkpoint holds such ones."""
    fix = "take a checkpoint that this very trial has written"
    held = _record(checkpoint)["networks"]
    modules = untrained_modules(experiment, seed=0)
    wanted = _shapes({policy: module.get_state() for policy, module in modules.items()})
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
    return modules


def load_networks(checkpoint: Path, experiment: ExperimentConfig) -> dict[str, GroupModule]:
    """The networks of the experiment's policies as they were in `checkpoint`, frozen, on the CPU.

    Raises `ConfigError` where they do not fit the experiment.
    """
    modules = check_fit(checkpoint, experiment)
    for policy, module in modules.items():
        module.load_state_dict(_tensors(checkpoint, policy))
        module.eval().requires_grad_(False)
    return modules


def initial_weights(experiment: ExperimentConfig) -> Weights:
    """The weights, by policy, of the checkpoints in which training starts: each policy has those of its group there.

    Those that start untrained are left out.
    """
    game = experiment.replace(deviation=None)
    starts = {policy: start for policy in experiment.policies if (start := experiment.start_of(policy))}
    modules = {start: load_networks(Path(start), game) for start in {*starts.values()}}
    return {policy: modules[start][experiment.policies[policy]].get_state() for policy, start in starts.items()}


def member_network(checkpoint: str, deviator: str, experiment: ExperimentConfig) -> GroupModule:
    """By which a member of the pool acts, frozen, on the CPU; raises `ConfigError` where it does not fit."""
    alone = experiment.replace(refinement=experiment.refinement.replace(pool=()), start=None)
    deviation = Deviation(checkpoint=checkpoint, deviator=deviator)
    return load_networks(Path(checkpoint), alone.replace(deviation=deviation))[deviation.policy]


def network_file(checkpoint: Path, policy: str) -> Path:
    """Where a checkpoint keeps the network of `policy` that is judged and deviated from."""
    return checkpoint / NETWORKS / f"{policy}.safetensors"


def newest_whole(checkpoint: Checkpoint) -> Checkpoint | None:
    """`checkpoint` or, where files of it are missing or cut off, the newest one before it of which none is, if any."""
    trial, files = PurePosixPath(checkpoint.path).parent, checkpoint.filesystem
    found = files.get_file_info(FileSelector(str(trial), allow_not_found=True))
    names = sorted((each.base_name for each in found if each.base_name.startswith("checkpoint_")), reverse=True)
    for name in names:
        if name <= PurePosixPath(checkpoint.path).name:
            candidate = Checkpoint(str(trial / name), files)
            with candidate.as_directory() as folder:  # a copy, where it is in an object store
                if damage(Path(folder)) is None:
                    return candidate
    return None


def damage(checkpoint: Path) -> str | None:
    """What is missing or cut off in a checkpoint; None where it is whole."""
    try:
        sizes = _record(checkpoint).get("files", {})  # none in checkpoints of older versions
    except ConfigError as error:
        return error.rule
    for name, size in sizes.items():
        path = checkpoint / name
        if not path.is_file():
            return f"its file {name} is missing"
        if path.stat().st_size != size:
            return f"its file {name} has {path.stat().st_size:,} of {size:,} bytes"
    return None


def weights_hash(state: Mapping[str, Any]) -> str:
    """SHA-256 of a network's state, arrays by name, in whatever order."""
    digest = hashlib.sha256()
    for name in sorted(state):
        digest.update(name.encode())
        digest.update(np.ascontiguousarray(to_numpy(state[name])).tobytes())
    return digest.hexdigest()


def policies_hash(networks: Mapping[str, GroupModule]) -> str:
    """SHA-256 of policies: whether two files tell of the same ones."""
    states = {policy: module.get_state() for policy, module in networks.items()}
    return weights_hash({f"{policy}.{name}": array for policy, own in states.items() for name, array in own.items()})


def _tensors(checkpoint: Path, policy: str) -> dict[str, torch.Tensor]:
    path, fix = network_file(checkpoint, policy), "take another checkpoint, or train the run anew"
    if not path.is_file():
        if cut_off := damage(checkpoint):
            fix = "go on training with --resume, from the checkpoint before it"
            raise ConfigError("checkpoint", str(checkpoint), f"it was not saved to its end ({cut_off})", fix)
        rule = f"it holds no {NETWORKS}/{path.name}; only RLlib's pickles hold networks in older ones, and none is read"
        raise ConfigError("checkpoint", str(checkpoint), rule, fix)
    try:
        return load_file(path)
    except (OSError, SafetensorError) as error:
        rule = f"its {NETWORKS}/{path.name} cannot be read ({error})"
        raise ConfigError("checkpoint", str(checkpoint), rule, fix) from None


def _files(checkpoint: Path) -> list[Path]:
    return sorted(path for path in checkpoint.rglob("*") if path.is_file() and path.name != STATE_FILE)


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
