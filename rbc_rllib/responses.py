"""What learned responses gain: they are played beside the frozen policies that deviators leave, on the same episodes.

Of each training all checkpoints are responses, and so are the frozen policies themselves, cooled: what these gain is
*temperature*, the price of the noise with which the frozen policies act; what others gain beyond it is what training
had not reached. The best response of each seed is chosen on validation episodes and judged on held-out ones.
"""

import json
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property, partial
from operator import attrgetter
from pathlib import Path

import numpy as np

from analysis.figures import save
from analysis.gains import Gain, Solution, measure_each, measure_gain, table, words
from analysis.gains_figure import gains_figure
from rbc_rllib.economy import GROUPS
from rbc_rllib.evaluate import Evaluation, play_held_out
from rbc_rllib.experiment import FROZEN, SCRATCH, Deviation, ExperimentConfig
from rbc_rllib.play.modules import GroupModule, PlanModule, cooled, untrained_modules
from rbc_rllib.play.randomness import HELD_OUT, VALIDATION
from rbc_rllib.play.seats import few_of
from rbc_rllib.play.spaces import agent_names
from rbc_rllib.training.checkpoints import checkpoints_in, load_networks, training_state

TEMPERATURES = (0.5, 1e-4)
"""At which a frozen policy is asked what it gains by acting with less noise; the last one is next to none."""
VALIDATION_EPISODES = 64
"""At most; each response is played on so many, or on as few as the held-out ones."""

Networks = dict[str, GroupModule]
Member = tuple[Path, ExperimentConfig]


@dataclass(frozen=True)
class FrozenGame:
    """The policies of a checkpoint in the game in which their training ended, and what they get."""

    checkpoint: Path
    experiment: ExperimentConfig
    networks: Networks
    seed: int  # of the episodes
    episodes: int

    @classmethod
    def of(cls, checkpoint: Path, response: ExperimentConfig) -> "FrozenGame":
        """The game that `response` to `checkpoint` was learned in."""
        game, seed = response.replace(deviation=None), ExperimentConfig.of_trial(checkpoint.parent).seed
        return cls(checkpoint, game, load_networks(checkpoint, game), seed, response.evaluation_episodes)

    def play(self, experiment: ExperimentConfig, networks: Networks, stream: int = HELD_OUT) -> Evaluation:
        """The game with other `networks`, in the seats of `experiment`; on the same episodes each time."""
        episodes = min(self.episodes, VALIDATION_EPISODES) if stream == VALIDATION else self.episodes
        return play_held_out(experiment, networks, episodes, self.seed, stream)

    @cached_property
    def held_out(self) -> Evaluation:
        """Nobody deviates."""
        return self.play(self.experiment, self.networks)

    @cached_property
    def validation(self) -> Evaluation:
        """Nobody deviates, on validation episodes."""
        return self.play(self.experiment, self.networks, VALIDATION)

    @cached_property
    def untrained(self) -> Evaluation:
        """Nobody has learned anything."""
        return self.play(self.experiment, untrained_modules(self.experiment, self.seed))


@dataclass(frozen=True)
class Response:
    """Policies in which the deviator has left."""

    name: str
    networks: Networks
    gains: np.ndarray  # [K] of each agent that deviates, on validation episodes
    alone: bool  # whether each of them deviates alone

    @property
    def score(self) -> float:
        """What is gained on average; who is alone and would lose by it stays."""
        return float((np.maximum(self.gains, 0) if self.alone else self.gains).mean())


SCORE = attrgetter("score")


@dataclass(frozen=True)
class Learned:
    """A response that was learned in so many iterations."""

    experiment: ExperimentConfig
    iterations: int
    response: Response


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

    def rewards(self, evaluation: Evaluation) -> np.ndarray:
        """`[episodes, K]` A quarter's mean, of each agent that deviates."""
        rewards = evaluation.rewards[self.deviation.group].astype(float)
        return rewards if self.deviation.agents is None else rewards[:, list(self.deviation.agents)]

    def play(self, networks: Networks, stream: int = HELD_OUT) -> np.ndarray:
        """`[episodes, K]` What the agents get that deviate by their policy in `networks`; where each does so alone, a
        few at once as in training."""
        if not self.deviation.each:
            return self.rewards(self.frozen.play(self.deviating, networks, stream))
        names = agent_names(self.deviating.economy)[self.deviation.group]
        turns, columns = -(-len(names) // few_of(len(names))), dict[int, np.ndarray]()
        for turn in range(turns):
            agents = list(range(turn, len(names), turns))
            own = self.deviation.replace(deviator="+".join(names[k] for k in agents))
            played = self.frozen.play(self.deviating.replace(deviation=own), networks, stream)
            columns |= {k: played.rewards[own.group][:, k].astype(float) for k in agents}
        return np.stack([columns[k] for k in range(len(names))], axis=1)

    def response(self, name: str, networks: Networks) -> Response:
        """These networks with what they gain on validation episodes."""
        gains = (self.play(networks, VALIDATION) - self.rewards(self.frozen.validation)).mean(0)
        return Response(name, networks, gains, self.deviation.each)

    def cooled(self) -> list[Response]:
        """The frozen policy with less noise; none of a plan, which has no noise left."""
        policy, frozen = self.deviation.policy, self.frozen.networks
        own = frozen[self.deviation.group]
        if isinstance(own, PlanModule):
            return []
        return [
            self.response(f"the frozen policy at temperature {each:g}", {**frozen, policy: cooled(own, each)})
            for each in TEMPERATURES
        ]

    def learned(self, members: list[Member]) -> list[Learned]:
        """What `members` have learned, one for each start and seed, at each of their checkpoints."""
        found = []
        for path, experiment in members:
            per_iteration = experiment.env_steps_per_update * experiment.learning.updates_per_iteration
            for checkpoint in checkpoints_in(path):
                iterations = training_state(checkpoint).env_steps // per_iteration
                name = f"from {start_name(experiment)}, after {iterations} iterations"
                response = self.response(name, load_networks(checkpoint, experiment))
                found.append(Learned(experiment, iterations, response))
        return found

    def gain(self, deviator: str, members: list[Member]) -> Gain:
        """What the deviator gains by the best responses that `members` have learned, with what of that is noise."""
        still, learned = self.cooled(), self.learned(members)
        best = {
            seed: max([*(each.response for each in learned if each.experiment.seed == seed), *still], key=SCORE)
            for seed in sorted({each.experiment.seed for each in learned})
        }
        before, group = self.rewards(self.frozen.held_out), self.deviation.group
        played = {id(each): self.play(each.networks) for each in best.values()}
        noise = None
        if coolest := max(still, key=SCORE, default=None):
            stays = coolest.gains <= 0 if self.deviation.each else coolest.score <= 0
            gained = played[id(coolest)] if id(coolest) in played else self.play(coolest.networks)
            noise = np.where(stays, 0.0, gained - before)
        consumption = None
        if group == "consumer":
            everyone = self.frozen.held_out.consumption
            consumption = everyone if self.deviation.agents is None else everyone[:, :, list(self.deviation.agents)]
        after = np.stack([played[id(each)] for each in best.values()])
        validation = np.stack([each.gains for each in best.values()])
        measure: Callable[..., Gain] = measure_gain
        if self.deviation.each:
            measure = partial(measure_each, agents=agent_names(self.deviating.economy)[group])
        else:
            before, after, validation = before.mean(-1), after.mean(-1), validation.mean(-1)
            noise = None if noise is None else noise.mean(-1)
        return measure(
            deviator,
            before=before,
            after=after,
            validation_gains=validation,
            seeds=list(best),
            untrained=float(self.rewards(self.frozen.untrained).mean()),
            size=float(np.abs(self.frozen.held_out.rewards[group].astype(float)).mean()),
            params=self.deviating.economy,
            consumption=consumption,
            cooled=noise,
            chosen=tuple(each.name for each in best.values()),
            curve=curve(learned),
        )


def curve(learned: list[Learned]) -> dict[str, tuple[tuple[int, float], ...]]:
    """By start: how the gain on validation episodes, mean over seeds, grows with the iterations."""
    gains: dict[str, dict[int, list[float]]] = defaultdict(lambda: defaultdict(list))
    for each in learned:
        gains[start_name(each.experiment)][each.iterations].append(float(each.response.gains.mean()))
    return {
        start: tuple((length, float(np.mean(values))) for length, values in sorted(lengths.items()))
        for start, lengths in gains.items()
    }


def start_name(experiment: ExperimentConfig) -> str:
    """Where its deviator started: `frozen`, `scratch`, or the other run's name."""
    assert experiment.deviation is not None
    start = experiment.deviation.start
    return start if start in (FROZEN, SCRATCH) else Path(start).parent.name


def judge(folder: Path, finished: list[Path]) -> str:
    """Measure what the best responses in `finished` gain; writes `best_response.json`, `.md` and `.png`."""
    trials = [(path, ExperimentConfig.from_json(path / "config.json")) for path in sorted(finished)]
    by_checkpoint: dict[Path, list[Member]] = defaultdict(list)
    for path, experiment in trials:
        if experiment.deviation:
            by_checkpoint[Path(experiment.deviation.checkpoint)].append((path, experiment))
    if not by_checkpoint:
        return "No best response is finished: there is nothing to measure yet."
    solutions = [_judge_checkpoint(checkpoint, own) for checkpoint, own in sorted(by_checkpoint.items())]
    trial, (_, first) = min(by_checkpoint).parent, trials[0]
    record = {
        "run": str(trial),
        "held_out_episodes": first.evaluation_episodes,
        "held_out_seed": ExperimentConfig.of_trial(trial).seed,
        "iterations": first.num_iterations,
        "unit": "reward a quarter and agent",
        "solutions": [solution.record() for solution in solutions],
    }
    (folder / "best_response.json").write_text(json.dumps(record, indent=2, allow_nan=False) + "\n")
    save(gains_figure(solutions[-1], first.economy), folder / "best_response.png")
    note = (
        f"Rewards are means a quarter (and an agent) over {first.evaluation_episodes} held-out episodes; [low, high] is"
        " the 95% bootstrap interval over seeds and episodes. Percent: of the mean absolute reward of the group's"
        " agents. Temperature: what the frozen policy itself gains with less noise. Improvement: over untrained"
        " policies in the same economy."
    )
    parts = []
    for solution in solutions:
        heading = f"Best responses to {trial.name}, {solution.checkpoint}, after {solution.env_steps:,} env steps"
        parts.append(f"{heading}\n\n{table(solution)}\n\n{words(solution)}")
    text = "\n\n".join([*parts, note])
    (folder / "best_response.md").write_text(text + "\n")
    return text


def _judge_checkpoint(checkpoint: Path, members: list[Member]) -> Solution:
    frozen, by_deviator = FrozenGame.of(checkpoint, members[0][1]), defaultdict[str, list[Member]](list)
    for path, experiment in members:
        assert experiment.deviation is not None
        by_deviator[experiment.deviation.deviator].append((path, experiment))
    gains = [
        Asked(frozen, by_deviator[deviator][0][1]).gain(deviator, by_deviator[deviator])
        for deviator in sorted(by_deviator, key=_order)
    ]
    trivial_share = float(frozen.held_out.indicators["trivial_share"].mean())
    return Solution(checkpoint.name, training_state(checkpoint).env_steps, trivial_share, tuple(gains))


def _order(deviator: str) -> tuple[int, list[int]]:
    """Groups first, then agents by number, then those that deviate together."""
    deviation = Deviation(checkpoint="", deviator=deviator)
    agents = deviation.agents or ()
    return (GROUPS.index(deviation.group) + len(GROUPS) * (len(agents) + deviation.each), list(agents))
