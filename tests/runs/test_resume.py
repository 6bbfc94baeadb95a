"""Interruption and resumption: the same numbers in the end, and no run goes on with other settings."""

import importlib
import json
import os
import shutil
import signal
import subprocess
import sys
import threading
from pathlib import Path
from types import SimpleNamespace

import pytest
from ray import tune
from ray.tune.schedulers import ASHAScheduler, HyperBandScheduler, MedianStoppingRule, PopulationBasedTraining

from rbc_rllib.experiment import Sweep
from rbc_rllib.runs import launch
from rbc_rllib.runs.command_line import find_sweep
from rbc_rllib.runs.interruption import Interruption
from rbc_rllib.runs.launch import SWEEP_FILE, run
from rbc_rllib.runs.sameness import check_same, describe_sweep
from rbc_rllib.settings import ConfigError
from tests.runs.commands import REPOSITORY, finish, interrupt, joined, rows, start
from tests.small import SMALL

SHORT = SMALL.with_values({"curriculum.total_env_steps": 128})  # two iterations


def searched(
    experiments=(SHORT,),
    domain=None,
    num_samples: int = 1,
    grace_period: int = 64,
    mode: str = "max",
) -> Sweep:
    """A sweep that draws and may stop its trials early, built anew."""
    scheduler = ASHAScheduler(time_attr="env_steps", max_t=200, grace_period=grace_period, reduction_factor=2)
    return Sweep(
        tuple(experiments),
        search_space={"learning.clip_param": domain or tune.uniform(0.1, 0.2)},
        num_samples=num_samples,
        tune_config={"metric": "economy/social_welfare", "mode": mode, "scheduler": scheduler},
    )


OTHERS = {
    "an experiment's setting": (
        lambda: searched([SHORT.with_values({"economy.crra": 0.5})]),
        ["small_seed0.economy.crra = 0.5", "started with 0.1"],
    ),
    "a list among them": (
        lambda: searched([SHORT.with_values({"learning.hidden_sizes": (64, 64)})]),
        ["small_seed0.learning.hidden_sizes = [64, 64]", "started with [128, 128]"],
    ),
    "several settings": (
        lambda: searched([SHORT.with_values({"economy.crra": 0.5, "learning.num_epochs": 3})]),
        ["small_seed0.economy.crra = 0.5", "started with 0.1 (1 more settings differ)"],
    ),
    "another experiment": (
        lambda: searched([SHORT, SHORT.replace(seed=1)]),
        ["small_seed1.name = 'small'", "started with 'nothing'"],
    ),
    "none of its experiments": (
        lambda: searched([SHORT.replace(name="large")]),
        ["experiments = ['large_seed0']", "has others, such as small_seed0"],
    ),
    "the search space": (
        lambda: searched(domain=tune.uniform(0.1, 0.3)),
        ["search_space.learning.clip_param.upper = 0.3", "started with 0.2"],
    ),
    "its distribution": (
        lambda: searched(domain=tune.loguniform(0.1, 0.2)),
        ["search_space.learning.clip_param.sampler.kind = '_LogUniform'", "started with '_Uniform'"],
    ),
    "the number of samples": (
        lambda: searched(num_samples=3),
        ["tune.num_samples = 3", "started with 1"],
    ),
    "a setting of Tune": (
        lambda: searched(mode="min"),
        ["tune.mode = 'min'", "started with 'max'"],
    ),
    "a setting of its scheduler": (
        lambda: searched(grace_period=70),
        ["tune.scheduler._brackets", "= 140", "started with 128"],
    ),
}
"""What can be different, and what is said of it."""


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


@pytest.fixture(scope="module")
def finished(tmp_path_factory, ray_on_this_machine) -> Path:
    """The folder of a run, where an earlier one had died before Tune's first snapshot."""
    folder = tmp_path_factory.mktemp("results") / "searched"
    launch._new_tuner(searched([SHORT.replace(seed=5)], num_samples=2), folder, remote=None)
    assert (folder / SWEEP_FILE).is_file()
    with pytest.raises(ConfigError, match=r"--resume .* there is no run to resume; leave --resume out to start one"):
        run(searched(), folder, resume=True)
    sweep = searched()
    ended = run(sweep, folder)
    assert ended.errors == []
    assert [path.parent for path in ended.finished] == [folder]
    assert describe_sweep(sweep) == describe_sweep(searched())  # which its run leaves as it was
    return folder


def test_a_run_that_died_before_its_first_snapshot_can_be_started_again(finished):
    assert json.loads((finished / SWEEP_FILE).read_text()) == describe_sweep(searched())
    (trial,) = finished.glob("*/config.json")
    assert json.loads(trial.read_text())["seed"] == 0


@pytest.mark.parametrize("what", OTHERS)
def test_a_run_is_not_resumed_with_other_settings(what, finished, capsys, monkeypatch):
    """Exit status 2 and one sentence that names the key, both values and the fix; nothing is trained."""
    make, words = OTHERS[what]
    command = importlib.import_module("rbc_rllib.sweep")
    monkeypatch.setattr(command, "find_sweep", lambda name: make())
    before = contents(finished)
    with pytest.raises(SystemExit) as ending:
        command.main(["searched", "--resume", "--results", str(finished.parent)])
    assert ending.value.code == 2
    printed = capsys.readouterr()
    assert printed.out == ""
    (sentence,) = printed.err.splitlines()
    for word in [*words, "give the same settings, or another --results for a new run"]:
        assert word in sentence, sentence
    assert contents(finished) == before


def test_a_changed_set_is_refused_too(finished, capsys, monkeypatch):
    command = importlib.import_module("rbc_rllib.sweep")
    monkeypatch.setattr(command, "find_sweep", lambda name: searched())
    with pytest.raises(SystemExit) as ending:
        command.main(["searched", "--resume", "--set", "economy.crra=0.5", "--results", str(finished.parent)])
    assert ending.value.code == 2
    assert capsys.readouterr().err.startswith("small_seed0.economy.crra = 0.5 is refused: the run that is to be")


@pytest.mark.parametrize("content", [None, "", "{", "not JSON"])
def test_a_run_that_does_not_say_how_it_was_started_is_not_resumed(content, finished, tmp_path):
    (tmp_path / "experiment_state-1.json").touch()
    if content is not None:
        (tmp_path / SWEEP_FILE).write_text(content)
    words = r"--resume = .*its sweep\.json, .* cannot be read .*start anew under another --results"
    with pytest.raises(ConfigError, match=words):
        run(searched(), tmp_path, resume=True)


def test_a_run_that_was_moved_resumes_where_it_is(finished, tmp_path):
    folder = shutil.copytree(finished, tmp_path / "elsewhere" / "searched")
    ended = run(searched(), folder, resume=True)
    assert ended.errors == []
    assert [path.parent for path in ended.finished] == [folder]


def test_the_same_settings_resume(finished):
    before = (finished / SWEEP_FILE).read_bytes()
    (progress,) = finished.glob("*/progress.csv")
    trained = progress.read_bytes()
    ended = run(searched(), finished, resume=True)
    assert [path / "progress.csv" for path in ended.finished] == [progress]
    assert progress.read_bytes() == trained
    assert (finished / SWEEP_FILE).read_bytes() == before


# What a sweep is, in words


def everything() -> Sweep:
    """Every kind of domain, and what else a sweep may hold."""
    domains = {
        "curriculum.firm_range_end": tune.uniform(0.1, 0.2),
        "curriculum.tax_range_start": tune.quniform(0.1, 0.3, 0.1),
        "learning.learning_rate.firm": tune.loguniform(1e-4, 1e-2),
        "learning.learning_rate.planner": tune.qloguniform(1e-4, 1e-2, 1e-4),
        "learning.clip_param": tune.randn(0.5, 0.1),
        "curriculum.annealed_ranges": tune.choice([True, False, None, "all"]),
        "learning.num_epochs": tune.randint(1, 10),
        "learning.num_minibatches": tune.grid_search([1, 2]),
        "economy.num_firms": tune.sample_from(len),
        "economy.num_consumers": tune.sample_from(everything),
        "curriculum.tax_range_end": 0.3,
    }
    mutations = {"values": {"learning.clip_param": tune.uniform(0.1, 0.2)}}
    settings = {
        "asha": ASHAScheduler(time_attr="env_steps", max_t=100, grace_period=10),
        "median": MedianStoppingRule(grace_period=3),
        "hyperband": HyperBandScheduler(max_t=9),
        "population": PopulationBasedTraining(perturbation_interval=3, hyperparam_mutations=mutations),
        "search_alg": tune.search.BasicVariantGenerator(max_concurrent=2),
        "time_budget_s": 60.0,
    }
    return Sweep((SMALL, SMALL.replace(seed=1)), domains, num_samples=2, tune_config=settings)


def test_a_sweep_is_described_alike_whenever_it_is_built_and_in_every_process():
    described = describe_sweep(everything())
    assert describe_sweep(everything()) == described
    check_same(described, everything())
    program = "import json; from tests.runs.test_resume import *; print(json.dumps(describe_sweep(everything())))"
    for seed in ("1", "2"):
        done = subprocess.run(
            [sys.executable, "-c", program],
            env=os.environ | {"PYTHONHASHSEED": seed},
            cwd=REPOSITORY,
            capture_output=True,
            text=True,
            check=True,
        )
        assert json.loads(done.stdout.splitlines()[-1]) == described


def test_a_description_is_plain_json():
    """No infinity either, which a normal distribution has for its bounds."""
    json.dumps(describe_sweep(everything()), allow_nan=False)


@pytest.mark.parametrize("what", OTHERS)
def test_each_change_of_a_sweep_changes_its_description(what):
    make, words = OTHERS[what]
    with pytest.raises(ConfigError) as refusal:
        check_same(describe_sweep(searched()), make())
    for word in words:
        assert word in str(refusal.value)


def population(upper: float = 0.2, interval: int = 3) -> Sweep:
    mutations = {"values": {"learning.clip_param": tune.uniform(0.1, upper)}}
    scheduler = PopulationBasedTraining(perturbation_interval=interval, hyperparam_mutations=mutations)
    return Sweep((SMALL,), tune_config={"scheduler": scheduler})


@pytest.mark.parametrize(
    ("one", "other", "key"),
    [
        (population(), population(upper=0.3), r"tune\.scheduler\._hyperparam_mutations\.values\..*\.upper = 0\.3"),
        (population(), population(interval=4), r"tune\.scheduler\._perturbation_interval = 4"),
        (
            population(),
            Sweep((SMALL,), tune_config=searched().tune_config),
            r"tune\.scheduler\.kind = 'AsyncHyperBandScheduler'",
        ),
        (
            Sweep((SMALL,), {"learning.clip_param": tune.randn(0, 1)}),
            Sweep((SMALL,), {"learning.clip_param": tune.randn(0, 2)}),
            r"search_space\.learning\.clip_param\.sampler\.sd = 2",
        ),
        (
            Sweep((SMALL,), {"learning.clip_param": tune.sample_from(len)}),
            Sweep((SMALL,), {"learning.clip_param": tune.sample_from(abs)}),
            r"search_space\.learning\.clip_param\.func = 'builtins\.abs'",
        ),
    ],
)
def test_what_lies_deep_within_tunes_own_objects_is_compared(one, other, key):
    with pytest.raises(ConfigError, match=key):
        check_same(describe_sweep(one), other)


# Interruption


@pytest.mark.slow
def test_an_interrupted_run_saves_a_checkpoint_and_resumes_to_the_same_numbers(ray_on_this_machine, tmp_path):
    """The resumed training ends in the very numbers of one that was never interrupted."""
    whole = run(Sweep(find_sweep("smoke").experiments[:1]), tmp_path / "whole")
    assert whole.errors == []

    arguments = ["rbc_rllib.train", "--config", "smoke"]
    interrupt(*arguments, "--results", str(tmp_path / "cut"), after="smoke_seed0")
    trial = tmp_path / "cut" / "train-smoke" / "smoke_seed0"
    assert list(trial.glob("checkpoint_*"))
    steps = int(rows(trial)[-1]["env_steps"])
    assert steps < 8000

    process = start(*arguments, "--results", str(tmp_path / "cut"), "--resume", **joined())
    output = finish(process)
    assert process.returncode == 0, output
    resumed = {row["env_steps"]: row for row in rows(trial)}
    straight = {row["env_steps"]: row for row in rows(tmp_path / "whole" / "smoke_seed0")}
    assert resumed.keys() == straight.keys()
    economic = [name for name in straight["8000"] if name.split("/")[0] in ("economy", "curriculum", "learning")]
    for step, row in straight.items():
        assert {name: resumed[step][name] for name in economic} == {name: row[name] for name in economic}, step


def test_what_another_user_wrote_is_resumed_only_where_that_is_trusted(finished, monkeypatch):
    def refuse(folder: Path) -> None:
        raise ConfigError("--resume", str(folder), "it belongs to another user", "add --trust")

    monkeypatch.setattr(launch, "check_own", refuse)
    with pytest.raises(ConfigError, match="it belongs to another user"):
        run(searched(), finished, resume=True)
    with pytest.raises(ConfigError, match=r"tune\.num_samples = 3"):  # what is looked at next
        run(searched(num_samples=3), finished, resume=True, options=launch.RunOptions(trust=True))


def test_an_interrupted_run_ends_when_every_running_trial_is_saved_or_at_once_when_it_is_told_again(
    monkeypatch, capsys
):
    ended, interruption = [], Interruption()
    monkeypatch.setattr("rbc_rllib.runs.interruption.end_tune_gracefully", lambda: ended.append(True))
    trials = [SimpleNamespace(trial_id=str(number), status="RUNNING") for number in range(2)]
    trials.append(SimpleNamespace(trial_id="2", status="PENDING"))
    interruption.on_step_end(0, trials)
    interruption._request()
    assert capsys.readouterr().out == ""  # a handler that prints fails where it interrupts a print
    for trial in trials[:2]:
        assert ended == []
        interruption.on_trial_save(0, trials, trial)
        interruption.on_step_end(0, trials)
    assert ended == [True]
    assert capsys.readouterr().out.count("Interrupted: saving a checkpoint") == 1
    with pytest.raises(KeyboardInterrupt):
        interruption._request()


def test_in_another_thread_than_the_main_one_nothing_is_caught():
    before, inside = signal.getsignal(signal.SIGINT), []

    def enter() -> None:
        with Interruption():
            inside.append(signal.getsignal(signal.SIGINT))

    thread = threading.Thread(target=enter)
    thread.start()
    thread.join()
    assert inside == [before] == [signal.getsignal(signal.SIGINT)]


@pytest.mark.parametrize("requested", [False, True])
@pytest.mark.parametrize("due", [False, True])
def test_a_checkpoint_is_saved_where_it_is_due_and_where_the_run_is_interrupted(requested, due):
    interruption = Interruption()
    interruption.requested = requested
    result = {"env_steps": 400, "should_checkpoint": due}
    interruption.on_trial_result(0, [], None, result)
    assert result["should_checkpoint"] is (requested or due)
