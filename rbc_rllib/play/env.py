"""`RBCEnv`: the economy as an RLlib `MultiAgentEnv`, known to Ray as `"RBCEnv"`."""

from typing import Any

from ray.rllib.env.multi_agent_env import MultiAgentEnv
from ray.tune.registry import register_env

from rbc_rllib.play.by_agent import AgentView, EnvSettings


def group_of(agent_id: str, *_: Any, **__: Any) -> str:
    """The group of an agent, `consumer_17` -> `consumer`; also RLlib's policy mapping function."""
    return agent_id.split("_")[0]


class RBCEnv(MultiAgentEnv):
    """The economy with agents `consumer_0.., firm_0.., planner`; an episode is `episode_length` quarters.

    `env_config` holds the keys of `EnvSettings`; unknown ones are refused. The economies themselves are in `economy`,
    a `VectorEconomy`, which a batched runner steps directly. With `num_envs` = 1 (the default) `reset` and `step`
    work as any other MultiAgentEnv's and give the same numbers as the arrays.
    """

    def __init__(self, config: dict[str, Any] | None = None):
        super().__init__()
        self.settings = EnvSettings(**dict(config or {}))
        self.economy = self.settings.vector_economy()
        self._view = AgentView(self.settings, self.economy)
        self.possible_agents = list(self._view.agents)
        self.agents = list(self.possible_agents)
        self.observation_spaces = self._view.observation_spaces
        self.action_spaces = self._view.action_spaces

    def reset(self, *, seed: int | None = None, options: dict | None = None) -> tuple[dict, dict]:
        """Start the economy anew; it is deterministic, but for tax rates that are drawn with `seed`."""
        observations = self._view.reset(seed)
        self.agents = list(self._view.acting)
        return observations, {}

    def step(self, action_dict: dict[str, Any]) -> tuple[dict, dict, dict, dict, dict]:
        """One quarter, or one page of the plan that the planner announces; `action_dict` holds the action of each of
        `agents`. Rewards are divided by `reward_scale`."""
        observations, rewards, done = self._view.step(action_dict)
        self.agents = [] if done else list(self._view.acting)
        return observations, rewards, {"__all__": done}, {"__all__": False}, {}


register_env("RBCEnv", RBCEnv)
