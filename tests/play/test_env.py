"""`RBCEnv` agent by agent gives the numbers of `VectorEconomy`, as RLlib wants them."""

from typing import Any

import numpy
import pytest
from gymnasium import spaces
from ray.rllib.env.env_context import EnvContext
from ray.rllib.utils.pre_checks.env import check_multiagent_environments

from rbc_rllib.economy import ActionRanges, Actions, EconomyParameters, Planner
from rbc_rllib.economy.actions import planner_menu
from rbc_rllib.play.by_agent import EnvSettings
from rbc_rllib.play.env import RBCEnv, group_of
from rbc_rllib.play.spaces import group_spaces
from rbc_rllib.play.vector_economy import VectorEconomy
from rbc_rllib.training.config import stock_config
from tests.economy.samples import random_actions
from tests.small import SMALL as EXPERIMENT

SMALL = EconomyParameters(num_consumers=4, num_firms=3, episode_length=5, planner_welfare="total")
AGENTS = [*(f"consumer_{c}" for c in range(4)), *(f"firm_{f}" for f in range(3)), "planner"]
PLANNERS = {
    "discretion": Planner(),
    "constant": Planner(mode="constant"),
    "schedule": Planner(mode="schedule"),
    "fixed": Planner(mode="fixed", rates=((0.4, 0.8),)),
    "fixed by quarter": Planner(mode="fixed", rates=((0.0, 1.0), (0.2, 0.0), (0.4, 0.6), (1.0, 0.2))),
    "drawn": Planner(mode="fixed", rates="drawn"),
}
every_mode = pytest.mark.parametrize("planner", PLANNERS.values(), ids=PLANNERS)


def by_agent(actions: Actions) -> dict[str, Any]:
    """The actions of one economy as RLlib passes them: units demanded are their own index in the default menu."""
    chosen: dict[str, Any] = {"planner": int(actions.planner[0])}
    for c in range(actions.employer.shape[1]):
        chosen[f"consumer_{c}"] = numpy.array(
            [*actions.consumption[0, c], actions.hours_index[0, c], actions.employer[0, c]]
        )
    for f in range(actions.firm.shape[1]):
        chosen[f"firm_{f}"] = int(actions.firm[0, f])
    return chosen


def sampled(env: RBCEnv) -> dict[str, Any]:
    return {agent: space.sample() for agent, space in env.action_spaces.items()}


def assert_sees(observations: dict[str, Any], arrays: dict[str, numpy.ndarray]) -> None:
    """Every agent sees the shared array and its own row of its group's."""
    assert list(observations) == AGENTS
    for agent, seen in observations.items():
        numpy.testing.assert_array_equal(seen["shared"], arrays["shared"][0], err_msg=agent)
        if agent == "planner":
            assert "private" not in seen
        else:
            group, number = agent.split("_")
            numpy.testing.assert_array_equal(seen["private"], arrays[group][0, int(number)], err_msg=agent)


@pytest.mark.parametrize("seed", range(4))
def test_one_economy_gives_the_numbers_of_the_arrays(seed):
    rng = numpy.random.default_rng(seed)
    env, economy = RBCEnv({"economy": SMALL}), VectorEconomy(SMALL, 1)
    observations, infos = env.reset(seed=seed)
    assert_sees(observations, economy.reset())
    assert infos == {}
    for quarter in range(1, 6):
        actions = random_actions(SMALL, 1, rng)
        observations, rewards, terminated, truncated, infos = env.step(by_agent(actions))
        outcome = economy.step(actions)
        assert_sees(observations, economy.observe())
        expected = [*outcome.consumer_reward[0], *outcome.firm_reward[0], outcome.planner_reward[0]]
        assert list(rewards) == AGENTS
        assert list(rewards.values()) == [float(value) for value in expected]
        assert terminated == {"__all__": quarter == 5}
        assert truncated == {"__all__": False}
        assert infos == {}
    assert len(set(rewards.values())) > 4


def test_a_float64_economy_is_seen_in_float32(rng):
    params = SMALL.replace(dtype="float64")
    env, economy = RBCEnv({"economy": params}), VectorEconomy(params, 1)
    env.reset()
    actions = random_actions(params, 1, rng)
    observations, rewards, *_ = env.step(by_agent(actions))
    outcome = economy.step(actions)
    assert_sees(observations, {name: array.astype(numpy.float32) for name, array in economy.observe().items()})
    assert rewards["firm_1"] == outcome.firm_reward[0, 1]
    assert all(env.observation_spaces[agent].contains(seen) for agent, seen in observations.items())


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("encodings", [("digits",), ("log",), ("digits", "log")])
@pytest.mark.parametrize(("num_consumers", "num_firms"), [(1, 1), (4, 3)])
@every_mode
def test_observations_lie_in_the_spaces_and_sampled_actions_are_accepted(
    planner, num_consumers, num_firms, encodings, dtype
):
    economy = {"num_consumers": num_consumers, "num_firms": num_firms, "episode_length": 5, "dtype": dtype}
    env = RBCEnv({"economy": economy, "encodings": encodings, "planner": planner.model_dump()})
    observations, _ = env.reset()
    done = False
    while not done:
        assert list(observations) == env.agents
        for agent, seen in observations.items():
            assert env.observation_spaces[agent].contains(seen), agent
        for seed, space in enumerate(env.action_spaces.values()):
            space.seed(seed)
        observations, rewards, terminated, _, _ = env.step(sampled(env))
        assert all(isinstance(reward, float) for reward in rewards.values())
        done = terminated["__all__"]
    assert all(env.observation_spaces[agent].contains(seen) for agent, seen in observations.items())


def test_agents_and_spaces():
    env = RBCEnv({"economy": SMALL})
    assert env.possible_agents == AGENTS
    assert list(env.observation_spaces) == list(env.action_spaces) == AGENTS
    for agent in AGENTS:
        expected = {
            "consumer": spaces.MultiDiscrete([11, 11, 11, 5, 3]),
            "firm": spaces.Discrete(30),
            "planner": spaces.Discrete(36),
        }[group_of(agent)]
        assert env.action_spaces[agent] == expected
    by_group = group_spaces(SMALL)
    assert set(by_group["consumer"][0].spaces) == {"shared", "private"}
    assert set(by_group["firm"][0].spaces) == {"shared", "private", "action_mask"}
    assert set(by_group["planner"][0].spaces) == {"shared", "action_mask"}


@pytest.mark.parametrize(("agent", "group"), [("consumer_17", "consumer"), ("firm_0", "firm"), ("planner", "planner")])
def test_group_of_an_agent(agent, group):
    assert group_of(agent) == group_of(agent, object(), worker=3) == group


def test_an_episode_ends_after_its_length_and_the_next_one_starts_anew(rng):
    env = RBCEnv({"economy": SMALL})
    first, _ = env.reset()
    for _ in range(5):
        assert env.agents == AGENTS
        *_, terminated, _, _ = env.step(by_agent(random_actions(SMALL, 1, rng)))
    assert terminated["__all__"]
    assert env.agents == []
    again, _ = env.reset()
    assert env.agents == AGENTS
    for agent in AGENTS:
        for name, values in first[agent].items():
            numpy.testing.assert_array_equal(again[agent][name], values)
    assert not env.step(by_agent(random_actions(SMALL, 1, rng)))[2]["__all__"]


def test_masks_show_the_restricted_ranges():
    """Firm choice 5 p + w is price 500 p, wage 11 w; planner choice 6 i + c is income 20% i, corporate 20% c."""
    env = RBCEnv({"economy": SMALL})
    env.economy.restrict(
        ActionRanges(price=(500, 1200), wage=(22, 22), income_tax_rate=(0, 0.2), corporate_tax_rate=(0.75, 1))
    )
    allowed = {"firm": [5 + 2, 10 + 2], "planner": [4, 5, 6 + 4, 6 + 5]}
    observations, _ = env.reset()
    stepped, *_ = env.step(sampled(env))
    for agent in AGENTS[4:]:
        for seen in (observations[agent], stepped[agent]):
            assert seen["action_mask"].dtype == numpy.int8  # as gymnasium samples with
            assert seen["action_mask"].nonzero()[0].tolist() == allowed[group_of(agent)]
    assert all("action_mask" not in observations[agent] for agent in AGENTS[:4])

    env.economy.restrict(ActionRanges())
    stepped, *_ = env.step(sampled(env))
    assert all(stepped[agent]["action_mask"].all() for agent in AGENTS[4:])


def test_reward_scale_divides_the_rewards_of_its_group(rng):
    scale = {"consumer": 50.0, "firm": 1e5, "planner": 2e3}
    plain, scaled = RBCEnv({"economy": SMALL}), RBCEnv({"economy": SMALL, "reward_scale": scale})
    for env in (plain, scaled):
        env.reset()
    for _ in range(5):
        chosen = by_agent(random_actions(SMALL, 1, rng))
        rewards, divided = plain.step(chosen)[1], scaled.step(chosen)[1]
        for agent in AGENTS:
            assert divided[agent] == pytest.approx(rewards[agent] / scale[group_of(agent)], rel=1e-6)


TAXED = {"economy": SMALL, "planner": {"mode": "fixed", "rates": (0.4, 0.8)}}


def test_where_tax_rates_are_fixed_nobody_is_the_planner(rng):
    env = RBCEnv(TAXED)
    assert env.possible_agents == list(env.observation_spaces) == list(env.action_spaces) == AGENTS[:-1]
    observations, _ = env.reset()
    actions = by_agent(random_actions(SMALL, 1, rng))
    del actions["planner"]
    stepped, rewards, *_ = env.step(actions)
    assert list(observations) == list(stepped) == list(rewards) == env.agents == AGENTS[:-1]


def test_fixed_tax_rates_are_announced_and_in_force_from_the_second_quarter_on(rng):
    """As if they were chosen in every quarter for the next one."""
    env, economy = RBCEnv(TAXED), VectorEconomy(SMALL, 1)
    observations, _ = env.reset()
    economy.reset()
    for quarter in range(5):
        state = env.economy.state
        expected = (0.4, 0.8) if quarter else (0.0, 0.0)
        assert (state.income_tax_rate.item(), state.corporate_tax_rate.item()) == pytest.approx(expected)
        for seen in observations.values():
            assert seen["shared"][-8:] == pytest.approx([0.4, 0.8] * 4)
        actions = random_actions(SMALL, 1, rng)
        chosen = by_agent(actions)
        del chosen["planner"]
        observations, rewards, *_ = env.step(chosen)
        actions.planner[:] = 6 * 2 + 4
        outcome = economy.step(actions)
        assert rewards["firm_2"] == outcome.firm_reward[0, 2]
        assert rewards["consumer_3"] == outcome.consumer_reward[0, 3]


def test_fixed_tax_rates_are_phased_in_by_the_ranges():
    """A curriculum allows up to 50% by now: of 40% and 80%, 40% are imposed of each."""
    env = RBCEnv(TAXED)
    env.economy.restrict(ActionRanges(income_tax_rate=(0.0, 0.5), corporate_tax_rate=(0.0, 0.5)))
    env.reset()
    env.step(sampled(env))
    assert env.economy.state.corporate_tax_rate.item() == pytest.approx(0.4)
    assert env.economy.state.income_tax_rate.item() == pytest.approx(0.4)


def drawn_plan(env: RBCEnv, seed: int | None) -> list[list[float]]:
    """The rates that everybody sees, in each quarter after the first."""
    observations, _ = env.reset(seed=seed)
    assert list(observations) == env.agents == AGENTS[:-1]
    plans = {tuple(seen["shared"][-8:].tolist()) for seen in observations.values()}
    (plan,) = plans
    numpy.testing.assert_array_equal(numpy.reshape(plan, (4, 2)), env.economy.state.tax_plan[0, 1:])
    return numpy.reshape(plan, (4, 2)).round(6).tolist()


def test_drawn_tax_rates_are_those_of_a_seed_and_go_on_from_there():
    env, same = (RBCEnv({"economy": SMALL, "planner": {"mode": "fixed", "rates": "drawn"}}) for _ in range(2))
    plans = [drawn_plan(env, seed=0), *(drawn_plan(env, seed=None) for _ in range(9))]
    assert [drawn_plan(same, seed=0), *(drawn_plan(same, seed=None) for _ in range(9))] == plans
    assert all(plan == [plan[0]] * 4 for plan in plans)
    assert len({tuple(plan[0]) for plan in plans}) > 5
    assert drawn_plan(env, seed=0) == plans[0]
    env.step(sampled(env))
    assert [env.economy.state.income_tax_rate.item(), env.economy.state.corporate_tax_rate.item()] == pytest.approx(
        plans[0][0]
    )


def test_only_allowed_rates_are_drawn():
    env = RBCEnv({"economy": SMALL, "planner": {"mode": "fixed", "rates": "drawn"}})
    env.economy.restrict(ActionRanges(income_tax_rate=(0.0, 0.2), corporate_tax_rate=(0.0, 0.45)))
    drawn = {tuple(drawn_plan(env, seed=seed)[0]) for seed in range(100)}
    assert drawn == {(income, corporate) for income in (0.0, 0.2) for corporate in (0.0, 0.2, 0.4)}


LEARNED = pytest.mark.parametrize("mode", ["constant", "schedule"])


@LEARNED
@pytest.mark.parametrize("episode_length", [1, 2, 5])
def test_a_plan_is_announced_page_by_page_while_nobody_else_acts_and_no_time_passes(mode, episode_length, rng):
    params = SMALL.replace(episode_length=episode_length)
    env = RBCEnv({"economy": params, "planner": {"mode": mode}})
    pages = max(1, episode_length - 1) if mode == "schedule" else 1
    assert env.possible_agents == AGENTS
    for episode in range(2):
        observations, _ = env.reset()
        choices = rng.integers(36, size=pages).tolist()
        for page, choice in enumerate(choices):
            assert list(observations) == env.agents == ["planner"]
            assert set(observations["planner"]) == {"private", "action_mask"}
            assert observations["planner"]["private"].tolist() == [float(k == page) for k in range(pages)]
            assert observations["planner"]["action_mask"].all()
            assert env.economy.quarter == 0
            observations, rewards, terminated, truncated, _ = env.step({"planner": choice})
            assert rewards == {"planner": 0.0}
            assert (terminated, truncated) == ({"__all__": False}, {"__all__": False})
        assert list(observations) == env.agents == AGENTS
        plan = [planner_menu(params)[choices[min(quarter, pages - 1)]] for quarter in range(episode_length - 1)]
        numpy.testing.assert_array_equal(env.economy.state.tax_plan[0, 1:], numpy.reshape(plan, (-1, 2)))
        for agent in AGENTS[:-1]:
            seen = observations[agent]["shared"][-2 * (episode_length - 1) :] if episode_length > 1 else []
            numpy.testing.assert_array_equal(seen, numpy.ravel(plan), err_msg=f"{agent} {episode}")


@LEARNED
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_an_announced_plan_is_in_force_and_gives_the_numbers_of_the_arrays(mode, dtype, rng):
    """Whatever else the planner says in the quarters; its mask leaves it what it has announced."""
    params, scale = SMALL.replace(dtype=dtype), {"consumer": 50.0, "firm": 1e5, "planner": 2e3}
    settings = {"economy": params, "planner": {"mode": mode}, "reward_scale": scale}
    env, economy = RBCEnv(settings), VectorEconomy(params, 1, planner=Planner(mode=mode))
    env.reset()
    choices = rng.integers(36, size=(1, economy.pages))
    for choice in choices[0].tolist():
        observations, *_ = env.step({"planner": choice})
    arrays = economy.reset(choices)
    for quarter in range(1, 6):
        page = min(quarter - 1, economy.pages - 1)
        for agent in AGENTS[:-1]:
            group, number = agent.split("_")
            numpy.testing.assert_array_equal(observations[agent]["shared"], arrays["shared"][0].astype("float32"))
            own = arrays[group][0, int(number)].astype("float32")
            numpy.testing.assert_array_equal(observations[agent]["private"], own)
        assert observations["planner"]["private"].tolist() == [float(k == page) for k in range(economy.pages)]
        assert observations["planner"]["action_mask"].nonzero()[0].tolist() == [choices[0, page]]
        assert set(observations["planner"]) == {"private", "action_mask"}

        actions = random_actions(params, 1, rng)
        observations, rewards, terminated, _, _ = env.step(by_agent(actions))
        outcome, arrays = economy.step(actions), economy.observe()
        in_force = planner_menu(params)[choices[0, page]]
        assert env.economy.state.income_tax_rate.item() == economy.state.income_tax_rate.item() == in_force[0]
        assert env.economy.state.corporate_tax_rate.item() == economy.state.corporate_tax_rate.item() == in_force[1]
        expected = [*outcome.consumer_reward[0], *outcome.firm_reward[0], outcome.planner_reward[0]]
        assert list(rewards) == AGENTS
        for agent, reward in zip(AGENTS, expected, strict=True):
            assert rewards[agent] == pytest.approx(reward / scale[group_of(agent)], rel=1e-6)
        assert terminated == {"__all__": quarter == 5}
    assert env.agents == []


def test_pages_show_what_the_curriculum_allows_and_how_sharply_to_choose():
    env = RBCEnv({"economy": SMALL, "planner": {"mode": "schedule"}})
    env.economy.restrict(ActionRanges(income_tax_rate=(0.0, 0.0), corporate_tax_rate=(0.0, 0.5)), plan_sharpness=3.0)
    observations, _ = env.reset()
    for page in range(4):
        assert observations["planner"]["private"].tolist() == [3.0 * (k == page) for k in range(4)]
        assert observations["planner"]["action_mask"].dtype == numpy.int8
        assert observations["planner"]["action_mask"].nonzero()[0].tolist() == [0, 1, 2]
        observations, *_ = env.step({"planner": page % 3})
    assert env.economy.state.tax_plan[0, :, 1].tolist() == pytest.approx([0.0, 0.0, 0.2, 0.4, 0.0])
    assert observations["planner"]["private"].tolist() == [3.0, 0.0, 0.0, 0.0]


def test_a_plan_that_was_broken_off_is_forgotten():
    env = RBCEnv({"economy": SMALL, "planner": {"mode": "schedule"}})
    env.reset()
    for choice in (7, 14):
        env.step({"planner": choice})
    observations, _ = env.reset()
    for choice in (0, 1, 2, 3):
        assert env.agents == ["planner"]
        assert observations["planner"]["action_mask"].all()
        observations, *_ = env.step({"planner": choice})
    assert env.agents == AGENTS
    assert env.economy.state.tax_plan[0, 1:, 1].tolist() == pytest.approx([0.0, 0.2, 0.4, 0.6])


@pytest.mark.usefixtures("ray_on_this_machine")
def test_ray_knows_it_by_name():
    economy = SMALL.replace(num_consumers=6).model_dump()
    algorithm = stock_config(EXPERIMENT).environment("RBCEnv", env_config={"economy": economy}).build_algo()
    (made,) = algorithm.env_runner.env.unwrapped.envs
    assert isinstance(made.unwrapped, RBCEnv)
    assert made.unwrapped.settings.economy == SMALL.replace(num_consumers=6)
    algorithm.stop()


@every_mode
def test_rllib_finds_nothing_wrong_with_it(planner):
    check_multiagent_environments(RBCEnv({"economy": SMALL, "planner": planner}))


def test_env_config_comes_as_rllib_passes_it():
    context = EnvContext({"economy": SMALL.model_dump(), "array_library": "numpy"}, worker_index=1)
    assert RBCEnv(context).settings == EnvSettings(economy=SMALL)
    assert RBCEnv().settings == RBCEnv(None).settings == EnvSettings()
