"""A deviator and the game that it leaves: what it is trained in, and what others' frozen policies let it gain."""

import math
from collections import defaultdict
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from rbc_rllib.curriculum import Curriculum
from rbc_rllib.economy import GROUPS
from rbc_rllib.experiment import ExperimentConfig, Learning, Refinement
from rbc_rllib.leaving import Deviation, taken
from rbc_rllib.play.held_out import HeldOut, play_held_out
from rbc_rllib.play.modules import GroupModule, PlanModule, cooled, untrained_modules
from rbc_rllib.play.randomness import HELD_OUT, VALIDATION
from rbc_rllib.play.seats import few_of
from rbc_rllib.play.spaces import agent_names
from rbc_rllib.training.checkpoints import load_networks, training_state

DEVIATORS_ENTROPY = dict.fromkeys(GROUPS, 0.005)
"""Coefficient with which a deviator starts: little, as it wants its gain, but enough to look around."""
DEVIATORS_LEARNING_RATE = 0.5
"""Share of the run's own learning rates: steps as large as at its start would first undo what was learned."""
EPOCHS_OF_THE_FEW = 4
"""Times the run's own epochs where each agent deviates alone: each does so in few of a batch's economies."""
PLAN_IS_SETTLED = {"plan_settling_start": 0.0, "plan_settling_end": 0.0}
PLAN_IS_OPEN = {name: Curriculum.model_fields[name].default for name in PLAN_IS_SETTLED}
TEMPERATURES = (0.5, 1e-4)
"""At which a frozen policy is asked what it gains by acting with less noise; the last one is next to none."""
VALIDATION_EPISODES = 64
"""At most; each response is played on so many, or on as few as the held-out ones."""

Networks = dict[str, GroupModule]

Rewards = dict[str, np.ndarray]
"""`[episodes, K]` of each agent of each group, mean a quarter."""


def deviators_rates(learning: Learning) -> dict[str, Any]:
    """With which deviators from policies of a run start to learn, as settings of `learning`."""
    return {
        "learning_rate": {group: DEVIATORS_LEARNING_RATE * rate for group, rate in learning.learning_rate},
        "plan_learning_rate": DEVIATORS_LEARNING_RATE * learning.plan_learning_rate,
    }


def final_game(
    experiment: ExperimentConfig, checkpoint: Path, iterations: int = 1, plan_is_open: bool = False
) -> ExperimentConfig:
    """The experiment in the last stage of its curriculum, for `iterations`: whole menus, the full disutility of labor,
    the no-Ponzi penalty that the checkpoint was trained with, half the learning rates, an entropy bonus that falls
    to 0, and nothing of its refinement, so that deviators from any run try equally hard.

    A planner who announces keeps to its plan, unless `plan_is_open` since it is the planner who learns; where the plan
    was settled from the start, as in a round of `psro`, it settles as by default then.
    """
    penalty_increase, curriculum = training_state(checkpoint).penalty_increase, experiment.curriculum
    if not plan_is_open:
        curriculum = curriculum.replace(**PLAN_IS_SETTLED)
    elif curriculum.plan_settling_end == 0:
        curriculum = curriculum.replace(**PLAN_IS_OPEN)
    return experiment.replace(
        start=None,
        refinement=Refinement(),
        economy=experiment.economy.replace(
            penalty_coefficient=experiment.economy.penalty_coefficient + penalty_increase
        ),
        learning=experiment.learning.replace(**deviators_rates(experiment.learning)),
        curriculum=curriculum.replace(
            total_env_steps=iterations * experiment.env_steps_per_iteration,
            staged_training=False,
            annealed_ranges=False,
            annealed_labor_disutility=False,
            annealed_entropy=False,
            annealed_debt_penalty=False,
            final_entropy_coeff=DEVIATORS_ENTROPY,
            cooled_entropy_coeff=dict.fromkeys(GROUPS, 0.0),
            cooling_start=0.0,
            cooling_end=1.0,
        ),
    )


def deviators_game(experiment: ExperimentConfig, deviation: Deviation, iterations: int) -> ExperimentConfig:
    """In which those who leave a run of `experiment` learn for `iterations`: its `final_game`, with more epochs where
    each agent leaves alone."""
    game = final_game(experiment, Path(deviation.checkpoint), iterations, plan_is_open=deviation.deviator == "planner")
    epochs = game.learning.num_epochs * (EPOCHS_OF_THE_FEW if deviation.each else 1)
    return game.replace(deviation=deviation, learning=game.learning.replace(num_epochs=epochs))


@dataclass(frozen=True)
class FrozenGame:
    """The policies of a checkpoint in the game in which their training ended, and what they get."""

    checkpoint: Path
    experiment: ExperimentConfig
    networks: Networks
    seed: int  # of the episodes
    episodes: int

    @classmethod
    def of(cls, checkpoint: Path, response: ExperimentConfig, seed: int) -> "FrozenGame":
        """The game that `response` to `checkpoint` was learned in."""
        game = response.replace(deviation=None)
        return cls(checkpoint, game, load_networks(checkpoint, game), seed, response.evaluation_episodes)

    def play(self, experiment: ExperimentConfig, networks: Networks, stream: int = HELD_OUT) -> HeldOut:
        """The game with other `networks`, in the seats of `experiment`; on the same episodes each time."""
        episodes = min(self.episodes, VALIDATION_EPISODES) if stream == VALIDATION else self.episodes
        return play_held_out(experiment, networks, episodes, self.seed, stream)

    @cached_property
    def held_out(self) -> HeldOut:
        """Nobody deviates."""
        return self.play(self.experiment, self.networks)

    @cached_property
    def validation(self) -> Rewards:
        """Of the same on validation episodes."""
        return self.play(self.experiment, self.networks, VALIDATION).rewards

    @cached_property
    def untrained(self) -> Rewards:
        """Where nobody has learned anything."""
        return self.play(self.experiment, untrained_modules(self.experiment, self.seed)).rewards


@dataclass(frozen=True, eq=False)
class Response:
    """Policies in which the deviator has left."""

    name: str
    networks: Networks
    differences: np.ndarray  # [episodes, K] what each agent that deviates gains, on validation episodes

    @property
    def gains(self) -> np.ndarray:
        """`[K]` Means over the episodes."""
        return self.differences.mean(0)


BestResponses = tuple[Response, ...]
"""[K] By which response each agent that deviates does so."""


@dataclass(frozen=True)
class Asked:
    """A deviator who is asked what leaving the frozen policies gains."""

    frozen: FrozenGame
    deviating: ExperimentConfig

    @property
    def deviation(self) -> Deviation:
        """Who leaves."""
        assert self.deviating.deviation is not None
        return self.deviating.deviation

    def rewards(self, everybodys: Rewards) -> np.ndarray:
        """`[episodes, K]` Those of each agent that deviates; of consumers and firms together in units of utility."""
        worth, own = self.deviation.worth(self.deviating.economy), []
        for part in self.deviation.parts.values():
            rewards = worth[part.group] * everybodys[part.group].astype(float)
            own.append(rewards if part.agents is None else rewards[:, list(part.agents)])
        return np.concatenate(own, axis=1)

    @property
    def size(self) -> float:
        """The mean absolute reward of the deviator's group, of which gains are percent; of consumers and firms together
        the mean over them of those of their groups."""
        worth, parts = self.deviation.worth(self.deviating.economy), self.deviation.parts.values()
        rewards = self.frozen.held_out.rewards
        sizes = [worth[part.group] * np.abs(rewards[part.group].astype(float)).mean() for part in parts]
        return float(np.average(sizes, weights=[len(part.agents) if part.agents else 1 for part in parts]))

    def play(self, networks: Networks, stream: int = HELD_OUT, wanted: Collection[int] | None = None) -> np.ndarray:
        """`[episodes, K]` What the agents get that deviate by their policy in `networks`; where each does so alone, a
        few at once, and NaN for some of those who are not `wanted`."""
        if not self.deviation.each:
            return self.rewards(self.frozen.play(self.deviating, networks, stream).rewards)
        names = agent_names(self.deviating.economy)[self.deviation.group]
        turns, columns = -(-len(names) // few_of(len(names))), dict[int, np.ndarray]()
        for turn in range(turns):
            agents = list(range(turn, len(names), turns))
            if wanted is None or {*wanted} & {*agents}:
                own = self.deviation.replace(deviator="+".join(names[k] for k in agents))
                played = self.frozen.play(self.deviating.replace(deviation=own), networks, stream)
                columns |= {k: played.rewards[own.group][:, k].astype(float) for k in agents}
        unknown = np.full_like(next(iter(columns.values())), math.nan)
        return np.stack([columns.get(k, unknown) for k in range(len(names))], axis=1)

    def response(self, name: str, networks: Networks) -> Response:
        """These networks with what they gain on validation episodes."""
        return Response(name, networks, self.play(networks, VALIDATION) - self.rewards(self.frozen.validation))

    def best_of(self, responses: Sequence[Response]) -> BestResponses:
        """The best by validation episodes: of each agent its own, where each deviates alone, and otherwise what is best
        for them on average."""
        gains = np.stack([response.gains for response in responses])
        if not self.deviation.each:
            gains[:] = gains.mean(1, keepdims=True)
        return tuple(responses[best] for best in gains.argmax(0))

    def play_best(self, several: Sequence[BestResponses]) -> np.ndarray:
        """`[several, episodes, K]` What the agents get on held-out episodes by their best responses."""
        wanted = defaultdict[Response, set[int]](set)
        for best in several:
            for k, response in enumerate(best):
                wanted[response].add(k)
        rewards = {response: self.play(response.networks, wanted=agents) for response, agents in wanted.items()}
        return np.stack([np.stack([rewards[own][:, k] for k, own in enumerate(best)], 1) for best in several])

    def cooled(self) -> list[Response]:
        """The frozen policy with less noise; none of a plan, which has no noise left."""
        frozen = self.frozen.networks
        left = {policy: frozen[part.group] for policy, part in self.deviation.parts.items()}
        if any(isinstance(own, PlanModule) for own in left.values()):
            return []
        return [
            self.response(
                f"the frozen policy at temperature {each:g}",
                {**frozen, **{policy: cooled(own, each) for policy, own in left.items()}},
            )
            for each in TEMPERATURES
        ]

    def percent_gained(self, best: BestResponses) -> float:
        """What agents who deviate alone gain by their `best` responses, mean over them, in percent of the mean absolute
        reward of their group; who would lose on validation episodes stays. NaN where nobody is rewarded."""
        gains = (self.play_best([best])[0] - self.rewards(self.frozen.held_out.rewards)).mean(0)
        return 100 * float(taken(gains, gains_of(best)).mean()) / self.size if self.size else math.nan


def gains_of(best: BestResponses) -> np.ndarray:
    """`[K]` What each agent gains by its response on validation episodes."""
    return np.array([response.gains[k] for k, response in enumerate(best)])
