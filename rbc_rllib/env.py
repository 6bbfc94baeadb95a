"""`RBCEnv`: the economy as an RLlib `MultiAgentEnv`, and the spaces of its three groups of agents."""

from typing import Any, Literal

import numpy as np
from gymnasium import spaces
from pydantic import PositiveInt
from ray.rllib.env.multi_agent_env import MultiAgentEnv

from rbc_rllib.arrays import array_library, to_numpy
from rbc_rllib.economy import GROUPS, EconomyParameters
from rbc_rllib.economy.actions import decode, group_sizes, head_sizes
from rbc_rllib.economy.observations import ENCODINGS, Encoding, private_sizes, shared_size
from rbc_rllib.settings import ConfigError, PerGroup, Settings
from rbc_rllib.vector_economy import VectorEconomy


class EnvSettings(Settings):
    """The keys of `env_config`."""

    economy: EconomyParameters = EconomyParameters()
    num_envs: PositiveInt = 1
    array_library: Literal["auto", "numpy", "cupy"] = "numpy"
    encodings: tuple[Encoding, ...] = ENCODINGS
    reward_scale: PerGroup = PerGroup(consumer=1.0, firm=1.0, planner=1.0)  # rewards are divided by it


def group_of(agent_id: str, *_: Any, **__: Any) -> str:
    """The group of an agent, `consumer_17` -> `consumer`; also RLlib's policy mapping function."""
    return agent_id.split("_")[0]


def group_spaces(
    params: EconomyParameters, encodings: tuple[Encoding, ...] = ENCODINGS
) -> dict[str, tuple[spaces.Dict, spaces.Space]]:
    """The (observation, action) space of one agent of each group.

    Observations hold `shared` [G]; consumers and firms add `private` [P]; firms and planner add `action_mask`
    [actions], 1 where the choice is allowed now. Consumers choose from MultiDiscrete([demand] * F + [hours, F]).
    """
    heads = head_sizes(params)
    private = private_sizes(params, encodings)
    result: dict[str, tuple[spaces.Dict, spaces.Space]] = {}
    for group in GROUPS:
        parts: dict[str, spaces.Space] = {"shared": _real_line(shared_size(params, encodings))}
        if private[group]:
            parts["private"] = _real_line(private[group])
        single = len(heads[group]) == 1
        if single:
            parts["action_mask"] = spaces.Box(0, 1, (heads[group][0],), np.uint8)
        actions = spaces.Discrete(heads[group][0]) if single else spaces.MultiDiscrete(list(heads[group]))
        result[group] = (spaces.Dict(parts), actions)
    return result


def _real_line(size: int) -> spaces.Box:
    return spaces.Box(-np.inf, np.inf, (size,), np.float32)


class RBCEnv(MultiAgentEnv):
    """The economy with agents `consumer_0.., firm_0.., planner`; an episode is `episode_length` quarters.

    `env_config` holds the keys of `EnvSettings`; unknown ones are refused. The economies themselves are in `economy`,
    a `VectorEconomy`, which a batched runner steps directly. With `num_envs` = 1 (the default) `reset` and `step`
    work as any other MultiAgentEnv's and give the same numbers as the arrays.
    """

    def __init__(self, config: dict[str, Any] | None = None):
        super().__init__()
        settings = EnvSettings(**dict(config or {}))
        self.settings = settings
        params = settings.economy
        self.economy = VectorEconomy(
            params, settings.num_envs, array_library(settings.array_library), settings.encodings
        )
        sizes = group_sizes(params)
        self.members = {
            group: ["planner"] if group == "planner" else [f"{group}_{k}" for k in range(sizes[group])]
            for group in GROUPS
        }
        self.possible_agents = [agent for group in GROUPS for agent in self.members[group]]
        self.agents = list(self.possible_agents)
        by_group = group_spaces(params, settings.encodings)
        self.observation_spaces = {agent: by_group[group_of(agent)][0] for agent in self.possible_agents}
        self.action_spaces = {agent: by_group[group_of(agent)][1] for agent in self.possible_agents}

    def reset(self, *, seed: int | None = None, options: dict | None = None) -> tuple[dict, dict]:
        """Start the economy anew. The economy itself is deterministic, so `seed` changes nothing."""
        self._single()
        observations = self.economy.reset()
        self.agents = list(self.possible_agents)
        return self._by_agent(observations), {}

    def step(self, action_dict: dict[str, Any]) -> tuple[dict, dict, dict, dict, dict]:
        """One quarter; `action_dict` holds every agent's action. Rewards are divided by `reward_scale`."""
        self._single()
        missing = [agent for agent in self.possible_agents if agent not in action_dict]
        if missing:
            rule = f"every agent acts in every quarter, and {len(missing)} are missing, first {missing[0]}"
            raise ConfigError(
                "action_dict", sorted(action_dict), rule, "give each agent of `possible_agents` an action"
            )
        xp, economy = self.economy.xp, self.economy
        indices = {
            group: xp.asarray(np.asarray([[action_dict[agent] for agent in self.members[group]]], dtype=np.int64))
            for group in GROUPS
        }
        outcome = economy.step(decode(economy.params, indices, xp, economy.device))
        rewards: dict[str, float] = {}
        for group, values in zip(
            GROUPS, (outcome.consumer_reward, outcome.firm_reward, outcome.planner_reward[:, None]), strict=True
        ):
            scaled = to_numpy(values)[0] / getattr(self.settings.reward_scale, group)
            rewards.update(zip(self.members[group], scaled.tolist(), strict=True))
        done = {"__all__": economy.done}
        if economy.done:
            self.agents = []
        return self._by_agent(economy.observe()), rewards, done, {"__all__": False}, {}

    def _by_agent(self, observations: dict[str, Any]) -> dict[str, dict[str, np.ndarray]]:
        shared = to_numpy(observations["shared"])[0].astype(np.float32)
        result: dict[str, dict[str, np.ndarray]] = {}
        for group in GROUPS:
            common: dict[str, np.ndarray] = {"shared": shared}
            if group in self.economy.action_masks:
                common["action_mask"] = to_numpy(self.economy.action_masks[group]).astype(np.uint8)
            if group in observations:
                private = to_numpy(observations[group])[0].astype(np.float32)
                for agent, own in zip(self.members[group], private, strict=True):
                    result[agent] = {**common, "private": own}
            else:
                result.update(dict.fromkeys(self.members[group], common))
        return result

    def _single(self) -> None:
        if self.settings.num_envs != 1:
            rule = "agent by agent, RBCEnv plays one economy"
            fix = "set num_envs = 1, or step the arrays of `RBCEnv.economy`"
            raise ConfigError("num_envs", self.settings.num_envs, rule, fix)
