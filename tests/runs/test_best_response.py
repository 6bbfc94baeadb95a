"""Best responses: against exact solutions of small games, with frozen policies that stay, and in honest words."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from analysis.gains import Solution, consumption_equivalent, measure_gain, table, words
from rbc_rllib import best_response
from rbc_rllib.best_response import best_responses, final_game, find_checkpoints, judge, training_state
from rbc_rllib.economy import GROUPS, EconomyParameters
from rbc_rllib.economy.consumers import utility
from rbc_rllib.evaluate import evaluate, load_modules
from rbc_rllib.experiment import DEVIATOR, Deviation, ExperimentConfig
from rbc_rllib.play.rollout import play
from rbc_rllib.play.vector_economy import VectorEconomy
from rbc_rllib.runs.trial import Trial
from rbc_rllib.settings import ConfigError
from rbc_rllib.training.env_runner import weights_hash
from tests.exact import exact_values, response_in
from tests.small import SMALL
from tests.runs.test_entry_points import finish, interrupt, start
from tests.play.test_modules import build_modules

ROOT = Path(__file__).parent.parent

TINY = ExperimentConfig(name="tiny").with_values(
    {
        "economy.num_consumers": 1,
        "economy.num_firms": 1,
        "economy.episode_length": 3,
        "economy.demand_choices": (0.0, 5.0),
        "economy.hours_choices": (0.0, 1000.0),
        "economy.price_choices": (500.0, 1500.0),
        "economy.wage_choices": (2.0, 10.0),
        "economy.tax_choices": (0.0,),
        "economy.labor_disutility": 0.004,
        "economy.export_market": False,
        "curriculum.staged_training": False,
        "curriculum.annealed_ranges": False,
        "curriculum.annealed_entropy": False,
        "curriculum.final_entropy_coeff": dict.fromkeys(GROUPS, 0.002),
        "curriculum.total_env_steps": 1920,
        "learning.hidden_sizes": (32, 32),
        "learning.economies_per_update": 64,
        "learning.updates_per_iteration": 10,
        "learning.learning_rate": dict.fromkeys(GROUPS, 5e-3),
        "learning.reward_scale": {"consumer": 5.0, "firm": 2e3, "planner": 5.0},
    }
)
"""One consumer, one firm, three quarters: 4096 courses of events. One iteration of training, so policies are nearly
uniform and far from a best response."""

GAMES = {
    "consumer": TINY,
    "firm": TINY,
    # Exports earn the money that a corporate tax brings to the consumer, whose budget buys one unit a quarter.
    "planner": TINY.with_values(
        {
            "economy.tax_choices": (0.0, 0.8),
            "economy.export_market": True,
            "economy.initial_inventory": 60.0,
            "economy.initial_consumer_budget": 1000.0,
        }
    ),
    "consumer_1": TINY.with_values(
        {"economy.num_consumers": 2, "economy.episode_length": 2, "economy.initial_inventory": 4.0}
    ),
    "firm_1": TINY.with_values(
        {"economy.num_firms": 2, "economy.episode_length": 2, "economy.initial_inventory": 10.0}
    ),
}


def trained(experiment: ExperimentConfig, folder: Path, checkpoints: int = 1) -> Path:
    """The folder of a trial that was trained to its end, without Tune; its last checkpoint is from there."""
    trial = Trial({"experiment": experiment.model_dump(mode="json"), "values": {}})
    for number in range(checkpoints):
        for _ in range(experiment.num_iterations // checkpoints):
            done = trial.train()["done"]
        checkpoint = folder / f"checkpoint_{number:06}"
        checkpoint.mkdir(parents=True)
        trial.save_checkpoint(str(checkpoint))
    assert done
    trial.stop()
    experiment.to_json(folder / "config.json")
    return folder


@pytest.fixture(scope="module")
def small_run(tmp_path_factory, ray_on_this_machine) -> Path:
    """A run of the small economy whose firms are in debt, so that dual ascent has moved the penalty."""
    values = {"economy.initial_firm_budget": 0.0, "curriculum.debt_penalty_step": 1e-3}
    return trained(SMALL.with_values(values), tmp_path_factory.mktemp("runs") / "small")


# Against exact solutions


@pytest.mark.usefixtures("ray_on_this_machine")
@pytest.mark.parametrize("deviator", GAMES)
def test_a_best_response_reaches_the_exact_gain_and_then_there_is_none_left(deviator, tmp_path):
    run = trained(GAMES[deviator], tmp_path / "run")
    (checkpoint,) = find_checkpoints(run)
    game, frozen = final_game(GAMES[deviator], checkpoint), load_modules(checkpoint)
    reward, best = exact_values(game, frozen, deviator)
    assert best > reward

    (experiment,) = best_responses(run, [deviator], [checkpoint], seeds=1, iterations=30).experiments
    learned = trained(experiment, tmp_path / "response")
    response = response_in(load_modules(learned / "checkpoint_000000"), deviator)
    reached, _ = exact_values(game, frozen, deviator, response)
    assert reached - reward >= 0.95 * (best - reward)

    judge(tmp_path, [learned])
    (gain,) = json.loads((tmp_path / "best_response.json").read_text())["solutions"][0]["gains"]
    assert gain["distinguishable_from_0"]
    assert gain["gain"]["low"] <= 1.05 * (reached - reward)
    assert gain["gain"]["high"] >= 0.95 * (reached - reward)
    if "_" in deviator:
        return  # the lone deviator's policy is no group's: there is no run in which it is frozen

    (checkpoint,) = find_checkpoints(learned)
    again = best_responses(learned, [deviator], [checkpoint], seeds=1, iterations=3, episodes=4096)
    (experiment,) = again.experiments
    second = tmp_path / "second"
    judge(tmp_path, [trained(experiment, second)])
    (gain,) = json.loads((tmp_path / "best_response.json").read_text())["solutions"][0]["gains"]
    assert gain["gain"]["low"] <= 0.05 * (best - reward)
    assert gain["gain"]["mean"] == pytest.approx(0, abs=0.05 * (best - reward))


def test_the_exact_solution_agrees_with_the_mean_over_episodes():
    """Two routes to one number: the tree of all events, and many sampled episodes."""
    game = GAMES["consumer_1"]
    modules = build_modules(game.economy)
    sampled = evaluate(game, modules, episodes=4000, seed=0)
    for deviator in ("consumer_0", "consumer_1", "firm_0", "planner"):
        group, _, index = deviator.partition("_")
        rewards = sampled.rewards[group][:, int(index or 0)]
        exact, best = exact_values(game, modules, deviator)
        assert rewards.mean() == pytest.approx(exact, abs=4 * rewards.std() / np.sqrt(len(rewards)) + 1e-6)
        assert best >= exact


# Freezing


@pytest.mark.parametrize("deviator", ["consumer", "firm", "planner", "consumer_4", "firm_0"])
def test_only_the_deviator_learns_and_everything_else_is_the_checkpoint_bit_by_bit(deviator, small_run, tmp_path):
    (checkpoint,) = find_checkpoints(small_run)
    (experiment,) = best_responses(small_run, [deviator], [checkpoint], seeds=1, iterations=2).experiments
    trial = Trial({"experiment": experiment.model_dump(mode="json"), "values": {}})
    original, policy = load_modules(checkpoint), experiment.deviation.policy
    start = {name: weights_hash(state) for name, state in trial.learner_group.get_weights().items()}
    expected = {group: weights_hash(module.get_state()) for group, module in original.items()}
    if policy == DEVIATOR:
        expected[DEVIATOR] = expected[experiment.deviation.group]
    assert start == expected
    assert trial.env_runner.weights_hashes() == expected
    (economy,) = [trial.env_runner.env.economy]
    assert economy.labor_disutility_scale == 1.0
    assert all(mask.all() for mask in economy.action_masks.values())

    reports = [trial.train() for _ in range(2)]
    assert [report["done"] for report in reports] == [False, True]
    assert reports[0]["curriculum_stage"] == f"{deviator} deviates"
    after = {name: weights_hash(state) for name, state in trial.learner_group.get_weights().items()}
    assert {name for name in after if after[name] != expected[name]} == {policy}
    trial.stop()


def test_runners_in_other_processes_play_the_checkpoint(small_run):
    (checkpoint,) = find_checkpoints(small_run)
    (experiment,) = best_responses(small_run, ["firm_2"], [checkpoint], seeds=1, iterations=1).experiments
    experiment = experiment.with_values({"resources.num_env_runners": 2})
    trial = Trial({"experiment": experiment.model_dump(mode="json"), "values": {}})
    expected = {group: weights_hash(module.get_state()) for group, module in load_modules(checkpoint).items()}
    trial.train()
    for hashes in trial.env_runner_group.foreach_env_runner(lambda r: r.weights_hashes(), local_env_runner=False):
        assert {group: hashes[group] for group in GROUPS} == expected
    trial.stop()


def test_a_policy_that_is_not_the_checkpoints_ends_the_training(small_run):
    (checkpoint,) = find_checkpoints(small_run)
    (experiment,) = best_responses(small_run, ["firm"], [checkpoint], seeds=1, iterations=2).experiments
    trial = Trial({"experiment": experiment.model_dump(mode="json"), "values": {}})

    def spoil(learner):
        with torch.no_grad():
            learner.module["consumer"].unwrapped().value_head.weight[0, 0] += 1e-3

    trial.learner_group.foreach_learner(spoil)
    with pytest.raises(RuntimeError, match=r"the consumer policy that is played is not that of .*checkpoint_000000"):
        trial.train()
    trial.stop()


def test_deviators_play_the_game_in_which_training_ended(small_run):
    (checkpoint,) = find_checkpoints(small_run)
    steps, increase = training_state(checkpoint)
    assert steps == 640
    assert increase > 0
    game = final_game(ExperimentConfig.from_json(small_run / "config.json"), checkpoint, iterations=3)
    assert game.economy.penalty_coefficient == pytest.approx(increase)
    assert game.num_iterations == 3
    first, final = game.curriculum.at(0), SMALL.curriculum.final()
    assert (
        first.entropy_coeff
        == game.curriculum.at(10**9).entropy_coeff
        == SMALL.curriculum.final_entropy_coeff.model_dump()
    )
    assert first.labor_disutility_scale == final.labor_disutility_scale == 1.0
    assert first.ranges.corporate_tax_rate == final.ranges.corporate_tax_rate
    assert game.learning == SMALL.learning


def test_a_lone_deviator_with_a_copy_of_its_groups_policy_changes_nothing():
    """Its own row is recorded, its rewards are its own, and everybody draws the same random numbers."""
    params = EconomyParameters(num_consumers=5, num_firms=3, episode_length=4)
    for group, index in (("consumer", 3), ("firm", 2)):
        modules = build_modules(params)
        plain = play(VectorEconomy(params, 3), modules, torch.Generator().manual_seed(0))
        with_copy = modules | {DEVIATOR: modules[group]}
        alone = play(VectorEconomy(params, 3), with_copy, torch.Generator().manual_seed(0), deviator=(group, index))
        whole, own = plain.experience[group], alone.experience[DEVIATOR]
        one = slice(index, index + 1)
        assert torch.equal(own.actions, whole.actions[:, :, one])
        assert torch.equal(own.rewards, whole.rewards[:, :, one])
        torch.testing.assert_close(own.action_logp, whole.action_logp[:, :, one])
        torch.testing.assert_close(own.values, whole.values[:, :, one])
        assert torch.equal(own.observations["private"], whole.observations["private"][:, :, one])
        for other in GROUPS:
            assert torch.equal(alone.experience[other].actions, plain.experience[other].actions)


def test_a_lone_deviator_acts_by_its_own_policy_and_nobody_else_does():
    params = EconomyParameters(num_consumers=5, num_firms=3, episode_length=1)
    modules = build_modules(params)
    stubborn = build_modules(params)["firm"]
    with torch.no_grad():
        stubborn.policy_head.weight.zero_()
        stubborn.policy_head.bias.zero_()
        stubborn.policy_head.bias[17] = 100.0
    plain = play(VectorEconomy(params, 50), modules, torch.Generator().manual_seed(0))
    both = play(
        VectorEconomy(params, 50),
        modules | {DEVIATOR: stubborn},
        torch.Generator().manual_seed(0),
        deviator=("firm", 1),
    )
    assert (both.experience[DEVIATOR].actions == 17).all()
    assert (both.experience["firm"].actions[:, :, 1] == 17).all()
    for index in (0, 2):
        assert torch.equal(both.experience["firm"].actions[:, :, index], plain.experience["firm"].actions[:, :, index])


# Numbers and words


@pytest.mark.parametrize("crra", [0.0, 0.1, 1.0, 3.0])
def test_a_consumption_equivalent_is_worth_the_gain(crra, rng):
    params = EconomyParameters(num_consumers=4, num_firms=3, crra=crra)
    baskets = rng.uniform(0, 10, size=(6, 2, 4, 3))

    def enjoyed(x):
        nothing = np.zeros((12, 4))
        return utility(params, x.reshape(12, 4, 3), nothing, nothing).mean()

    for percent in (-40.0, 0.0, 2.5, 80.0):
        gain = enjoyed(baskets * (1 + percent / 100)) - enjoyed(baskets)
        assert consumption_equivalent(params, baskets, gain) == pytest.approx(percent, abs=1e-4)


def test_a_consumption_equivalent_at_its_limits():
    bounded = EconomyParameters(num_consumers=1, num_firms=1, crra=2.0)  # utility stays below 1
    one = np.ones((1, 1, 1, 1))
    assert consumption_equivalent(bounded, one, 5.0) == np.inf
    assert consumption_equivalent(bounded, one, -5.0) == -100
    assert consumption_equivalent(bounded, one, 0.0) == 0
    assert np.isnan(consumption_equivalent(bounded, 0 * one, 0.1))
    linear = EconomyParameters(num_consumers=1, num_firms=1, crra=0.0)
    assert consumption_equivalent(linear, 4 * one, 1.0) == pytest.approx(25.0)


def gain_of(rng, mean, *, seeds=4, validation=None, before=10.0, untrained=2.0, deviator="firm"):
    base = rng.normal(before, 1, 200)
    after = base + mean + rng.normal(0, 0.3, (seeds, 200)) + rng.normal(0, 0.05, (seeds, 1))
    validation = [mean] * seeds if validation is None else validation
    return measure_gain(deviator, base, after, validation, range(seeds), untrained, EconomyParameters())


def test_gains_in_all_units(rng):
    gain = gain_of(rng, 2.0)
    assert gain.known
    assert gain.gain.low < 2.0 < gain.gain.high
    assert gain.percent_of_reward.mean == pytest.approx(20, rel=0.05)
    assert gain.percent_of_improvement.mean == pytest.approx(25, rel=0.05)
    assert gain.consumption_equivalent is None
    assert gain_of(rng, 2.0, untrained=11.0).percent_of_improvement is None


def test_the_best_seed_and_staying_are_chosen_on_validation_episodes_only(rng):
    gain = gain_of(rng, 2.0, validation=[0.1, -0.3, 0.5, -0.1])
    assert gain.stayed == (1, 3)
    assert gain.best_seed == 2
    assert gain.gain.mean == pytest.approx(1.0, abs=0.1)
    assert gain.best_gain.mean == pytest.approx(2.0, abs=0.2)


def test_words_are_lower_bounds_and_a_dead_economy_is_no_equilibrium(rng):
    large, none = gain_of(rng, 2.0), gain_of(rng, 0.0, deviator="planner", validation=[0.01] * 4)
    alive = words(Solution("checkpoint_000001", 100, 0.0, (large, none)))
    assert "firm gains at least" in alive
    assert "planner: a gain of" in alive
    assert "not distinguishable from 0" in alive
    assert "Epsilon, the largest gain, is at least" in alive
    assert "of the reward of firm" in alive
    dead = Solution("checkpoint_000001", 100, 0.9, (none,))
    assert dead.trivial
    assert "trivial" in words(dead)
    assert "not called an equilibrium" in words(dead)
    assert "Epsilon" not in words(dead)
    quiet = words(Solution("checkpoint_000001", 100, 0.0, (none,)))
    assert "Better responses than those found may exist" in quiet
    lines = table(Solution("checkpoint_000001", 100, 0.0, (large, none))).splitlines()
    assert len({line.count("|") for line in lines}) == 1


# The command


def test_the_command_trains_judges_and_writes(small_run, tmp_path):
    arguments = ["--groups", "planner", "--individual", "firm_1", "--seeds", "2", "--iterations", "2"]
    arguments += ["--episodes", "16", "--results", str(tmp_path)]
    command = [sys.executable, "-m", "rbc_rllib.best_response", str(small_run), *arguments]
    finished = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=400)
    assert finished.returncode == 0, finished.stdout + finished.stderr
    assert "gain at least" in finished.stdout
    (folder,) = tmp_path.iterdir()
    record = json.loads((folder / "best_response.json").read_text())
    (solution,) = record["solutions"]
    assert (record["held_out_episodes"], solution["checkpoint"]) == (16, "checkpoint_000000")
    assert [gain["deviator"] for gain in solution["gains"]] == ["planner", "firm_1"]
    assert all(gain["seeds"] == [0, 1] for gain in solution["gains"])
    again = judge(folder, [path.parent for path in folder.glob("*/config.json")])
    assert again in finished.stdout
    assert json.loads((folder / "best_response.json").read_text()) == record


def test_along_training_an_interrupted_run_resumes_to_the_same_gains(ray_on_this_machine, tmp_path):
    experiment = SMALL.with_values({"learning.updates_per_iteration": 1})
    run = trained(experiment, tmp_path / "run", checkpoints=2)
    arguments = ["rbc_rllib.best_response", str(run), "--along-training", "--groups", "firm", "--seeds", "1"]
    arguments += ["--iterations", "60", "--episodes", "16"]
    whole = start(*arguments, "--results", str(tmp_path / "whole"))
    output = finish(whole)
    assert whole.returncode == 0, output

    interrupt(*arguments, "--results", str(tmp_path / "cut"), after="firm deviates")
    process = start(*arguments, "--results", str(tmp_path / "cut"), "--resume")
    output = finish(process)
    assert process.returncode == 0, output

    (straight,), (resumed,) = ((tmp_path / name).glob("*/best_response.json") for name in ("whole", "cut"))
    record = json.loads(straight.read_text())
    assert json.loads(resumed.read_text()) == record
    half = experiment.curriculum.total_env_steps // 2
    assert [solution["env_steps"] for solution in record["solutions"]] == [half, 2 * half]
    assert "after 320 env steps" in output
    assert "after 640 env steps" in output


def test_bad_input_gets_one_sentence_and_starts_nothing(small_run, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    other_size = tmp_path / "runs" / "other_size"
    shutil.copytree(small_run, other_size)
    SMALL.with_values({"economy.num_consumers": 7, "economy.num_firms": 2}).to_json(other_size / "config.json")
    foreign = tmp_path / "runs" / "foreign"
    shutil.copytree(small_run, foreign)
    module = foreign / "checkpoint_000000" / "learner_group" / "learner" / "rl_module" / "firm"
    (module / "class_and_ctor_args.pkl").write_bytes(b"not ours")
    empty = tmp_path / "runs" / "empty"
    empty.mkdir()
    SMALL.to_json(empty / "config.json")
    fixed = tmp_path / "runs" / "fixed"
    shutil.copytree(small_run, fixed)
    taxes = {"curriculum.fixed_income_tax_rate": 0.0, "curriculum.fixed_corporate_tax_rate": 0.4}
    SMALL.with_values(taxes).to_json(fixed / "config.json")
    cases = [
        (["nowhere"], ["nowhere", "no trial's folder"]),
        ([str(tmp_path / "runs")], ["no trial's folder", "other_size"]),
        ([str(empty)], ["no checkpoint"]),
        ([str(small_run), "--checkpoint", "checkpoint_000009"], ["checkpoint_000009", "take checkpoint_000000"]),
        ([str(other_size)], ["checkpoint_000000", "another economy", "7 consumers, 2 firms"]),
        ([str(foreign)], ["checkpoint_000000", "does not hold the networks"]),
        ([str(small_run), "--groups", "government"], ["government", "take consumer, firm, planner"]),
        ([str(small_run), "--individual", "firm_3"], ["firm_3", "no such group or agent", "firm_2"]),
        ([str(small_run), "--individual", "planner_0"], ["planner_0", "no such group or agent"]),
        ([str(small_run), "--individual", "firm"], ["firm", "write e.g. firm_3"]),
        ([str(fixed), "--groups", "planner"], ["planner", "fixed tax rates"]),
        ([str(small_run), "--seeds", "0"], ["--seeds", "at least 1"]),
        ([str(small_run), "--resume"], ["--resume", "no run to resume"]),
    ]
    for arguments, expected in cases:
        with pytest.raises(SystemExit) as ending:
            best_response.main([*arguments, "--results", str(tmp_path / "results")])
        assert ending.value.code == 2
        printed = capsys.readouterr()
        assert printed.out == ""
        (sentence,) = printed.err.strip().splitlines()
        for word in expected:
            assert word in sentence, sentence
        assert not (tmp_path / "results").exists()


@pytest.mark.parametrize("name", ["firms", "firm_03x", "firm_-1", "consumer_6", "planner_0", ""])
def test_a_deviation_names_somebody_who_exists(name):
    with pytest.raises(ConfigError, match=r"deviation\.deviator"):
        SMALL.replace(deviation=Deviation(checkpoint="somewhere", deviator=name))
