"""Every sweep draws experiments that are valid, and its trials have folders of their own."""

import json
import random
from itertools import groupby
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from ray import tune
from ray.tune.experiment import Experiment, Trial
from ray.tune.registry import register_trainable
from ray.tune.search.variant_generator import generate_variants

from analysis.results import flat_settings
from rbc_rllib.economy import GROUPS, Planner
from rbc_rllib.experiment import ExperimentConfig, Sweep
from rbc_rllib.play.vector_economy import VectorEconomy
from rbc_rllib.runs import launch
from rbc_rllib.runs.command_line import find_sweep
from rbc_rllib.runs.launch import trial_name
from rbc_rllib.runs.searches import param_space
from rbc_rllib.runs.seeds_together import SeedsTogether
from rbc_rllib.runs.trial import experiment_of
from rbc_rllib.settings import ConfigError
from tests.small import SMALL

NAMES = ["quickstart", "smoke", "tax_baselines", "total_welfare", "closed_economy", "curriculum_search"]
NAMES += ["equilibrium_study", "curriculum_ablation", "curriculum_ablation_discretion", "optuna_search", "population"]
SEARCHES = ["curriculum_search", "optuna_search", "population"]


def drawn(sweep: Sweep, times: int = 1) -> list[dict]:
    """The configs of the trials of `times` draws."""
    return [config for _ in range(times) for _, config in generate_variants(param_space(sweep))]


def tuner_of(sweep: Sweep, folder: Path, monkeypatch) -> SimpleNamespace:
    """The very settings with which a run is started."""
    monkeypatch.setattr(launch.tune, "Tuner", lambda trainable, **settings: SimpleNamespace(**settings))
    return launch._new_tuner(sweep, folder, remote=None)


def trials_of(tuner: SimpleNamespace) -> list[Trial]:
    """The trials that Tune makes with them."""
    register_trainable("any", lambda config: None)
    search = tuner.tune_config.search_alg
    search.add_configurations(
        Experiment("any", run="any", config=tuner.param_space, num_samples=tuner.tune_config.num_samples)
    )
    return list(iter(search.next_trial, None))


@pytest.fixture(autouse=True)
def _seeded():
    random.seed(0)
    np.random.seed(0)


@pytest.mark.parametrize("name", NAMES)
def test_every_draw_is_a_valid_experiment(name):
    sweep = find_sweep(name)
    configs = drawn(sweep, times=20 if sweep.search_space else 1)
    experiments = [experiment_of(config) for config in configs]
    assert {experiment.name for experiment in experiments} == {experiment.name for experiment in sweep.experiments}
    folders = [
        trial_name(SimpleNamespace(trial_id=f"abc_{number:05d}", config=config))
        for number, config in enumerate(configs)
    ]
    assert len(set(folders)) == len(folders)


@pytest.mark.parametrize("name", [name for name in NAMES if name not in SEARCHES])
def test_treatments_of_different_names_differ_and_seeds_of_one_do_not(name):
    experiments = find_sweep(name).experiments
    pairs = {(each.name, each.replace(name="any", seed=0).model_dump_json()) for each in experiments}
    assert len(pairs) == len({own for own, _ in pairs}) == len({settings for _, settings in pairs})


ABLATIONS = [("curriculum_ablation", "schedule"), ("curriculum_ablation_discretion", "discretion")]
"""Sweeps, and the planner of each."""


@pytest.mark.parametrize(("name", "planner"), ABLATIONS)
def test_each_cell_of_the_ablation_leaves_out_its_own_part(name, planner):
    sweep = find_sweep(name)
    cells = {each.name: flat_settings(each.model_dump(mode="json")) for each in sweep.experiments if each.seed == 0}
    full = cells[f"{planner}_full"]
    assert full["planner.mode"] == planner
    for part, setting in {
        "staged_training": "staged_training",
        "annealed_ranges": "annealed_ranges",
        "annealed_labor_disutility": "annealed_labor_disutility",
        "annealed_entropy": "annealed_entropy",
        "annealed_debt_penalty": "annealed_debt_penalty",
        "cooled_entropy": "cooled_entropy_coeff",
    }.items():
        own = cells[f"{planner}_without_{part}"]
        different = {key for key in {**full, **own} if own.get(key) != full.get(key)}
        assert {".".join(key.split(".")[:2]) for key in different} == {f"curriculum.{setting}"}


@pytest.mark.parametrize(("name", "planner"), ABLATIONS)
def test_the_ablation_leaves_out_everything_too_and_takes_little_entropy(name, planner):
    by_name = {each.name: each.curriculum for each in find_sweep(name).experiments}
    switches = ("staged_training", "annealed_ranges", "annealed_labor_disutility", "annealed_debt_penalty")
    for cell, (kept, falls, low) in {
        "full": (True, True, False),
        "nothing": (False, False, False),
        "full_low_entropy": (True, True, True),
        "constant_low_entropy": (True, False, True),
        "nothing_low_entropy": (False, False, True),
    }.items():
        own = by_name[f"{planner}_{cell}"]
        assert {getattr(own, switch) for switch in switches} == {kept}, cell
        assert own.annealed_entropy == falls, cell
        assert {round(own.final().entropy_coeff[group], 9) for group in ("firm", "consumer")} == (
            {0.01} if low else {0.01, 0.02} if kept else {0.05}
        ), cell
        assert (own.at(0).entropy_coeff["firm"] == 0.5) == falls, cell


def test_the_quickstart_compares_commitment_with_discretion_at_full_size():
    sweep = find_sweep("quickstart")
    announced, discretion = sweep.experiments
    assert sweep.deviators == ("each_firm", "each_consumer")
    assert (announced.planner, discretion.planner) == (Planner(mode="schedule"), Planner(mode="discretion"))
    assert announced.replace(name="any", planner=Planner()) == discretion.replace(name="any")
    economy = announced.economy
    assert (economy.num_consumers, economy.num_firms, economy.planner_welfare) == (100, 10, "consumer")


def test_the_tax_baselines_differ_in_their_taxes_only():
    experiments = find_sweep("tax_baselines").experiments
    treatments: dict[str, list[int]] = {}
    for experiment in experiments:
        treatments.setdefault(experiment.name, []).append(experiment.seed)
        assert experiment.replace(name="any", seed=0, planner=Planner()) == ExperimentConfig(name="any")
        assert (experiment.economy.export_market, experiment.economy.planner_welfare) == (True, "consumer")
    assert set(map(tuple, treatments.values())) == {(0, 1, 2, 3, 4)}
    runs = [(name, [e.seed for e in each]) for name, each in groupby(experiments, key=lambda e: e.name)]
    assert len(runs) == len(experiments)  # whole comparisons, one seed after the other
    planners = {experiment.name: experiment.planner for experiment in experiments}
    assert len({planner.model_dump_json() for planner in planners.values()}) == len(planners)
    for mode in ("discretion", "constant", "schedule"):
        assert planners[mode] == Planner(mode=mode)


def test_some_experiments_of_a_sweep_can_be_trained_alone():
    sweep = find_sweep("tax_baselines")
    some = sweep.only(["fixed_0_80", "schedule"])
    assert some.experiments == tuple(each for each in sweep.experiments if each.name in ("schedule", "fixed_0_80"))
    assert len(some.experiments) == 10
    assert sweep.only([each.name for each in sweep.experiments]) == sweep


def test_fixed_taxes_are_on_the_menu_and_leave_the_planner_no_choice():
    rates = set()
    for experiment in find_sweep("tax_baselines").experiments:
        final, curriculum = experiment.curriculum.final(), experiment.curriculum
        assert final.ranges.income_tax_rate == final.ranges.corporate_tax_rate == (0.0, 1.0)
        if experiment.planner.learns:
            assert "planner" in final.trainable_groups
            assert "planner" in experiment.policies
            continue
        ((income, corporate),) = experiment.planner.rates
        assert experiment.name == f"fixed_{round(100 * income)}_{round(100 * corporate)}"
        rates.add((income, corporate))
        assert tuple(experiment.policies) == ("consumer", "firm")
        economy = VectorEconomy(experiment.economy, 1, planner=experiment.planner)
        before = curriculum.at(int(curriculum.tax_range_start * curriculum.total_env_steps))
        for stage, rates_now in ((before, (0.0, 0.0)), (final, (income, corporate))):
            economy.restrict(stage.ranges, stage.plan_sharpness)
            economy.reset()
            np.testing.assert_allclose(economy.state.tax_plan[0, 1:], [rates_now] * 9, rtol=1e-6)
    alike = {(rate, rate) for rate in (0.2, 0.4, 0.6, 0.8)}  # the paper's
    assert rates >= {(0.0, rate) for rate in (0.0, 0.4, 0.6, 0.8, 1.0)} | alike


def test_the_search_space_moves_the_experiment():
    drawn_experiments = [experiment_of(config) for config in drawn(find_sweep("curriculum_search"), times=20)]
    for value in (
        lambda e: e.curriculum.staged_training,
        lambda e: e.curriculum.firm_range_end,
        lambda e: e.learning.learning_rate.planner,
    ):
        assert len({value(experiment) for experiment in drawn_experiments}) > 1


def test_the_curriculum_search_trains_each_draw_with_every_seed(tmp_path, monkeypatch):
    sweep = find_sweep("curriculum_search")
    tuner = tuner_of(sweep, tmp_path / "search", monkeypatch)
    trials = trials_of(tuner)
    seeds: dict[str, list[int]] = {}
    for trial in trials:
        draw = json.dumps(trial.config["values"], sort_keys=True)
        experiment = experiment_of(trial.config)
        seeds.setdefault(draw, []).append(experiment.seed)
        assert experiment.replace(seed=0) == sweep.experiments[0].with_values(trial.config["values"])
    assert len(seeds) == sweep.num_samples > 1
    assert all(sorted(each) == [0, 1, 2] for each in seeds.values())
    assert not any("seed" in draw for draw in seeds)
    names = [trial_name(trial) for trial in trials]
    assert len({*names}) == len(names)
    scheduler = tuner.tune_config.scheduler
    assert isinstance(scheduler, SeedsTogether)
    assert (scheduler.num_seeds, scheduler.milestones) == (3, [336_000])
    again = trials_of(tuner_of(sweep, tmp_path / "again", monkeypatch))
    assert [trial.config for trial in again] == [trial.config for trial in trials]


def test_the_length_of_training_that_is_set_moves_the_milestone(tmp_path, monkeypatch):
    sweep = find_sweep("curriculum_search").with_values({"curriculum.total_env_steps": 1000})
    assert tuner_of(sweep, tmp_path / "search", monkeypatch).tune_config.scheduler.milestones == [700]


def test_optuna_suggests_valid_experiments_and_repeats_each_with_every_seed(tmp_path, monkeypatch):
    sweep = find_sweep("optuna_search")
    tuner = tuner_of(sweep, tmp_path / "search", monkeypatch)
    searcher, drawn_values = tuner.tune_config.search_alg, []
    for draw in range(4):
        configs = {f"{draw}_{seed}": searcher.suggest(f"{draw}_{seed}") for seed in range(3)}
        assert [experiment_of(config).seed for config in configs.values()] == [0, 1, 2]
        names = {trial_name(SimpleNamespace(trial_id=name, config=config)) for name, config in configs.items()}
        assert names == {f"suggested_seed{seed}_{draw:05d}" for seed in range(3)}
        for name in configs:
            searcher.on_trial_complete(name, {"economy/social_welfare": float(draw), "economy/trivial_share": 0.0})
        drawn_values.append(json.dumps(configs[f"{draw}_0"]["values"]))
        assert searcher.suggested[-1]["values"].keys() == sweep.search_space.keys()
    assert len({*drawn_values}) == 4


def test_a_population_is_of_one_seed_and_changes_what_is_searched(tmp_path, monkeypatch):
    sweep = find_sweep("population")
    tuner = tuner_of(sweep, tmp_path / "search", monkeypatch)
    members = trials_of(tuner)
    assert [experiment_of(member.config).seed for member in members] == [0] * sweep.num_samples
    assert len({json.dumps(member.config["values"]) for member in members}) == sweep.num_samples
    scheduler = tuner.tune_config.scheduler
    assert scheduler._hyperparam_mutations["values"].keys() == sweep.search_space.keys()
    assert scheduler._perturbation_interval == 120_000
    assert tuner.run_config.checkpoint_config.num_to_keep is None


@pytest.mark.parametrize("name", SEARCHES)
def test_a_search_searches_around_the_defaults(name):
    for key, domain in find_sweep(name).search_space.items():
        default = ExperimentConfig()
        for part in key.split("."):
            default = getattr(default, part)
        assert domain.is_valid(default), key


def test_a_value_that_is_set_is_no_longer_searched():
    sweep = find_sweep("curriculum_search").with_values({"curriculum.firm_range_end": 0.1})
    assert {experiment_of(config).curriculum.firm_range_end for config in drawn(sweep, times=5)} == {0.1}
    rates = {"consumer": 1e-3, "firm": 2e-3, "planner": 3e-3}
    sweep = find_sweep("curriculum_search").with_values({"learning.learning_rate": rates})
    assert {experiment_of(config).learning.learning_rate.planner for config in drawn(sweep, times=5)} == {3e-3}


def test_a_part_of_what_is_searched_as_a_whole_is_not_set():
    whole = {"curriculum.cooled_entropy_coeff": tune.choice([None, dict.fromkeys(GROUPS, 0.01)])}
    with pytest.raises(ConfigError, match="is searched as a whole") as refusal:
        Sweep((SMALL,), search_space=whole).with_values({"curriculum.cooled_entropy_coeff.firm": 0.005})
    assert refusal.value.key == "curriculum.cooled_entropy_coeff.firm"


def test_draws_that_would_all_be_the_same_are_refused():
    with pytest.raises(ConfigError, match=r"num_samples = 3 .* 1 where no setting is searched"):
        Sweep((SMALL,), num_samples=3)
    searched = {"learning.clip_param": tune.uniform(0.1, 0.3)}
    with pytest.raises(ConfigError, match="num_samples = 0"):
        Sweep((SMALL,), searched, num_samples=0)
    assert Sweep((SMALL,), searched, num_samples=3).with_values({"learning.clip_param": 0.2}).num_samples == 1


def test_defaults_that_depend_on_the_number_of_agents_follow_a_sampled_number():
    sweep = Sweep((SMALL,), search_space={"economy.num_consumers": 50, "economy.num_firms": 4})
    (experiment,) = (experiment_of(config) for config in drawn(sweep))
    assert experiment.economy.initial_firm_budget == 22000 * 50
    assert len(experiment.economy.initial_capital) == 4


def test_experiments_of_one_name_and_seed_are_refused():
    with pytest.raises(ConfigError, match=r"small.*own name and seed"):
        Sweep((SMALL, SMALL))
    Sweep((SMALL, SMALL.replace(seed=1)))


def test_a_sweep_without_experiments_is_refused():
    with pytest.raises(ConfigError, match=r"experiments = \(\) is refused: a sweep needs at least one experiment"):
        Sweep(())
