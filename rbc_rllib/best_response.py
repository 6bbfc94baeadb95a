"""Is it an equilibrium? What one group, or one agent alone, gains by leaving the policies of a trained run.

    python -m rbc_rllib.best_response results/quickstart/commitment_seed0
    python -m rbc_rllib.best_response results/quickstart/commitment_seed0 --groups firm --seeds 3 --iterations 50
    python -m rbc_rllib.best_response results/quickstart/commitment_seed0 --everyone firm consumer
    python -m rbc_rllib.best_response results/quickstart/commitment_seed0 --individual firm_3 consumer_17
    python -m rbc_rllib.best_response results/quickstart/commitment_seed0 --together firm_0 firm_5
    python -m rbc_rllib.best_response results/quickstart/commitment_seed0 --along-training
    python -m rbc_rllib.best_response RUN --everyone firm --starts frozen scratch OTHER_RUN --set learning.num_epochs=16

Freezes everybody else at a checkpoint of the run and trains the deviator from there, with the trainer, masks, penalties
and learning settings of the run in the last stage of its curriculum, but with half its learning rates and an entropy
bonus that falls to 0; one Tune trial for each checkpoint, deviator, start and seed. `--everyone` asks every agent of a
group alone, in one training with four times the epochs: in each economy of a batch others of them deviate, by a network
that sees who it is. Agents that deviate `--together` are a coalition: each is rewarded with their mean, in which firms'
money counts as in total welfare where consumers are among them. The best of what was learned is chosen on validation
episodes, frozen policies and best responses are then judged on the same held-out episodes. Prints a table with what it
says in words, and writes `best_response.json` (every agent by name), `best_response.md` and `best_response.png`, all
into `best_response-<experiment>-<trial>/` beside the experiment; another question about the same run, also one that its
sweep has asked about, needs another `--results`. Gains are lower bounds: a better response than the one that was
learned may exist.
"""

import argparse
import hashlib
from pathlib import Path
from typing import Any

from analysis.followers import answers_to, followers_table, followers_words
from analysis.metrics import verdict
from analysis.report import write_report
from analysis.results import folder_beside, load_trial
from analysis.study import load_study
from analysis.writing import listed
from rbc_rllib.economy import GROUPS
from rbc_rllib.experiment import ExperimentConfig, Sweep
from rbc_rllib.leaving import EACH, FROZEN, SCRATCH, Deviation
from rbc_rllib.play.process import prepare_process
from rbc_rllib.responses import epochs_of, judge
from rbc_rllib.runs.command_line import conclude, parse_assignments, parser, results_of_run, run_options, tell
from rbc_rllib.runs.launch import RunOptions, can_resume, run
from rbc_rllib.runs.searches import KEPT_CHECKPOINTS
from rbc_rllib.settings import ConfigError, at_least_one, refused
from rbc_rllib.training.checkpoints import check_fit, checkpoints_in, newest_checkpoint
from rbc_rllib.training.deviations import deviators_game, final_game
from rbc_rllib.training.rllib_internals import quiet

DEFAULT_SEEDS = 5
DEFAULT_EPISODES = 256
DEFAULT_SHARE_OF_TRAINING = 0.25
ASKED_EPISODES = 64
LONGEST_NAME = 100
SETTINGS_OF_A_DEVIATOR = (
    "learning.",
    "resources.",
    "curriculum.final_entropy_coeff",
    "curriculum.cooled_entropy_coeff",
    "curriculum.cooling_",
)
"""What `--set` may change: how the deviator learns."""
SETTINGS_OF_NETWORKS = ("learning.hidden_sizes", "learning.observation_encodings")
"""What it may not, as frozen policies are what they are."""


def best_responses(
    trial: Path,
    deviators: list[str],
    checkpoints: list[Path],
    seeds: int = DEFAULT_SEEDS,
    iterations: int | None = None,
    episodes: int = DEFAULT_EPISODES,
    starts: list[str] | None = None,
    values: dict[str, Any] | None = None,
) -> Sweep:
    """One experiment for each checkpoint, deviator (however often it is named), start and seed; raises `ConfigError`
    where there can be none.

    `starts` as in `Deviation.start`; `values` are settings of the deviators by dotted key.
    """
    experiment, values = left_experiment(trial), values or {}
    for key, value in values.items():
        if not key.startswith(SETTINGS_OF_A_DEVIATOR) or key.startswith(SETTINGS_OF_NETWORKS):
            rule = "a deviator plays the run's own game with networks like the run's"
            raise ConfigError(key, value, rule, "set how it learns, e.g. learning.num_epochs=4")
    at_least_one(seeds=seeds, iterations=iterations, episodes=episodes)
    iterations = iterations or usual_iterations(experiment)
    steps = iterations * final_game(experiment, checkpoints[0]).with_values(values).env_steps_per_iteration
    return Sweep(
        tuple(
            deviators_game(experiment, deviation, iterations)
            .replace(
                name="-".join([_short(deviator), checkpoint.name, *_unusual(deviation)]),
                seed=seed,
                evaluation_episodes=episodes,
                # So many are kept: how the gain grows with the length of the training, and the best of them.
                iterations_per_checkpoint=-(-iterations // KEPT_CHECKPOINTS),
            )
            .with_values(values | {"curriculum.total_env_steps": steps})
            for checkpoint in checkpoints
            for deviator in dict.fromkeys("+".join(sorted(name.split("+"))) for name in deviators)
            for start in starts or [FROZEN]
            for deviation in [Deviation(checkpoint=str(checkpoint), deviator=deviator, start=start)]
            for seed in range(seeds)
        )
    )


def usual_iterations(experiment: ExperimentConfig) -> int:
    """For how many iterations a deviator from a run of `experiment` learns, where nobody says."""
    return max(1, round(DEFAULT_SHARE_OF_TRAINING * experiment.num_iterations))


def left_experiment(trial: Path, key: str = "RUN") -> ExperimentConfig:
    """The experiment of a run that can be left; raises `ConfigError` where agents have left in it already, for a policy
    of their own."""
    experiment = ExperimentConfig.of_trial(trial)
    if experiment.deviation and experiment.deviation.apart:
        rule = "in it some act by a policy of their own, so it is no run that others could leave or start from"
        raise ConfigError(key, trial.name, rule, "name the run that they left")
    return experiment


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


def find_starts(trial: Path, names: list[str]) -> list[str]:
    """Where deviators start, as in `Deviation.start`, from the names on the command line: `frozen`, `scratch`, or the
    folder of another run, whose newest checkpoint it is.

    Raises `ConfigError` where that does not fit the trial's experiment, where others have left the other run, and
    where two have one name.
    """
    experiment, starts = ExperimentConfig.of_trial(trial), dict[str, str]()
    for name in names:
        start = name
        if name not in (FROZEN, SCRATCH):
            if not (Path(name) / "config.json").is_file():
                rule = "it must be frozen, scratch or the folder of another run"
                raise ConfigError("--starts", name, rule, "name a trial, results/<experiment>/<trial>")
            left_experiment(Path(name), "--starts")
            checkpoint = newest_checkpoint(Path(name))
            try:
                check_fit(checkpoint, experiment)
            except ConfigError as error:
                raise ConfigError("--starts", name, error.rule, "name a run of such an economy and layers") from None
            start = str(checkpoint.absolute())
        known_as = Deviation(checkpoint=str(trial), deviator="firm", start=start).start_name
        if known_as in starts:
            rule = f"each start is asked once, and {known_as} is named twice"
            raise ConfigError("--starts", name, rule, "name it once, or move one of two folders of that name")
        starts[known_as] = start
    return [*starts.values()]


def _short(deviator: str) -> str:
    """A name for folders, which may not be longer than 255 letters: large coalitions are told apart by a digest."""
    if len(deviator) <= LONGEST_NAME:
        return deviator
    return f"{deviator[:LONGEST_NAME]}-{hashlib.sha256(deviator.encode()).hexdigest()[:8]}"


def _unusual(deviation: Deviation) -> list[str]:
    """What of where a deviator starts is part of its trial's name."""
    return [] if deviation.start == FROZEN else [deviation.start_name]


def ask(
    trials: list[Path], deviators: tuple[str, ...], iterations: int, options: RunOptions = RunOptions()
) -> tuple[str, bool]:
    """What `deviators` would gain by leaving the newest policies of each trial of an experiment, in short trainings of
    one seed, in words; and whether all were asked.

    Nobody is asked twice, and nobody in a trivial economy; results lie beside the experiment, whose report is written
    anew with them. A trial of which a deviator failed, or about which something else has been asked already, is named,
    and the others are asked.
    """
    left_out, dead = [], [trial for trial in trials if verdict(load_trial(trial)) == "trivial"]
    for trial in trials:
        if trial in dead:
            continue
        try:
            sweep = best_responses(trial, list(deviators), find_checkpoints(trial), 1, iterations, ASKED_EPISODES)
            if not _is_answered(trial, sweep):
                folder = folder_beside("best_response", trial)
                if not tell(run(sweep, folder, can_resume(folder), options), judge):
                    left_out.append(f"Of the followers of {trial.name} some were not asked: their training failed.")
        except ConfigError as refusal:
            left_out.append(f"Followers of {trial.name} were not asked: {refusal}")
    asked, wanted = [], {trial.resolve() for trial in trials}
    for folder in dict.fromkeys(trial.parent for trial in trials):
        write_report(folder)
        asked += [trial for trial in load_study([folder]).trials if trial.path in wanted]
    words = [*left_out, followers_table(asked), followers_words(asked)]
    if dead:
        words.append(f"Nobody was asked where the economy is trivial: {listed([trial.name for trial in dead])}.")
    return "\n\n".join(words), not left_out


def _is_answered(trial: Path, sweep: Sweep) -> bool:
    """Whether `best_response.json` beside the trial says what those of `sweep` gain."""
    try:
        answers = answers_to(load_trial(trial))
    except ConfigError:  # of an earlier version, or spoiled: judged anew
        return False
    if answers is None:
        return False
    record, (*_, last) = answers
    known = {gain.deviator: record["epochs"].get(gain.deviator) for gain in last.gains}
    how, iterations = (record["iterations"], record["starts"], record["set"]), sweep.experiments[0].num_iterations
    newest = last.checkpoint == newest_checkpoint(trial).name
    return newest and how == (iterations, [FROZEN], {}) and epochs_of(sweep.experiments).items() <= known.items()


def deviators_of(options: argparse.Namespace, experiment: ExperimentConfig) -> list[str]:
    """The deviators that the command line names; raises `ConfigError` where one is of the wrong kind."""
    named = options.individual or options.everyone or options.together
    groups = options.groups or ([] if named else list(experiment.policies))
    for group in groups:
        if group not in GROUPS:
            raise ConfigError("--groups", group, "there is no such group", f"take {', '.join(GROUPS)}")
    for agent in options.individual:
        if "_" not in agent or "+" in agent or agent.startswith(EACH):
            rule = "it must be one consumer or firm"
            raise ConfigError("--individual", agent, rule, "write e.g. firm_3, or take --together or --groups")
    for agents in options.together:
        if len(agents) < 2:
            rule = "one agent alone has nobody to deviate with"
            raise ConfigError("--together", agents[0], rule, "name two or more, or take --individual")
    for group in options.everyone:
        if group not in ("consumer", "firm"):
            raise ConfigError("--everyone", group, "it is a group of several agents", "take consumer or firm")
    coalitions, each = map("+".join, options.together), [EACH + group for group in options.everyone]
    return [*groups, *options.individual, *coalitions, *each]


def main(arguments: list[str] | None = None) -> Any:
    """The command line."""
    command = parser("best_response", __doc__ or "", of_run=True)
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
        help="consumers and firms that deviate alone, such as firm_3",
    )
    command.add_argument(
        "--together",
        nargs="+",
        metavar="AGENT",
        action="append",
        default=[],
        help="agents that deviate together, as a cartel of firms does; may be repeated",
    )
    command.add_argument(
        "--everyone",
        nargs="+",
        metavar="GROUP",
        default=[],
        help="firm, consumer: every agent of the group, each alone",
    )
    command.add_argument(
        "--starts",
        nargs="+",
        metavar="START",
        default=[FROZEN],
        help="where deviators start: frozen (the policy that they leave, the default), scratch, or another RUN",
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
        experiment = left_experiment(options.run)
        sweep = best_responses(
            options.run,
            deviators_of(options, experiment),
            find_checkpoints(options.run, options.checkpoint, options.along_training),
            options.seeds,
            options.iterations,
            options.episodes,
            find_starts(options.run, options.starts),
            parse_assignments(options.set),
        )
        prepare_process()
        folder = folder_beside("best_response", options.run, results_of_run(options))
        conclude(run(sweep, folder, options.resume, run_options(options)), judge)


if __name__ == "__main__":
    main()
