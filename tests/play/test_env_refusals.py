"""`RBCEnv` refuses in one sentence what it cannot play."""

import re

import pytest

from rbc_rllib.play.env import RBCEnv
from rbc_rllib.settings import ConfigError
from tests.economy.samples import random_actions
from tests.play.test_env import SMALL, sampled


def assert_one_sentence(error: ConfigError) -> None:
    assert str(error).startswith(f"{error.key} = ")
    assert str(error).endswith(f"is refused: {error.rule}; {error.fix}.")
    assert not re.search(r"\. [A-Z]", str(error))


@pytest.mark.parametrize(
    ("config", "key", "words"),
    [
        ({"num_env": 3}, "num_env", "write num_envs"),
        ({"economy": {"num_firm": 3}}, "economy.num_firm", "write num_firms"),
        ({"economy": {"num_firms": 0}}, "economy.num_firms", "greater than 0"),
        ({"num_envs": 0}, "num_envs", "greater than 0"),
        ({"array_library": "torch"}, "array_library", "'auto', 'numpy' or 'cupy'"),
        ({"encodings": ["digit"]}, "encodings.0", "'digits' or 'log'"),
        ({"reward_scale": {"consumer": 1.0, "firm": 1.0}}, "reward_scale.planner", "required"),
        ({"planner": "fixed"}, "planner", "valid dictionary"),
        ({"planner": {"mods": "fixed"}}, "planner.mods", "write mode"),
        ({"planner": {"mode": "fixed"}}, "planner.rates", "needs their rates"),
        ({"planner": {"mode": "fixed", "rates": (0.4, 0.5)}}, "planner.rates", "0.5 must be on the menu"),
        ({"planner": {"mode": "fixed", "rates": ((0.4, 0.4),) * 4}}, "planner.rates", "give 1 or 9 pairs, not 4"),
        ({"planner": {"mode": "fixed", "rates": (0.4, 80)}}, "planner.rates.0.1", "less than or equal to 1"),
        ({"fixed_tax_rates": (0.4, 0.8)}, "fixed_tax_rates", "no such key"),
    ],
    ids=str,
)
def test_a_wrong_env_config_is_refused(config, key, words):
    with pytest.raises(ConfigError, match=re.escape(words)) as refusal:
        RBCEnv(config)
    assert refusal.value.key == key
    assert_one_sentence(refusal.value)


@pytest.mark.parametrize("missing", [["planner"], ["firm_1"], ["consumer_2", "consumer_3", "firm_0"]], ids=str)
def test_an_agent_without_an_action_is_refused(missing):
    env = RBCEnv({"economy": SMALL})
    env.reset()
    chosen = {agent: action for agent, action in sampled(env).items() if agent not in missing}
    with pytest.raises(ConfigError, match=f"{len(missing)} are missing, first {missing[0]}") as refusal:
        env.step(chosen)
    assert refusal.value.key == "action_dict"
    assert_one_sentence(refusal.value)


@pytest.mark.parametrize("mode", ["discretion", "schedule"])
def test_a_step_before_the_first_reset_is_refused(mode):
    env = RBCEnv({"economy": SMALL, "planner": {"mode": mode}})
    with pytest.raises(ConfigError, match="reset the environment first") as refusal:
        env.step({})
    assert_one_sentence(refusal.value)


@pytest.mark.parametrize("mode", ["constant", "schedule"])
def test_a_planner_who_announces_nothing_is_refused(mode):
    env = RBCEnv({"economy": SMALL, "planner": {"mode": mode}})
    env.reset()
    with pytest.raises(ConfigError, match="1 are missing, first planner") as refusal:
        env.step({agent: action for agent, action in sampled(env).items() if agent != "planner"})
    assert refusal.value.fix == "give each of `agents` an action"
    assert_one_sentence(refusal.value)


def test_several_economies_are_stepped_as_arrays_only(rng):
    env = RBCEnv({"economy": SMALL, "num_envs": 2})
    assert env.economy.step(random_actions(SMALL, 2, rng)).firm_reward.shape == (2, 3)
    for act in (env.reset, lambda: env.step({})):
        with pytest.raises(ConfigError, match="plays one economy") as refusal:
            act()
        assert (refusal.value.key, refusal.value.value) == ("num_envs", 2)
        assert_one_sentence(refusal.value)


def test_a_step_after_the_last_quarter_is_refused():
    env = RBCEnv({"economy": SMALL})
    env.reset()
    for _ in range(SMALL.episode_length):
        env.step(sampled(env))
    with pytest.raises(ConfigError, match="reset the environment first") as refusal:
        env.step(sampled(env))
    assert_one_sentence(refusal.value)
