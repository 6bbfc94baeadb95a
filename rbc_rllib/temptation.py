"""Is the plan credible? What the planner would gain by breaking it from a quarter on while all still believe in it.

    python -m rbc_rllib.temptation results/tax_baselines/schedule_seed0
    python -m rbc_rllib.temptation results/tax_baselines/schedule_seed0 --episodes 256

For each quarter after the first (the first is untaxed), plays the run's newest policies as announced until then, and
from then on levies one other pair of rates: the best of the whole menu, chosen on validation episodes and judged on
held-out ones. Consumers and firms go on seeing the announced plan and the announced rates; what was levied they meet in
their budgets. Prints a table with what it says in words, and writes `temptation.json` and `temptation.png` into the
trial's folder; those with another number of episodes than the experiment's own go into a folder of their own in it,
such as `temptation-episodes256`. The planner of a credible plan has no such gain; a large one is what commitment
forgoes (Kydland and Prescott, 1977).
"""

from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from analysis.figures import save
from analysis.intervals import bounded, t_interval
from analysis.plans import paired
from analysis.results import run_name
from analysis.tax_map import cells
from analysis.temptation import Credibility, Temptation, temptation_figure
from analysis.writing import plan_words
from rbc_rllib.economy import Actions, Outcome
from rbc_rllib.economy.planner import Rates
from rbc_rllib.experiment import ExperimentConfig
from rbc_rllib.files import write_json
from rbc_rllib.play.held_out import HeldOut, play_held_out
from rbc_rllib.play.process import prepare_process
from rbc_rllib.play.randomness import HELD_OUT, VALIDATION
from rbc_rllib.play.vector_economy import VectorEconomy
from rbc_rllib.policies import Policies, load_policies
from rbc_rllib.settings import at_least_one, command_parser, refused
from rbc_rllib.training.checkpoints import newest_checkpoint
from rbc_rllib.training.rllib_internals import quiet


class BrokenPlan(VectorEconomy):
    """Economies whose planner levies other rates than announced, from one quarter on (counted from 1).

    Only what is levied is replaced: observations keep showing the plan and the rates that were announced.
    """

    def __init__(self, *arguments: Any, broken_from: int, levied: Rates, **settings: Any):
        super().__init__(*arguments, **settings)
        self.broken_from, self.levied = broken_from, levied

    def step(self, actions: Actions) -> Outcome:
        """One quarter of every economy; `next_rates` announces those of the next as if nothing had happened."""
        if self.quarter + 1 >= self.broken_from:
            income, corporate = (0.0 * self.state.time + rate for rate in self.levied)
            self.state = replace(self.state, income_tax_rate=income, corporate_tax_rate=corporate)
        return super().step(actions)


def tempt(policies: Policies, quarter: int, levied: Rates, episodes: int, held_out: int = HELD_OUT) -> HeldOut:
    """What happens where `levied` is what is levied from `quarter` on (from 1), whatever was announced."""
    broken = partial(BrokenPlan, broken_from=quarter, levied=levied)
    experiment = policies.experiment
    return play_held_out(experiment, policies.networks, episodes, experiment.seed, held_out, economy_class=broken)


def measure(trial: Path, policies: Policies, episodes: int) -> Credibility:
    """The temptation in each quarter after the first; raises `ConfigError` where no plan is announced."""
    experiment, plan = policies.experiment, policies.announced_plan(trial.name)
    params = experiment.economy
    announced, before = (
        play_held_out(experiment, policies.networks, episodes, experiment.seed, held_out)
        for held_out in (HELD_OUT, VALIDATION)
    )
    return Credibility(
        run=run_name(trial),
        checkpoint=newest_checkpoint(trial).name,
        episodes=episodes,
        seed=experiment.seed,
        plan=plan,
        announced=t_interval(announced.welfare),
        trivial_share=announced.trivial_share,
        temptations=tuple(
            _largest(policies, quarter, announced, before) for quarter in range(2, params.episode_length + 1)
        ),
    )


def _largest(policies: Policies, quarter: int, announced: HeldOut, before: HeldOut) -> Temptation:
    """The best pair of the menu from `quarter` on, and its gain; `before`: as announced, on validation episodes."""
    episodes, base = len(before.welfare), before.welfare.mean()
    gains = {
        rates: float(tempt(policies, quarter, rates, episodes, VALIDATION).welfare.mean() - base)
        for rates in cells(policies.experiment.economy)
    }
    levied = max(gains, key=gains.__getitem__)
    kept, honest = gains[levied] <= 0, announced.welfare
    gain = paired(honest if kept else tempt(policies, quarter, levied, episodes).welfare, honest)
    return Temptation(quarter, levied, gains[levied], gain)


def folder_of(trial: Path, experiment: ExperimentConfig, episodes: int) -> Path:
    """Where the temptations are written: with another number of episodes nothing of the trial's own is overwritten."""
    return trial if episodes == experiment.evaluation_episodes else trial / f"temptation-episodes{episodes}"


def write(credibility: Credibility, folder: Path) -> str:
    """Write `temptation.json` and `temptation.png`; returns what they say."""
    folder.mkdir(exist_ok=True)
    write_json(credibility.record(), folder / "temptation.json")
    save(temptation_figure(credibility), folder / "temptation.png")
    heading = f"Breaking the plan of {credibility.run}, {credibility.checkpoint}: {plan_words(credibility.plan)}"
    note = (
        f"Gains are means over all quarters of {credibility.episodes} held-out episodes, of the whole economy; its"
        f" welfare as announced is {bounded(credibility.announced)}. [low, high]: paired 95% t interval over episodes."
    )
    files = f"temptation.json and temptation.png are in {folder}"
    return f"{heading}\n\n{credibility.table()}\n\n{credibility.words()}\n\n{note}\n\n{files}"


def main(arguments: list[str] | None = None) -> None:
    """The command line."""
    parser = command_parser("rbc_rllib.temptation", __doc__)
    parser.add_argument("run", metavar="RUN", type=Path, help="a trial's folder, results/<experiment>/<trial>")
    parser.add_argument("--episodes", type=int, help="validation and held-out episodes (default: the experiment's)")
    options = parser.parse_args(arguments)
    quiet()
    with refused(parser):
        at_least_one(episodes=options.episodes)
        policies = load_policies(options.run)
        episodes = options.episodes or policies.experiment.evaluation_episodes
        prepare_process()
        credibility = measure(options.run, policies, episodes)
        print(write(credibility, folder_of(options.run, policies.experiment, episodes)))


if __name__ == "__main__":
    main()
