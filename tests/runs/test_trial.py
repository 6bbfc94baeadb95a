"""`Trial`: its reports, its checkpoints at its own iterations, and what its process loads."""

import json
import math
import subprocess
import sys

import pytest

from rbc_rllib.best_response import best_responses, find_checkpoints
from rbc_rllib.economy import GROUPS
from rbc_rllib.experiment import Sweep
from rbc_rllib.responses import judge
from rbc_rllib.runs.launch import run
from rbc_rllib.training.checkpoints import checkpoints_in, training_state
from rbc_rllib.training.deviations import deviators_game
from tests.runs.commands import REPOSITORY, rows
from tests.runs.trials import trained, trial_of
from tests.small import SMALL, changed, weights
from tests.test_architecture import imported, modules, within

FIVE = SMALL.with_values({"curriculum.total_env_steps": 320})  # iterations, of 64 env steps


@pytest.mark.usefixtures("ray_on_this_machine")
@pytest.mark.parametrize(
    ("every", "expected"), [(1, [True] * 5), (2, [False, True, False, True, False]), (50, [False] * 5)]
)
def test_a_report_asks_for_a_checkpoint_at_the_experiments_own_iterations(every, expected):
    trial = trial_of(FIVE.replace(iterations_per_checkpoint=every))
    assert [trial.train()["should_checkpoint"] for _ in range(5)] == expected
    trial.stop()


def test_experiments_of_one_sweep_leave_checkpoints_at_their_own_iterations(ray_on_this_machine, tmp_path):
    """And each one after its last iteration."""
    experiments = [FIVE.replace(name=f"every_{n}", iterations_per_checkpoint=n) for n in (2, 3, 50)]
    ended = run(Sweep(tuple(experiments)), tmp_path / "results")
    assert ended.errors == []
    found = {
        trial.name: [training_state(checkpoint).env_steps // 64 for checkpoint in checkpoints_in(trial)]
        for trial in ended.finished
    }
    assert found == {"every_2_seed0": [2, 4, 5], "every_3_seed0": [3, 5], "every_50_seed0": [5]}
    for trial in ended.finished:
        assert [int(row["env_steps"]) for row in rows(trial)] == [64, 128, 192, 256, 320]


def test_a_trial_goes_on_from_another_ones_checkpoint_by_its_own_settings(ray_on_this_machine, tmp_path):
    """From its first update on: weights and env steps are the other one's, rates, clipping and entropy its own."""
    other = trial_of(FIVE, {"learning.learning_rate.firm": 1e-3})
    for _ in range(2):
        other.train()
    other.save_checkpoint(str(tmp_path))
    values = {"learning.clip_param": 0.3, "learning.learning_rate.firm": 4e-3}
    trial = trial_of(FIVE, {**values, "curriculum.final_entropy_coeff.consumer": 0.4})
    before = weights(trial)
    trial.load_checkpoint(str(tmp_path))
    assert trial.env_steps == 128
    assert changed(before, weights(trial)) == {"consumer", "firm", "planner"}
    assert changed(weights(other), weights(trial)) == set()
    learner, rate_left = trial.learner_group._learner, 1 - 0.95 * 128 / 320
    assert learner.config.get_config_for_module("firm").clip_param == 0.3
    assert learner.entropy_coefficients["consumer"] == pytest.approx(
        trial.experiment.curriculum.at(128).entropy_coeff["consumer"]
    )
    assert (
        learner.entropy_coefficients["consumer"] > 0.2 > other.learner_group._learner.entropy_coefficients["consumer"]
    )
    used = {}
    original = learner.before_gradient_based_update

    def noted(**arguments):
        for policy in ("consumer", "firm"):
            used.setdefault(policy, learner.get_optimizer(policy).param_groups[0]["lr"])
        return original(**arguments)

    learner.before_gradient_based_update = noted
    trial.train()
    assert used == pytest.approx({"consumer": 2e-3 * rate_left, "firm": 4e-3 * rate_left})
    other.stop()
    trial.stop()


@pytest.mark.usefixtures("ray_on_this_machine")
def test_a_trial_measures_in_the_end_what_best_responses_find_and_learns_as_without(tmp_path):
    """Also one that goes on from a checkpoint."""
    experiment = SMALL.with_values({"curriculum.total_env_steps": 128, "evaluation_episodes": 8})
    run = trained(experiment, tmp_path / "runs" / "run")
    (response,) = best_responses(run, ["each_firm"], find_checkpoints(run), 1, iterations=2, episodes=8).experiments
    judge(tmp_path, [trained(response, tmp_path / "responses" / "response")])
    (found,) = json.loads((tmp_path / "best_response.json").read_text())["solutions"][0]["gains"]

    trial = trial_of(experiment, gain_iterations=2)
    assert math.isnan(trial.train()["gain"]["each_firm"])
    trial.save_checkpoint(str(tmp_path / "half"))
    gain = trial.train()["gain"]["each_firm"]
    assert gain == pytest.approx(found["percent_of_reward"]["mean"])
    assert gain > 0
    trial.save_checkpoint(str(tmp_path / "end"))
    for network in (tmp_path / "end" / "networks").iterdir():
        assert network.read_bytes() == (find_checkpoints(run)[0] / "networks" / network.name).read_bytes()

    resumed = trial_of(experiment, gain_iterations=2)
    resumed.load_checkpoint(str(tmp_path / "half"))
    assert resumed.train()["gain"]["each_firm"] == gain
    trial.stop()
    resumed.stop()


@pytest.mark.usefixtures("ray_on_this_machine")
def test_nobody_is_asked_in_an_economy_that_is_dead(monkeypatch):
    trial = trial_of(SMALL.with_values({"curriculum.total_env_steps": 64}), gain_iterations=2)
    report = trial._report
    monkeypatch.setattr(trial, "_report", lambda result: report(result) | {"economy": {"trivial_share": 0.5}})
    assert math.isnan(trial.train()["gain"]["each_firm"])
    trial.stop()


@pytest.mark.usefixtures("ray_on_this_machine")
def test_a_deviator_that_fails_leaves_a_gain_unknown_and_the_trial_as_it_is(monkeypatch, caplog):
    def hasty(*asked):
        return deviators_game(*asked).with_values({"learning.learning_rate": dict.fromkeys(GROUPS, 1e30)})

    monkeypatch.setattr("rbc_rllib.runs.trial.deviators_game", hasty)
    trial = trial_of(SMALL.with_values({"curriculum.total_env_steps": 64}), gain_iterations=2)
    report = trial.train()
    assert report["done"]
    assert math.isnan(report["gain"]["each_firm"])
    assert "is not finite" in caplog.text
    trial.stop()


def test_a_training_process_loads_neither_tables_nor_figures():
    """Ray loads pandas by itself; what its processes load of ours is `rbc_rllib.runs.trial` and what that imports."""
    program = """
import json, sys
import ray.rllib.algorithms.ppo, ray.tune
before = set(sys.modules)
import rbc_rllib.runs.trial
print(json.dumps(sorted(set(sys.modules) - before)))
"""
    done = subprocess.run([sys.executable, "-c", program], cwd=REPOSITORY, capture_output=True, text=True, check=True)
    loaded = json.loads(done.stdout.splitlines()[-1])
    assert "rbc_rllib.training.algorithm" in loaded
    assert not [name for name in loaded if within(name, ("matplotlib", "pandas", "pyarrow", "scipy", "analysis"))]


BELOW_THE_ENTRY_POINTS = (
    *("rbc_rllib.economy", "rbc_rllib.play", "rbc_rllib.training", "rbc_rllib.runs", "callbacks"),
    *("rbc_rllib.settings", "rbc_rllib.arrays", "rbc_rllib.curriculum", "rbc_rllib.experiment", "rbc_rllib.policies"),
    "rbc_rllib.search",
)


TABLES_OF_TRIALS = "rbc_rllib.runs.trials_table"


@pytest.mark.parametrize("name", [name for name in modules() if within(name, BELOW_THE_ENTRY_POINTS)])
def test_nothing_below_the_entry_points_makes_figures_or_other_tables_than_that_of_trials(name):
    libraries = ["matplotlib", "pandas", "analysis"] + ["pyarrow"] * (name != TABLES_OF_TRIALS)
    others = {other for other in imported(modules()[name]) if not within(other, ("pyarrow.fs",))}  # no tables
    assert not {other for other in others if within(other, tuple(libraries))}
