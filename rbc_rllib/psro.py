"""Policies that go on learning against what others learned by leaving them, round by round.

    python -m rbc_rllib.psro results/quickstart/commitment_seed0
    python -m rbc_rllib.psro results/quickstart/commitment_seed0 --rounds 5 --deviators each_firm each_consumer firm
    python -m rbc_rllib.psro results/quickstart/commitment_seed0 --iterations 50 --pool-share 0.5
    python -m rbc_rllib.psro results/quickstart/commitment_seed0 --resume

Policy-space response oracles (Lanctot et al., 2017), begun with the newest policies of a run. In a round, deviators
learn best responses to the newest policies, as `best_response` has them do; what they end with joins the pool. Then all
policies go on learning from where they are, in the last stage of the run's curriculum, with half its learning rates and
its last entropy bonus (an announced plan is settled and stays); in a share of the economies of each batch, one member
of the pool acts for its agents. After the last round deviators are asked once more. Prints what `best_response` says of
each round's policies, and in the end a table of the gains by round, which is `psro.md` in
`psro-<experiment>-<trial>/` beside the experiment; the trainings of a round are in folders of their own there. What is
finished already is not trained again.
"""

from collections.abc import Callable, Sequence
from pathlib import Path

from analysis.results import folder_beside
from analysis.rounds import rounds_table
from rbc_rllib.best_response import DEFAULT_EPISODES, best_responses, usual_iterations
from rbc_rllib.evaluate import judge as judge_policies
from rbc_rllib.experiment import ExperimentConfig, Sweep
from rbc_rllib.leaving import PoolMember
from rbc_rllib.play.process import prepare_process
from rbc_rllib.responses import judge as judge_responses
from rbc_rllib.runs.command_line import conclude, output_parser, results_of_run, run_options
from rbc_rllib.runs.launch import RunOptions, can_resume, run
from rbc_rllib.settings import at_least_one, refused
from rbc_rllib.training.checkpoints import check_fit, newest_checkpoint
from rbc_rllib.training.deviations import deviators_rates, final_game
from rbc_rllib.training.rllib_internals import quiet

DEFAULT_ROUNDS = 3
DEFAULT_DEVIATORS = ("each_firm", "each_consumer")


def responses_to(
    trial: Path, original: ExperimentConfig, deviators: Sequence[str], iterations: int, episodes: int
) -> Sweep:
    """The trainings of best responses to the newest policies of `trial`, as fast as to those of the `original` run."""
    values = {f"learning.{name}": rates for name, rates in deviators_rates(original.learning).items()}
    return best_responses(trial, list(deviators), [newest_checkpoint(trial)], 1, iterations, episodes, values=values)


def pool_of(trials: Sequence[Path]) -> tuple[PoolMember, ...]:
    """What the deviators of these finished trials have learned in the end."""
    deviations = [(trial, ExperimentConfig.of_trial(trial).deviation) for trial in sorted(trials)]
    return tuple(
        PoolMember(checkpoint=str(newest_checkpoint(trial)), deviator=deviation.deviator)
        for trial, deviation in deviations
        if deviation
    )


def next_policies(
    original: Path, newest: Path, pool: tuple[PoolMember, ...], iterations: int, share: float | None = None
) -> ExperimentConfig:
    """The training that goes on from the newest policies of trial `newest` against `pool`, in the game in which that of
    the `original` run ended; `share` as in `Refinement.pool_share`, by default the run's own."""
    experiment = ExperimentConfig.of_trial(original)
    game, refinement = final_game(experiment, newest_checkpoint(original), iterations), experiment.refinement
    return game.replace(
        deviation=None,
        start=str(newest_checkpoint(newest)),
        refinement=refinement.replace(
            pool=(*refinement.pool, *pool),
            pool_share=refinement.pool_share if share is None else share,
            pool_from=0.0,
            own_advantages_from=None if refinement.own_advantages_from is None else 0.0,
            batch_growth_from=0.0,
        ),
        curriculum=game.curriculum.replace(
            final_entropy_coeff=experiment.curriculum.final().entropy_coeff, cooled_entropy_coeff=None
        ),
    )


def trained(
    sweep: Sweep, folder: Path, resume: bool, options: RunOptions, judge: Callable[[Path, list[Path]], str]
) -> list[Path]:
    """The trials of `sweep`, all of them finished and judged; ends the command where one is not."""
    ended = run(sweep, folder, resume and can_resume(folder), options)
    conclude(ended, judge)
    return ended.finished


def main(arguments: list[str] | None = None) -> None:
    """The command line."""
    command = output_parser("psro", __doc__ or "", of_run=True)
    command.add_argument("--rounds", type=int, default=DEFAULT_ROUNDS, help="(default: 3)")
    command.add_argument(
        "--deviators",
        nargs="+",
        metavar="NAME",
        default=DEFAULT_DEVIATORS,
        help="such as each_firm, firm, firm_3 or firm_0+firm_5 (default: each_firm each_consumer)",
    )
    command.add_argument("--iterations", type=int, help="of each training (default: a quarter of the run's)")
    command.add_argument("--pool-share", type=float, help="of economies that meet the pool (default: the run's, 0.25)")
    command.add_argument("--episodes", type=int, default=DEFAULT_EPISODES, help="held-out episodes (default: 256)")
    options = command.parse_args(arguments)
    quiet()
    with refused(command):
        at_least_one(rounds=options.rounds, iterations=options.iterations)
        original, how = options.run.absolute(), run_options(options)
        experiment = ExperimentConfig.of_trial(original)
        check_fit(newest_checkpoint(original), experiment)
        iterations = options.iterations or usual_iterations(experiment)
        to_be = tuple(PoolMember(checkpoint="to be learned", deviator=name) for name in options.deviators)
        next_policies(original, original, to_be, iterations, options.pool_share)  # refused now, not after a round
        prepare_process()
        folder = folder_beside("psro", original, results_of_run(options))
        newest, pool, answers = original, tuple[PoolMember, ...](), list[Path]()
        for number in range(options.rounds + 1):
            if number:
                going_on = Sweep((next_policies(original, newest, pool, iterations, options.pool_share),))
                place = folder / f"round_{number}-policies"
                (newest,) = trained(going_on, place, options.resume, how, judge_policies)
            asked = responses_to(newest, experiment, options.deviators, iterations, options.episodes)
            answers.append(folder / f"round_{number}-responses")
            pool += pool_of(trained(asked, answers[-1], options.resume, how, judge_responses))
        table = rounds_table(answers)
        (folder / "psro.md").write_text(table + "\n")
        print(f"\n{table}\n\nResults: {folder}")


if __name__ == "__main__":
    main()
