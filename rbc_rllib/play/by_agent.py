"""One economy agent by agent: dicts keyed by agent, as multi-agent libraries want them, on top of the arrays."""

from typing import Annotated, Any, Literal

import numpy as np
from pydantic import Field, PositiveInt

from rbc_rllib.arrays import array_library, to_numpy
from rbc_rllib.economy import GROUPS, EconomyParameters
from rbc_rllib.economy.actions import tax_choice
from rbc_rllib.economy.observations import ENCODINGS, Encoding
from rbc_rllib.play.spaces import agent_names, group_spaces
from rbc_rllib.play.vector_economy import VectorEconomy
from rbc_rllib.settings import ConfigError, PerGroup, PositivePerGroup, Settings

Observations = dict[str, dict[str, np.ndarray]]
TaxRate = Annotated[float, Field(ge=0, le=1)]


class EnvSettings(Settings):
    """What an environment is made of: the keys of `env_config`, the arguments of `parallel_env`."""

    economy: EconomyParameters = EconomyParameters()
    num_envs: PositiveInt = 1
    array_library: Literal["auto", "numpy", "cupy"] = "numpy"
    encodings: tuple[Encoding, ...] = Field(ENCODINGS, min_length=1)
    reward_scale: PositivePerGroup = PerGroup(consumer=1.0, firm=1.0, planner=1.0)  # rewards are divided by it
    fixed_tax_rates: tuple[TaxRate, TaxRate] | None = None  # income, corporate: then there is no agent `planner`

    def vector_economy(self) -> VectorEconomy:
        """The economies, as arrays."""
        return VectorEconomy(self.economy, self.num_envs, array_library(self.array_library), self.encodings)


class AgentView:
    """The first and only economy of `economy`, with agents `consumer_0.., firm_0.., planner`.

    Gives the numbers of the arrays. Where tax rates are fixed, they are chosen here and nobody is the planner.
    """

    def __init__(self, settings: EnvSettings, economy: VectorEconomy):
        self.settings = settings
        self.economy = economy
        members = agent_names(settings.economy)
        self.members = {g: members[g] for g in GROUPS if g != "planner" or settings.fixed_tax_rates is None}
        self.agents = [agent for names in self.members.values() for agent in names]
        spaces = group_spaces(settings.economy, settings.encodings)
        self.observation_spaces = {agent: spaces[group][0] for group in self.members for agent in self.members[group]}
        self.action_spaces = {agent: spaces[group][1] for group in self.members for agent in self.members[group]}

    def reset(self) -> Observations:
        """Start the economy anew; it is deterministic."""
        self._single()
        return self._by_agent(self.economy.reset())

    def step(self, actions: dict[str, Any]) -> tuple[Observations, dict[str, float], bool]:
        """One quarter: what every agent sees then, its reward divided by `reward_scale`, and whether it was the last.

        Raises `ConfigError` where an agent's action is missing.
        """
        self._single()
        if self.economy.done:
            rule = f"an episode is over after {self.economy.quarter} quarters"
            raise ConfigError("step", self.economy.quarter + 1, rule, "reset the environment first")
        missing = [agent for agent in self.agents if agent not in actions]
        if missing:
            rule = f"every agent acts in every quarter, and {len(missing)} are missing, first {missing[0]}"
            raise ConfigError("action_dict", sorted(actions), rule, "give each agent of `possible_agents` an action")
        xp, economy = self.economy.xp, self.economy
        chosen = {group: [actions[agent] for agent in names] for group, names in self.members.items()}
        if self.settings.fixed_tax_rates:
            chosen["planner"] = [tax_choice(economy.params, self.settings.fixed_tax_rates, economy.ranges)]
        indices = {group: xp.asarray(np.asarray([each], dtype=np.int64)) for group, each in chosen.items()}
        outcome = economy.step(economy.decode(indices))
        rewards: dict[str, float] = {}
        for group, names in self.members.items():
            scaled = np.atleast_1d(to_numpy(getattr(outcome, f"{group}_reward"))[0])
            scaled = scaled / getattr(self.settings.reward_scale, group)
            rewards.update(zip(names, scaled.tolist(), strict=True))
        return self._by_agent(economy.observe()), rewards, economy.done

    def _by_agent(self, observations: dict[str, Any]) -> Observations:
        shared = to_numpy(observations["shared"])[0].astype(np.float32)
        result: Observations = {}
        for group, names in self.members.items():
            common: dict[str, np.ndarray] = {"shared": shared}
            if group in self.economy.action_masks:
                common["action_mask"] = to_numpy(self.economy.action_masks[group]).astype(np.int8)
            if group in observations:
                private = to_numpy(observations[group])[0].astype(np.float32)
                for agent, own in zip(names, private, strict=True):
                    result[agent] = {**common, "private": own}
            else:
                result.update(dict.fromkeys(names, common))
        return result

    def _single(self) -> None:
        if self.settings.num_envs != 1:
            rule = "agent by agent, RBCEnv plays one economy"
            fix = "set num_envs = 1, or step the arrays of `RBCEnv.economy`"
            raise ConfigError("num_envs", self.settings.num_envs, rule, fix)
