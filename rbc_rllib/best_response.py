"""Is it an equilibrium? What one group, or one agent alone, gains by leaving the policies of a trained run.

    python -m rbc_rllib.best_response results/quickstart/full_curriculum_seed0
    python -m rbc_rllib.best_response results/quickstart/full_curriculum_seed0 --groups firm --seeds 3 --iterations 50
    python -m rbc_rllib.best_response results/quickstart/full_curriculum_seed0 --individual firm_3 consumer_17
    python -m rbc_rllib.best_response results/quickstart/full_curriculum_seed0 --along-training

Freezes everybody else at a checkpoint of the run and trains the deviator from there, with the trainer, masks, penalties
and learning settings of the run in the last stage of its curriculum; one Tune trial for each checkpoint, deviator and
seed. Frozen policies and best responses are then judged on the same held-out episodes. Prints a table with what it says
in words, and writes `best_response.json`, both into `results/best_response-<experiment>-<trial>/`. Gains are lower
bounds: a better response than the one that was learned may exist.
"""

import json
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from analysis.gains import Gain, Solution, measure_gain, table, words
from rbc_rllib.economy import GROUPS
from rbc_rllib.evaluate import Evaluation, play_held_out
from rbc_rllib.experiment import Deviation, ExperimentConfig, Sweep
from rbc_rllib.play.modules import untrained_modules
from rbc_rllib.play.process import prepare_process
from rbc_rllib.play.randomness import VALIDATION
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
from rbc_rllib.training.rllib_internals import quiet

DEFAULT_SEEDS = 5
DEFAULT_EPISODES = 256
DEFAULT_SHARE_OF_TRAINING = 0.25


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
            final_game(experiment, checkpoint, iterations).replace(
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


def final_game(experiment: ExperimentConfig, checkpoint: Path, iterations: int = 1) -> ExperimentConfig:
    """The experiment in the last stage of its curriculum, for `iterations`: whole menus, the full disutility of labor,
    the no-Ponzi penalty that the checkpoint was trained with, final entropy coefficients."""
    penalty_increase = training_state(checkpoint).penalty_increase
    per_iteration = experiment.env_steps_per_update * experiment.learning.updates_per_iteration
    return experiment.replace(
        economy=experiment.economy.replace(
            penalty_coefficient=experiment.economy.penalty_coefficient + penalty_increase
        ),
        curriculum=experiment.curriculum.replace(
            total_env_steps=iterations * per_iteration,
            staged_training=False,
            annealed_ranges=False,
            annealed_labor_disutility=False,
            annealed_entropy=False,
            annealed_debt_penalty=False,
        ),
    )


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
        after, validation = [], []
        for path, experiment in members:
            learned = load_networks(newest_checkpoint(path), experiment)
            after.append(reward_of(deviation, play(experiment, learned)))
            validated = reward_of(deviation, play(experiment, learned, held_out=VALIDATION))
            validation.append(float((validated - reward_of(deviation, before_validation)).mean()))
        consumption = None
        if deviation.group == "consumer":
            everyone = before.consumption
            consumption = everyone if deviation.agents is None else everyone[:, :, list(deviation.agents)]
        gains.append(
            measure_gain(
                deviator,
                reward_of(deviation, before),
                np.stack(after),
                validation,
                [experiment.seed for _, experiment in members],
                float(reward_of(deviation, untrained).mean()),
                game.economy,
                consumption,
            )
        )
    trivial_share = float(before.indicators["trivial_share"].mean())
    return Solution(checkpoint.name, training_state(checkpoint).env_steps, trivial_share, tuple(gains))


def reward_of(deviation: Deviation, evaluation: Evaluation) -> np.ndarray:
    """`[episodes]` The reward a quarter of the average agent among those that deviate."""
    rewards = evaluation.rewards[deviation.group].astype(float)
    return (rewards if deviation.agents is None else rewards[:, list(deviation.agents)]).mean(1)


def _order(deviator: str) -> tuple[int, list[int]]:
    """Groups first, then agents by number, then those that deviate together."""
    deviation = Deviation(checkpoint="", deviator=deviator)
    agents = deviation.agents or ()
    return (GROUPS.index(deviation.group) + len(GROUPS) * len(agents), list(agents))


def main(arguments: list[str] | None = None) -> Any:
    """The command line."""
    command = output_parser("best_response", __doc__ or "")
    command.add_argument("run", metavar="RUN", type=Path, help="a trial's folder, results/<experiment>/<trial>")
    command.add_argument(
        "--groups",
        nargs="+",
        metavar="GROUP",
        help="groups that deviate as a whole (default: all that learn, or none where --individual is given)",
    )
    command.add_argument(
        "--individual",
        nargs="+",
        metavar="AGENT",
        default=[],
        help="consumers and firms that deviate alone, firm_3, or together by one policy, firm_0+firm_5",
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
        groups = options.groups or ([] if options.individual else list(experiment.policies))
        for group in groups:
            if group not in GROUPS:
                raise ConfigError("--groups", group, "there is no such group", f"take {', '.join(GROUPS)}")
        for agent in options.individual:
            if "_" not in agent:
                raise ConfigError("--individual", agent, "it must be one consumer or firm", "write e.g. firm_3")
        checkpoints = find_checkpoints(options.run, options.checkpoint, options.along_training)
        deviators = list(dict.fromkeys([*groups, *options.individual]))
        sweep = best_responses(options.run, deviators, checkpoints, options.seeds, options.iterations, options.episodes)
        trial = options.run.absolute()
        name = f"best_response-{trial.parent.name}-{trial.name}"
        prepare_process()
        conclude(run(sweep, Path(options.results) / name, options.resume), judge)


if __name__ == "__main__":
    main()
