"""Plan search: the best plan is found where it is known, followers stay, and a resumed search has the same plans."""

import json
import shutil
from itertools import product

import numpy as np
import pytest
import torch

from analysis.plans import PlanSearch, paired
from rbc_rllib.economy import Planner
from rbc_rllib.evaluate import evaluate
from rbc_rllib.experiment import ExperimentConfig
from rbc_rllib.leaving import Deviation
from rbc_rllib.plan_search import FILE, Followers, best_plans, find_plan, judge, main, search_plans, write
from rbc_rllib.play.held_out import play_held_out
from rbc_rllib.play.randomness import VALIDATION
from rbc_rllib.policies import Policies, load_policies
from tests.play.networks import build_modules
from tests.runs.trials import untrained
from tests.small import SMALL

MENU = (0.0, 0.4, 0.8)
PLANNED = SMALL.with_values(
    {
        "planner.mode": "schedule",
        "economy.tax_choices": MENU,
        "economy.episode_length": 3,
        "economy.initial_inventory": 400.0,
        "curriculum.total_env_steps": 48,
    }
)
RICH = PLANNED.with_values({"economy.planner_welfare": "total", "economy.initial_consumer_budget": 1e6})
"""Budgets bind nobody, so that all that taxes do to welfare is to take profits from firms."""
SETTINGS = {"checkpoint": "checkpoint_000000", "trials": 20, "episodes": 8, "keep": 2}


def policies(experiment: ExperimentConfig, weight: float = 1.0) -> Policies:
    """Networks whose last layers are multiplied: 0 draws at random whatever is seen, many are certain."""
    modules = build_modules(experiment.economy, planner=experiment.planner)
    for group in ("consumer", "firm"):
        with torch.no_grad():
            modules[group].policy_head.weight.mul_(weight)
            modules[group].policy_head.bias.mul_(weight)
    return Policies(experiment, modules)


def fixed(experiment: ExperimentConfig, *plan) -> ExperimentConfig:
    return experiment.with_values({"planner.mode": "fixed", "planner.rates": plan})


# The search


@pytest.mark.parametrize("seed", [0, 1])
def test_the_search_finds_the_best_plan_of_many(seed):
    best, asked = ((0.0, 0.8), (0.4, 0.0)), []

    def score(plan):
        asked.append(plan)
        return -float(np.abs(np.subtract(plan, best)).sum())

    begin = [((0.8, 0.0), (0.8, 0.8)), ((0.8, 0.4), (0.8, 0.8))]
    found, exhaustive = best_plans(score, MENU, begin, 60, seed)
    assert not exhaustive
    assert len(asked) == 60 > len(found)
    assert asked[:2] == begin
    assert found[0] == best
    assert [score(plan) for plan in found] == sorted(map(score, found), reverse=True)
    assert best_plans(score, MENU, begin, 12, seed)[0] == best_plans(score, MENU, begin, 12, seed)[0]


def test_few_plans_are_all_scored():
    found, exhaustive = best_plans(lambda plan: plan[0][0] - plan[0][1], MENU, [((0.4, 0.4),)], 9, seed=0)
    assert exhaustive
    assert {*found} == {(pair,) for pair in product(MENU, repeat=2)}
    assert found[0] == ((0.8, 0.0),)
    assert found[-1] == ((0.0, 0.8),)


@pytest.mark.parametrize(("corporate", "best"), [(0.0, True), (0.8, False)])
def test_where_taxes_only_take_from_firms_it_is_known_what_is_best(corporate, best, tmp_path):
    """The last quarter's corporate rate included: what firms keep counts in welfare."""
    told = policies(fixed(RICH, (0.4, corporate)), weight=0.0)
    plan = find_plan(told, "run")
    found = search_plans(tmp_path / "taxes" / "run", told, plan, SETTINGS)
    assert found.exhaustive
    assert found.judged[1].plan[0][1] == 0.0
    assert not any(each.better for each in found.neighbours) if best else found.best_neighbour.better
    assert found.judged[1].better is not best
    assert [each.name for each in found.judged[:3]] == ["given", "found_1", "found_2"]
    words = write(found, tmp_path / "results")
    assert ("is locally best" in words) == best
    assert ("not locally best" in words) != best


def test_plans_are_chosen_on_validation_episodes_and_judged_on_held_out_ones(tmp_path):
    told = policies(PLANNED)
    followers, plan = Followers(told, 8), find_plan(told, "run")
    own = followers.scores(plan)
    np.testing.assert_array_equal(own, followers.play(plan, VALIDATION).welfare)
    assert not np.array_equal(own, followers.play(plan).welfare)
    found = search_plans(tmp_path / "taxes" / "run", told, plan, SETTINGS | {"trials": 4})
    assert len(found.neighbours) > 1
    for each in found.neighbours:
        assert each.difference == paired(followers.scores(each.plan), own, len(found.neighbours))
    for each in found.judged:
        many = 2 if each.name.startswith("found") else 1
        assert each.difference == paired(followers.play(each.plan).welfare, followers.play(plan).welfare, many)


# Followers


def test_a_given_plan_has_the_welfare_of_its_evaluation(tmp_path):
    run = untrained(fixed(PLANNED, (0.0, 0.8), (0.4, 0.4)), tmp_path / "fixed")
    told = load_policies(run)
    ours = Followers(told, 8).play(find_plan(told, "fixed"))
    np.testing.assert_array_equal(ours.welfare, evaluate(run, episodes=8).indicators["social_welfare"])


@pytest.mark.parametrize("mode", ["constant", "schedule"])
def test_followers_who_draw_nothing_answer_a_learned_plan_as_in_their_run(mode):
    told = policies(PLANNED.with_values({"planner.mode": mode}), weight=1e6)
    plan = find_plan(told, "run")
    assert len(plan) == {"constant": 1, "schedule": 2}[mode]
    own = play_held_out(told.experiment, told.networks, 6, told.experiment.seed).welfare
    np.testing.assert_array_equal(Followers(told, 6).play(plan).welfare, own)
    others = [Followers(told, 6).play((pair,) * len(plan)).welfare for pair in product(MENU, repeat=2)]
    assert any(not np.array_equal(other, own) for other in others)


def test_all_plans_meet_the_same_random_numbers():
    """Followers at random, whom budgets do not bind, do the same under every plan."""
    told = Followers(policies(RICH, weight=0.0), 8)
    one, other = (told.play(((rate, rate),)).indicators for rate in (0.0, 0.8))
    np.testing.assert_array_equal(one["hours"], other["hours"])
    np.testing.assert_array_equal(one["consumption"], other["consumption"])
    assert not np.array_equal(one["tax_revenue"], other["tax_revenue"])


# The command


@pytest.mark.usefixtures("ray_on_this_machine")
def test_an_interrupted_search_goes_on_with_the_same_plans_and_trains_under_them(tmp_path, capsys):
    """Interrupted before the first training; what is written then is enough to go on, and stays as it is."""
    run = untrained(PLANNED, tmp_path / "taxes" / "schedule_seed0")
    told, settings = load_policies(run), {**SETTINGS, "trials": 12, "keep": 1}
    searched = search_plans(run, told, find_plan(told, "run"), settings)
    assert search_plans(run, told, find_plan(told, "run"), settings) == searched
    folder = tmp_path / "results" / "plan_search-taxes-schedule_seed0"
    write(searched, folder)
    assert json.loads((folder / FILE).read_text())["retrained"] == {}

    arguments = [str(run), "--trials", "12", "--episodes", "8", "--keep", "1", "--seeds", "1"]
    main([*arguments, "--results", str(tmp_path / "results"), "--resume"])
    output = capsys.readouterr().out
    names, record = [each.name for each in searched.judged], json.loads((folder / FILE).read_text())
    assert names[:2] == ["learned", "found_1"]
    assert PlanSearch.of_record(record | {"retrained": {}}) == searched
    assert [*record["retrained"]] == names
    files = {FILE, "plan_search.md", "plan_search.png"}
    assert {path.name for path in folder.iterdir()} == files | {"retrained"}
    trials = [folder / "retrained" / f"{name}_seed0" for name in names]
    for each, trial in zip(searched.judged, trials, strict=True):
        experiment = ExperimentConfig.from_json(trial / "config.json")
        assert experiment.planner == Planner(mode="fixed", rates=each.plan)
        mean = evaluate(trial, episodes=8, seed=searched.seed).indicators["social_welfare"].astype(float).mean()
        assert record["retrained"][each.name]["welfare"] == {"0": float(mean)}
    assert (folder / "plan_search.md").read_text().strip() in output
    assert str(tmp_path) not in (folder / FILE).read_text()
    before = {name: (folder / name).read_bytes() for name in files}
    judge(folder / "retrained", trials)
    assert {name: (folder / name).read_bytes() for name in files} == before


def test_without_retraining_nothing_is_trained_and_nothing_overwritten(tmp_path, capsys):
    run = untrained(PLANNED, tmp_path / "taxes" / "schedule_seed0")
    arguments = [str(run), "--trials", "4", "--episodes", "4", "--results", str(tmp_path), "--no-retraining"]
    main(arguments)
    assert "Plans beside that of taxes/schedule_seed0" in capsys.readouterr().out
    folder = tmp_path / "plan_search-taxes-schedule_seed0"
    assert {path.name for path in folder.iterdir()} == {FILE, "plan_search.md", "plan_search.png"}
    for more, words in (
        (arguments, ["an earlier search, which is never overwritten"]),
        ([*arguments, "--resume"], ["--no-retraining", "nothing to resume"]),
        ([*arguments[:-1], "--keep", "2", "--resume"], ["--keep = 2", "done with 3"]),
    ):
        before = {path: path.read_bytes() for path in folder.iterdir()}
        with pytest.raises(SystemExit) as ending:
            main(more)
        assert ending.value.code == 2
        (sentence,) = capsys.readouterr().err.strip().splitlines()
        for word in words:
            assert word in sentence, sentence
        assert {path: path.read_bytes() for path in folder.iterdir()} == before
    shutil.copytree(run / "checkpoint_000000", run / "checkpoint_000001")
    with pytest.raises(SystemExit):
        main([*arguments[:-1], "--resume"])
    assert "RUN = 'checkpoint_000001'" in (sentence := capsys.readouterr().err)
    assert "done with 'checkpoint_000000'; as it was trained on, give another --results" in sentence


@pytest.mark.parametrize(
    ("values", "arguments", "words"),
    [
        ({"planner.mode": "discretion"}, [], ["announces no plan of its own", "planner.mode=constant"]),
        ({"planner.mode": "fixed", "planner.rates": "drawn"}, [], ["announces no plan of its own"]),
        ({"economy.tax_choices": (0.0,)}, [], ["one tax rate"]),
        ({"economy.episode_length": 1}, [], ["one quarter, which is untaxed"]),
        ({"deviation": Deviation(checkpoint="x", deviator="firm")}, [], ["went on from the policies of another run"]),
        ({"start": "x"}, [], ["went on from the policies of another run"]),
        ({}, ["--trials", "0"], ["--trials = 0", "at least 1"]),
        ({}, ["--episodes", "0"], ["--episodes = 0", "at least 1"]),
        ({}, ["--keep", "-1"], ["--keep = -1", "at least 1"]),
        ({}, ["--seeds", "0"], ["--seeds = 0", "at least 1"]),
        ({}, ["--resume"], ["--resume", "no run to resume"]),
    ],
)
def test_what_cannot_be_is_refused_in_one_sentence(tmp_path, capsys, monkeypatch, values, arguments, words):
    run = untrained(PLANNED.with_values(values), tmp_path / "run")
    monkeypatch.chdir(tmp_path)
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(SystemExit) as ending:
        main([str(run), *arguments])
    assert ending.value.code == 2
    printed = capsys.readouterr()
    (sentence,) = printed.err.strip().splitlines()
    assert printed.out == ""
    for word in words:
        assert word in sentence, sentence
    assert sorted(tmp_path.rglob("*")) == before
