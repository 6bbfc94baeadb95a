"""One economy agent by agent: dicts keyed by agent, as multi-agent libraries want them, on top of the arrays."""

from typing import Any, Self

import numpy as np
from pydantic import Field, PositiveInt, model_validator

from rbc_rllib.arrays import Library, array_library, to_numpy
from rbc_rllib.economy import GROUPS, EconomyParameters, Planner
from rbc_rllib.economy.observations import ENCODINGS, Encoding
from rbc_rllib.play.spaces import agent_names, group_spaces
from rbc_rllib.play.vector_economy import VectorEconomy
from rbc_rllib.settings import ConfigError, PerGroup, PositivePerGroup, Settings

Observations = dict[str, dict[str, np.ndarray]]


class EnvSettings(Settings):
    """What an environment is made of: the keys of `env_config`, the arguments of `parallel_env`."""

    economy: EconomyParameters = EconomyParameters()
    planner: Planner = Planner()  # with `fixed` taxes there is no agent `planner`
    num_envs: PositiveInt = 1
    array_library: Library = "numpy"
    encodings: tuple[Encoding, ...] = Field(ENCODINGS, min_length=1)
    reward_scale: PositivePerGroup = PerGroup(consumer=1.0, firm=1.0, planner=1.0)  # rewards are divided by it

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        try:
            self.planner.fits(self.economy)
        except ConfigError as error:
            raise error.below("planner") from None
        return self

    def vector_economy(self) -> VectorEconomy:
        """The economies, as arrays."""
        library = array_library(self.array_library)
        return VectorEconomy(self.economy, self.num_envs, library, self.encodings, self.planner)


class AgentView:
    """The first and only economy of `economy`, with agents `consumer_0.., firm_0.., planner`.

    Gives the numbers of the arrays. Where tax rates are fixed, nobody is the planner. A planner who learns a plan first
    announces it, a page of its calendar in each step, while nobody else acts and no time passes; then come the
    quarters, in which its mask leaves it what it has announced. Its rewards all come after its announcement, so every
    choice of the plan is credited with the welfare of the whole episode.
    """

    def __init__(self, settings: EnvSettings, economy: VectorEconomy):
        self.settings = settings
        self.economy = economy
        members = agent_names(settings.economy)
        self.members = {g: members[g] for g in GROUPS if g != "planner" or settings.planner.learns}
        self.agents = [agent for names in self.members.values() for agent in names]
        self.acting: list[str] = []  # who acts next
        spaces = group_spaces(settings.economy, settings.encodings, settings.planner)
        self.observation_spaces = {agent: spaces[group][0] for group in self.members for agent in self.members[group]}
        self.action_spaces = {agent: spaces[group][1] for group in self.members for agent in self.members[group]}
        self._rng = np.random.default_rng()
        self._plan: list[int] = []  # what the planner has announced so far

    def reset(self, seed: int | None = None) -> Observations:
        """Start the economy anew; it is deterministic, but for tax rates that are drawn with `seed`."""
        self._single()
        if seed is not None:
            self._rng = np.random.default_rng(seed)
        self._plan = []
        planner, economy = self.settings.planner, self.economy
        if planner.announces and planner.learns:
            economy.reset()
            return self._next_page()
        if planner.rates == "drawn":
            self._plan = [int(self._rng.choice(np.flatnonzero(to_numpy(economy.action_masks["planner"]))))]
        return self._next_quarter(economy.reset(self._announced()))

    def step(self, actions: dict[str, Any]) -> tuple[Observations, dict[str, float], bool]:
        """What agents see next, their rewards divided by `reward_scale`, and whether the last quarter is over.

        Raises `ConfigError` where the action of an agent who acts now is missing, and before the first reset.
        """
        self._single()
        economy = self.economy
        if economy.done:
            rule = f"an episode is over after {economy.quarter} quarters"
            raise ConfigError("step", economy.quarter + 1, rule, "reset the environment first")
        if not self.acting:
            raise ConfigError("step", 1, "no episode has begun", "reset the environment first")
        missing = [agent for agent in self.acting if agent not in actions]
        if missing:
            rule = f"everyone who has seen something acts, and {len(missing)} are missing, first {missing[0]}"
            raise ConfigError("action_dict", sorted(actions), rule, "give each of `agents` an action")
        if len(self._plan) < economy.pages:
            self._plan.append(int(actions["planner"]))
            is_last = len(self._plan) == economy.pages
            observations = self._next_quarter(economy.reset(self._announced())) if is_last else self._next_page()
            return observations, {"planner": 0.0}, False
        chosen = {group: [actions[agent] for agent in names] for group, names in self.members.items()}
        chosen.setdefault("planner", [0])  # nobody's: rates are announced
        indices = {group: economy.xp.asarray(np.asarray([each], dtype=np.int64)) for group, each in chosen.items()}
        outcome = economy.step(economy.decode(indices))
        rewards: dict[str, float] = {}
        for group, names in self.members.items():
            scaled = np.atleast_1d(to_numpy(getattr(outcome, f"{group}_reward"))[0])
            scaled = scaled / getattr(self.settings.reward_scale, group)
            rewards.update(zip(names, scaled.tolist(), strict=True))
        return self._next_quarter(economy.observe()), rewards, economy.done

    def _announced(self) -> Any:
        """The plan as `VectorEconomy.reset` takes it."""
        return self.economy.xp.asarray([self._plan]) if self._plan else None

    def _next_page(self) -> Observations:
        """What the planner sees who has more to announce."""
        self.acting = ["planner"]
        return {"planner": self._page(len(self._plan), to_numpy(self.economy.action_masks["planner"]))}

    def _page(self, page: int, mask: np.ndarray) -> dict[str, np.ndarray]:
        seen = to_numpy(self.economy.calendar(page))[0, 0]
        return {"private": seen.astype(np.float32), "action_mask": mask.astype(np.int8)}

    def _next_quarter(self, observations: dict[str, Any]) -> Observations:
        self.acting = self.agents
        return self._by_agent(observations)

    def _by_agent(self, observations: dict[str, Any]) -> Observations:
        shared = to_numpy(observations["shared"])[0].astype(np.float32)
        result: Observations = {}
        for group, names in self.members.items():
            if group == "planner" and self._plan:
                page = min(self.economy.quarter, len(self._plan) - 1)
                mask = to_numpy(self.economy.action_masks["planner"])
                kept = np.arange(len(mask)) == self._plan[page]
                result["planner"] = self._page(page, kept)
                continue
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
