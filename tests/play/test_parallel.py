"""`parallel_env` is a proper PettingZoo environment, gives the numbers of `RBCEnv`, and needs no Ray."""

import re
import subprocess
import sys
from typing import Any

import numpy
import pytest
from pettingzoo.test import parallel_api_test

from rbc_rllib.economy import EconomyParameters, Planner
from rbc_rllib.play.env import RBCEnv, group_of
from rbc_rllib.play.parallel import ParallelEconomy, parallel_env
from rbc_rllib.settings import ConfigError, PerGroup

SMALL = EconomyParameters(num_consumers=4, num_firms=3, episode_length=5)
AGENTS = [*(f"consumer_{c}" for c in range(4)), *(f"firm_{f}" for f in range(3)), "planner"]
PLANNERS = {
    "discretion": Planner(),
    "constant": Planner(mode="constant"),
    "schedule": Planner(mode="schedule"),
    "untaxed": Planner(mode="fixed", rates=((0.0, 0.0),)),
    "fixed": Planner(mode="fixed", rates=((0.2, 0.6),)),
    "drawn": Planner(mode="fixed", rates="drawn"),
}
every_mode = pytest.mark.parametrize("planner", PLANNERS.values(), ids=PLANNERS)


def sampled(env: ParallelEconomy, seed: int) -> dict[str, Any]:
    """An action of every agent, at random."""
    for number, agent in enumerate(env.possible_agents):
        env.action_space(agent).seed(100 * seed + number)
    return {agent: env.action_space(agent).sample() for agent in env.agents}


def assert_same(one: dict[str, dict[str, numpy.ndarray]], other: dict[str, dict[str, numpy.ndarray]]) -> None:
    """Observations of the same agents, equal in every number and type."""
    assert list(one) == list(other)
    for agent, seen in one.items():
        assert seen.keys() == other[agent].keys()
        for name, values in seen.items():
            assert values.dtype == other[agent][name].dtype
            numpy.testing.assert_array_equal(values, other[agent][name], err_msg=f"{agent} {name}")


@every_mode
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_pettingzoo_finds_nothing_wrong_with_it(dtype, planner):
    parallel_api_test(parallel_env(SMALL.replace(dtype=dtype), planner=planner))


def test_by_default_it_is_the_economy_of_the_paper():
    env = parallel_env()
    assert len(env.possible_agents) == 111
    assert env.possible_agents[99:101] == ["consumer_99", "firm_0"]
    assert env.possible_agents[-1] == "planner"
    observations, infos = env.reset(seed=3)
    assert env.agents == list(observations) == list(infos) == env.possible_agents
    assert env.economy.params == EconomyParameters()


@every_mode
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_a_whole_episode_is_that_of_rllibs_environment(dtype, planner):
    """Its pages first, then its five quarters."""
    economy = SMALL.replace(dtype=dtype, planner_welfare="total")
    scale = PerGroup(consumer=50.0, firm=1e5, planner=2e3)
    env = parallel_env(economy, encodings=("log",), reward_scale=scale, planner=planner)
    same = RBCEnv({"economy": economy, "encodings": ("log",), "reward_scale": scale, "planner": planner})
    agents = AGENTS if planner.learns else AGENTS[:-1]
    pages = planner.num_pages(economy) if planner.learns else 0
    assert env.possible_agents == same.possible_agents == agents
    assert {agent: env.observation_space(agent) for agent in agents} == same.observation_spaces
    assert {agent: env.action_space(agent) for agent in agents} == same.action_spaces
    for episode in range(2):
        (seen, infos), (expected, _) = env.reset(seed=episode), same.reset(seed=episode)
        assert_same(seen, expected)
        assert infos == {agent: {} for agent in seen}
        for number in range(1 - pages, 6):
            assert env.agents == same.agents == (["planner"] if number < 1 else agents)
            actions = sampled(env, seed=100 + 10 * episode + number)
            observations, rewards, terminations, truncations, infos = env.step(actions)
            expected, own_rewards, own_terminations, _, _ = same.step(actions)
            assert_same(observations, expected)
            present = ["planner"] if number < 0 else agents
            assert list(observations) == list(rewards) == present
            assert rewards == {agent: own_rewards.get(agent, 0.0) for agent in present}
            assert (number < 1) == (not any(rewards.values()))
            assert terminations == dict.fromkeys(present, own_terminations["__all__"])
            assert own_terminations["__all__"] == (number == 5)
            assert truncations == dict.fromkeys(present, False)
            assert infos == {agent: {} for agent in present}
        assert env.agents == []
        assert len(set(rewards.values())) > 4


@every_mode
def test_observations_lie_in_their_spaces(planner):
    env = parallel_env(SMALL.replace(dtype="float64"), planner=planner)
    observations, _ = env.reset()
    while env.agents:
        assert list(observations) == env.agents
        assert all(env.observation_space(agent).contains(seen) for agent, seen in observations.items())
        observations, *_ = env.step(sampled(env, seed=env.economy.quarter))


def test_a_space_is_one_object():
    """Whoever seeds an agent's space seeds the one from which it samples."""
    env = parallel_env(SMALL)
    for agent in AGENTS:
        assert env.action_space(agent) is env.action_space(agent)
        assert env.observation_space(agent) is env.observation_space(agent)


def test_the_seed_of_an_economy_without_chance_changes_nothing():
    assert_same(*(parallel_env(SMALL).reset(seed=seed)[0] for seed in (1, 2)))


def test_it_needs_no_ray():
    code = "import sys, rbc_rllib.play.parallel as play; play.parallel_env(); print(*sys.modules)"
    finished = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    loaded = {name.partition(".")[0] for name in finished.stdout.split()}
    assert "pettingzoo" in loaded
    assert not {"ray", "torch"} & loaded


@pytest.mark.parametrize(
    ("arguments", "key", "words"),
    [
        ({"economy": 3}, "economy", "valid dictionary"),
        ({"economy": {"num_firm": 3}}, "economy.num_firm", "write num_firms"),
        ({"economy": {"num_firms": 0}}, "economy.num_firms", "greater than 0"),
        ({"encodings": ("digit",)}, "encodings.0", "'digits' or 'log'"),
        ({"encodings": ()}, "encodings", "at least 1 item"),
        ({"reward_scale": {"consumer": 1.0, "firm": 1.0}}, "reward_scale.planner", "required"),
        ({"reward_scale": 1.0}, "reward_scale", "valid dictionary"),
        ({"planner": "schedule"}, "planner", "valid dictionary"),
        ({"planner": {"mode": "fixed", "rates": (0.2, 0.5)}}, "planner.rates", "0.5 must be on the menu"),
        ({"planner": {"mode": "fixed", "rates": (20, 80)}}, "planner.rates.0.0", "less than or equal to 1"),
    ],
    ids=str,
)
def test_a_bad_argument_is_refused_in_one_sentence(arguments, key, words):
    with pytest.raises(ConfigError, match=re.escape(words)) as refusal:
        parallel_env(**arguments)
    error = refusal.value
    assert error.key == key
    assert str(error) == f"{key} = {error.value!r} is refused: {error.rule}; {error.fix}."
    assert not re.search(r"\. [A-Z]", str(error))


def test_a_seed_draws_the_same_rates_again():
    seen = [parallel_env(SMALL, planner=PLANNERS["drawn"]).reset(seed=seed)[0] for seed in (1, 1, 2)]
    assert_same(seen[0], seen[1])
    assert (seen[0]["firm_0"]["shared"] != seen[2]["firm_0"]["shared"]).any()


@pytest.mark.parametrize("missing", ["planner", "firm_1", "consumer_2"])
def test_an_agent_without_an_action_is_refused(missing):
    env = parallel_env(SMALL)
    env.reset()
    actions = sampled(env, seed=0)
    del actions[missing]
    with pytest.raises(ConfigError, match=f"1 are missing, first {missing}") as refusal:
        env.step(actions)
    assert not re.search(r"\. [A-Z]", str(refusal.value))


def test_groups_are_told_by_the_names_of_agents():
    assert {group_of(agent) for agent in parallel_env(SMALL).possible_agents} == {"consumer", "firm", "planner"}
