"""What a search is and refuses, what comes after it, and Optuna under Tune itself; `test_faults` has the others."""

import importlib
import json
import os
import pickle
import signal
import time
from itertools import groupby
from pathlib import Path
from types import SimpleNamespace

import pytest
from ray import tune

from rbc_rllib.experiment import ExperimentConfig, Sweep
from rbc_rllib.runs import launch
from rbc_rllib.runs.launch import Run, run
from rbc_rllib.runs.population import Population, within
from rbc_rllib.runs.progress import ProgressLines
from rbc_rllib.runs.sameness import check_same, describe_sweep
from rbc_rllib.runs.searches import Remembered, at_once
from rbc_rllib.runs.trial import Trial
from rbc_rllib.runs.trials_table import FILE, read_table
from rbc_rllib.search import Search, counted, lowest
from rbc_rllib.settings import ConfigError
from rbc_rllib.sweep import trained_anew
from tests.runs.commands import trials_in
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
    ],
)
def test_a_search_that_makes_no_sense_is_refused(make, words):
    with pytest.raises(ConfigError, match=words):
        make()


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
    launch._new_tuner(sweep(kind), tmp_path / kind)
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


# Populations


def test_the_best_values_are_trained_anew_with_every_seed():
    found = sweep("population", seeds(SMALL, 3), num_samples=4)
    member = SMALL.with_values({RATE: 5e-3, CLIP: 0.2, "curriculum.firm_range_end": 0.5})
    anew = trained_anew(found, member)
    assert [experiment.seed for experiment in anew.experiments] == [0, 1, 2]
    assert {experiment.replace(seed=0) for experiment in anew.experiments} == {
        SMALL.with_values({RATE: 5e-3, CLIP: 0.2})
    }
    assert (anew.search, anew.search_space, anew.num_samples) == (None, {}, 1)


def test_the_sweep_command_trains_the_best_member_anew_and_resumes_that_too(tmp_path, monkeypatch, capsys):
    """What `run` and `conclude` do is told by other tests."""
    command = importlib.import_module("rbc_rllib.sweep")
    found = sweep("population", seeds(SHORT), num_samples=2)
    called: list[tuple[Sweep, str, bool]] = []

    def trained(asked: Sweep, folder: Path, resume: bool, options: launch.RunOptions) -> Run:
        assert options.retries == 2
        called.append((asked, folder.name, resume))
        for number, (rate, reward) in enumerate(((1e-3, 2.0), (5e-3, 3.0)) if asked.search else ()):
            member = SHORT.with_values({RATE: rate, CLIP: 0.2})
            trial = folder / f"small_seed0_{number}"
            trial.mkdir(parents=True, exist_ok=True)
            member.to_json(trial / "config.json")
            (trial / "progress.csv").write_text("training_iteration,env_steps\n4,256\n")
            means = {name: {"mean": reward} for name in ("consumer_reward", "firm_reward", "trivial_share")}
            (trial / "evaluation.json").write_text(json.dumps({"indicators": means}))
        return Run(folder, [], [], False)

    monkeypatch.setattr(command, "find_sweep", lambda name: found)
    monkeypatch.setattr(command, "run", trained)
    monkeypatch.setattr(command, "conclude", lambda ended, judge: None)
    command.main(["bred", "--retries", "2", "--results", str(tmp_path)])
    best = trained_anew(found, SHORT.with_values({RATE: 5e-3, CLIP: 0.2}))
    assert called == [(found, "bred", False), (best, "bred-anew", False)]
    assert "small_seed0_1 ends are trained anew" in capsys.readouterr().out
    called.clear()
    command.main(
        ["bred", "--retries", "2", "--resume", "--results", str(tmp_path)]
    )  # it was interrupted before the second run began
    (tmp_path / "bred-anew").mkdir()
    (tmp_path / "bred-anew" / "experiment_state-1.json").touch()
    command.main(["bred", "--retries", "2", "--resume", "--results", str(tmp_path)])
    assert [resume for _, _, resume in called] == [True, False, True, True]


def test_perturbed_values_stay_in_the_search_space():
    bounds = {"rate": (1e-3, 1e-2), "flag": None}
    config = {"experiment": {"seed": 0}, "values": {"rate": 1.2e-2, "flag": True}}
    assert within(config, bounds) == {"experiment": {"seed": 0}, "values": {"rate": 1e-2, "flag": True}}
    assert within({"values": {"rate": 8e-4, "flag": True}}, bounds)["values"]["rate"] == 1e-3


def test_a_restored_population_knows_where_its_members_stood():
    def population() -> tuple[Population, list[SimpleNamespace]]:
        scheduler = Population(SPACE, 100)
        manager = SimpleNamespace(checkpoint_config=SimpleNamespace(num_to_keep=None))
        members = [
            SimpleNamespace(
                trial_id=str(number),
                status="RUNNING",
                config={"values": {RATE: 1e-3, CLIP: 0.2}},
                experiment_tag="",
                run_metadata=SimpleNamespace(checkpoint_manager=manager),
            )
            for number in range(2)
        ]
        return scheduler, members

    controller = SimpleNamespace(search_alg=None)
    before, members = population()
    before.on_trial_add(controller, Member(members[0]))
    before._trial_state[Member(members[0])].last_train_time = 100
    before._trial_state[Member(members[0])].last_score = 3.0
    before._next_perturbation_sync = 200
    state = pickle.loads(pickle.dumps(before.get_state()))

    after, members = population()
    after.set_state(state)
    for member in members:
        after.on_trial_add(controller, Member(member))
    known, new = (after._trial_state[Member(member)] for member in members)
    assert (known.last_train_time, known.last_score, after._next_perturbation_sync) == (100, 3.0, 200)
    assert (new.last_train_time, new.last_score) == (0, None)


class Bred(tune.Trainable):
    """Four steps. The one of less welfare is faster, and takes longer to save than the other to come where it is."""

    def setup(self, config: dict) -> None:
        self.worse = config["values"]["worse"]

    def step(self) -> dict:
        time.sleep(0.0 if self.worse else 0.3)
        steps = 64 * (self.iteration + 1)
        return {"env_steps": steps, "economy": {"social_welfare": -float(self.worse)}, "done": steps == 256}

    def save_checkpoint(self, folder: str) -> None:
        time.sleep(2.0 if self.worse else 0.0)

    def load_checkpoint(self, folder: str) -> None:
        """There is nothing in it."""


@pytest.mark.filterwarnings("ignore:Consider boosting PBT performance")
def test_a_member_that_goes_on_from_another_while_it_is_saved_is_trained_to_its_end(tmp_path, ray_on_this_machine):
    tuner = tune.Tuner(
        Bred,
        param_space={"values": {"worse": tune.grid_search([True, False])}},
        tune_config=tune.TuneConfig(scheduler=Population({"worse": tune.choice([True, False])}, 128)),
        run_config=tune.RunConfig(
            storage_path=str(tmp_path), verbose=0, checkpoint_config=tune.CheckpointConfig(checkpoint_frequency=3)
        ),
    )
    assert [result.metrics["env_steps"] for result in tuner.fit()] == [256, 256]


class Member:
    """A trial that is known by its id, as Tune's are."""

    def __init__(self, trial: SimpleNamespace) -> None:
        self.__dict__.update(trial.__dict__)

    def __hash__(self) -> int:
        return hash(self.trial_id)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Member) and other.trial_id == self.trial_id
