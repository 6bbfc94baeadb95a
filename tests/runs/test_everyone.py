"""Every agent of a group asked alone, in one training: against exact solutions, and who sits where."""

import importlib
import json
import re
from collections import Counter
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from rbc_rllib.best_response import ask, best_responses, final_game, find_checkpoints
from rbc_rllib.economy import EconomyParameters
from rbc_rllib.evaluate import evaluate_trial
from rbc_rllib.experiment import ExperimentConfig, Sweep
from rbc_rllib.leaving import DEVIATOR, Deviation
from rbc_rllib.play.held_out import play_held_out
from rbc_rllib.play.modules import untrained_modules
from rbc_rllib.play.randomness import HELD_OUT, VALIDATION
from rbc_rllib.play.rollout import play
from rbc_rllib.play.seats import few_of, seats_of
from rbc_rllib.play.vector_economy import VectorEconomy
from rbc_rllib.policies import load_policies
from rbc_rllib.psro import next_policies
from rbc_rllib.responses import Learned, curve, in_words, judge, settings_of, taken_on_halves
from rbc_rllib.runs.launch import Run
from rbc_rllib.settings import ConfigError
from rbc_rllib.training.checkpoints import TrainingState, describe, load_networks
from rbc_rllib.training.deviations import TEMPERATURES, Asked, FrozenGame, Response
from tests.exact import exact_values
from tests.play.networks import build_modules
from tests.runs.answers import answer_of
from tests.runs.test_best_response import GAMES
from tests.runs.trials import trained, trial_of, untrained
from tests.small import SMALL

ALONE = {
    "firm": GAMES["firm_1"].with_values({"economy.initial_capital": (5000.0, 10000.0)}),
    "consumer": GAMES["consumer_1"].with_values({"economy.labor_disutility_pareto_shape": 1.0}),
}
"""Two agents who differ: in capital, and in how much they mind work."""


@pytest.mark.usefixtures("ray_on_this_machine")
@pytest.mark.parametrize("group", ALONE)
def test_one_training_finds_the_exact_gain_of_every_agent(group, tmp_path):
    answer = answer_of(f"each_{group}", ALONE[group], tmp_path, episodes=4096)
    gain = answer.gain
    for agent in (f"{group}_0", f"{group}_1"):
        reward, reached, best = answer.exact(agent)
        assert best > reward
        assert reached - reward >= 0.95 * (best - reward), agent
        own = gain["alone"]["agents"][agent]
        assert own["low"] <= 1.05 * (reached - reward)
        assert own["high"] >= 0.95 * (reached - reward)
        assert own["mean"] == pytest.approx(reached - reward, rel=0.2)
    assert gain["gain"]["mean"] == pytest.approx(np.mean([g["mean"] for g in gain["alone"]["agents"].values()]))


@pytest.mark.usefixtures("ray_on_this_machine")
@pytest.mark.parametrize(("group", "choices"), [("firm", (2,)), ("consumer", (1, 0, 0))])
def test_nobody_gains_anything_by_leaving_what_is_optimal_for_everybody(group, choices, tmp_path):
    """Heads that nearly always take one choice, which is the best answer of each to all others."""
    game = ALONE[group].with_values({"learning.hidden_sizes": (9, 8)})
    modules = build_modules(game.economy)
    head, first = modules[group].policy_head, 0
    for choice, size in zip(choices, modules[group].head_sizes, strict=True):
        head.bias.data[first : first + size] = 1000.0 * (torch.arange(size) == choice)
        first += size
    run = tmp_path / "runs" / "run"
    weights = {name: module.get_state() for name, module in modules.items()}
    describe(run / "checkpoint_000000", TrainingState(0, 0.0), weights)
    game.to_json(run / "config.json")
    (checkpoint,) = find_checkpoints(run)
    for agent in (f"{group}_0", f"{group}_1"):
        reward, best = exact_values(final_game(game, checkpoint), modules, agent)
        assert reward == pytest.approx(best, rel=1e-6)
    asked = best_responses(run, [f"each_{group}"], [checkpoint], 1, 1, episodes=64, starts=["frozen", "scratch"])
    judge(tmp_path, [trained(each, tmp_path / "responses" / each.name) for each in asked.experiments])
    (gain,) = json.loads((tmp_path / "best_response.json").read_text())["solutions"][0]["gains"]
    gains = [own["mean"] for own in gain["alone"]["agents"].values()]
    assert gains == pytest.approx([0.0, 0.0], abs=1e-5 * gain["size"])  # rounding


@pytest.mark.usefixtures("ray_on_this_machine")
def test_a_sweep_asks_its_deviators_once(tmp_path):
    run = untrained(SMALL.replace(evaluation_episodes=4), tmp_path / "main" / "run")
    evaluate_trial(run)
    said, everybody = ask([run], ("each_firm",), 1)
    assert "a single firm" in said
    assert everybody
    assert (run.parent / "report.html").is_file()
    (progress,) = (tmp_path / "best_response-main-run").glob("*/progress.csv")
    before = {path: path.stat().st_mtime_ns for path in progress.parents[1].rglob("*")}
    assert ask([run], ("each_firm",), 1) == (said, True)
    assert {path: path.stat().st_mtime_ns for path in progress.parents[1].rglob("*")} == before
    answer = tmp_path / "best_response-main-run" / "best_response.json"
    record = json.loads(answer.read_text())
    answer.write_text(json.dumps(record | {"epochs": {"each_firm": 1}}))
    assert ask([run], ("each_firm",), 1) == (said, True)
    assert json.loads(answer.read_text()) == record
    words, everybody = ask([run], ("each_firm",), 2)
    refusal, _, table = words.partition("\n\n")
    assert refusal.startswith("Followers of run were not asked: ")
    assert table == said
    assert not everybody


def test_a_sweep_asks_nobody_in_a_dead_economy(tmp_path):
    dead = untrained(SMALL.with_values({"economy.labor_floor": 1e6}), tmp_path / "main" / "dead")
    evaluate_trial(dead)
    (dead / "progress.csv").write_text(f"training_iteration,env_steps\n1,{SMALL.curriculum.total_env_steps}\n")
    words, everybody = ask([dead], ("each_firm",), 1)
    assert words.endswith("Nobody was asked where the economy is trivial: dead.")
    assert everybody
    assert [path.name for path in tmp_path.iterdir()] == ["main"]


def test_the_sweep_command_asks_its_deviators(tmp_path, monkeypatch, capsys):
    command, asked = importlib.import_module("rbc_rllib.sweep"), []
    wanted = Sweep((SMALL,), deviators=("each_firm", "firm"), deviation_iterations=7)

    def ask(*arguments):
        asked.append(arguments[:3])
        return "their words", False

    monkeypatch.setattr(command, "find_sweep", lambda name: wanted)
    monkeypatch.setattr(command, "run", lambda sweep, folder, *_: Run(folder, [folder / "small_seed0"], [], False))
    monkeypatch.setattr(command, "tell", lambda *_: True)
    monkeypatch.setattr(command, "ask", ask)
    with pytest.raises(SystemExit) as ending:
        command.main(["any", "--results", str(tmp_path)])
    assert ending.value.code == 1
    assert asked == [([tmp_path / "any" / "small_seed0"], ("each_firm", "firm"), 7)]
    assert "their words" in capsys.readouterr().out


def test_a_deviator_that_fails_does_not_keep_others_from_being_asked(tmp_path, monkeypatch):
    runs = [untrained(SMALL.replace(evaluation_episodes=4), tmp_path / "main" / name) for name in ("one", "other")]
    for trial in runs:
        evaluate_trial(trial)

    def run(sweep, folder, *_):
        (experiment,) = sweep.experiments
        if folder.name.endswith("-one"):
            return Run(folder, [], ["NumericsError: firm, step 7"], interrupted=False)
        return Run(folder, [untrained(experiment, folder / "each_firm")], [], interrupted=False)

    monkeypatch.setattr(importlib.import_module("rbc_rllib.best_response"), "run", run)
    words, everybody = ask(runs, ("each_firm",), 1)
    assert words.startswith("Of the followers of one some were not asked")
    assert (tmp_path / "best_response-main-other" / "best_response.json").is_file()
    assert not everybody


@pytest.mark.parametrize(("arguments", "asked"), [(["firm"], ["each_firm"]), (["consumer", "firm"], None)])
def test_the_command_asks_everyone(arguments, asked, small_run, tmp_path, monkeypatch):
    command, asked_of = importlib.import_module("rbc_rllib.best_response"), []
    monkeypatch.setattr(command, "run", lambda *asked: asked_of.append(asked))
    monkeypatch.setattr(command, "conclude", lambda *_: None)
    for place in ([], ["--results", str(tmp_path)]):
        own = ["--everyone", *arguments, "--individual", "firm_1", "--seeds", "2"]
        command.main([str(small_run), *own, *place])
    (_, beside, *_), (sweep, elsewhere, *_) = asked_of
    assert (beside.parent, elsewhere.parent) == (small_run.parents[1], tmp_path)
    assert beside.name == elsewhere.name == f"best_response-{small_run.parent.name}-small"
    found = [(each.deviation.deviator, each.seed) for each in sweep.experiments]
    assert found == [
        (name, seed) for name in ["firm_1", *(asked or ["each_consumer", "each_firm"])] for seed in range(2)
    ]


ECONOMY = EconomyParameters(num_consumers=45, num_firms=3, episode_length=4)


@pytest.mark.parametrize(("group", "size", "few"), [("firm", 3, 1), ("consumer", 45, 2)])
def test_others_deviate_in_every_economy_until_all_have(group, size, few):
    deviation = Deviation(checkpoint="somewhere", deviator=f"each_{group}")
    assert (deviation.group, deviation.agents, deviation.policy) == (group, None, DEVIATOR)
    experiment = ExperimentConfig(economy=ECONOMY, deviation=deviation)
    assert experiment.policies[DEVIATOR] == group
    assert set(experiment.frozen_policies) == {"consumer", "firm", "planner"}
    modules = build_modules(ECONOMY)
    seats = seats_of(experiment, modules | {DEVIATOR: modules[group]}, VectorEconomy(ECONOMY, 24))
    own = {seat.policy: seat.agents for seat in seats if seat.group == group}
    assert few == few_of(size)
    assert own[DEVIATOR].shape == (24, few)
    assert set(own[DEVIATOR].flatten().tolist()) == set(range(size))
    assert torch.equal(torch.cat([own[DEVIATOR], own[group]], 1).sort(1).values, torch.arange(size).expand(24, -1))


def test_where_each_leaves_alone_a_batch_is_learned_from_more_often(tmp_path):
    """Each has few of its economies; whoever sets how often is told so in what is written."""
    run = untrained(SMALL, tmp_path / "run")
    names, checkpoints = ["firm", "firm_1", "firm_0+firm_1", "each_firm", "each_consumer"], find_checkpoints(run)
    sweep = best_responses(run, names, checkpoints, seeds=1, iterations=1)
    own = SMALL.learning.num_epochs
    assert [each.learning.num_epochs for each in sweep.experiments] == [own, own, own, 4 * own, 4 * own]
    assert [settings_of(each) for each in sweep.experiments] == [{}] * 5
    values = {"learning.num_epochs": own}
    as_often = best_responses(run, names, checkpoints, seeds=1, iterations=1, values=values)
    assert {each.learning.num_epochs for each in as_often.experiments} == {own}
    assert [settings_of(each) for each in as_often.experiments] == [{}, {}, {}, values, values]


def test_everybody_gets_equally_many_turns_from_several_runners(tmp_path, monkeypatch):
    """Two runners of 8 economies and 3 firms, in three batches: 16 turns each, though no runner's 8 are a multiple."""
    run = untrained(SMALL, tmp_path / "run")
    (asked,) = best_responses(run, ["each_firm"], find_checkpoints(run), seeds=1, iterations=1).experiments
    turns: Counter[int] = Counter()

    def watched(economy, seats, *arguments, **settings):
        (own,) = [seat.agents for seat in seats if seat.policy == DEVIATOR]
        turns.update(own.flatten().tolist())
        return play(economy, seats, *arguments, **settings)

    monkeypatch.setattr("rbc_rllib.training.env_runner.play", watched)
    trial = trial_of(asked)
    runner = trial.env_runner
    for batch in range(3):
        for runner.worker_index in (1, 2):
            runner.sample(env_steps=batch * 2 * asked.env_steps_per_update)
    trial.stop()
    assert asked.learning.economies_per_update == 8
    assert turns == {0: 16, 1: 16, 2: 16}


def test_frozen_policies_gain_nothing_and_agents_are_judged_one_by_one(tmp_path):
    """A deviator that acts as its group does: the same episodes, so exactly nothing is gained but by less noise."""
    run = untrained(SMALL, tmp_path / "runs" / "run")
    (checkpoint,) = find_checkpoints(run)
    sweep = best_responses(run, ["each_firm", "each_consumer"], [checkpoint], seeds=1, iterations=1, episodes=8)
    folders = [untrained(e, tmp_path / "responses" / e.deviation.deviator) for e in sweep.experiments]
    text = judge(tmp_path, folders)
    for gain in json.loads((tmp_path / "best_response.json").read_text())["solutions"][0]["gains"]:
        size = {"each_firm": 3, "each_consumer": 6}[gain["deviator"]]
        assert len(gain["alone"]["agents"]) == size
        assert gain["curve"] == {"frozen": [[0, 0.0]]}
        assert gain["unconverged"] == {"mean": 0, "low": 0, "high": 0, "count": 1}
        assert gain["temperature"] == gain["gain"]
        for response in gain["chosen"][0].split("; "):
            name = re.sub(rf"^\d+ of {size} ", "", response)
            assert name.startswith(("from frozen, after 0", "the frozen policy at temperature"))
    assert "each_firm: 3 agents were asked, each alone" in text


def test_what_is_chosen_and_what_is_judged_are_different_episodes(tmp_path):
    run = untrained(SMALL, tmp_path / "run")
    (checkpoint,) = find_checkpoints(run)
    (own,) = best_responses(run, ["firm_1"], [checkpoint], seeds=1, iterations=1, episodes=8).experiments
    frozen = FrozenGame.of(checkpoint, own, seed=3)
    game, asked = frozen.experiment, Asked(frozen, own)
    chosen, judged = (play_held_out(game, frozen.networks, 8, 3, s).rewards["firm"] for s in (VALIDATION, HELD_OUT))
    np.testing.assert_array_equal(frozen.validation["firm"], chosen)
    np.testing.assert_array_equal(frozen.held_out.rewards["firm"], judged)
    assert not np.array_equal(chosen, judged)
    assert asked.size == pytest.approx(np.abs(judged).mean())
    nobody = play_held_out(game, untrained_modules(game, 3), 8, 3).rewards["firm"]
    np.testing.assert_array_equal(frozen.untrained["firm"], nobody)
    assert not np.array_equal(nobody, judged)
    weight = frozen.networks["firm"].policy_head.weight
    for response, temperature in zip(asked.cooled(), TEMPERATURES, strict=True):
        torch.testing.assert_close(response.networks[DEVIATOR].policy_head.weight, weight / temperature)


def test_many_agents_are_judged_a_few_at_a_time(tmp_path, monkeypatch):
    run = untrained(SMALL.with_values({"economy.num_consumers": 45}), tmp_path / "run")
    (checkpoint,), together = find_checkpoints(run), []
    (own,) = best_responses(run, ["each_consumer"], [checkpoint], seeds=1, iterations=1, episodes=2).experiments

    def play(self, deviating, networks, stream):
        together.append(deviating.deviation.agents)
        return SimpleNamespace(rewards={"consumer": np.tile(np.arange(45.0), (2, 1))})

    monkeypatch.setattr(FrozenGame, "play", play)
    asked = Asked(FrozenGame.of(checkpoint, own, seed=0), own)
    assert asked.play({}).tolist() == [[float(k) for k in range(45)]] * 2
    assert sorted(k for agents in together for k in agents) == list(range(45))
    assert max(map(len, together)) == few_of(45) == 2
    assert np.flatnonzero(~np.isnan(asked.play({}, wanted={7})[0])).tolist() == [7, 30]


@pytest.mark.parametrize(("deviator", "chosen"), [("each_firm", [0, 1, 1]), ("firm", [1, 1, 1])])
def test_who_leaves_alone_takes_its_own_best_response(deviator, chosen, tmp_path):
    run = untrained(SMALL, tmp_path / "run")
    (checkpoint,) = find_checkpoints(run)
    (experiment,) = best_responses(run, [deviator], [checkpoint], seeds=1, iterations=1, episodes=4).experiments
    frozen = FrozenGame.of(checkpoint, experiment, seed=0)
    asked, others = Asked(frozen, experiment), build_modules(SMALL.economy)
    policy = experiment.deviation.policy
    responses = [
        Response(name, frozen.networks | {policy: modules["firm"]}, np.array([gains]))
        for name, modules, gains in [("own", frozen.networks, [3.0, -1.0, 0.0]), ("another", others, [1.0, 2.0, 4.0])]
    ]
    choice = asked.best_of(responses)
    assert [responses.index(response) for response in choice] == chosen
    (rewards,), each = asked.play_best([choice]), [asked.play(response.networks) for response in responses]
    for k, response in enumerate(chosen):
        np.testing.assert_array_equal(rewards[:, k], each[response][:, k])
    assert not np.array_equal(each[0], each[1])
    assert in_words(choice) == ("another" if deviator == "firm" else "2 of 3 another; 1 of 3 own")


def test_what_was_learned_against_other_policies_is_refused(tmp_path):
    """The run was trained anew; what deviators learned against its policies of before still lies beside it."""
    run = untrained(SMALL, tmp_path / "runs" / "run")
    (experiment,) = best_responses(run, ["each_firm"], find_checkpoints(run), 1, 1, episodes=4).experiments
    learned = untrained(experiment, tmp_path / "responses" / "each_firm")
    judge(tmp_path, [learned])
    trained_anew = {name: module.get_state() for name, module in untrained_modules(SMALL, seed=3).items()}
    describe(run / "checkpoint_000000", TrainingState(0, 0.0), trained_anew)
    with pytest.raises(ConfigError, match=r"learned against another consumer policy.*with another --results"):
        judge(tmp_path, [learned])


def test_checkpoints_of_an_interruption_are_no_responses(tmp_path):
    run = untrained(SMALL, tmp_path / "runs" / "run")
    (experiment,) = best_responses(run, ["each_firm"], find_checkpoints(run), 1, 40, episodes=4).experiments
    learned = untrained(experiment, tmp_path / "responses" / "each_firm")
    states = {
        name: load_networks(learned / "checkpoint_000000", experiment)[name].get_state() for name in experiment.policies
    }
    for number, iterations in enumerate((10, 20, 25, 30, 40)):
        state = TrainingState(iterations * experiment.env_steps_per_iteration, 0.0)
        describe(learned / f"checkpoint_{number:06}", state, states)
    judge(tmp_path, [learned])
    (gain,) = json.loads((tmp_path / "best_response.json").read_text())["solutions"][0]["gains"]
    assert [length for length, _ in gain["curve"]["frozen"]] == [10, 20, 30, 40]


def test_the_curve_has_the_gains_that_are_taken():
    responses = [Response("learned", {}, np.array([gains])) for gains in ([2.0, -6.0], [1.0, 1.0])]
    learned = [Learned("frozen", 0, 8 * (k + 1), response) for k, response in enumerate(responses)]
    assert curve(learned, alone=True) == {"frozen": ((8, 1.0), (16, 1.0))}
    assert curve(learned, alone=False) == {"frozen": ((8, -2.0), (16, 1.0))}


def test_no_luck_makes_a_gain_where_there_is_none(rng):
    """Who stays on half of the episodes is told by the other half."""
    nothing = rng.normal(0, 1, (64, 10_000))
    assert np.maximum(nothing.mean(0), 0).mean() > 0.04
    assert abs(taken_on_halves(nothing).mean()) < 0.004
    assert taken_on_halves(nothing + 1).mean() == pytest.approx(1, abs=0.01)
    assert taken_on_halves(nothing - 1).mean() == 0
    np.testing.assert_array_equal(taken_on_halves(np.array([[2.0, -6.0]])), [2.0, 0.0])


def test_responses_of_agents_who_leave_alone_are_not_loaded_as_one_set_of_policies(tmp_path):
    run = untrained(SMALL, tmp_path / "run")
    (asked,) = best_responses(run, ["each_firm"], find_checkpoints(run), seeds=1, iterations=1).experiments
    with pytest.raises(ConfigError, match="a best response of each_firm, each of whom leaves others who stay"):
        load_policies(untrained(asked, tmp_path / "response"))


@pytest.mark.parametrize("name", ["each_planner", "each_", "each_firm_0", "each_firm+each_consumer"])
def test_only_groups_of_several_agents_are_asked_one_by_one(name):
    with pytest.raises(ConfigError, match=r"deviation\.deviator"):
        SMALL.replace(deviation=Deviation(checkpoint="somewhere", deviator=name))


def test_the_planner_keeps_to_its_plan_unless_it_is_the_one_who_deviates(tmp_path):
    experiment = SMALL.with_values({"planner.mode": "schedule"})
    run = untrained(experiment, tmp_path / "runs" / "run")
    sweep = best_responses(run, ["firm", "planner"], find_checkpoints(run), seeds=1, iterations=4)
    firm, planner = (each.curriculum for each in sweep.experiments)
    assert firm.at(0).plan_sharpness == firm.final().plan_sharpness == planner.final().plan_sharpness
    assert planner.at(0).plan_sharpness == 1.0
    going_on = untrained(next_policies(run, run, (), iterations=2), tmp_path / "round")
    (later,) = best_responses(going_on, ["planner"], find_checkpoints(going_on), seeds=1, iterations=4).experiments
    assert later.curriculum == planner
    assert firm.at(0).entropy_coeff["firm"] == 0.005
    assert firm.final().entropy_coeff["firm"] == pytest.approx(0.0)
