"""The numbers of trials and the table by treatment."""

import json
import math
from pathlib import Path

import numpy
import pandas
import pytest

from analysis.comparison import comparison_table, markdown_table
from analysis.metrics import indicators, measured, seed_values, source, verdict
from analysis.quantities import QUANTITIES
from analysis.results import load_trials
from rbc_rllib.economy import Actions, EconomyParameters
from rbc_rllib.economy.indicators import episode_indicators
from tests.analysis.samples import DEAD, LIVING, SMALL, played, sensible_actions, write_trial


def test_numbers_come_from_the_evaluation_where_there_is_one(tmp_path: Path) -> None:
    write_trial(tmp_path, "full", 0, LIVING)
    (trial,) = load_trials(tmp_path)
    assert source(trial) == "evaluation"
    assert indicators(trial) == LIVING


@pytest.mark.parametrize("rest", [{"standard_error": 0.1}, {"low": 1.0, "high": 3.0}, {"low": None, "high": None}])
def test_only_the_mean_of_an_evaluation_is_read(tmp_path: Path, rest: dict[str, float | None]) -> None:
    """So evaluations of before there were intervals are as good."""
    folder = write_trial(tmp_path, "full", 0, LIVING)
    record = {"episodes": 64, "indicators": {"price": {"mean": 2.0} | rest, "hours": {"mean": None} | rest}}
    (folder / "evaluation.json").write_text(json.dumps(record))
    numbers = indicators(load_trials(tmp_path)[0])
    assert numbers["price"] == 2.0
    assert math.isnan(numbers["hours"])


@pytest.mark.parametrize(("iterations", "rows"), [(100, 5), (50, 3), (7, 1), (1, 1)])
def test_numbers_of_an_unfinished_trial_are_the_last_twentieth_of_its_progress(
    tmp_path: Path, iterations: int, rows: int
) -> None:
    folder = write_trial(tmp_path, "full", 0, LIVING, iterations=iterations, evaluated=False)
    (trial,) = load_trials(tmp_path)
    written = pandas.read_csv(folder / "progress.csv")
    assert source(trial) == "training"
    assert indicators(trial)["price"] == pytest.approx(written["economy/price"].iloc[-rows:].mean())


def test_verdicts(tmp_path: Path) -> None:
    write_trial(tmp_path, "a", 0, LIVING | {"trivial_share": 0.49})
    write_trial(tmp_path, "b", 0, LIVING | {"trivial_share": 0.5})
    write_trial(tmp_path, "c", 0, {"hours": 1.0})
    write_trial(tmp_path, "d", 0, LIVING, iterations=0, evaluated=False)
    assert [verdict(trial) for trial in load_trials(tmp_path)] == ["alive", "trivial", "unknown", "unknown"]


def test_an_unfinished_trial_is_not_averaged_with_finished_ones(tmp_path: Path) -> None:
    write_trial(tmp_path, "full", 0, LIVING)
    write_trial(tmp_path, "full", 1, DEAD, evaluated=False)
    assert [trial.seed for trial in measured(load_trials(tmp_path))] == [0]


def test_repetitions_of_a_seed_are_one_seed(tmp_path: Path) -> None:
    for repetition, reward in enumerate((1.0, 3.0)):
        write_trial(tmp_path, "full", 0, LIVING | {"consumer_reward": reward}, folder=f"again_{repetition}")
    write_trial(tmp_path, "full", 1, LIVING | {"consumer_reward": 5.0})
    numpy.testing.assert_allclose(seed_values(load_trials(tmp_path), "consumer_reward"), [2.0, 5.0])


def test_the_rate_that_was_chosen_leaves_out_the_first_quarter() -> None:
    """Against an economy in which the planner always chooses 20% and 80%."""

    def policy(params: EconomyParameters, num_envs: int, rng: numpy.random.Generator) -> Actions:
        actions = sensible_actions(params, num_envs, rng)
        actions.planner[:] = 1 * len(params.tax_choices) + 4
        return actions

    data = played(SMALL, 2, numpy.random.default_rng(0), policy)
    states = {key.removeprefix("state/"): values for key, values in data.items() if key.startswith("state/")}
    outcomes = {key.removeprefix("outcome/"): values for key, values in data.items() if key.startswith("outcome/")}
    means = episode_indicators(SMALL, states, outcomes)
    assert float(means["income_tax_rate"][0]) == pytest.approx(0.2)
    assert float(means["corporate_tax_rate"][0]) == pytest.approx(0.8)


def test_the_table_has_means_and_intervals_by_treatment(tmp_path: Path) -> None:
    for seed, reward in enumerate((1.0, 2.0, 6.0)):
        write_trial(tmp_path, "full", seed, LIVING | {"consumer_reward": reward})
    write_trial(tmp_path, "full", 3, LIVING, evaluated=False, iterations=10)
    write_trial(tmp_path, "half", 0, LIVING)
    write_trial(tmp_path, "half", 1, DEAD)
    write_trial(tmp_path, "new", 0, LIVING, iterations=0, evaluated=False)
    write_trial(tmp_path, "running", 0, LIVING, evaluated=False)
    table = comparison_table(load_trials(tmp_path))

    assert table.index.tolist() == ["full", "half", "new", "running"]
    assert table["seeds"].tolist() == [3, 2, 0, 1]
    assert table["trivial_seeds"].tolist() == [0, 1, 0, 0]
    assert table["unfinished"].tolist() == [1, 0, 1, 1]
    assert table["source"].tolist() == ["evaluation", "evaluation", "none", "training"]
    assert table.loc["full", "consumer_reward"] == pytest.approx(3.0)
    half = 4.3027 * 7**0.5 / 3**0.5  # t(2), standard deviation
    assert table.loc["full", "consumer_reward_low"] == pytest.approx(3 - half, rel=1e-4)
    assert table.loc["full", "consumer_reward_high"] == pytest.approx(3 + half, rel=1e-4)
    assert table.loc["half", "trivial_share"] == 0.5
    assert table.loc["half", "firm_reward"] == 45_000
    assert table.loc[["new", "running"], [f"{q.name}_low" for q in QUANTITIES]].isna().all(axis=None)
    assert table.loc["new", [q.name for q in QUANTITIES]].isna().all()


def test_a_row_does_not_depend_on_the_other_treatments(tmp_path: Path) -> None:
    for seed in range(4):
        write_trial(tmp_path, "full", seed, LIVING | {"hours": 100.0 * 2**seed})
    alone = comparison_table(load_trials(tmp_path))
    write_trial(tmp_path, "another", 0, LIVING)
    write_trial(tmp_path, "another", 1, LIVING)
    pandas.testing.assert_series_equal(alone.loc["full"], comparison_table(load_trials(tmp_path)).loc["full"])


def test_few_treatments_are_columns_of_the_printed_table_and_many_are_rows(tmp_path: Path) -> None:
    write_trial(tmp_path, "full", 0, LIVING | {"consumer_reward": 1.0, "firm_reward": -1234.5})
    write_trial(tmp_path, "full", 1, LIVING | {"consumer_reward": 2.0})
    lines = markdown_table(comparison_table(load_trials(tmp_path))).splitlines()
    assert len({len(line) for line in lines}) == 1
    cells = {line.split("|")[1].strip(): line.split("|")[2].strip() for line in lines}
    assert cells["seeds"] == "2"
    assert cells["numbers from"] == "evaluation"
    assert cells["consumer reward (utility a quarter)"] == "1.50 [-4.85, 7.85]"
    assert cells["firm reward (money a quarter)"] == "44,383 [-535,239, 624,005]"
    assert cells["corporate tax (share)"] == "80% [80%, 80%]"

    for letter in "abcde":
        write_trial(tmp_path, letter, 0, {}, iterations=0)
    lines = markdown_table(comparison_table(load_trials(tmp_path))).splitlines()
    assert [line.split("|")[1].strip() for line in lines[2:]] == ["a", "b", "c", "d", "e", "full"]
    assert "unknown" in lines[2]
