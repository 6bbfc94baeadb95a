"""Reading result folders, finished or not."""

from pathlib import Path

import pandas
import pytest

from analysis.results import by_treatment, load_trials, treatment
from rbc_rllib.settings import ConfigError
from tests.analysis.samples import DEAD, ENV_STEPS_PER_ITERATION, LIVING, SMALL, write_trial


def test_an_experiment_holds_its_trials_sorted_by_name_and_seed(tmp_path: Path) -> None:
    for name, seed in (("b", 1), ("b", 0), ("a", 10), ("a", 2)):
        write_trial(tmp_path, name, seed, LIVING, iterations=3)
    (tmp_path / "tune.log").write_text("not a trial")
    (tmp_path / "empty").mkdir()
    trials = load_trials(tmp_path)
    assert [(treatment(trial), trial.seed) for trial in trials] == [("a", 2), ("a", 10), ("b", 0), ("b", 1)]
    assert trials[0].label == "a, seed 2"


def test_a_single_trial_is_loaded_from_its_own_folder(tmp_path: Path) -> None:
    folder = write_trial(tmp_path, "full", 3, LIVING, iterations=20, rollout=True)
    (trial,) = load_trials(str(folder))
    assert trial.finished
    assert trial.seed == 3
    assert trial.economy_parameters == SMALL
    assert trial.env_steps == 20 * ENV_STEPS_PER_ITERATION
    assert trial.rollout == folder / "rollout.npz"
    assert not [name for name in trial.progress if name.startswith(("config/", "timers/"))]


@pytest.mark.parametrize("written", [None, "", "training_iteration,env_steps,curriculum_stage,economy/hours\n"])
def test_a_trial_that_has_just_begun_has_empty_progress(tmp_path: Path, written: str | None) -> None:
    folder = write_trial(tmp_path, "full", 0, LIVING, iterations=0, evaluated=False)
    if written is not None:
        (folder / "progress.csv").write_text(written)
    (trial,) = load_trials(folder)
    assert trial.progress.empty
    assert (trial.finished, trial.env_steps, trial.rollout) == (False, 0, None)


def test_iterations_repeated_after_a_restore_count_once(tmp_path: Path) -> None:
    folder = write_trial(tmp_path, "full", 0, LIVING, iterations=10)
    rows = pandas.read_csv(folder / "progress.csv")
    again = rows.iloc[6:].assign(**{"economy/hours": -1.0})
    pandas.concat([rows, again]).to_csv(folder / "progress.csv", index=False)
    (trial,) = load_trials(folder)
    assert trial.progress["training_iteration"].tolist() == list(range(1, 11))
    assert (trial.progress["economy/hours"].iloc[6:] == -1.0).all()


def test_a_folder_without_trials_is_refused_with_a_way_out(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="it holds no trial") as error:
        load_trials(tmp_path)
    assert str(tmp_path) in str(error.value)
    with pytest.raises(ConfigError, match="it holds no trial"):
        load_trials(tmp_path / "missing")
    write_trial(tmp_path / "paper", "full", 0, LIVING)
    with pytest.raises(ConfigError, match="name one of the experiments in it: paper"):
        load_trials(tmp_path)


def test_broken_files_are_named(tmp_path: Path) -> None:
    folder = write_trial(tmp_path, "full", 0, LIVING)
    (folder / "evaluation.json").write_text('{"episodes": 6')
    with pytest.raises(ConfigError, match=r"evaluation\.json.*complete JSON"):
        load_trials(tmp_path)
    (folder / "config.json").write_text('{"name": "full"}')
    with pytest.raises(ConfigError, match=r"config\.json.*holds seed"):
        load_trials(tmp_path)


def test_tables_that_are_none_are_named(tmp_path: Path) -> None:
    folder = write_trial(tmp_path, "full", 0, LIVING)
    (folder / "error.txt").write_text("NumericsError: price is NaN\n")
    (tmp_path / "trials.parquet").write_bytes(b"PAR1 and no more")
    with pytest.raises(ConfigError, match=r"trials\.parquet.*complete Parquet file.*--resume writes it anew"):
        load_trials(tmp_path)
    (tmp_path / "trials.parquet").unlink()
    (folder / "progress.csv").write_text("0.5,0.25\n1.0,0.5\n")
    with pytest.raises(ConfigError, match=r"progress\.csv.*env_steps among them"):
        load_trials(tmp_path)


def test_trials_of_one_treatment_differ_in_their_seed_and_resources_only(tmp_path: Path) -> None:
    for seed in (0, 1):
        write_trial(tmp_path, "full", seed, LIVING)
        write_trial(tmp_path, "low_entropy", seed, DEAD)
    groups = by_treatment(load_trials(tmp_path))
    assert {name: [trial.seed for trial in trials] for name, trials in groups.items()} == {
        "full": [0, 1],
        "low_entropy": [0, 1],
    }


def test_a_search_under_one_name_is_as_many_treatments_as_settings(tmp_path: Path) -> None:
    for index, (seed, learning_rate) in enumerate([(0, 0.0123456), (0, 1e-4), (1, 1e-4)]):
        write_trial(tmp_path, "search", seed, LIVING, learning_rate=learning_rate, folder=f"trial_{index}")
    groups = by_treatment(load_trials(tmp_path))
    assert [(name, len(trials)) for name, trials in groups.items()] == [
        ("search [learning.learning_rate.consumer=0.0001]", 2),
        ("search [learning.learning_rate.consumer=0.01235]", 1),
    ]
