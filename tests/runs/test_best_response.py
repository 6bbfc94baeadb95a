"""Best responses: against exact solutions of small games, and with frozen policies that stay."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from rbc_rllib.best_response import best_responses, final_game, find_checkpoints, find_starts
from rbc_rllib.economy import GROUPS
from rbc_rllib.experiment import ExperimentConfig
from rbc_rllib.leaving import DEVIATOR, Deviation
from rbc_rllib.play.held_out import play_held_out
from rbc_rllib.responses import judge, settings_of
from rbc_rllib.settings import ConfigError
from rbc_rllib.training.checkpoints import load_networks, newest_checkpoint, training_state, weights_hash
from tests.exact import exact_values
from tests.play.networks import build_modules
from tests.runs.answers import answer_of
from tests.runs.commands import finish, interrupt, joined, start
from tests.runs.trials import trained, trial_of, untrained
from tests.small import SMALL

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


# Against exact solutions


@pytest.mark.usefixtures("ray_on_this_machine")
@pytest.mark.parametrize("deviator", GAMES)
def test_a_best_response_reaches_the_exact_gain_and_then_there_is_none_left(deviator, tmp_path):
    answer = answer_of(deviator, GAMES[deviator], tmp_path)
    gain, learned, (reward, reached, best) = answer.gain, answer.learned, answer.exact(deviator)
    assert best > reward
    assert reached - reward >= 0.95 * (best - reward)
    assert gain["distinguishable_from_0"]
    assert gain["gain"]["low"] <= 1.05 * (reached - reward)
    assert gain["gain"]["high"] >= 0.95 * (reached - reward)
    if "_" in deviator:
        return  # the lone deviator's policy is no group's: there is no run in which it is frozen

    (checkpoint,) = find_checkpoints(learned)
    alone = [] if deviator == "planner" else [f"each_{deviator}"]
    again = best_responses(learned, [deviator, *alone], [checkpoint], seeds=1, iterations=3, episodes=4096)
    judge(tmp_path, [trained(experiment, tmp_path / experiment.name) for experiment in again.experiments])
    for gain in json.loads((tmp_path / "best_response.json").read_text())["solutions"][0]["gains"]:
        assert gain["gain"]["low"] <= 0.05 * (best - reward)
        assert gain["gain"]["mean"] == pytest.approx(0, abs=0.05 * (best - reward))


def test_the_exact_solution_agrees_with_the_mean_over_episodes():
    """Two routes to one number: the tree of all events, and many sampled episodes."""
    game = GAMES["consumer_1"]
    modules = build_modules(game.economy)
    sampled = play_held_out(game, modules, episodes=4000, seed=0)
    for deviator in ("consumer_0", "consumer_1", "firm_0", "planner"):
        group, _, index = deviator.partition("_")
        rewards = sampled.rewards[group][:, int(index or 0)]
        exact, best = exact_values(game, modules, deviator)
        assert rewards.mean() == pytest.approx(exact, abs=4 * rewards.std() / np.sqrt(len(rewards)) + 1e-6)
        assert best >= exact


# Freezing


def hashes_in(checkpoint) -> dict[str, str]:
    """Those of the groups' networks in a checkpoint of the small economy."""
    return {group: weights_hash(module.get_state()) for group, module in load_networks(checkpoint, SMALL).items()}


DEVIATORS = ["consumer", "firm", "planner", "consumer_4", "firm_0", "firm_0+firm_2", "firm_0+firm_1+firm_2"]
DEVIATORS += ["each_consumer", "each_firm", "consumer_1+firm_0+firm_2"]


@pytest.mark.parametrize("deviator", DEVIATORS)
def test_only_the_deviator_learns_and_everything_else_is_the_checkpoint_bit_by_bit(deviator, small_run):
    (checkpoint,) = find_checkpoints(small_run)
    (experiment,) = best_responses(small_run, [deviator], [checkpoint], seeds=1, iterations=2).experiments
    trial, parts = trial_of(experiment), experiment.deviation.parts
    start = {name: weights_hash(state) for name, state in trial.learner_group.get_weights().items()}
    assert {trial.learner_group._learner.entropy_coefficients[policy] for policy in parts} == {0.005}
    expected = hashes_in(checkpoint)
    expected |= {policy: expected[part.group] for policy, part in parts.items()}
    assert start == expected
    assert trial.env_runner.weights_hashes() == expected
    (economy,) = [trial.env_runner.env.economy]
    assert economy.labor_disutility_scale == 1.0
    assert all(mask.all() for mask in economy.action_masks.values())

    reports = [trial.train() for _ in range(2)]
    assert [report["done"] for report in reports] == [False, True]
    assert reports[0]["curriculum_stage"] == f"{deviator} deviates"
    penalties = {report["curriculum"]["penalty_coefficient"] for report in reports}
    assert penalties == {experiment.economy.penalty_coefficient}
    after = {name: weights_hash(state) for name, state in trial.learner_group.get_weights().items()}
    assert {name for name in after if after[name] != expected[name]} == {*parts}
    trial.stop()


def test_runners_in_other_processes_play_the_checkpoint(small_run):
    (checkpoint,) = find_checkpoints(small_run)
    (experiment,) = best_responses(small_run, ["firm_2"], [checkpoint], seeds=1, iterations=1).experiments
    experiment = experiment.with_values({"resources.num_env_runners": 2})
    trial, expected = trial_of(experiment), hashes_in(checkpoint)
    trial.train()
    for hashes in trial.env_runner_group.foreach_env_runner(lambda r: r.weights_hashes(), local_env_runner=False):
        assert {group: hashes[group] for group in GROUPS} == expected
    trial.stop()


def test_a_policy_that_is_not_the_checkpoints_ends_the_training(small_run):
    (checkpoint,) = find_checkpoints(small_run)
    (experiment,) = best_responses(small_run, ["firm"], [checkpoint], seeds=1, iterations=2).experiments
    trial = trial_of(experiment)

    def spoil(learner):
        with torch.no_grad():
            learner.module["consumer"].unwrapped().value_head.weight[0, 0] += 1e-3

    trial.learner_group.foreach_learner(spoil)
    with pytest.raises(RuntimeError, match=r"the consumer policy that is played is not that of .*checkpoint_000000"):
        trial.train()
    trial.stop()


def test_deviators_play_the_game_in_which_training_ended(small_run):
    (checkpoint,) = find_checkpoints(small_run)
    state = training_state(checkpoint)
    assert state.env_steps == 640
    assert state.penalty_increase > 0
    game = final_game(ExperimentConfig.from_json(small_run / "config.json"), checkpoint, iterations=3)
    assert game.economy.penalty_coefficient == pytest.approx(state.penalty_increase)
    assert game.num_iterations == 3
    first, final = game.curriculum.at(0), SMALL.curriculum.final()
    assert first.entropy_coeff == dict.fromkeys(GROUPS, 0.005)
    assert game.curriculum.at(10**9).entropy_coeff == pytest.approx(dict.fromkeys(GROUPS, 0.0))
    assert first.labor_disutility_scale == final.labor_disutility_scale == 1.0
    assert first.ranges.corporate_tax_rate == final.ranges.corporate_tax_rate
    own = SMALL.learning
    rates, halved = own.learning_rate.model_dump(), game.learning.learning_rate.model_dump()
    assert halved == {group: rate / 2 for group, rate in rates.items()}
    assert game.learning.plan_learning_rate == own.plan_learning_rate / 2
    assert game.learning.replace(learning_rate=rates, plan_learning_rate=own.plan_learning_rate) == own


def test_deviators_from_any_run_try_equally_hard(small_run):
    """Whatever was done to bring the run's policies together does not hold back who leaves them."""
    (checkpoint,) = find_checkpoints(small_run)
    refined = SMALL.with_values(
        {"refinement": {"weight_average": 0.9, "magnet_coeff": 0.1, "batch_growth": 4, "own_advantages_from": 0.0}}
    )
    assert final_game(refined, checkpoint) == final_game(SMALL, checkpoint)


# The command


@pytest.mark.slow
def test_the_command_trains_judges_and_writes(small_run, tmp_path):
    arguments = ["--groups", "planner", "--together", "firm_2", "firm_0", "--together", "firm_1", "consumer_0"]
    arguments += ["--seeds", "1"]
    arguments += ["--iterations", "2", "--starts", "frozen", "scratch", "--set", "learning.num_epochs=1"]
    arguments += ["--episodes", "16", "--results", str(tmp_path)]
    process = start("rbc_rllib.best_response", str(small_run), *arguments, **joined())
    output = finish(process, seconds=400)
    assert process.returncode == 0, output
    assert "gain at least" in output
    (folder,) = tmp_path.iterdir()
    record = json.loads((folder / "best_response.json").read_text())
    assert (record["seeds"], record["starts"]) == ([0], ["frozen", "scratch"])
    assert record["set"] == {"learning.num_epochs": 1}
    assert record["held_out_episodes"] == 16
    gains = {gain["deviator"]: gain["unit"] for gain in record["solutions"][0]["gains"]}
    assert gains == {"planner": "utility", "consumer_0+firm_1": "utility", "firm_0+firm_2": "money"}
    assert [*gains] == ["planner", "consumer_0+firm_1", "firm_0+firm_2"]
    assert (folder / "best_response.png").stat().st_size > 10_000
    own = [ExperimentConfig.from_json(path) for path in folder.glob("*/config.json")]
    assert len(own) == 3 * 2
    assert {each.learning.num_epochs for each in own} == {1}
    again = judge(folder, [path.parent for path in folder.glob("*/config.json")])
    assert again in output
    assert json.loads((folder / "best_response.json").read_text()) == record


@pytest.mark.usefixtures("ray_on_this_machine")
def test_of_all_that_was_learned_the_best_of_each_seed_is_judged(small_run, tmp_path):
    (checkpoint,), starts = find_checkpoints(small_run), find_starts(small_run, ["frozen", "scratch"])
    sweep = best_responses(
        *(small_run, ["planner", "firm_2+firm_0", "firm_0+firm_2"], [checkpoint], 2, 2, 16),
        starts=starts,
        values={"learning.num_epochs": 1},
    )
    assert len(sweep.experiments) == 2 * 2 * 2
    judge(tmp_path, [trained(each, tmp_path / f"{each.name}_seed{each.seed}", 2) for each in sweep.experiments])
    record = json.loads((tmp_path / "best_response.json").read_text())
    (solution,) = record["solutions"]
    assert (record["seeds"], record["starts"]) == ([0, 1], ["frozen", "scratch"])
    assert record["set"] == {"learning.num_epochs": 1}
    assert (record["held_out_episodes"], solution["checkpoint"]) == (16, "checkpoint_000000")
    assert [gain["deviator"] for gain in solution["gains"]] == ["planner", "firm_0+firm_2"]
    assert all(gain["seeds"] == [0, 1] for gain in solution["gains"])
    for gain in solution["gains"]:
        assert {start: [at for at, _ in curve] for start, curve in gain["curve"].items()} == {
            "frozen": [1, 2],
            "scratch": [1, 2],
        }
        assert len(gain["chosen"]) == 2
        parts = gain["temperature"]["mean"] + gain["unconverged"]["mean"]
        assert parts == pytest.approx(gain["gain"]["mean"], rel=1e-6, abs=1e-9)


@pytest.mark.slow
def test_along_training_an_interrupted_run_resumes_to_the_same_gains(ray_on_this_machine, tmp_path):
    experiment = SMALL.with_values({"learning.updates_per_iteration": 1})
    run = trained(experiment, tmp_path / "run", checkpoints=2)
    arguments = ["rbc_rllib.best_response", str(run), "--along-training", "--groups", "firm", "--seeds", "1"]
    arguments += ["--iterations", "32", "--episodes", "16", "--results", str(tmp_path)]
    interrupt(*arguments, after="firm deviates", **joined())
    process = start(*arguments, "--resume", **joined())
    output = finish(process)
    assert process.returncode == 0, output

    straight = tmp_path / "straight"
    sweep = best_responses(run, ["firm"], find_checkpoints(run, along_training=True), 1, 32, 16)
    judge(straight, [trained(each, straight / each.name, checkpoints=4) for each in sweep.experiments])
    record = json.loads((straight / "best_response.json").read_text())
    (resumed,) = tmp_path.glob("best_response-*/best_response.json")
    assert json.loads(resumed.read_text()) == record
    half = experiment.curriculum.total_env_steps // 2
    assert [solution["env_steps"] for solution in record["solutions"]] == [half, 2 * half]
    assert "after 320 env steps" in output
    assert "after 640 env steps" in output


def test_a_deviator_starts_where_it_is_told(small_run, tmp_path):
    (checkpoint,), other = find_checkpoints(small_run), untrained(SMALL, tmp_path / "other" / "run")
    starts = find_starts(small_run, ["frozen", "scratch", str(other)])
    sweep = best_responses(small_run, ["firm_0"], [checkpoint], seeds=1, iterations=1, starts=starts)
    assert [each.name for each in sweep.experiments] == [
        "firm_0-checkpoint_000000",
        "firm_0-checkpoint_000000-scratch",
        "firm_0-checkpoint_000000-other-run",
    ]
    expected, own = hashes_in(checkpoint), []
    for experiment in sweep.experiments:
        trial = trial_of(experiment)
        hashes = trial.env_runner.weights_hashes()
        own.append(hashes.pop(DEVIATOR))
        assert hashes == expected
        trial.stop()
    assert own[0] == expected["firm"]
    assert own[2] == hashes_in(newest_checkpoint(other))["firm"]
    assert len({*own}) == 3


def test_a_run_in_which_somebody_has_left_already_cannot_be_left(small_run, tmp_path):
    (checkpoint,) = find_checkpoints(small_run)
    for deviator in ("firm_1", "each_firm", "firm_0+firm_1"):
        (experiment,) = best_responses(small_run, [deviator], [checkpoint], 1, 1).experiments
        experiment.to_json(tmp_path / "config.json")
        with pytest.raises(ConfigError, match=r"by a policy of their own.*name the run that they left"):
            best_responses(tmp_path, ["firm"], [checkpoint])


def test_a_deviation_keeps_its_folders_from_their_root_on():
    deviation = Deviation(checkpoint="a/run/checkpoint_000000", deviator="firm", start="b/run/checkpoint_000001")
    assert deviation.checkpoint == str(Path("a/run/checkpoint_000000").absolute())
    assert deviation.start == str(Path("b/run/checkpoint_000001").absolute())
    assert deviation.start_name == "b-run"


def test_a_start_that_does_not_fit_is_refused(small_run, tmp_path):
    wider = untrained(SMALL.with_values({"learning.hidden_sizes": (16, 16)}), tmp_path / "wider" / "run")
    for names in (["frozen", "frozen"], ["cold"], [str(wider)]):
        with pytest.raises(ConfigError) as refusal:
            find_starts(small_run, names)
        assert refusal.value.key == "--starts"


def test_no_start_is_a_run_that_others_have_left_or_named_twice(small_run, tmp_path):
    """A lone deviator's policy is no group's: its group's there would be the frozen one again."""
    (experiment,) = best_responses(small_run, ["firm_1"], find_checkpoints(small_run), 1, 1).experiments
    left = untrained(experiment, tmp_path / "left" / "run")
    with pytest.raises(ConfigError, match=r"--starts.*act by a policy of their own"):
        find_starts(small_run, [str(left)])
    for place in ("here", "there"):
        untrained(SMALL, tmp_path / place / "main" / "run")
    with pytest.raises(ConfigError, match=r"--starts.*main-run is named twice"):
        find_starts(small_run, [str(tmp_path / place / "main" / "run") for place in ("here", "there")])


def test_what_is_set_for_a_deviator_is_how_it_learns_and_nothing_else(small_run):
    (checkpoint,) = find_checkpoints(small_run)
    for key, value in (("curriculum.cooling_start", 0.9), ("curriculum.cooled_entropy_coeff.firm", 0.001)):
        (experiment,) = best_responses(small_run, ["firm"], [checkpoint], 1, 2, values={key: value}).experiments
        assert settings_of(experiment) == {key: value}
    values = {
        "learning.num_epochs": 3,
        "curriculum.final_entropy_coeff": {"consumer": 0.1, "firm": 0.2, "planner": 0.3},
    }
    (experiment,) = best_responses(small_run, ["firm"], [checkpoint], 1, 2, values=values).experiments
    assert experiment.learning.num_epochs == 3
    assert experiment.curriculum.at(0).entropy_coeff["firm"] == 0.2
    for batches in ({"learning.economies_per_update": 16}, {"learning.updates_per_iteration": 1}):
        (experiment,) = best_responses(small_run, ["firm"], [checkpoint], 1, 6, values=batches).experiments
        assert experiment.num_iterations == 6
    of_the_run = {"economy.crra": 0.2, "seed": 1, "curriculum.total_env_steps": 64, "planner.mode": "schedule"}
    of_networks = {"learning.hidden_sizes": (64, 64), "learning.observation_encodings": ("log",)}
    for key, value in (of_the_run | of_networks).items():
        with pytest.raises(ConfigError, match="a deviator plays the run's own game") as refusal:
            best_responses(small_run, ["firm"], [checkpoint], 1, 2, values={key: value})
        assert refusal.value.key == key


@pytest.mark.parametrize(
    "name",
    ["firms", "firm_03x", "firm_-1", "consumer_6", "planner_0", "firm_0+", "firm_1+firm_1", "firm_0+consumer_6", ""],
)
def test_a_deviation_names_somebody_who_exists(name):
    with pytest.raises(ConfigError, match=r"deviation\.deviator"):
        SMALL.replace(deviation=Deviation(checkpoint="somewhere", deviator=name))
