"""Populations: who goes on from whom, who waits for whom, and the best values trained anew."""

import importlib
import json
import pickle
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from ray import tune

from rbc_rllib.evaluate import judge as judge_policies
from rbc_rllib.experiment import Sweep
from rbc_rllib.runs import launch
from rbc_rllib.runs.launch import Run
from rbc_rllib.runs.population import Population, within
from rbc_rllib.sweep import trained_anew
from tests.runs.members import Bred, Failing
from tests.runs.test_searches import CLIP, RATE, SHORT, SPACE, seeds, sweep
from tests.small import SMALL


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
    """Also where another member failed for good. What `run` and `tell` do is told by other tests."""
    command = importlib.import_module("rbc_rllib.sweep")
    found = sweep("population", seeds(SHORT), num_samples=2)
    called: list[tuple[Sweep, str, bool]] = []

    def trained(asked: Sweep, folder: Path, resume: bool, options: launch.RunOptions) -> Run:
        assert options.retries == 2
        finished = []
        called.append((asked, folder.name, resume))
        for number, (rate, reward) in enumerate(((1e-3, 2.0), (5e-3, 3.0)) if asked.search else ()):
            member = SHORT.with_values({RATE: rate, CLIP: 0.2})
            trial = folder / f"small_seed0_{number}"
            trial.mkdir(parents=True, exist_ok=True)
            member.to_json(trial / "config.json")
            (trial / "progress.csv").write_text("training_iteration,env_steps\n4,256\n")
            means = {name: {"mean": reward} for name in ("social_welfare", "firm_reward", "trivial_share")}
            (trial / "evaluation.json").write_text(json.dumps({"indicators": means}))
            finished.append(trial)
        return Run(folder, finished, [], False)

    def told(ended: Run, judge: Any) -> bool:
        assert judge is judge_policies
        return ended.folder.name != "failing"

    monkeypatch.setattr(command, "find_sweep", lambda name: found)
    monkeypatch.setattr(command, "run", trained)
    monkeypatch.setattr(command, "tell", told)
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
    (tmp_path / "bred-anew" / "small_seed0").mkdir()
    SHORT.with_values({RATE: 1e-3, CLIP: 0.2}).to_json(tmp_path / "bred-anew" / "small_seed0" / "config.json")
    command.main(["bred", "--retries", "2", "--resume", "--results", str(tmp_path)])
    begun = trained_anew(found, SHORT.with_values({RATE: 1e-3, CLIP: 0.2}))
    assert called[-1] == (begun, "bred-anew", True)  # though another member is the best now
    called.clear()
    with pytest.raises(SystemExit, match="1"):
        command.main(["failing", "--retries", "2", "--results", str(tmp_path)])
    assert called == [(found, "failing", False), (best, "failing-anew", False)]


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
                status="PENDING",
                config={"values": {RATE: 1e-3, CLIP: 0.2}},
                experiment_tag="",
                latest_checkpoint_result=SimpleNamespace(metrics={"training_iteration": number}),
                run_metadata=SimpleNamespace(checkpoint_manager=manager),
            )
            for number in range(3)
        ]
        for member in members:
            member.set_status = partial(setattr, member, "status")
        return scheduler, [Known(member) for member in members]

    controller = SimpleNamespace(search_alg=None)
    before, members = population()
    for member, steps in zip(members[:2], (100, 200), strict=True):
        before.on_trial_add(controller, member)
        before._trial_state[member].last_train_time = steps
        before._trial_state[member].last_score = 3.0
    before._next_perturbation_sync = 200
    state = pickle.loads(pickle.dumps(before.get_state()))

    after, members = population()
    after.set_state(state)
    for member in members:
        after.on_trial_add(controller, member)
    known, waiting, new = (after._trial_state[member] for member in members)
    assert (known.last_train_time, known.last_score, after._next_perturbation_sync) == (100, 3.0, 200)
    assert waiting.last_result == {"training_iteration": 1}  # another may go on from it before it reports
    assert (waiting.last_train_time, new.last_train_time, new.last_score) == (200, 0, None)
    assert [member.trial.status for member in members] == ["PENDING", "PAUSED", "PENDING"]


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


@pytest.mark.filterwarnings("ignore:Consider boosting PBT performance")
@pytest.mark.parametrize(
    ("interval", "failing"),
    [
        (65, 0),  # no multiple of an iteration: they come to 128, and to 256
        (128, 1),  # the others wait for it, and then no more
    ],
)
def test_members_wait_for_nobody_who_does_not_come(interval, failing, tmp_path, ray_on_this_machine):
    scheduler = Population({"rate": tune.uniform(0, 1)}, interval)
    members = [{"rate": rate, "fails": rate == 0.5 and failing} for rate in (0.25, 0.5, 0.75)]
    tuner = tune.Tuner(
        Failing,
        param_space={"values": tune.grid_search(members)},
        tune_config=tune.TuneConfig(scheduler=scheduler),
        run_config=tune.RunConfig(storage_path=str(tmp_path), verbose=0),
    )
    results = tuner.fit()
    assert [result.metrics["env_steps"] for result in results if result.error is None] == [384] * (3 - failing)
    assert len(results.errors) == failing
    assert scheduler._num_perturbations == 2  # one at each comparison
    assert all(0 < result.config["values"]["rate"] <= 1 for result in results)


class Known:
    """A trial that is known by its id, as Tune's are."""

    def __init__(self, trial: SimpleNamespace) -> None:
        self.trial = trial

    def __getattr__(self, name: str) -> object:
        return getattr(self.trial, name)

    def __hash__(self) -> int:
        return hash(self.trial_id)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Known) and other.trial_id == self.trial_id
