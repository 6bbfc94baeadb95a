"""What learned responses gain: they are played beside the frozen policies that deviators leave, on the same episodes.

Of each training the checkpoints that were due are responses, and so are the frozen policies themselves, cooled: what
these gain is *temperature*, the price of the noise with which the frozen policies act; what others gain beyond it is
what training had not reached. The best response of each seed, and of each agent where every one leaves alone, is chosen
on validation episodes and judged on held-out ones.
"""

from collections import Counter, defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from analysis.figures import save
from analysis.gains import Gain, Solution, measure_each, measure_gain, table, words
from analysis.gains_figure import gains_figure
from analysis.results import flat_settings
from rbc_rllib.economy import GROUPS
from rbc_rllib.experiment import ExperimentConfig
from rbc_rllib.files import write_json
from rbc_rllib.leaving import Leaving, taken
from rbc_rllib.play.spaces import agent_names
from rbc_rllib.settings import ConfigError
from rbc_rllib.training.checkpoints import checkpoints_in, load_networks, policies_hash, training_state, weights_hash
from rbc_rllib.training.deviations import Asked, BestResponses, FrozenGame, Response, deviators_game, gains_of

Member = tuple[Path, ExperimentConfig]


@dataclass(frozen=True)
class Learned:
    """A response that was learned in so many iterations."""

    start: str
    seed: int
    iterations: int
    response: Response


def learned_by(members: list[Member], asked: Asked) -> list[Learned]:
    """What `members` have learned, one for each start and seed, at each of their checkpoints that is due: others were
    saved as a training was interrupted.

    Raises `ConfigError` where a member has left other policies than those that are asked about.
    """
    found = []
    left = {policy: weights_hash(module.get_state()) for policy, module in asked.frozen.networks.items()}
    for path, experiment in members:
        assert experiment.deviation is not None
        start = experiment.deviation.start_name
        for checkpoint in checkpoints_in(path):
            iterations = training_state(checkpoint).env_steps // experiment.env_steps_per_iteration
            if iterations % experiment.iterations_per_checkpoint and iterations < experiment.num_iterations:
                continue
            networks = load_networks(checkpoint, experiment)
            for policy in experiment.frozen_policies:
                if weights_hash(networks[policy].get_state()) != left[policy]:
                    rule = f"it was learned against another {policy} policy than {asked.frozen.checkpoint} holds now"
                    raise ConfigError("best response", str(path), rule, "ask anew, with another --results")
            response = asked.response(f"from {start}, after {iterations} iterations", networks)
            found.append(Learned(start, experiment.seed, iterations, response))
    return found


def gain_of(deviator: str, members: list[Member], asked: Asked) -> Gain:
    """What the deviator gains by the best responses that `members` have learned, with what of that is noise."""
    still, learned = asked.cooled(), learned_by(members, asked)
    seeds = sorted({each.seed for each in learned})
    best = [asked.best_of([*(each.response for each in learned if each.seed == seed), *still]) for seed in seeds]
    coolest = [asked.best_of(still)] if still else []
    before, groups = asked.rewards(asked.frozen.held_out.rewards), asked.deviation.groups
    after, validation = asked.play_best([*best, *coolest]), np.stack([*map(gains_of, [*best, *coolest])])
    consumption = None
    if groups == ("consumer",):
        everyone = asked.frozen.held_out.consumption
        consumption = everyone if asked.deviation.agents is None else everyone[:, :, list(asked.deviation.agents)]
    measure: Callable[..., Gain] = measure_gain
    if asked.deviation.each:
        measure = partial(measure_each, agents=agent_names(asked.deviating.economy)[groups[0]])
    else:
        before, after, validation = before.mean(-1), after.mean(-1), validation.mean(-1)
    noise = taken(after[-1] - before, validation[-1]) if coolest else None
    return measure(
        deviator,
        before=before,
        after=after[: len(best)],
        validation_gains=validation[: len(best)],
        seeds=seeds,
        untrained=float(asked.rewards(asked.frozen.untrained).mean()),
        size=asked.size,
        params=asked.deviating.economy,
        consumption=consumption,
        cooled=noise,
        chosen=tuple(map(in_words, best)),
        curve=curve(learned, asked.deviation.each),
    )


def in_words(best: BestResponses) -> str:
    """Names of the best responses, with how many agents have each where it is not the same of all."""
    names = Counter(response.name for response in best).most_common()
    return names[0][0] if len(names) == 1 else "; ".join(f"{count} of {len(best)} {name}" for name, count in names)


def curve(learned: list[Learned], alone: bool) -> dict[str, tuple[tuple[int, float], ...]]:
    """By start: how the gain on validation episodes, mean over seeds, grows with the iterations; who is `alone` and
    would lose on one half of them stays in the other."""
    gains: dict[str, dict[int, list[float]]] = defaultdict(lambda: defaultdict(list))
    for each in learned:
        own = taken_on_halves(each.response.differences) if alone else each.response.gains
        gains[each.start][each.iterations].append(float(own.mean()))
    return {
        start: tuple((length, float(np.mean(values))) for length, values in sorted(lengths.items()))
        for start, lengths in gains.items()
    }


def taken_on_halves(differences: np.ndarray) -> np.ndarray:
    """`[K]` What agents gain, by the `differences` `[episodes, K]` if they left: on each half of the episodes those
    leave who gain on the other half, so that luck does not count as a gain; a single episode is both."""
    halves = [differences[part::2].mean(0) for part in range(min(2, len(differences)))]
    return np.mean([taken(own, other) for own, other in zip(halves, halves[::-1], strict=True)], axis=0)


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
    trial, (_, first) = min(by_checkpoint).parent, by_checkpoint[min(by_checkpoint)][0]
    record = {
        "run": str(trial),
        "held_out_episodes": first.evaluation_episodes,
        "held_out_seed": ExperimentConfig.of_trial(trial).seed,
        "iterations": first.num_iterations,
        "epochs": epochs_of([own for _, own in trials]),
        "seeds": sorted({experiment.seed for _, experiment in trials}),
        "starts": sorted({own.deviation.start_name for _, own in trials if own.deviation}),
        "set": {key: value for _, own in trials for key, value in settings_of(own).items()},
        "unit": "reward a quarter and agent",
        "solutions": [solution.record() for solution in solutions],
    }
    write_json(record, folder / "best_response.json")
    save(gains_figure(solutions[-1], first.economy), folder / "best_response.png")
    note = (
        f"Rewards are means a quarter (and an agent) over {first.evaluation_episodes} held-out episodes; [low, high] is"
        " the 95% bootstrap interval over seeds and episodes, too narrow where seeds are few. Percent: of the mean"
        " absolute reward of the group's agents. Temperature: what the frozen policy itself gains with less noise."
        " Improvement: over untrained policies in the same economy."
    )
    parts = []
    for solution in solutions:
        heading = f"Best responses to {trial.name}, {solution.checkpoint}, after {solution.env_steps:,} env steps"
        parts.append(f"{heading}\n\n{table(solution)}\n\n{words(solution)}")
    text = "\n\n".join([*parts, note])
    (folder / "best_response.md").write_text(text + "\n")
    return text


def epochs_of(asked: Sequence[ExperimentConfig]) -> dict[str, int]:
    """How often each deviator goes over a batch."""
    return {own.deviation.deviator: own.learning.passes for own in asked if own.deviation}


def settings_of(asked: ExperimentConfig) -> dict[str, Any]:
    """What was set of how a deviator learns, by dotted key."""
    deviation = asked.deviation
    assert deviation is not None
    left = ExperimentConfig.of_trial(Path(deviation.checkpoint).parent)
    usual = deviators_game(left, deviation, asked.num_iterations).with_values(
        {"curriculum.total_env_steps": asked.curriculum.total_env_steps}
    )
    unset, found = (
        flat_settings(each.model_dump(mode="json", include={"learning", "curriculum"})) for each in (usual, asked)
    )
    return {key: value for key, value in found.items() if value != unset.get(key)}


def _judge_checkpoint(checkpoint: Path, members: list[Member]) -> Solution:
    seed = ExperimentConfig.of_trial(checkpoint.parent).seed
    frozen, by_deviator = FrozenGame.of(checkpoint, members[0][1], seed), defaultdict[str, list[Member]](list)
    for path, experiment in members:
        assert experiment.deviation is not None
        by_deviator[experiment.deviation.deviator].append((path, experiment))
    gains = [
        gain_of(deviator, by_deviator[deviator], Asked(frozen, by_deviator[deviator][0][1]))
        for deviator in sorted(by_deviator, key=_order)
    ]
    steps, policies = training_state(checkpoint).env_steps, policies_hash(frozen.networks)
    return Solution(checkpoint.name, steps, policies, frozen.held_out.trivial_share, tuple(gains))


def _order(deviator: str) -> tuple[int, int, tuple[int, ...]]:
    """Groups first, then agents by number, then those that deviate together."""
    who = Leaving(deviator=deviator)
    agents = tuple(k for part in who.parts.values() for k in part.agents or ())
    return len(agents) + who.each, GROUPS.index(who.groups[0]), agents
