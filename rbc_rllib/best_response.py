"""Is it an equilibrium? What one group, or one agent alone, gains by leaving the policies of a trained run.

    python -m rbc_rllib.best_response results/quickstart/commitment_seed0
    python -m rbc_rllib.best_response results/quickstart/commitment_seed0 --groups firm --seeds 3 --iterations 50
    python -m rbc_rllib.best_response results/quickstart/commitment_seed0 --individual firm_3 consumer_17
    python -m rbc_rllib.best_response results/quickstart/commitment_seed0 --everyone firm consumer
    python -m rbc_rllib.best_response results/quickstart/commitment_seed0 --along-training

Freezes everybody else at a checkpoint of the run and trains the deviator from there, with the trainer, masks, penalties
and learning settings of the run in the last stage of its curriculum, but with half its learning rates and an entropy
bonus that falls to 0; one Tune trial for each checkpoint, deviator and seed. `--everyone` asks every agent of a group
alone, in one training: in each economy of a batch others of them deviate, by a network that sees who it is. Frozen
policies and best responses are then judged on the same held-out episodes. Prints a table with what it says in words,
and writes `best_response.json`, both into `results/best_response-<experiment>-<trial>/`. Gains are lower bounds: a
better response than the one that was learned may exist.
"""

import json
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from analysis.followers import followers_table, followers_words
from analysis.gains import Gain, Solution, measure_each, measure_gain, table, words
from analysis.results import load_trial
from rbc_rllib.economy import GROUPS
from rbc_rllib.evaluate import Evaluation, play_held_out
from rbc_rllib.experiment import EACH, Deviation, ExperimentConfig, Sweep
from rbc_rllib.play.modules import untrained_modules
from rbc_rllib.play.process import prepare_process
from rbc_rllib.play.randomness import HELD_OUT, VALIDATION
from rbc_rllib.play.seats import few_of
from rbc_rllib.play.spaces import agent_names
from rbc_rllib.runs.command_line import conclude, output_parser
from rbc_rllib.runs.launch import run
from rbc_rllib.settings import ConfigError, refused
from rbc_rllib.training.checkpoints import (
    check_fit,
    checkpoints_in,
    load_networks,
    newest_checkpoint,
    training_state,
)
from rbc_rllib.training.rllib_internals import has_snapshot, quiet

DEFAULT_SEEDS = 5
DEFAULT_EPISODES = 256
DEFAULT_SHARE_OF_TRAINING = 0.25
ASKED_EPISODES = 64
DEVIATORS_ENTROPY = dict.fromkeys(GROUPS, 0.005)
"""Coefficient with which a deviator starts: little, as it wants its gain, but enough to look around."""
DEVIATORS_LEARNING_RATE = 0.5
"""Share of the run's own learning rates: steps as large as at its start would first undo what was learned."""
PLAN_IS_SETTLED = {"plan_settling_start": 0.0, "plan_settling_end": 0.0}


def best_responses(
    trial: Path,
    deviators: list[str],
    checkpoints: list[Path],
    seeds: int = DEFAULT_SEEDS,
    iterations: int | None = None,
    episodes: int = DEFAULT_EPISODES,
) -> Sweep:
    """One experiment for each checkpoint, deviator and seed; raises `ConfigError` where there can be none."""
    experiment = ExperimentConfig.of_trial(trial)
    for name, value in (("--seeds", seeds), ("--iterations", iterations), ("--episodes", episodes)):
        if value is not None and value < 1:
            raise ConfigError(name, value, "it must be at least 1", "leave it out to get the default")
    iterations = iterations or max(1, round(DEFAULT_SHARE_OF_TRAINING * experiment.num_iterations))
    return Sweep(
        tuple(
            final_game(experiment, checkpoint, iterations, plan_is_open=deviator == "planner").replace(
                name=f"{deviator}-{checkpoint.name}",
                seed=seed,
                deviation=Deviation(checkpoint=str(checkpoint.absolute()), deviator=deviator),
                evaluation_episodes=episodes,
            )
            for checkpoint in checkpoints
            for deviator in deviators
            for seed in range(seeds)
        )
    )


def find_checkpoints(trial: Path, name: str | None = None, along_training: bool = False) -> list[Path]:
    """The checkpoints asked for: the last one, the one of that name, or all that are left of the training.

    Raises `ConfigError` where one is missing or does not fit the trial's experiment.
    """
    experiment, found = ExperimentConfig.of_trial(trial), checkpoints_in(trial)
    if name is not None:
        names = [path.name for path in found]
        if name not in names:
            raise ConfigError("--checkpoint", name, f"{trial} holds none of that name", f"take {', '.join(names)}")
        found = [trial / name]
    elif not along_training:
        found = found[-1:]
    for checkpoint in found:
        check_fit(checkpoint, experiment)
    return found


def final_game(
    experiment: ExperimentConfig, checkpoint: Path, iterations: int = 1, plan_is_open: bool = False
) -> ExperimentConfig:
    """The experiment in the last stage of its curriculum, for `iterations`: whole menus, the full disutility of labor,
    the no-Ponzi penalty that the checkpoint was trained with, half the learning rates, an entropy bonus that falls
    to 0.

    A planner who announces keeps to its plan, unless `plan_is_open` since it is the planner who learns.
    """
    penalty_increase = training_state(checkpoint).penalty_increase
    per_iteration = experiment.env_steps_per_update * experiment.learning.updates_per_iteration
    learning = experiment.learning
    rates = {group: DEVIATORS_LEARNING_RATE * rate for group, rate in learning.learning_rate}
    curriculum = experiment.curriculum if plan_is_open else experiment.curriculum.replace(**PLAN_IS_SETTLED)
    return experiment.replace(
        economy=experiment.economy.replace(
            penalty_coefficient=experiment.economy.penalty_coefficient + penalty_increase
        ),
        learning=learning.replace(learning_rate=rates),
        curriculum=curriculum.replace(
            total_env_steps=iterations * per_iteration,
            staged_training=False,
            annealed_ranges=False,
            annealed_labor_disutility=False,
            annealed_entropy=False,
            annealed_debt_penalty=False,
            final_entropy_coeff=DEVIATORS_ENTROPY,
            cooled_entropy_coeff=dict.fromkeys(GROUPS, 0.0),
            cooling_start=0.0,
        ),
    )


def ask(trials: list[Path], deviators: tuple[str, ...], iterations: int) -> str:
    """What `deviators` would gain by leaving the newest policies of each trial, in short trainings of one seed, in
    words. What is finished already is not trained again; results lie beside the trials' experiment."""
    for trial in trials:
        sweep = best_responses(trial, list(deviators), find_checkpoints(trial), 1, iterations, ASKED_EPISODES)
        folder = responses_folder(trial, trial.parents[1])
        conclude(run(sweep, folder, resume=has_snapshot(folder)), judge)
    asked = [load_trial(trial) for trial in trials]
    return f"{followers_table(asked)}\n\n{followers_words(asked)}"


def responses_folder(trial: Path, results: Path) -> Path:
    """Where best responses to a trial go."""
    return results / f"best_response-{trial.parent.name}-{trial.name}"


def judge(folder: Path, finished: list[Path]) -> str:
    """Measure what the best responses in `finished` gain; writes `best_response.json` and `best_response.md`."""
    trials = [(path, ExperimentConfig.from_json(path / "config.json")) for path in sorted(finished)]
    checkpoints = sorted({Path(e.deviation.checkpoint) for _, e in trials if e.deviation})
    if not checkpoints:
        return "No best response is finished: there is nothing to measure yet."
    solutions = [
        _judge_checkpoint(
            checkpoint, [(p, e) for p, e in trials if e.deviation and Path(e.deviation.checkpoint) == checkpoint]
        )
        for checkpoint in checkpoints
    ]
    trial, (_, first) = checkpoints[0].parent, trials[0]
    record = {
        "run": str(trial),
        "held_out_episodes": first.evaluation_episodes,
        "held_out_seed": ExperimentConfig.of_trial(trial).seed,
        "iterations": first.num_iterations,
        "unit": "reward a quarter and agent",
        "solutions": [solution.record() for solution in solutions],
    }
    (folder / "best_response.json").write_text(json.dumps(record, indent=2, allow_nan=False) + "\n")
    note = (
        f"Rewards are means a quarter (and an agent) over {first.evaluation_episodes} held-out episodes; [low, high] is"
        " the 95% bootstrap interval over seeds and episodes. Improvement: over untrained policies in the same economy."
    )
    parts = []
    for solution in solutions:
        heading = f"Best responses to {trial.name}, {solution.checkpoint}, after {solution.env_steps:,} env steps"
        parts.append(f"{heading}\n\n{table(solution)}\n\n{words(solution)}")
    text = "\n\n".join([*parts, note])
    (folder / "best_response.md").write_text(text + "\n")
    return text


def _judge_checkpoint(checkpoint: Path, trials: list[tuple[Path, ExperimentConfig]]) -> Solution:
    run_seed = ExperimentConfig.of_trial(checkpoint.parent).seed
    episodes = trials[0][1].evaluation_episodes
    game = trials[0][1].replace(deviation=None)
    frozen = load_networks(checkpoint, game)
    play = partial(play_held_out, episodes=episodes, seed=run_seed)
    before, before_validation = play(game, frozen), play(game, frozen, held_out=VALIDATION)
    untrained = play(game, untrained_modules(game, run_seed))
    gains: list[Gain] = []
    deviators = list(dict.fromkeys(e.deviation.deviator for _, e in trials if e.deviation))
    for deviator in sorted(deviators, key=_order):
        members = [(p, e) for p, e in trials if e.deviation and e.deviation.deviator == deviator]
        members.sort(key=lambda member: member[1].seed)
        deviation = members[0][1].deviation
        assert deviation is not None
        consumption = None
        if deviation.group == "consumer":
            everyone = before.consumption
            consumption = everyone if deviation.agents is None else everyone[:, :, list(deviation.agents)]
        seeds, group = [experiment.seed for _, experiment in members], deviation.group
        if deviation.each:
            responses = [_each_alone(path, experiment, run_seed) for path, experiment in members]
            gains.append(
                measure_each(
                    deviator,
                    agent_names(game.economy)[group],
                    before.rewards[group].astype(float),
                    np.stack([held_out for held_out, _ in responses]),
                    np.stack([(other - before_validation.rewards[group]).mean(0) for _, other in responses]),
                    seeds,
                    float(untrained.rewards[group].mean()),
                    game.economy,
                    consumption,
                )
            )
            continue
        after, validation = [], []
        for path, experiment in members:
            learned = load_networks(newest_checkpoint(path), experiment)
            after.append(reward_of(deviation, play(experiment, learned)))
            validated = reward_of(deviation, play(experiment, learned, held_out=VALIDATION))
            validation.append(float((validated - reward_of(deviation, before_validation)).mean()))
        gains.append(
            measure_gain(
                deviator,
                reward_of(deviation, before),
                np.stack(after),
                validation,
                seeds,
                float(reward_of(deviation, untrained).mean()),
                game.economy,
                consumption,
            )
        )
    trivial_share = float(before.indicators["trivial_share"].mean())
    return Solution(checkpoint.name, training_state(checkpoint).env_steps, trivial_share, tuple(gains))


def _each_alone(path: Path, experiment: ExperimentConfig, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """`[episodes, K]` What every agent of the group gets that deviates alone, by the policy in `path`, while all others
    stay: on held-out and on validation episodes, which are the same for all. As in training, a few at once."""
    deviation = experiment.deviation
    assert deviation is not None
    names = agent_names(experiment.economy)[deviation.group]
    learned, turns = load_networks(newest_checkpoint(path), experiment), -(-len(names) // few_of(len(names)))
    results = []
    for stream in (HELD_OUT, VALIDATION):
        rewards = np.zeros((experiment.evaluation_episodes, len(names)))
        for turn in range(turns):
            agents = list(range(turn, len(names), turns))
            own = deviation.replace(deviator="+".join(names[k] for k in agents))
            played = play_held_out(
                experiment.replace(deviation=own), learned, experiment.evaluation_episodes, seed, held_out=stream
            )
            rewards[:, agents] = played.rewards[deviation.group][:, agents]
        results.append(rewards)
    return results[0], results[1]


def reward_of(deviation: Deviation, evaluation: Evaluation) -> np.ndarray:
    """`[episodes]` The reward a quarter of the average agent among those that deviate."""
    rewards = evaluation.rewards[deviation.group].astype(float)
    return (rewards if deviation.agents is None else rewards[:, list(deviation.agents)]).mean(1)


def _order(deviator: str) -> tuple[int, list[int]]:
    """Groups first, then agents by number, then those that deviate together."""
    deviation = Deviation(checkpoint="", deviator=deviator)
    agents = deviation.agents or ()
    return (GROUPS.index(deviation.group) + len(GROUPS) * (len(agents) + deviation.each), list(agents))


def main(arguments: list[str] | None = None) -> Any:
    """The command line."""
    command = output_parser("best_response", __doc__ or "")
    command.add_argument("run", metavar="RUN", type=Path, help="a trial's folder, results/<experiment>/<trial>")
    command.add_argument(
        "--groups",
        nargs="+",
        metavar="GROUP",
        help="groups that deviate as a whole (default: all that learn, or none where others are named)",
    )
    command.add_argument(
        "--individual",
        nargs="+",
        metavar="AGENT",
        default=[],
        help="consumers and firms that deviate alone, firm_3, or together by one policy, firm_0+firm_5",
    )
    command.add_argument(
        "--everyone",
        nargs="+",
        metavar="GROUP",
        default=[],
        help="firm, consumer: every agent of the group, each alone",
    )
    command.add_argument("--seeds", type=int, default=DEFAULT_SEEDS, help="trainings of each (default: 5)")
    command.add_argument("--iterations", type=int, help="of each training (default: a quarter of the run's)")
    command.add_argument("--episodes", type=int, default=DEFAULT_EPISODES, help="held-out episodes (default: 256)")
    which = command.add_mutually_exclusive_group()
    which.add_argument("--checkpoint", metavar="NAME", help="such as checkpoint_000002 (default: the last one)")
    which.add_argument("--along-training", action="store_true", help="every checkpoint that is left of the training")
    options = command.parse_args(arguments)
    quiet()
    with refused(command):
        experiment = ExperimentConfig.of_trial(options.run)
        named = options.individual or options.everyone
        groups = options.groups or ([] if named else list(experiment.policies))
        for group in groups:
            if group not in GROUPS:
                raise ConfigError("--groups", group, "there is no such group", f"take {', '.join(GROUPS)}")
        for agent in options.individual:
            if "_" not in agent:
                raise ConfigError("--individual", agent, "it must be one consumer or firm", "write e.g. firm_3")
        for group in options.everyone:
            if group not in ("consumer", "firm"):
                raise ConfigError("--everyone", group, "it is a group of several agents", "take consumer or firm")
        checkpoints = find_checkpoints(options.run, options.checkpoint, options.along_training)
        deviators = list(dict.fromkeys([*groups, *options.individual, *(EACH + group for group in options.everyone)]))
        sweep = best_responses(options.run, deviators, checkpoints, options.seeds, options.iterations, options.episodes)
        prepare_process()
        conclude(run(sweep, responses_folder(options.run.absolute(), Path(options.results)), options.resume), judge)


if __name__ == "__main__":
    main()
