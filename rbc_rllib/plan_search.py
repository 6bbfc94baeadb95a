"""A second opinion on a tax plan: would another one have been better, by the same followers and by retrained ones?

    python -m rbc_rllib.plan_search results/tax_baselines/schedule_seed0
    python -m rbc_rllib.plan_search results/tax_baselines/schedule_seed0 --trials 1000 --keep 5 --seeds 5
    python -m rbc_rllib.plan_search results/tax_baselines/schedule_seed0 --no-retraining

Searches the plans of RUN's kind (one pair of rates, or one for each quarter after the first) with Optuna's TPE, scored
by the planner's welfare with the run's frozen followers on validation episodes, the same random numbers for all plans.
Begins with the learned plan and all plans one step away from it. Judges the best ones on held-out episodes. Then trains
followers from scratch under each of these plans, as fixed and known ones, one Tune trial for each plan and seed, since
frozen followers answer best what they were trained on. Prints a table with what it says in words, and writes
`plan_search.json` (before the trainings start), `plan_search.md` and `plan_search.png` into
`plan_search-<experiment>-<trial>/` beside the experiment, the trainings into `retrained/` in it. Each training takes as
long as RUN.
"""

import warnings
from collections.abc import Callable, Sequence
from dataclasses import replace
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import optuna

from analysis.figures import save
from analysis.intervals import t_interval
from analysis.plans import (
    Judged,
    Neighbour,
    Plan,
    PlanSearch,
    Retrained,
    neighbours,
    on_menu,
    paired,
    search_figure,
    search_table,
    search_words,
)
from analysis.results import folder_beside, run_name
from rbc_rllib.economy import Planner
from rbc_rllib.experiment import ExperimentConfig, Sweep
from rbc_rllib.files import write_json
from rbc_rllib.play.held_out import HeldOut, play_held_out
from rbc_rllib.play.process import prepare_process
from rbc_rllib.play.randomness import HELD_OUT, VALIDATION
from rbc_rllib.policies import Policies, load_policies
from rbc_rllib.runs.command_line import conclude, output_parser, results_of_run, run_options
from rbc_rllib.runs.launch import can_resume, run
from rbc_rllib.settings import ConfigError, at_least_one, refused
from rbc_rllib.training.checkpoints import load_networks, newest_checkpoint
from rbc_rllib.training.rllib_internals import quiet

DEFAULT_TRIALS = 300
DEFAULT_EPISODES = 64
DEFAULT_KEEP = 3
DEFAULT_SEEDS = 3
FILE = "plan_search.json"
RETRAINED = "retrained"
PLANS_A_LINE = 50
"""Plans scored between two lines of progress."""


class Followers:
    """The consumers and firms of a run, who answer any plan; scores are kept, as the same plan gets the same."""

    def __init__(self, policies: Policies, episodes: int):
        self.experiment, self.episodes = policies.experiment, episodes
        self.networks = {name: network for name, network in policies.networks.items() if name != "planner"}
        self._scores: dict[Plan, np.ndarray] = {}

    def play(self, plan: Plan, held_out: int = HELD_OUT) -> HeldOut:
        """What happens where `plan` is announced."""
        told = self.experiment.replace(planner=Planner(mode="fixed", rates=plan))
        return play_held_out(told, self.networks, self.episodes, self.experiment.seed, held_out)

    def scores(self, plan: Plan) -> np.ndarray:
        """`[episodes]` Social welfare a quarter of each validation episode."""
        if plan not in self._scores:
            self._scores[plan] = self.play(plan, VALIDATION).welfare
            if len(self._scores) % PLANS_A_LINE == 0:
                best = max(float(scores.mean()) for scores in self._scores.values())
                print(f"{len(self._scores)} plans scored, the best with a welfare of {best:,.4g} a quarter", flush=True)
        return self._scores[plan]


def best_plans(
    score: Callable[[Plan], float], menu: Sequence[float], begin: Sequence[Plan], trials: int, seed: int
) -> tuple[list[Plan], bool]:
    """The plans that a search has scored, best first, and whether these are all plans as long as those of `begin`.

    Where there are no more plans than `trials`, all of them are scored. Else first those that the search is to `begin`
    with; then multivariate TPE (Bergstra et al., 2011; Falkner et al., 2018) proposes one after the other, knowing
    nothing but scores. `seed` gives the same ones again.
    """
    names = [f"{tax}_{page}" for page in range(len(begin[0])) for tax in ("income", "corporate")]
    steps, scored = range(len(menu)), dict[Plan, float]()

    def value(indices: Sequence[int]) -> float:
        plan = tuple((menu[income], menu[corporate]) for income, corporate in zip(*[iter(indices)] * 2, strict=True))
        scored[plan] = score(plan)
        return scored[plan]

    exhaustive = len(menu) ** len(names) <= trials
    if exhaustive:
        for indices in product(steps, repeat=len(names)):
            value(indices)
    else:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
            sampler = optuna.samplers.TPESampler(seed=seed, multivariate=True)
        optuna.logging.set_verbosity(optuna.logging.WARNING)
        study = optuna.create_study(direction="maximize", sampler=sampler)
        for plan in begin:
            rates = [menu.index(rate) for pair in plan for rate in pair]
            study.enqueue_trial(dict(zip(names, rates, strict=True)))
        study.optimize(
            lambda trial: value([trial.suggest_int(name, 0, len(menu) - 1) for name in names]), n_trials=trials
        )
    return sorted(scored, key=scored.__getitem__, reverse=True), exhaustive


def find_plan(policies: Policies, name: str) -> Plan:
    """The run's plan, rates as they stand on the menu; raises `ConfigError` where there is none to be searched."""
    experiment, plan = policies.experiment, policies.announced_plan(name)
    experiment.check_from_scratch(name)
    if len(experiment.economy.tax_choices) < 2:
        raise ConfigError("RUN", name, "its menu has one tax rate, so there is no other plan", "name another run")
    return on_menu(plan, experiment.economy.tax_choices)


def search_plans(trial: Path, policies: Policies, plan: Plan, settings: dict[str, Any]) -> PlanSearch:
    """Search around the trial's `plan`, and judge what was found with the run's followers."""
    followers, name = (
        Followers(policies, settings["episodes"]),
        "learned" if policies.experiment.planner.learns else "given",
    )
    menu, seed = policies.experiment.economy.tax_choices, policies.experiment.seed
    own, near = followers.scores(plan), neighbours(plan, menu)
    beside = tuple(Neighbour(each, paired(followers.scores(each), own, len(near))) for each in near)
    ranked, exhaustive = best_plans(
        lambda each: float(followers.scores(each).mean()), menu, [plan, *near], settings["trials"], seed
    )
    kept = [each for each in ranked if each != plan][: settings["keep"]]
    named = {name: plan} | {f"found_{place}": each for place, each in enumerate(kept, 1)}
    closest = max(beside, key=lambda each: each.difference.mean).plan
    if closest not in kept:
        named["neighbour"] = closest
    base, judged = followers.play(plan).welfare, []
    for label, each in named.items():
        played = followers.play(each)
        comparisons = len(kept) if each in kept else 1
        difference = paired(played.welfare, base, comparisons)
        judged.append(Judged(label, each, t_interval(played.welfare), difference, played.trivial_share))
    return PlanSearch(
        run=run_name(trial),
        settings=settings,
        seed=seed,
        scored=len(ranked),
        exhaustive=exhaustive,
        learned_rank=ranked.index(plan) + 1,
        neighbours=beside,
        judged=tuple(judged),
    )


def resumed(folder: Path, settings: dict[str, Any]) -> PlanSearch:
    """The search that is to be resumed; raises `ConfigError` where there is none, or one with other settings."""
    if not (folder / FILE).is_file():
        rule = f"there is no run to resume, as {FILE} is missing"
        raise ConfigError("--resume", str(folder), rule, "leave --resume out to start one")
    search = PlanSearch.read(folder / FILE)
    for name, value in settings.items():
        if value != search.settings[name]:
            rule = f"the search that is to be resumed was done with {search.settings[name]!r}"
            if name == "checkpoint":
                raise ConfigError("RUN", value, rule, "as it was trained on, give another --results for a new search")
            raise ConfigError(f"--{name}", value, rule, "give the same, or another --results for a new search")
    return search


def retrainings(experiment: ExperimentConfig, search: PlanSearch, seeds: int) -> Sweep:
    """The run's training from scratch under each of the judged plans, fixed and announced; one for each seed."""
    return Sweep(
        tuple(
            experiment.replace(name=each.name, seed=seed, planner=Planner(mode="fixed", rates=each.plan))
            for each in search.judged
            for seed in range(seeds)
        )
    )


def judge(folder: Path, finished: list[Path]) -> str:
    """Judge the trainings in `folder` that are finished, on the episodes of the search, and write all that is known."""
    search = replace(PlanSearch.read(folder.parent / FILE), retrained={})
    played: dict[str, dict[int, HeldOut]] = {}
    for path in sorted(finished):
        experiment = ExperimentConfig.from_json(path / "config.json")
        networks = load_networks(newest_checkpoint(path), experiment)
        played.setdefault(experiment.name, {})[experiment.seed] = play_held_out(
            experiment, networks, search.settings["episodes"], search.seed
        )
    for each in search.judged:
        if by_seed := played.get(each.name):
            search.retrained[each.name] = Retrained(
                {seed: float(by_seed[seed].welfare.mean()) for seed in sorted(by_seed)},
                float(np.mean([one.trivial_share for one in by_seed.values()])),
            )
    return write(search, folder.parent)


def write(search: PlanSearch, folder: Path) -> str:
    """Write the search into `folder` as numbers, words and a figure; returns the words."""
    folder.mkdir(parents=True, exist_ok=True)
    episodes = search.settings["episodes"]
    note = (
        f"Welfare is the planner's, a quarter and of the whole economy, on {episodes} held-out episodes; [low, high]"
        " are 95% t intervals: over episodes with the run's own (frozen) followers, over seeds with retrained ones."
        " Differences are paired; those of plans that were found hold for all of them at once (Bonferroni),"
        " the neighbour's and those by retrained followers for each plan alone."
    )
    heading = f"Plans beside that of {search.run}, {search.settings['checkpoint']}"
    text = f"{heading}\n\n{search_table(search)}\n\n{search_words(search)}\n\n{note}"
    write_json(search.record(), folder / FILE)
    (folder / "plan_search.md").write_text(text + "\n")
    save(search_figure(search), folder / "plan_search.png")
    return text


def main(arguments: list[str] | None = None) -> None:
    """The command line."""
    command = output_parser("plan_search", __doc__ or "", of_run=True)
    command.add_argument("--trials", type=int, default=DEFAULT_TRIALS, help="plans that are searched (default: 300)")
    command.add_argument(
        "--episodes", type=int, default=DEFAULT_EPISODES, help="validation and held-out episodes (default: 64)"
    )
    command.add_argument("--keep", type=int, default=DEFAULT_KEEP, help="best plans that are judged (default: 3)")
    command.add_argument("--seeds", type=int, default=DEFAULT_SEEDS, help="retrainings of each plan (default: 3)")
    command.add_argument("--no-retraining", action="store_true", help="judge with the run's own followers only")
    options = command.parse_args(arguments)
    quiet()
    with refused(command):
        at_least_one(trials=options.trials, episodes=options.episodes, keep=options.keep, seeds=options.seeds)
        if options.resume and options.no_retraining:
            rule = "without trainings there is nothing to resume"
            raise ConfigError("--no-retraining", True, rule, "leave out either it or --resume")
        policies = load_policies(options.run)
        plan = find_plan(policies, options.run.name)
        settings = {"checkpoint": newest_checkpoint(options.run).name}
        settings |= {name: getattr(options, name) for name in ("trials", "episodes", "keep")}
        folder = folder_beside("plan_search", options.run, results_of_run(options))
        prepare_process()
        if options.resume:
            search = resumed(folder, settings)
        elif folder.exists() and any(folder.iterdir()):
            rule = "it holds an earlier search, which is never overwritten"
            raise ConfigError("--results", str(folder), rule, "go on with it by --resume, or give another --results")
        else:
            folder.mkdir(parents=True, exist_ok=True)  # refused now, not after the search
            search = search_plans(options.run, policies, plan, settings)
        if options.no_retraining:
            print(f"\n{write(search, folder)}\n\nResults: {folder}")
            return
        sweep, started = retrainings(policies.experiment, search, options.seeds), can_resume(folder / RETRAINED)
        if not options.resume:
            write(search, folder)
        conclude(run(sweep, folder / RETRAINED, started, run_options(options)), judge)


if __name__ == "__main__":
    main()
