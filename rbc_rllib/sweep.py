"""Train a sweep of experiments under Ray Tune, on this machine or on a Ray cluster.

    python -m rbc_rllib.sweep                                  # commitment against discretion, 10 minutes
    python -m rbc_rllib.sweep smoke                            # 30 seconds, a small economy
    python -m rbc_rllib.sweep tax_baselines --only schedule fixed_0_80 --set learning.trained_consumers=100
    python -m rbc_rllib.sweep curriculum_search --results /shared/results   # docs/searches.md
    python -m rbc_rllib.sweep curriculum_search --results s3://bucket/prefix  # docs/cluster.md
    python -m rbc_rllib.sweep quickstart --resume              # finish an interrupted sweep
    python -m rbc_rllib.sweep --wandb my_project               # or --mlflow sqlite:///mlflow.db: see docs/watching.md
    ray job submit --working-dir . -- python -m rbc_rllib.sweep

A sweep is a module of `tune_configs/`. Prints a line for each trial now and then, and in the end a table and, in
words, what happened; where the sweep asks for it, also what single agents would gain by leaving (a short
`best_response` for each trial). Everything is in `results/<sweep>/<trial>/`: the complete config, progress.csv,
TensorBoard events, checkpoints, the evaluation on held-out episodes, and a roll-out as arrays and as a figure. A sweep
that searches also prints its configurations, the best first; where it bred a population, the values of the best member
are then trained anew with every seed, in `results/<sweep>-anew/`. Where trials fail all that can be is still done with
the others, and the command ends with status 1.
"""

import sys
from dataclasses import replace
from functools import reduce

from analysis.ranking import rank
from analysis.results import load_trials
from rbc_rllib.best_response import ask
from rbc_rllib.evaluate import judge
from rbc_rllib.experiment import ExperimentConfig, Sweep
from rbc_rllib.play.process import prepare_process
from rbc_rllib.runs.command_line import find_sweep, parse_assignments, parser, results_and_options, tell
from rbc_rllib.runs.launch import can_resume, run
from rbc_rllib.runs.searches import at_once
from rbc_rllib.settings import refused


def trained_anew(sweep: Sweep, member: ExperimentConfig) -> Sweep:
    """All seeds of a population's sweep with the values that one of its members has in the end."""
    values = {key: reduce(getattr, key.split("."), member) for key in sweep.search_space}
    return replace(sweep, search=None, num_samples=1).with_values(values)


def main(arguments: list[str] | None = None) -> None:
    """The command line."""
    command = parser("sweep", __doc__ or "")
    command.add_argument(
        "name", nargs="?", default="quickstart", help="a module of tune_configs/ (default: quickstart)"
    )
    command.add_argument("--only", nargs="+", metavar="EXPERIMENT", help="experiments of it by name (default: all)")
    command.add_argument(
        "--at-once", type=int, metavar="N", help="trials, in the sweep's order (default: as many as there is room for)"
    )
    options = command.parse_args(arguments)
    with refused(command):
        sweep = find_sweep(options.name).with_values(parse_assignments(options.set))
        if options.only:
            sweep = sweep.only(options.only)
        if options.at_once is not None:
            sweep = at_once(sweep, options.at_once)
        results, how = results_and_options(options)
        prepare_process()
        folder = results / options.name
        ended = run(sweep, folder, options.resume, how)
        fine = tell(ended, judge)
        if sweep.search and sweep.search.kind == "population" and ended.finished:
            anew = folder.with_name(f"{folder.name}-anew")
            again = options.resume and can_resume(anew, how.remote)
            # What was begun goes on, also where a member that had failed has become the best since.
            begun = sorted(path.parent for path in anew.glob("*/config.json")) if again else []
            best = begun[0] if begun else rank([t for t in load_trials(folder) if t.finished])[0].trials[0].path
            print(f"\nThe values with which {best.name} ends are trained anew with every seed: {anew}", flush=True)
            ended = run(trained_anew(sweep, ExperimentConfig.of_trial(best)), anew, again, how)
            fine &= tell(ended, judge)
        if sweep.deviators and how.remote:
            print("\nNobody was asked what leaving would gain: best_response asks, of a run in a folder.")
        elif sweep.deviators and ended.finished:
            words, all_asked = ask(ended.finished, sweep.deviators, sweep.deviation_iterations, how)
            print(f"\n{words}")
            fine &= all_asked
        if not fine:
            sys.exit(1)


if __name__ == "__main__":
    main()
