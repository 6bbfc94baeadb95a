"""`progress.csv`: a row for every iteration, once, whatever failed meanwhile."""

from types import SimpleNamespace

import pytest
from ray.tune.logger import CSVLoggerCallback

from rbc_rllib.runs.progress import PROGRESS_FILE, ProgressFile
from tests.runs.commands import rows


def report(number: int, welfare: float = 1.0) -> dict:
    return {"training_iteration": number, "economy": {"social_welfare": welfare}, "config": {"not": "a column"}}


@pytest.fixture
def trial(tmp_path) -> SimpleNamespace:
    return SimpleNamespace(path=str(tmp_path), trial_id="a")


def log(file: ProgressFile, trial, numbers, welfare: float = 1.0) -> None:
    for number in numbers:
        file.log_trial_result(0, trial, report(number, welfare))


def seen(tmp_path) -> list[tuple[str, str]]:
    return [(row["training_iteration"], row["economy/social_welfare"]) for row in rows(tmp_path)]


def test_rows_are_in_the_file_as_soon_as_they_are_reported(trial, tmp_path):
    file = ProgressFile(tmp_path.parent)
    for number in (1, 2, 3):
        log(file, trial, [number])
        assert seen(tmp_path)[-1] == (str(number), "1.0")
    assert (tmp_path / PROGRESS_FILE).read_text().splitlines()[0] == "training_iteration,economy/social_welfare"
    assert [path.name for path in tmp_path.iterdir()] == [PROGRESS_FILE]


@pytest.mark.parametrize("anew", [False, True], ids=["the same process", "another one"])
@pytest.mark.parametrize("first", [1, 3, 5])
def test_a_trial_that_goes_on_from_a_checkpoint_replaces_its_rows_since(first, anew, trial, tmp_path):
    file = ProgressFile(tmp_path.parent)
    log(file, trial, range(1, 6))
    log(ProgressFile(tmp_path.parent) if anew else file, trial, range(first, 8), welfare=2.0)
    expected = [(str(n), "1.0") for n in range(1, first)] + [(str(n), "2.0") for n in range(first, 8)]
    assert seen(tmp_path) == expected


def test_a_row_that_was_cut_off_is_taken_out(trial, tmp_path):
    log(ProgressFile(tmp_path.parent), trial, [1, 2])
    path = tmp_path / PROGRESS_FILE
    path.write_text(path.read_text() + "3")
    log(ProgressFile(tmp_path.parent), trial, [4])
    assert [number for number, _ in seen(tmp_path)] == ["1", "2", "4"]


def test_a_column_that_is_new_is_left_out(trial, tmp_path):
    file = ProgressFile(tmp_path.parent)
    log(file, trial, [1])
    file.log_trial_result(0, trial, report(2) | {"more": 1})
    assert seen(tmp_path) == [("1", "1.0"), ("2", "1.0")]


def test_it_takes_the_place_of_tunes_own(tmp_path):
    """Which Tune adds where there is no logger of its kind."""
    assert isinstance(ProgressFile(tmp_path), CSVLoggerCallback)
