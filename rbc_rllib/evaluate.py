"""Frozen policies on held-out episodes.

    python -m rbc_rllib.evaluate results/quickstart/commitment_seed0
    python -m rbc_rllib.evaluate results/quickstart --episodes 256 --seed 7

Plays a finished or interrupted trial (or each trial of a folder) from its last checkpoint in the economy itself (whole
menus, no penalty that training added). Prints every indicator with its 95% bootstrap interval over episodes, and
whether the economy is trivial. Writes that as `evaluation.json`, and the first episodes as `rollout.npz` (arrays),
`rollout.parquet` (one row for each quarter, agent and quantity) and `rollout.png`. The same seed gives the same
numbers.

The experiment's own episodes and seed are written into the trial's folder, where reports look for them; any others
into a folder of their own in it, such as `evaluation-episodes256-seed7`.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from analysis.figures import save
from analysis.intervals import BOOTSTRAP_SEED, Interval, mean_interval
from analysis.quantities import BY_NAME, quantity_of
from analysis.report import write_report
from analysis.results import load_trials, read_json
from analysis.rollout import load_picture, rollout_figure
from analysis.tidy import save_table
from analysis.writing import plan_words
from rbc_rllib.economy import Planner
from rbc_rllib.economy.indicators import is_trivial
from rbc_rllib.economy.planner import Rates
from rbc_rllib.experiment import ExperimentConfig
from rbc_rllib.files import whole, write_json
from rbc_rllib.play.held_out import HeldOut, play_held_out
from rbc_rllib.play.modules import GroupModule, settled_plan
from rbc_rllib.play.process import prepare_process
from rbc_rllib.runs.tensorboard import add_evaluation
from rbc_rllib.settings import ConfigError, command_parser, refused
from rbc_rllib.training.checkpoints import load_networks, newest_checkpoint, policies_hash, training_state
from rbc_rllib.training.rllib_internals import quiet

EVALUATION = "evaluation.json"


@dataclass(frozen=True)
class Evaluation(HeldOut):
    """What frozen policies did on held-out episodes, with intervals and in words."""

    @classmethod
    def of(
        cls, experiment: ExperimentConfig, modules: dict[str, GroupModule], episodes: int, seed: int
    ) -> "Evaluation":
        """What these networks do on `episodes` episodes of that seed."""
        return cls(**vars(play_held_out(experiment, modules, episodes, seed)))

    @cached_property
    def summary(self) -> dict[str, Interval]:
        """Mean and bootstrap interval over episodes of each indicator; the same for the same episodes."""
        return {
            name: mean_interval(values, np.random.default_rng(BOOTSTRAP_SEED))
            for name, values in sorted(self.indicators.items())
        }

    @property
    def trivial(self) -> bool:
        """Whether the economy is dead: then nothing else about it is worth reading."""
        return is_trivial(self.trivial_share)

    def words(self) -> str:
        """A line for each indicator: its mean and, for two episodes or more, the bounds of the interval."""
        summary = self.summary
        names = dict.fromkeys([*BY_NAME, *summary])  # as in reports, then any others
        shown = [(quantity_of(name), summary[name]) for name in names if name in summary]
        width = max(len(quantity.title) for quantity, _ in shown)
        return "\n".join(f"  {q.title:<{width}}  {q.of(each)}" for q, each in shown)

    def verdict(self) -> str:
        """Whether the economy is trivial, in one sentence."""
        if self.trivial:
            episodes = f"in {self.trivial_share:.0%} of the episodes"
            return f"The economy is trivial: {episodes} next to nobody works, produces or consumes."
        return f"The economy is not trivial (trivial episodes: {self.trivial_share:.0%})."


def evaluate(
    run: str | Path, episodes: int | None = None, seed: int | None = None, tax_plan: Sequence[Rates] | None = None
) -> Evaluation:
    """What the newest policies of a trial's folder do on held-out episodes; by default the experiment's own, with its
    seed. Writes nothing.

    Where another `tax_plan` is announced (income and corporate rate, one pair for all quarters after the first or one
    for each), consumers and firms answer that. Raises `ConfigError` where there is no trial, for fewer than one episode
    and for a plan that is not on the menu or that nobody there has learned to read.
    """
    trial = Path(run)
    experiment = ExperimentConfig.of_trial(trial)
    modules = load_networks(newest_checkpoint(trial), experiment)
    if tax_plan is not None:
        if not experiment.planner.announces:
            rule = "followers of a planner with discretion have never seen an announced plan"
            raise ConfigError("tax_plan", tax_plan, rule, "name a run whose planner.mode announces one")
        experiment = experiment.replace(planner=Planner(mode="fixed", rates=tuple(tax_plan)))
    return Evaluation.of(experiment, modules, *_episodes_and_seed(experiment, episodes, seed))


def evaluate_trial(trial_folder: Path, episodes: int | None = None, seed: int | None = None) -> str:
    """Evaluate a trial's last checkpoint, write what came of it, and return that in words.

    Writes `evaluation.json`, `rollout.npz`, `rollout.parquet` and `rollout.png` into `evaluation_folder`. By default
    with the experiment's own episodes and seed. Raises `ConfigError` for fewer than one episode and for a negative
    seed.
    """
    experiment = ExperimentConfig.of_trial(trial_folder)
    checkpoint = newest_checkpoint(trial_folder)
    episodes, seed = _episodes_and_seed(experiment, episodes, seed)
    modules = load_networks(checkpoint, experiment)
    result, plan = Evaluation.of(experiment, modules, episodes, seed), settled_plan(experiment, modules)
    record = {
        "episodes": episodes,
        "seed": seed,
        "checkpoint": checkpoint.name,
        "policies": policies_hash(modules),
        "trivial": result.trivial,
        "tax_plan": plan,  # income and corporate rate, of all quarters after the first or of each; None: none, or drawn
        "indicators": {name: interval.record() for name, interval in result.summary.items()},
    }
    folder = evaluation_folder(trial_folder, experiment, episodes, seed)
    folder.mkdir(exist_ok=True)
    with whole(folder / "rollout.npz") as unfinished, unfinished.open("wb") as file:
        np.savez_compressed(file, allow_pickle=False, **result.rollout)
    save_table(result.rollout, folder / "rollout.parquet")
    picture = save(rollout_figure(result.rollout, experiment.economy), folder / "rollout.png")
    if folder == trial_folder:
        quarters = experiment.economy.episode_length - 1  # in which planners set taxes
        by_quarter = plan * quarters if plan and len(plan) == 1 else plan or ()
        steps = training_state(checkpoint).env_steps
        add_evaluation(folder, steps, load_picture(picture), plan_words(plan or ()), by_quarter)
    write_json(record, folder / EVALUATION)  # the last one: where it is, all is
    heading = f"{trial_folder}, {checkpoint.name}: {episodes} held-out episodes, seed {seed}"
    files = f"evaluation.json and the roll-out (npz, parquet, png) are in {folder}"
    announced = f"  announced (income / corporate tax): {plan_words(plan)}\n" if plan else ""
    return f"{heading}\n{result.words()}\n{announced}{files}\n{result.verdict()}"


def _episodes_and_seed(experiment: ExperimentConfig, episodes: int | None, seed: int | None) -> tuple[int, int]:
    for name, value, least in (("--episodes", episodes, 1), ("--seed", seed, 0)):
        if value is not None and value < least:
            raise ConfigError(name, value, f"it must be at least {least}", "leave it out to get the experiment's own")
    return experiment.evaluation_episodes if episodes is None else episodes, experiment.seed if seed is None else seed


def evaluation_folder(trial_folder: Path, experiment: ExperimentConfig, episodes: int, seed: int) -> Path:
    """Where an evaluation is written: reports read the one with the experiment's own episodes and seed, so any other
    goes into a folder of its own in the trial's and overwrites nothing that they read."""
    if (episodes, seed) == (experiment.evaluation_episodes, experiment.seed):
        return trial_folder
    return trial_folder / f"evaluation-episodes{episodes}-seed{seed}"


def judge(folder: Path, finished: list[Path]) -> str:
    """Judge each finished trial on held-out episodes, once, and write the report on the experiment in `folder`."""
    for trial in finished:
        if not _is_evaluated(trial):
            evaluate_trial(trial)
    return write_report(folder)


def _is_evaluated(trial: Path) -> bool:
    path, experiment = trial / EVALUATION, ExperimentConfig.of_trial(trial)
    record = read_json(path) if path.is_file() else {}
    expected = (experiment.evaluation_episodes, experiment.seed, newest_checkpoint(trial).name)
    return tuple(map(record.get, ("episodes", "seed", "checkpoint"))) == expected


def main(arguments: list[str] | None = None) -> Any:
    """The command line."""
    parser = command_parser("rbc_rllib.evaluate", __doc__)
    parser.add_argument("run", type=Path, help="a trial's folder, or a folder of trials")
    parser.add_argument("--episodes", type=int, help="held-out episodes (default: the experiment's)")
    parser.add_argument("--seed", type=int, help="seed of the held-out episodes (default: the experiment's)")
    options = parser.parse_args(arguments)
    quiet()
    with refused(parser):
        prepare_process()
        _episodes_and_seed(ExperimentConfig(), options.episodes, options.seed)
        refusals = []
        for folder in [trial.path for trial in load_trials(options.run)]:
            try:
                print(evaluate_trial(folder, options.episodes, options.seed))
            except ConfigError as refusal:
                refusals.append(f"{folder} is not evaluated: {refusal}\n")
        if refusals:
            parser.exit(2, "".join(refusals))


if __name__ == "__main__":
    main()
