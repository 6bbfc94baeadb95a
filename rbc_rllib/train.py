"""Train one experiment: the first one of a sweep.

    python -m rbc_rllib.train                                  # a planner who commits, at full size
    python -m rbc_rllib.train --config closed_economy --set seed=3
    python -m rbc_rllib.train --set economy.planner_welfare=total --set curriculum.total_env_steps=960000
    python -m rbc_rllib.train --resume                         # go on after Ctrl-C

Prints a progress line now and then, and in the end what happened. Everything is in `results/train-<config>/<trial>/`.
"""

from pathlib import Path

from rbc_rllib.evaluate import evaluate_trial, judge
from rbc_rllib.experiment import ExperimentConfig, Sweep
from rbc_rllib.play.process import prepare_process
from rbc_rllib.runs.command_line import (
    conclude,
    find_sweep,
    local_results,
    parse_assignments,
    parser,
    results_and_options,
)
from rbc_rllib.runs.launch import run
from rbc_rllib.settings import refused


def train(
    experiment: ExperimentConfig = ExperimentConfig(), results: str | Path = "results", resume: bool = False
) -> Path:
    """Train `experiment` and judge it on held-out episodes; the trial's folder, `<results>/train-<name>/<trial>`.

    Ray runs on this machine, or on the cluster of `RAY_ADDRESS`. `resume` goes on with an interrupted training. Raises
    `ConfigError` where the folder holds an earlier run (or none to resume, or that of another experiment),
    `KeyboardInterrupt` after Ctrl-C, when a checkpoint is saved, and `RuntimeError` where the training failed.
    """
    ended = run(Sweep((experiment,)), local_results(results) / f"train-{experiment.name}", resume)
    if ended.interrupted:
        raise KeyboardInterrupt
    if ended.errors:
        raise RuntimeError(ended.errors[0])
    (trial,) = ended.finished
    evaluate_trial(trial)
    return trial


def main(arguments: list[str] | None = None) -> None:
    """The command line."""
    command = parser("train", __doc__ or "")
    command.add_argument("--config", default="quickstart", help="a module of tune_configs/ (default: quickstart)")
    options = command.parse_args(arguments)
    with refused(command):
        sweep = find_sweep(options.config)
        single = Sweep(sweep.experiments[:1]).with_values(parse_assignments(options.set))
        results, how = results_and_options(options)
        prepare_process()
        conclude(run(single, results / f"train-{options.config}", options.resume, how), judge)


if __name__ == "__main__":
    main()
