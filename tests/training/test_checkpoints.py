"""Checkpoints: they load wherever they lie, say in plain JSON what they hold, and are refused where they do not fit."""

import json
import pickle
import shutil
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from pyarrow.fs import LocalFileSystem, SubTreeFileSystem
from ray.tune import Checkpoint

from rbc_rllib.best_response import best_responses, find_checkpoints
from rbc_rllib.economy import GROUPS
from rbc_rllib.evaluate import evaluate_trial
from rbc_rllib.experiment import ExperimentConfig
from rbc_rllib.policies import load_policies
from rbc_rllib.settings import ConfigError
from rbc_rllib.training.algorithm import EconomyPPO
from rbc_rllib.training.checkpoints import (
    STATE_FILE,
    TrainingState,
    checkpoints_in,
    damage,
    describe,
    load_networks,
    network_file,
    newest_checkpoint,
    newest_whole,
    training_state,
    weights_hash,
)
from tests.runs.trials import trial_of, untrained
from tests.small import SMALL, weights
from tests.test_architecture import imported, modules, within
from tests.training.test_algorithm import reported

INDEBTED = SMALL.with_values({"economy.initial_firm_budget": 0.0, "curriculum.debt_penalty_step": 1e-3})
"""Its penalty rises."""


@dataclass(frozen=True)
class Saved:
    """A trial's folder with a checkpoint in the middle of training, and what was there when it was written."""

    folder: Path
    weights: dict[str, dict[str, np.ndarray]]
    state: TrainingState
    following: dict  # what the next iteration reports

    @property
    def hashes(self) -> dict[str, str]:
        return {policy: weights_hash(state) for policy, state in self.weights.items()}


@pytest.fixture(scope="module")
def saved(tmp_path_factory, ray_on_this_machine) -> Saved:
    folder = tmp_path_factory.mktemp("results") / "small_seed0"
    checkpoint = folder / "checkpoint_000000"
    checkpoint.mkdir(parents=True)
    INDEBTED.to_json(folder / "config.json")
    trial = trial_of(INDEBTED)
    for _ in range(3):
        trial.train()
    trial.save_checkpoint(str(checkpoint))
    state = TrainingState(trial.env_steps, trial.metrics.peek("penalty_coefficient"))
    held, following = weights(trial), reported(trial.train())
    trial.stop()
    return Saved(folder, held, state, following)


@pytest.fixture(params=["copied", "moved"])
def elsewhere(request, saved, tmp_path) -> Path:
    """The trial's folder at another place."""
    place = shutil.copytree(saved.folder, tmp_path / "first" / "small_seed0")
    if request.param == "moved":
        place = Path(shutil.move(place, tmp_path / "second"))
        assert not (tmp_path / "first" / "small_seed0").exists()
    return place


# Places


def test_networks_load_wherever_the_folder_lies(saved, elsewhere):
    networks = load_networks(newest_checkpoint(elsewhere), INDEBTED)
    assert {policy: weights_hash(network.get_state()) for policy, network in networks.items()} == saved.hashes
    assert training_state(newest_checkpoint(elsewhere)) == saved.state
    assert not any(parameter.requires_grad for network in networks.values() for parameter in network.parameters())


def test_training_goes_on_wherever_the_folder_lies(saved, elsewhere):
    trial = trial_of(INDEBTED)
    trial.load_checkpoint(str(newest_checkpoint(elsewhere)))
    assert {policy: weights_hash(state) for policy, state in weights(trial).items()} == saved.hashes
    assert trial.env_steps == saved.state.env_steps == 192
    assert trial.metrics.peek("penalty_coefficient") == saved.state.penalty_increase > 0
    report = reported(trial.train())
    assert report["economy/social_welfare"] == saved.following["economy/social_welfare"]
    assert report == saved.following
    trial.stop()


def test_policies_load_wherever_the_folder_lies(saved, elsewhere):
    original, other = load_policies(saved.folder), load_policies(elsewhere)
    seen = original.parallel_env().economy.observe()
    for mine, theirs in zip(original.act(seen, seed=0).values(), other.act(seen, seed=0).values(), strict=True):
        np.testing.assert_array_equal(mine, theirs)


def test_best_responses_start_from_a_folder_wherever_it_lies(saved, elsewhere):
    (experiment,) = best_responses(elsewhere, ["firm_1"], find_checkpoints(elsewhere), seeds=1).experiments
    assert experiment.economy.penalty_coefficient == pytest.approx(saved.state.penalty_increase)
    trial = trial_of(experiment)
    expected = saved.hashes | {"deviator": saved.hashes["firm"]}
    assert {policy: weights_hash(state) for policy, state in weights(trial).items()} == expected
    trial.train()
    trial.stop()


# What is written


def test_the_description_is_plain_json(saved):
    record = json.loads((saved.folder / "checkpoint_000000" / STATE_FILE).read_text(), parse_constant=pytest.fail)
    assert record.keys() == {"env_steps", "penalty_increase", "networks", "files"}
    assert record["env_steps"] == saved.state.env_steps
    assert record["penalty_increase"] == saved.state.penalty_increase
    assert set(record["networks"]) == set(GROUPS)
    for policy, shapes in record["networks"].items():
        assert shapes == {name: list(array.shape) for name, array in saved.weights[policy].items()}
    text = json.dumps(record)
    assert str(saved.folder) not in text


def test_a_checkpoint_is_complete_only_when_its_description_is_there(saved, tmp_path):
    folder = shutil.copytree(saved.folder, tmp_path / "trial")
    (newer,) = [shutil.copytree(folder / "checkpoint_000000", folder / "checkpoint_000001")]
    assert newest_checkpoint(folder) == newer
    (newer / STATE_FILE).rename(newer / f"{STATE_FILE}.part")
    assert checkpoints_in(folder) == [folder / "checkpoint_000000"]
    with pytest.raises(ConfigError, match=r"checkpoint = .*checkpoint.json cannot be read"):
        load_networks(newer, INDEBTED)
    (folder / "checkpoint_000000" / STATE_FILE).unlink()
    with pytest.raises(ConfigError, match="it holds no checkpoint; train it first"):
        newest_checkpoint(folder)


def test_writing_that_fails_leaves_no_checkpoint(ray_on_this_machine, tmp_path, monkeypatch):
    """Whatever RLlib has written by then: the description comes last."""
    trial = trial_of(SMALL)
    write = EconomyPPO.save_checkpoint

    def cut_off(self, folder):
        write(self, folder)
        raise OSError("no space left on device")

    monkeypatch.setattr(EconomyPPO, "save_checkpoint", cut_off)
    checkpoint = tmp_path / "checkpoint_000000"
    checkpoint.mkdir()
    with pytest.raises(OSError, match="no space"):
        trial.save_checkpoint(str(checkpoint))
    assert (checkpoint / "learner_group").is_dir()
    with pytest.raises(ConfigError, match="it holds no checkpoint"):
        checkpoints_in(tmp_path)
    trial.stop()


def test_checkpoints_are_in_the_order_of_training(tmp_path):
    for number in (10, 2, 100):
        checkpoint = tmp_path / f"checkpoint_{number:06}"
        checkpoint.mkdir()
        describe(checkpoint, TrainingState(number, 0.0), {})
    assert [training_state(checkpoint).env_steps for checkpoint in checkpoints_in(tmp_path)] == [2, 10, 100]


# What is cut off


def truncate(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


@pytest.mark.parametrize("place", ["a folder", "a store"])
def test_training_goes_on_from_the_newest_checkpoint_that_is_whole(place, saved, tmp_path):
    """One whose copying ended early has its description, or not, and files that are missing or cut off."""
    trials = shutil.copytree(saved.folder, tmp_path / "trial")
    store = SubTreeFileSystem(str(tmp_path), LocalFileSystem())

    def found(checkpoint: Path) -> Path | None:
        path = str(checkpoint.relative_to(tmp_path))
        asked = Checkpoint(str(checkpoint)) if place == "a folder" else Checkpoint(path, store)
        whole = newest_whole(asked)
        return whole and tmp_path / whole.path

    whole, newer, newest = (trials / f"checkpoint_{number:06}" for number in range(3))
    shutil.copytree(whole, newer), shutil.copytree(whole, newest)
    assert [found(each) for each in (whole, newer, newest)] == [whole, newer, newest]
    truncate(newer / "learner_group" / "learner" / "state.pkl")
    assert "its file learner_group/learner/state.pkl has " in damage(newer)
    assert [found(each) for each in (whole, newer, newest)] == [whole, whole, newest]
    network_file(newest, "firm").unlink()
    assert damage(newest) == "its file networks/firm.safetensors is missing"
    assert found(newest) == whole
    (whole / STATE_FILE).unlink()
    assert found(newest) is None


@pytest.mark.parametrize(("harm", "place"), [("cut off", "a folder"), ("gone", "a folder"), ("cut off", "a store")])
def test_a_training_whose_checkpoint_is_damaged_goes_on_from_the_one_before(harm, place, saved, tmp_path):
    folder = shutil.copytree(saved.folder, tmp_path / "trial")
    later = shutil.copytree(folder / "checkpoint_000000", folder / "checkpoint_000001")
    if harm == "cut off":
        truncate(later / "algorithm_state.pkl")
    else:
        shutil.rmtree(later)
    trial = trial_of(INDEBTED)
    store = SubTreeFileSystem(str(tmp_path), LocalFileSystem())
    path = str(later.relative_to(tmp_path))
    trial.restore(Checkpoint(str(later)) if place == "a folder" else Checkpoint(path, store))
    assert (trial.env_steps, trial.iteration) == (saved.state.env_steps, 3)
    assert reported(trial.train()) == saved.following
    trial.stop()


def test_a_training_without_a_whole_checkpoint_begins_anew(saved, tmp_path):
    folder = shutil.copytree(saved.folder, tmp_path / "trial")
    (folder / "checkpoint_000000" / STATE_FILE).unlink()
    trial = trial_of(INDEBTED)
    trial.restore(Checkpoint(str(folder / "checkpoint_000000")))
    assert trial.env_steps == 0
    for _ in range(3):
        trial.train()
    assert {policy: weights_hash(state) for policy, state in weights(trial).items()} == saved.hashes
    trial.stop()


@pytest.mark.parametrize("length", [0, 7, 1000])
def test_a_network_that_is_cut_off_is_refused(length, tmp_path):
    checkpoint = newest_checkpoint(untrained(SMALL, tmp_path / "small"))
    path = network_file(checkpoint, "firm")
    path.write_bytes(path.read_bytes()[:length])
    with pytest.raises(ConfigError, match=r"checkpoint = .*its networks/firm\.safetensors cannot be read"):
        load_networks(checkpoint, SMALL)


# What does not fit


@pytest.mark.parametrize(
    ("values", "policy", "shapes"),
    [
        ({"economy.num_firms": 2}, "consumer", "shared_layer.weight is [128, "),
        ({"learning.hidden_sizes": (64, 128)}, "consumer", "shared_layer.weight is [128, 45], not [64, 45]"),
        ({"economy.price_choices": (500.0, 1000.0, 2500.0)}, "firm", "policy_head.weight is [30, 128], not [15, 128]"),
        ({"economy.tax_choices": (0.0, 0.5)}, "planner", "policy_head.weight is [36, 128], not [4, 128]"),
        ({"learning.observation_encodings": ("log",)}, "consumer", "shared_layer.weight is [128, "),
        ({"planner.mode": "schedule"}, "consumer", "shared_layer.weight is [128, 45], not [128, 51]"),
    ],
)
def test_a_checkpoint_of_another_experiment_is_refused(values, policy, shapes, tmp_path):
    folder = untrained(SMALL, tmp_path / "small")
    with pytest.raises(ConfigError) as refusal:
        load_networks(newest_checkpoint(folder), SMALL.with_values(values))
    sentence = str(refusal.value)
    assert sentence.startswith("checkpoint = 'checkpoint_000000' is refused: ")
    assert f"its {policy} network is for another economy or has other layers" in sentence
    assert shapes in sentence
    assert "\n" not in sentence


def test_a_checkpoint_of_another_kind_of_plan_is_refused(tmp_path):
    folder = untrained(SMALL.with_values({"planner.mode": "schedule"}), tmp_path / "schedule")
    with pytest.raises(ConfigError, match=r"its planner network .* income is \[3, 6\], not \[1, 6\]"):
        load_networks(newest_checkpoint(folder), SMALL.with_values({"planner.mode": "constant"}))


def test_a_checkpoint_without_a_policy_is_refused(tmp_path):
    fixed = SMALL.with_values({"planner.mode": "fixed", "planner.rates": (0.2, 0.2)})
    folder = untrained(fixed, tmp_path / "fixed")
    assert set(load_networks(newest_checkpoint(folder), fixed)) == {"consumer", "firm"}
    with pytest.raises(ConfigError, match="it holds no network of planner, only of consumer, firm"):
        load_networks(newest_checkpoint(folder), SMALL)


def test_networks_serve_any_number_of_consumers(tmp_path):
    """One network acts for a whole group: its shapes do not depend on the group's size."""
    folder = untrained(SMALL, tmp_path / "small")
    larger: ExperimentConfig = SMALL.with_values({"economy.num_consumers": 50})
    assert set(load_networks(newest_checkpoint(folder), larger)) == set(GROUPS)


# Hashes


def test_a_hash_is_of_names_and_bits_in_whatever_order():
    state = {"weight": np.arange(6.0, dtype=np.float32), "bias": np.zeros(2, np.float32)}
    assert weights_hash(state) == weights_hash(dict(reversed(state.items())))
    moved = state | {"weight": np.nextafter(state["weight"], np.inf, dtype=np.float32)}
    renamed = {"weights": state["weight"], "bias": state["bias"]}
    assert len({weights_hash(each) for each in (state, moved, renamed)}) == 3


# Reading


def test_nothing_of_ours_unpickles():
    """RLlib reads its own files; what we write and read beside them is JSON and safetensors."""
    picklers = ("pickle", "cloudpickle", "ray.cloudpickle", "dill", "joblib", "shelve", "marshal")
    for name, path in modules().items():
        if within(name, ("rbc_rllib", "callbacks", "analysis")):
            assert not {other for other in imported(path) if within(other, picklers)}, name
            assert "torch.load" not in path.read_text(), name


class Trap:
    """What a pickle can do to those who read it."""

    def __init__(self, mark: Path):
        self.mark = mark

    def __reduce__(self):
        return Path.touch, (self.mark,)


def test_policies_evaluations_and_best_responses_read_no_pickle(saved, tmp_path):
    """Whatever RLlib's files hold by now: only a training that goes on reads them."""
    folder, mark = shutil.copytree(saved.folder, tmp_path / "trial"), tmp_path / "mark"
    pickles = list(folder.rglob("*.pkl"))
    assert pickles
    for path in pickles:
        path.write_bytes(pickle.dumps(Trap(mark)))
    load_policies(folder)
    evaluate_trial(folder)
    (experiment,) = best_responses(folder, ["firm_1"], find_checkpoints(folder), seeds=1).experiments
    trial = trial_of(experiment)
    trial.train()
    trial.stop()
    assert not mark.exists()
    pickle.loads(pickles[0].read_bytes())
    assert mark.exists()


def test_a_checkpoint_of_an_older_version_is_refused_in_one_sentence(saved, tmp_path):
    """It held its networks in RLlib's pickles alone. One that a killed run was saving is told apart."""
    folder = shutil.copytree(saved.folder, tmp_path / "trial")
    checkpoint = folder / "checkpoint_000000"
    shutil.rmtree(network_file(checkpoint, "firm").parent)
    with pytest.raises(
        ConfigError, match=r"not saved to its end \(its file networks/.* is missing\); go on .*--resume"
    ):
        load_policies(folder)
    record = json.loads((checkpoint / STATE_FILE).read_text())
    (checkpoint / STATE_FILE).write_text(json.dumps({key: record[key] for key in record if key != "files"}))
    with pytest.raises(ConfigError) as refusal:
        load_policies(folder)
    assert str(refusal.value).endswith(
        "it holds no networks/consumer.safetensors; only RLlib's pickles hold networks in older ones, and none is read;"
        " take another checkpoint, or train the run anew."
    )
