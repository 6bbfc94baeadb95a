"""What a Python program does: train an experiment, judge its policies, and play with them."""

import importlib
import json
import subprocess
import sys
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch

import rbc_rllib
from rbc_rllib import ConfigError, VectorEconomy, evaluate, load_policies, parallel_env, train
from rbc_rllib.best_response import best_responses, find_checkpoints
from rbc_rllib.economy import GROUPS
from rbc_rllib.experiment import ExperimentConfig
from rbc_rllib.policies import Policies
from rbc_rllib.runs.launch import Run, RunOptions
from tests.runs.commands import REPOSITORY
from tests.runs.trials import trained, untrained
from tests.small import SMALL

TINY = SMALL.replace(name="tiny", seed=3, evaluation_episodes=12).with_values({"curriculum.total_env_steps": 128})
FIXED_TAXES = SMALL.with_values({"planner.mode": "fixed", "planner.rates": (0.2, 0.6)})
CONSUMERS, FIRMS, QUARTERS = 6, 3, 4


# Training and judging


@pytest.fixture(scope="module")
def results(tmp_path_factory) -> Path:
    return tmp_path_factory.mktemp("results")


@pytest.fixture(scope="module")
def trial(results, ray_on_this_machine) -> Path:
    """What `train` returns."""
    return train(TINY, results=results)


def test_training_returns_the_folder_of_a_trial_that_is_judged(trial, results):
    assert trial == results / "train-tiny" / "tiny_seed3"
    assert ExperimentConfig.of_trial(trial) == TINY
    names = {path.name for path in trial.iterdir()}
    assert names >= {"config.json", "progress.csv", "evaluation.json", "rollout.npz", "rollout.parquet", "rollout.png"}
    assert json.loads((trial / "evaluation.json").read_text())["episodes"] == 12


def test_an_earlier_run_is_refused_and_goes_on_where_it_is_resumed(trial, results):
    before = (trial / "progress.csv").read_bytes(), (trial / "evaluation.json").read_bytes()
    with pytest.raises(ConfigError, match=r"--results = .*train-tiny.* it holds an earlier run"):
        train(TINY, results=results)
    with pytest.raises(ConfigError, match=r"tiny_seed3\.economy\.crra = 0\.5 .* was started with 0\.1"):
        train(TINY.with_values({"economy.crra": 0.5}), results=results, resume=True)
    assert train(TINY, results=str(results), resume=True) == trial
    assert ((trial / "progress.csv").read_bytes(), (trial / "evaluation.json").read_bytes()) == before


def test_nothing_is_resumed_where_nothing_was_started(tmp_path):
    with pytest.raises(ConfigError, match=r"--resume = .* there is no run to resume"):
        train(TINY, results=tmp_path, resume=True)
    assert list(tmp_path.iterdir()) == []


def test_an_evaluation_gives_the_numbers_that_training_wrote(trial):
    record = json.loads((trial / "evaluation.json").read_text())
    before = sorted(trial.rglob("*"))
    evaluation = evaluate(trial)
    assert {name: interval.record() for name, interval in evaluation.summary.items()} == record["indicators"]
    assert evaluation.trivial == record["trivial"]
    assert sorted(trial.rglob("*")) == before  # it writes nothing


def test_an_evaluation_has_as_many_episodes_as_it_is_asked_for_and_its_own_seed(trial):
    own, same, other = (evaluate(str(trial), episodes=5, seed=seed) for seed in (3, None, 4))
    for name, values in own.indicators.items():
        assert values.shape == (5,)
        np.testing.assert_array_equal(values, same.indicators[name])
    assert (own.indicators["consumer_reward"] != other.indicators["consumer_reward"]).any()
    with pytest.raises(ConfigError, match="--episodes = 0 is refused: it must be at least 1"):
        evaluate(trial, episodes=0)


def test_training_that_fails_raises_what_went_wrong(ray_on_this_machine, tmp_path, monkeypatch):
    module = importlib.import_module("rbc_rllib.train")
    monkeypatch.setattr(module, "run", partial(module.run, options=RunOptions(retries=0)))
    exploding = TINY.with_values({"economy.total_factor_productivity": 1e38, "economy.num_firms": 2})
    with pytest.raises(RuntimeError, match=r"is not finite .* the trial stops"):
        train(exploding, results=tmp_path)


def test_training_that_is_interrupted_raises_what_ctrl_c_raises(monkeypatch, tmp_path):
    module = importlib.import_module("rbc_rllib.train")
    monkeypatch.setattr(module, "run", lambda sweep, folder, resume: Run(folder, [], [], interrupted=True))
    with pytest.raises(KeyboardInterrupt):
        train(TINY, results=tmp_path)


# Policies


@pytest.fixture(scope="module")
def run(tmp_path_factory) -> Path:
    return untrained(SMALL, tmp_path_factory.mktemp("policies") / "small")


@pytest.fixture(scope="module")
def policies(run) -> Policies:
    return load_policies(run)


def played(policies: Policies, seed: int = 0) -> tuple[list[dict], list[dict], list[dict]]:
    """An episode agent by agent: observations, actions and rewards of each quarter."""
    env = policies.parallel_env()
    seen, _ = env.reset()
    observations, actions, rewards = [], [], []
    while env.agents:
        observations.append(seen)
        actions.append(policies.act(seen, seed=seed + len(actions)))
        seen, got, *_ = env.step(actions[-1])
        rewards.append(got)
    return observations, actions, rewards


def test_policies_play_an_episode_agent_by_agent(policies):
    observations, actions, rewards = played(policies)
    assert len(actions) == QUARTERS
    env = policies.parallel_env()
    for seen, chosen, got in zip(observations, actions, rewards, strict=True):
        assert chosen.keys() == seen.keys() == got.keys() == {*env.possible_agents}
        for agent, action in chosen.items():
            assert env.action_space(agent).contains(action), agent
    assert any(reward for got in rewards for reward in got.values())


def test_policies_play_many_economies_as_arrays(policies):
    economy = VectorEconomy(SMALL.economy, 5)
    for quarter in range(QUARTERS):
        chosen = policies.act(economy.observe(), seed=quarter)
        assert {group: array.shape for group, array in chosen.items()} == {
            "consumer": (5, CONSUMERS, FIRMS + 2),
            "firm": (5, FIRMS),
            "planner": (5, 1),
        }
        economy.step(economy.decode(chosen))
    assert economy.done
    assert len({tuple(row) for row in chosen["firm"].tolist()}) > 1  # economies draw their own


def same(one: dict, other: dict) -> bool:
    assert one.keys() == other.keys()
    return all(np.array_equal(one[name], other[name]) for name in one)


def test_a_seed_gives_the_same_actions_and_another_seed_others(policies):
    economy = VectorEconomy(SMALL.economy, 4)
    seen = economy.observe()
    assert same(policies.act(seen, seed=5), policies.act(seen, seed=5))
    assert not same(policies.act(seen, seed=5), policies.act(seen, seed=6))
    by_agent, _ = policies.parallel_env().reset()
    assert same(policies.act(by_agent, seed=5), policies.act(by_agent, seed=5))
    assert not same(policies.act(by_agent, seed=5), policies.act(by_agent, seed=6))


def test_without_a_seed_each_call_draws_anew(policies):
    economy = VectorEconomy(SMALL.economy, 64)
    seen = economy.observe()
    assert not same(policies.act(seen), policies.act(seen))


@pytest.mark.parametrize("greedy", [False, True])
def test_both_forms_agree_about_one_economy(policies, greedy):
    env, economy = policies.parallel_env(), VectorEconomy(SMALL.economy, 1)
    by_agent, _ = env.reset()
    for quarter in range(QUARTERS):
        single = policies.act(by_agent, seed=quarter, greedy=greedy)
        arrays = policies.act(economy.observe(), seed=quarter, greedy=greedy)
        for k in range(CONSUMERS):
            np.testing.assert_array_equal(single[f"consumer_{k}"], arrays["consumer"][0, k])
        assert [single[f"firm_{k}"] for k in range(FIRMS)] == arrays["firm"][0].tolist()
        assert single["planner"] == arrays["planner"][0, 0]
        by_agent, rewards, *_ = env.step(single)
        outcome = economy.step(economy.decode(arrays))
        assert rewards["planner"] == pytest.approx(float(outcome.planner_reward[0]))


def test_greedy_policies_take_what_is_most_likely(policies):
    """By hand, from the logits of the firms' and the planner's networks; and whatever the seed."""
    economy = VectorEconomy(SMALL.economy, 3)
    economy.step(economy.decode(policies.act(economy.observe(), seed=0)))
    seen = economy.observe()
    chosen = policies.act(seen, greedy=True)
    assert same(chosen, policies.act(seen, seed=9, greedy=True))
    observation = {"shared": torch.from_numpy(seen["shared"]).float()}
    for group in ("firm", "planner"):
        own = {"private": torch.from_numpy(seen[group]).float()} if group in seen else {}
        network = policies.networks[group]
        logits = network.logits(observation | own, network.trunk(observation | own))
        np.testing.assert_array_equal(chosen[group], logits.argmax(-1).reshape(3, -1).numpy())
    wanted = policies.networks["consumer"]
    observation |= {"private": torch.from_numpy(seen["consumer"]).float()}
    heads = wanted.logits(observation, wanted.trunk(observation)).split(wanted.head_sizes, -1)
    for head, logits in enumerate(heads):
        np.testing.assert_array_equal(chosen["consumer"][..., head], logits.argmax(-1).numpy())


@pytest.mark.parametrize("greedy", [False, True])
def test_masks_are_respected(policies, greedy):
    seen, _ = policies.parallel_env().reset()
    for allowed in (0, 17, 29):
        mask = np.zeros(30, np.uint8)
        mask[allowed] = 1
        masked = {name: own | {"action_mask": mask} if "firm" in name else own for name, own in seen.items()}
        for seed in range(5):
            chosen = policies.act(masked, seed=seed, greedy=greedy)
            assert [chosen[f"firm_{k}"] for k in range(FIRMS)] == [allowed] * FIRMS


def test_policies_play_as_an_evaluation_does(trial):
    """Two routes to one mean: the rewards of many episodes that Python plays, and those of held-out episodes."""
    policies, economy = load_policies(trial), VectorEconomy(TINY.economy, 400)
    rewards = []
    for quarter in range(QUARTERS):
        outcome = economy.step(economy.decode(policies.act(economy.observe(), seed=quarter)))
        rewards.append(outcome.firm_reward.mean(1))
    mine, theirs = np.mean(rewards, 0), evaluate(trial, episodes=400).rewards["firm"].mean(1)
    error = np.hypot(mine.std(), theirs.std()) / 20
    assert mine.mean() == pytest.approx(theirs.mean(), abs=4 * float(error))


def test_with_fixed_taxes_there_is_no_planner_among_the_agents(tmp_path):
    policies = load_policies(untrained(FIXED_TAXES, tmp_path / "fixed"))
    assert set(policies.networks) == {"consumer", "firm"}
    _, actions, rewards = played(policies)
    assert "planner" not in actions[0]
    assert "planner" not in rewards[0]
    economy = VectorEconomy(SMALL.economy, 2, planner=FIXED_TAXES.planner)
    economy.step(economy.decode(policies.act(economy.observe(), seed=0)))
    np.testing.assert_allclose(economy.state.income_tax_rate, 0.2, rtol=1e-6)
    np.testing.assert_allclose(economy.state.corporate_tax_rate, 0.6, rtol=1e-6)


@pytest.mark.parametrize("deviator", ["firm", "firm_1", "consumer_0+consumer_4", "consumer_3+firm_0+firm_2"])
def test_only_who_deviates_acts_by_the_best_response(deviator, small_run, tmp_path):
    checkpoints = find_checkpoints(small_run)
    (experiment,) = best_responses(small_run, [deviator], checkpoints, seeds=1, iterations=2).experiments
    frozen, responding = load_policies(small_run), load_policies(trained(experiment, tmp_path / "response"))
    deviating = {part.group: list(part.agents or range(FIRMS)) for part in experiment.deviation.parts.values()}
    economy = VectorEconomy(SMALL.economy, 200)
    seen = economy.observe()
    before, after = frozen.act(seen, seed=0), responding.act(seen, seed=0)
    for group in GROUPS:
        agents = before[group].shape[1]
        others = [k for k in range(agents) if k not in deviating.get(group, [])]
        np.testing.assert_array_equal(after[group][:, others], before[group][:, others])
    for group, agents in deviating.items():
        assert (after[group][:, agents] != before[group][:, agents]).any()
    by_agent, _ = responding.parallel_env().reset()
    assert responding.act(by_agent, seed=0).keys() == by_agent.keys()


def test_another_checkpoint_can_be_named(tmp_path):
    run = trained(SMALL, tmp_path / "small", checkpoints=2)
    first, last = (load_policies(run, f"checkpoint_{number:06}") for number in range(2))
    newest = load_policies(str(run))
    seen = VectorEconomy(SMALL.economy, 1).observe()

    def logits(policies: Policies) -> torch.Tensor:
        network, observation = policies.networks["firm"], {"shared": torch.from_numpy(seen["shared"]).float()}
        observation["private"] = torch.from_numpy(seen["firm"]).float()
        return network.logits(observation, network.trunk(observation))

    assert torch.equal(logits(newest), logits(last))
    assert not torch.equal(logits(newest), logits(first))
    with pytest.raises(ConfigError, match=r"kpoint_000007. is refused: its checkpoint.json cannot be read"):
        load_policies(run, "checkpoint_000007")


def test_missing_agents_get_one_sentence(policies):
    seen, _ = policies.parallel_env().reset()
    incomplete = {name: own for name, own in seen.items() if name not in ("consumer_2", "planner")}
    with pytest.raises(ConfigError, match=r"observations = .* 2 do not, first consumer_2; give all that"):
        policies.act(incomplete, seed=0)
    for none_or_one in ({}, {"planner": seen["planner"]}):
        number = 10 - len(none_or_one)
        with pytest.raises(ConfigError, match=rf"observations = .* {number} do not, first consumer_0"):
            policies.act(none_or_one, seed=0)


@pytest.mark.parametrize("missing", ["consumer", "firm"])
def test_missing_arrays_get_one_sentence(policies, missing):
    seen = VectorEconomy(SMALL.economy, 2).observe()
    del seen[missing]
    with pytest.raises(ConfigError, match=rf"observations = .*{missing}"):
        policies.act(seen, seed=0)


def test_no_trial_gets_one_sentence(tmp_path):
    with pytest.raises(ConfigError, match="no trial's folder"):
        load_policies(tmp_path)


def test_policies_need_no_cluster(run):
    program = f"""
import ray
from rbc_rllib import load_policies
policies = load_policies({str(run)!r})
env = policies.parallel_env()
seen, _ = env.reset()
env.step(policies.act(seen, seed=0))
print(ray.is_initialized())
"""
    done = subprocess.run([sys.executable, "-c", program], cwd=REPOSITORY, capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["False"]


def test_the_environment_of_policies_is_the_public_one(policies):
    env = policies.parallel_env()
    assert isinstance(env, type(parallel_env(SMALL.economy)))
    assert env.possible_agents == parallel_env(SMALL.economy).possible_agents
    assert {"train", "evaluate", "load_policies", "Policies"} <= set(rbc_rllib.__all__)
