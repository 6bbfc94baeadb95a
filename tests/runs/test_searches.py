"""What a search is and refuses, what comes after it, and Optuna under Tune itself; `test_faults` has the others."""

import json
import os
import signal
from itertools import groupby

import pytest
from ray import tune

from rbc_rllib.best_response import best_responses, find_checkpoints
from rbc_rllib.experiment import ExperimentConfig, Sweep
from rbc_rllib.runs import launch
from rbc_rllib.runs.launch import run
from rbc_rllib.runs.progress import ProgressLines
from rbc_rllib.runs.sameness import check_same, describe_sweep
from rbc_rllib.runs.searches import KEPT_CHECKPOINTS, Remembered, at_once, tune_parts
from rbc_rllib.runs.trial import Trial
from rbc_rllib.runs.trials_table import FILE, read_table
from rbc_rllib.search import Search, counted, lowest
from rbc_rllib.settings import ConfigError
from tests.runs.commands import trials_in
from tests.runs.trials import untrained
from tests.small import SMALL

SHORT = SMALL.with_values({"curriculum.total_env_steps": 256})  # four iterations
RATE, CLIP = "learning.learning_rate.firm", "learning.clip_param"
SPACE = {RATE: tune.loguniform(1e-4, 1e-2), CLIP: tune.uniform(0.1, 0.3)}


def seeds(experiment: ExperimentConfig = SHORT, number: int = 2) -> tuple[ExperimentConfig, ...]:
    return tuple(experiment.replace(seed=seed) for seed in range(number))


def sweep(kind: str, experiments=None, space=None, num_samples: int = 3, tune_config=None, **settings) -> Sweep:
    search = Search(kind=kind, **settings)
    return Sweep(
        experiments or seeds(), space or dict(SPACE), num_samples, search=search, tune_config=tune_config or {}
    )


# What a search is


def test_all_checkpoints_of_a_deviator_are_kept(tmp_path):
    run = untrained(SMALL, tmp_path / "run")
    asked = best_responses(run, ["firm"], find_checkpoints(run), seeds=1, iterations=2)
    assert tune_parts(asked).kept_checkpoints is None
    assert tune_parts(Sweep((SMALL,))).kept_checkpoints == KEPT_CHECKPOINTS


@pytest.mark.parametrize(
    ("welfare", "floor"), [([], 0.0), ([3.0, None], 0.0), ([-2.0, None, 5.0], -2.0), ([float("nan"), -1.0], -1.0)]
)
def test_a_failed_seed_counts_with_zero_or_the_lowest_welfare(welfare, floor):
    assert lowest(welfare) == floor
    assert counted([4.0, None], floor) == [4.0, floor]


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (
            lambda: sweep("asha", space={"seed": tune.randint(0, 9)}),
            r"search_space = 'seed' .* one experiment for each",
        ),
        (
            lambda: Sweep(seeds(), {"seed": tune.randint(0, 10)}),
            r"search_space = 'seed' .* give one experiment for each seed",
        ),
        (
            lambda: Sweep(seeds(), {"learning.clip_parm": tune.uniform(0.1, 0.3)}),
            r"search_space = 'learning\.clip_parm' is refused: there is no such key; the keys there are .*clip_param",
        ),
        (lambda: Sweep(seeds(), search=Search()), r"search_space = \{\} .* nothing to search by random"),
        (
            lambda: sweep("optuna", experiments=(SHORT, SHORT.with_values({"economy.crra": 0.5}).replace(seed=1))),
            r"experiments .* differ in the seed alone; search each of them in a sweep of its own",
        ),
        (
            lambda: sweep("asha", tune_config={"metric": "any", "scheduler": None}),
            r"tune_config = \['metric', 'scheduler'\] .* search\.kind = asha says that already",
        ),
        (
            lambda: sweep("asha", tune_config={"max_concurrent_trials": 1}),
            r"max_concurrent_trials.* search\.kind = asha trials wait for others or go by them",
        ),
        (lambda: at_once(sweep("population"), 2), r"max_concurrent_trials.* search\.kind = population trials wait"),
        (
            lambda: sweep("population", space={"economy.crra": tune.uniform(0.1, 0.5)}),
            r"search_space = 'economy\.crra' .* a member cannot change it while it learns",
        ),
        (
            lambda: sweep("population", space={"learning.hidden_sizes": tune.choice([(8, 8), (16, 16)])}),
            r"search_space = 'learning\.hidden_sizes' .* a member cannot change it while it learns",
        ),
        (lambda: Search(kind="bayes"), r"kind = 'bayes' is refused"),
        (lambda: Search(kind="optuna", gain_iterations=0), r"gain_iterations = 0 is refused"),
        (lambda: Search(kind="asha", judged_from=1.0), r"judged_from = 1\.0 is refused"),
        (lambda: Search(kind="optuna", interval=0.2), r"interval = 0\.2 is refused: only a .* kind population reads"),
        (
            lambda: sweep("asha", space={"curriculum.total_env_steps": tune.choice([64, 128])}),
            r"search_space = 'curriculum\.total_env_steps' .* all are equally long",
        ),
        (lambda: sweep("optuna", tune_config={"num_samples": 24}), r"tune_config = .*num_samples.* says that already"),
    ],
)
def test_a_search_that_makes_no_sense_is_refused(make, words):
    with pytest.raises(ConfigError, match=words):
        make()


def test_draws_without_a_search_are_the_same_every_time():
    draws = [tune_parts(Sweep(seeds(), dict(SPACE))).tune_config["search_alg"] for _ in range(2)]
    one, other = (generator._random_state.uniform(size=5).tolist() for generator in draws)
    assert one == other


class MostAtOnce(ProgressLines):
    """How many trials have run at the same time."""

    seen = 0

    def on_step_end(self, iteration, trials, **_):
        type(self).seen = max(self.seen, sum(trial.status == "RUNNING" for trial in trials))


@pytest.mark.parametrize("make", [lambda: Sweep(seeds()), lambda: sweep("optuna", num_samples=1)])
def test_no_more_trials_run_at_once_than_a_sweep_may(make, ray_on_this_machine, tmp_path, monkeypatch):
    """There are CPUs for two: it is not the machine that holds the second one back."""
    monkeypatch.setattr(MostAtOnce, "seen", 0)
    monkeypatch.setattr(launch, "progress_display", MostAtOnce)
    ended = run(at_once(make(), 1), tmp_path / "results")
    assert (len(ended.finished), MostAtOnce.seen) == (2, 1)
    assert json.loads((tmp_path / "results" / "sweep.json").read_text())["tune"]["max_concurrent_trials"] == 1


@pytest.mark.parametrize(
    ("other", "words"),
    [
        (lambda: sweep("asha", judged_from=0.5), ["search.judged_from = 0.5", "started with 0.7"]),
        (lambda: sweep("optuna"), ["search.kind = 'optuna'", "started with 'asha'"]),
        (lambda: sweep("asha", seed=1), ["search.seed = 1", "started with 0"]),
        (lambda: sweep("asha", space={CLIP: tune.uniform(0.1, 0.4)}), ["search_space", "more settings differ"]),
        (lambda: Sweep(seeds(), dict(SPACE), 3), ["search.kind = 'nothing'", "started with 'asha'"]),
    ],
)
def test_a_run_is_not_resumed_with_another_search(other, words):
    started = describe_sweep(sweep("asha"))
    check_same(started, sweep("asha"))
    with pytest.raises(ConfigError) as refusal:
        check_same(started, other())
    for word in words:
        assert word in str(refusal.value)


def test_a_sweep_that_was_started_before_there_were_searches_can_be_resumed():
    assert "search" not in describe_sweep(Sweep(seeds(), dict(SPACE)))


@pytest.mark.parametrize("kind", ["asha", "population"])
def test_the_state_that_is_saved_with_a_run_is_that_of_its_scheduler(kind, tmp_path):
    """Also once both were restored from what Tune writes when a run starts."""
    launch._new_tuner(sweep(kind), tmp_path / kind, remote=None)
    restored = tune.Tuner.restore(str(tmp_path / kind), trainable=Trial)._local_tuner
    (remembered,) = [each for each in restored._run_config.callbacks if isinstance(each, Remembered)]
    assert remembered.scheduler is restored._tune_config.scheduler


# Optuna


def test_a_search_by_optuna_that_is_interrupted_goes_on_with_the_next_suggestion(
    ray_on_this_machine, tmp_path, monkeypatch
):
    experiments, objectives = seeds(SHORT.replace(evaluation_episodes=2)), ("welfare", "dead_share", "gain")
    found = sweep("optuna", experiments, objectives=objectives, gain_iterations=1)
    other = sweep(
        "optuna", experiments, {**SPACE, CLIP: tune.uniform(0.1, 0.4)}, objectives=objectives, gain_iterations=1
    )
    original = ProgressLines.on_trial_result

    def ctrl_c(self, trial, **arguments):
        original(self, trial=trial, **arguments)
        if trial.config["draw"] == 1:
            os.kill(os.getpid(), signal.SIGINT)
            monkeypatch.setattr(ProgressLines, "on_trial_result", original)

    monkeypatch.setattr(ProgressLines, "on_trial_result", ctrl_c)
    first = run(found, tmp_path / "optuna")
    assert first.interrupted
    assert len(first.finished) == 2
    before = {trial.name: trial.config for trial in trials_in(tmp_path / "optuna")}
    done = {path: (path / "progress.csv").read_bytes() for path in first.finished}

    with pytest.raises(ConfigError, match=r"search_space\.learning\.clip_param\.upper = 0\.4 .* started with 0\.3"):
        run(other, tmp_path / "optuna", resume=True)

    second = run(found, tmp_path / "optuna", resume=True)
    assert (second.errors, len(second.finished)) == ([], 6)
    assert {path: (path / "progress.csv").read_bytes() for path in done} == done  # not trained again
    trials = trials_in(tmp_path / "optuna")
    assert {name: config for name, config in before.items() if name in {trial.name for trial in trials}} == before
    by_number = sorted((trial.number, trial.config.seed, trial.config.learning.clip_param) for trial in trials)
    assert [(number, own) for number, own, _ in by_number] == [(f"{n:05d}", seed) for n in range(3) for seed in (0, 1)]
    values = [{value for _, _, value in group} for _, group in groupby(by_number, lambda each: each[0])]
    assert [len(each) for each in values] == [1, 1, 1]
    assert len(set.union(*values)) == 3

    state = json.loads(max((tmp_path / "optuna").glob("searcher-state-*")).read_text())
    last = {trial.config.seed: trial.reports[-1] for trial in trials if trial.number == "00002"}
    for path in ("economy/social_welfare", "gain/each_firm"):
        told = [outcome[path] for outcome in state[2]["outcomes"].values()]
        assert sorted(told) == pytest.approx(sorted(float(report[path]) for report in last.values()))
    measured = {row["trial"]: row["gain/each_firm"] for row in read_table(tmp_path / "optuna" / FILE).to_pylist()}
    assert measured == {trial.name: float(trial.reports[-1]["gain/each_firm"]) for trial in trials}
    assert all(trial.reports[0]["gain/each_firm"] == "nan" for trial in trials)


def test_a_draw_whose_values_are_refused_fails_and_the_others_go_on(tmp_path, ray_on_this_machine):
    space = {CLIP: tune.grid_search([-1.0, 0.2])}
    ended = run(Sweep((SHORT,), space), tmp_path / "small")
    assert [trial.name[:12] for trial in ended.finished] == ["small_seed0_"]
    (error,) = ended.errors
    assert "clip_param = -1.0 is refused" in error
    rows = {row["status"]: row for row in read_table(tmp_path / "small" / FILE).to_pylist()}
    assert rows["ERROR"]["failures"] == 1
    assert "clip_param = -1.0 is refused" in rows["ERROR"]["error"]
    assert rows["TERMINATED"]["env_steps"] == 256
