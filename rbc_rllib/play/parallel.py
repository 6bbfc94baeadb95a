"""`parallel_env`: the same economy as a PettingZoo `ParallelEnv`, without Ray."""

from typing import Any

from gymnasium import spaces
from pettingzoo import ParallelEnv

from rbc_rllib.economy import EconomyParameters, Planner
from rbc_rllib.economy.observations import ENCODINGS, Encoding
from rbc_rllib.play.by_agent import AgentView, EnvSettings
from rbc_rllib.settings import PerGroup


class ParallelEconomy(ParallelEnv):
    """The economy with agents `consumer_0.., firm_0.., planner`, who all act at once in each of its quarters.

    Numbers are those of `RBCEnv`. An episode ends for everybody after `episode_length` quarters (a termination: time is
    part of what agents see).
    """

    metadata = {"name": "rbc_v0", "render_modes": []}  # noqa: RUF012 (PettingZoo's own form)
    render_mode = None

    def __init__(self, settings: EnvSettings):
        self._view = AgentView(settings, settings.vector_economy())
        self.economy = self._view.economy
        self.possible_agents = list(self._view.agents)
        self.agents: list[str] = []

    def observation_space(self, agent: str) -> spaces.Space:
        """What `agent` sees: `shared`, perhaps `private` and `action_mask`."""
        return self._view.observation_spaces[agent]

    def action_space(self, agent: str) -> spaces.Space:
        """What `agent` chooses from."""
        return self._view.action_spaces[agent]

    def reset(self, seed: int | None = None, options: dict | None = None) -> tuple[dict, dict]:
        """Start the economy anew; it is deterministic, but for tax rates that are drawn with `seed`."""
        observations = self._view.reset(seed)
        self.agents = list(self._view.acting)
        return observations, {agent: {} for agent in self.agents}

    def step(self, actions: dict[str, Any]) -> tuple[dict, dict, dict, dict, dict]:
        """One quarter, or one page of the plan that the planner announces; `actions` holds the action of each of
        `agents`. Rewards are divided by `reward_scale`."""
        observations, rewards, done = self._view.step(actions)
        everyone = list(observations)
        self.agents = [] if done else list(self._view.acting)
        return (
            observations,
            {agent: rewards.get(agent, 0.0) for agent in everyone},
            dict.fromkeys(everyone, done),
            dict.fromkeys(everyone, False),
            {agent: {} for agent in everyone},
        )


def parallel_env(
    economy: EconomyParameters = EconomyParameters(),
    encodings: tuple[Encoding, ...] = ENCODINGS,
    reward_scale: PerGroup = EnvSettings().reward_scale,
    planner: Planner = Planner(),
) -> ParallelEconomy:
    """The economy as a PettingZoo `ParallelEnv`.

    Args: economy, by default the paper's; encodings of amounts in observations; reward_scale, by which each group's
    rewards are divided; planner, how taxes are decided: with `Planner(mode="fixed", rates=(0, 0.8))` nobody is the
    planner, and one who learns a plan acts alone before the first quarter.
    Raises `ConfigError` for a value that is refused.
    """
    return ParallelEconomy(
        EnvSettings(economy=economy, planner=planner, encodings=encodings, reward_scale=reward_scale)
    )
