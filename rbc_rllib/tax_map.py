"""The tax map: what consumers and firms make of every constant income and corporate tax rate.

    python -m rbc_rllib.tax_map results/quickstart/commitment_seed0
    python -m rbc_rllib.tax_map results/quickstart/commitment_seed0 --seeds 5 --cells 0/0.8 0.4/0.4 --episodes 256
    python -m rbc_rllib.tax_map results/quickstart/commitment_seed0 --set curriculum.total_env_steps=960000

Takes the economy, the curriculum and the learning settings of RUN, not its policies, and trains followers from scratch
with tax rates drawn anew for each economy and episode, so that they learn to answer all pairs of the menu; one Tune
trial for each seed. Beside them it trains followers who know one pair only, for a few `--cells`, which tell how far the
map can be trusted. Then it plays every pair on held-out episodes, with the same random numbers for all pairs. Prints
the best rates, the Laffer peaks and the map's error, and writes `tax_map.json`, `tax_map.csv`, `tax_map.md`,
`tax_map.png` and `tax_map_laffer.png`, all into `tax_map-<experiment>-<trial>/` beside the experiment. By default 12
trainings; each takes as long as RUN did.
"""

from collections import defaultdict
from pathlib import Path
from typing import Any

import numpy as np

from analysis.results import folder_beside
from analysis.tax_map import TaxMap, cell_numbers, cells
from analysis.tax_map_report import write_tax_map
from rbc_rllib.economy import EconomyParameters, Planner
from rbc_rllib.economy.actions import on_menu
from rbc_rllib.economy.planner import Rates
from rbc_rllib.experiment import ExperimentConfig, Sweep
from rbc_rllib.play.held_out import HeldOut, play_held_out
from rbc_rllib.play.modules import GroupModule
from rbc_rllib.play.process import prepare_process
from rbc_rllib.runs.command_line import conclude, parse_assignments, parser, results_of_run, run_options
from rbc_rllib.runs.launch import run
from rbc_rllib.settings import ConfigError, at_least_one, refused
from rbc_rllib.training.checkpoints import load_networks, newest_checkpoint
from rbc_rllib.training.rllib_internals import quiet

DEFAULT_SEEDS = 3
DEFAULT_CELLS = ("0/0.8", "0.2/0.2", "0/1")
"""Retrained where they are on the economy's menu."""
DEFAULT_EPISODES = 64
DRAWN = Planner(mode="fixed", rates="drawn")
DECIDED_HERE = {
    "planner": "leave it out, or take --cells",
    "deviation": "leave it out",
    "start": "leave it out",
    "name": "leave it out",
    "seed": "take --seeds",
    "evaluation_episodes": "take --episodes",
}
"""Settings that tell the trainings of a map apart, and what to write instead of setting them."""

Member = tuple[Path, ExperimentConfig]


def trainings(
    trial: Path,
    seeds: int = DEFAULT_SEEDS,
    retrained: list[str] | None = None,
    episodes: int = DEFAULT_EPISODES,
    values: dict[str, Any] | None = None,
) -> Sweep:
    """Followers of drawn rates and those of each of the `retrained` cells, one experiment for each seed.

    Raises `ConfigError` where there can be none.
    """
    at_least_one(seeds=seeds, episodes=episodes)
    for key, value in (values or {}).items():
        if fix := DECIDED_HERE.get(key.partition(".")[0]):
            raise ConfigError(key, value, "a tax map decides that itself", fix)
    base = ExperimentConfig.of_trial(trial)
    base.check_from_scratch(trial.name)
    base = base.replace(planner=DRAWN).with_values(values or {})
    if base.economy.episode_length < 2:
        rule = "its episodes have one quarter, which is untaxed"
        raise ConfigError("economy.episode_length", 1, rule, "take at least 2")
    if len(base.economy.tax_choices) < 2:
        rule = "a map of one tax rate has one cell"
        raise ConfigError("economy.tax_choices", base.economy.tax_choices, rule, "put more rates on the menu")
    planners = {"drawn": DRAWN}
    for rates in find_cells(base.economy, retrained):
        planners["fixed_" + "_".join(f"{rate:g}" for rate in rates)] = Planner(mode="fixed", rates=(rates,))
    return Sweep(
        tuple(
            base.replace(name=name, seed=seed, planner=planner, evaluation_episodes=episodes)
            for name, planner in planners.items()
            for seed in range(seeds)
        )
    )


def find_cells(params: EconomyParameters, names: list[str] | None = None) -> list[Rates]:
    """The rates of cells such as `0/0.8`, income/corporate, as they stand on the menu; by default those that do.

    Raises `ConfigError` for one that is malformed, off the menu or named twice.
    """
    if names is None:
        return [rates for rates in map(_rates, DEFAULT_CELLS) if {*rates} <= {*params.tax_choices}]
    found: list[Rates] = []
    for name in names:
        income, corporate = (_on_menu(params, name, rate) for rate in _rates(name))
        if (income, corporate) in found:
            raise ConfigError("--cells", name, "each cell is retrained once", "name it once")
        found.append((income, corporate))
    return found


def _rates(name: str) -> Rates:
    try:
        income, corporate = map(float, name.split("/"))
    except ValueError:
        rule = "a cell is an income and a corporate tax rate, INCOME/CORPORATE"
        raise ConfigError("--cells", name, rule, "write e.g. 0/0.8") from None
    return income, corporate


def _on_menu(params: EconomyParameters, name: str, rate: float) -> float:
    choice = on_menu(rate, params.tax_choices)
    if choice is None:
        rule = f"{rate:g} must be on the menu economy.tax_choices = {params.tax_choices}"
        raise ConfigError("--cells", name, rule, "take rates from there")
    return choice


def play_cell(experiment: ExperimentConfig, followers: dict[str, GroupModule], rates: Rates) -> HeldOut:
    """What the followers of an experiment without a planner who learns do when told `rates`, on its held-out episodes.

    These have the experiment's own seed, so that all cells, and the retrained one of that seed, have the same random
    numbers.
    """
    given = experiment.replace(planner=Planner(mode="fixed", rates=(rates,)))
    return play_held_out(given, followers, experiment.evaluation_episodes, experiment.seed)


def judge(folder: Path, finished: list[Path]) -> str:
    """Play the map of the followers in `finished` and write it into `folder`."""
    members: dict[Any, list[Member]] = defaultdict(list)
    for path in finished:
        experiment = ExperimentConfig.from_json(path / "config.json")
        members[experiment.planner.rates].append((path, experiment))
    for each in members.values():
        each.sort(key=lambda member: member[1].seed)
    drawn = members.pop("drawn", [])
    if not drawn:
        return "No training with drawn rates is finished: there is no map yet."
    first, menu = drawn[0][1], cells(drawn[0][1].economy)
    answers = [_answers(member, menu) for member in drawn]
    shape = (len(drawn), *[len(first.economy.tax_choices)] * 2)
    return write_tax_map(
        TaxMap(
            params=first.economy,
            seeds=tuple(experiment.seed for _, experiment in drawn),
            values={name: np.reshape([[e[name] for e in row] for row in answers], shape) for name in answers[0][0]},
            retrained={
                rates: {member[1].seed: _answers(member, [rates])[0] for member in each}
                for (rates,), each in sorted(members.items())
            },
            episodes=first.evaluation_episodes,
            env_steps=first.curriculum.total_env_steps,
        ),
        folder,
    )


def _answers(member: Member, menu: list[Rates]) -> list[dict[str, float]]:
    """The numbers of every cell in `menu`, as the followers of a finished training answer it."""
    path, experiment = member
    followers = load_networks(newest_checkpoint(path), experiment)
    played = (play_cell(experiment, followers, rates) for rates in menu)
    return [cell_numbers(experiment.economy, each.indicators, each.rewards) for each in played]


def main(arguments: list[str] | None = None) -> None:
    """The command line."""
    command = parser("tax_map", __doc__ or "", of_run=True)
    command.add_argument("--seeds", type=int, default=DEFAULT_SEEDS, help="trainings of each kind (default: 3)")
    command.add_argument(
        "--cells",
        nargs="*",
        metavar="INCOME/CORPORATE",
        help=f"pairs to be retrained from scratch (default: {' '.join(DEFAULT_CELLS)}; none where empty)",
    )
    command.add_argument("--episodes", type=int, default=DEFAULT_EPISODES, help="held-out episodes (default: 64)")
    options = command.parse_args(arguments)
    quiet()
    with refused(command):
        values = parse_assignments(options.set)
        sweep = trainings(options.run, options.seeds, options.cells, options.episodes, values)
        folder = folder_beside("tax_map", options.run, results_of_run(options))
        prepare_process()
        conclude(run(sweep, folder, options.resume, run_options(options)), judge)


if __name__ == "__main__":
    main()
