"""The report as a whole: from a folder to files and printed text."""

import subprocess
import sys
from pathlib import Path

import pandas
import pytest
from matplotlib.image import imread

from analysis.report import main, write_report
from tests.analysis.samples import DEAD, FIXED, LIVING, SMALL, write_trial

ROOT = Path(__file__).parents[2]


@pytest.fixture
def experiment(tmp_path: Path) -> Path:
    folder = tmp_path / "paper"
    write_trial(folder, "full", 0, DEAD, rollout=True)
    write_trial(folder, "full", 1, LIVING, rollout=True)
    write_trial(folder, "low_entropy", 0, DEAD)
    write_trial(folder, "running", 0, LIVING, iterations=10, evaluated=False)
    return folder


def files(folder: Path) -> list[str]:
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())


def test_a_report_goes_where_it_is_told_and_leaves_the_results_alone(experiment: Path, tmp_path: Path) -> None:
    before = files(experiment)
    text = write_report(experiment, tmp_path / "out")
    assert files(experiment) == before
    assert files(tmp_path / "out") == [
        "comparison.csv",
        "full_0/rollout.png",
        "full_1/rollout.png",
        "report.md",
        "training.png",
    ]
    for image in (tmp_path / "out").rglob("*.png"):
        assert imread(image).std() > 0.05
    table = pandas.read_csv(tmp_path / "out" / "comparison.csv", index_col="treatment")
    assert table.loc["full", "consumer_reward"] == pytest.approx(1.25)
    assert "**low_entropy** (1 seed, held-out evaluation). Nobody works: the solution is trivial" in text
    assert "Unfinished, without a held-out evaluation: seed 0 after 16,000 of 160,000 env steps." in text

    report = (tmp_path / "out" / "report.md").read_text()
    assert report.startswith("# paper\n")
    assert text.strip() in report
    assert "![Roll-out of full, seed 1](<full_1/rollout.png>)" in report
    assert "Other seeds: [seed 0](<full_0/rollout.png>)." in report


def test_a_trial_is_reported_in_place_and_again_with_the_same_words(tmp_path: Path) -> None:
    folder = write_trial(tmp_path, "full", 0, LIVING, iterations=0, rollout=True)
    first = write_report(folder)
    assert "The solution is not trivial." in first
    assert "(<rollout.png>)" in (folder / "report.md").read_text()
    assert {"report.md", "comparison.csv", "training.png", "rollout.png"} <= set(files(folder))
    assert write_report(folder) == first


def test_table_and_words_give_the_same_tax_rates(tmp_path: Path) -> None:
    write_trial(tmp_path, "full", 0, LIVING)
    text = write_report(tmp_path)
    (row,) = (line for line in text.splitlines() if line.startswith("| corporate tax"))
    assert row.split("|")[2].strip() == "80%"
    assert "a corporate tax of 80%" in text


def test_a_rollout_that_was_drawn_is_not_drawn_again(tmp_path: Path) -> None:
    folder = write_trial(tmp_path / "results", "full", 0, LIVING, rollout=True)
    (folder / "rollout.png").write_bytes(b"drawn by the evaluation")
    write_report(tmp_path / "results")
    write_report(tmp_path / "results", tmp_path / "out")
    for image in (folder / "rollout.png", tmp_path / "out" / folder.name / "rollout.png"):
        assert image.read_bytes() == b"drawn by the evaluation"


def test_taxes_that_cannot_be_compared_are_reported_with_the_reason(tmp_path: Path) -> None:
    closed = SMALL.replace(export_market=False)
    write_trial(tmp_path, "learned", 0, LIVING)
    assert "## Welfare" not in write_report(tmp_path)
    write_trial(tmp_path, "fixed", 0, LIVING, economy=closed, planner=FIXED)
    text = write_report(tmp_path)
    assert "No comparison of learned and fixed taxes: " in text
    assert "theirs differ in economy.export_market" in text
    assert "welfare.png" not in (tmp_path / "report.md").read_text()


def test_a_folder_without_trials_ends_in_one_sentence(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    with pytest.raises(SystemExit) as ending:
        main([str(tmp_path)])
    assert ending.value.code == 2
    (sentence,) = capsys.readouterr().err.splitlines()
    assert "it holds no trial" in sentence
    assert files(tmp_path) == []


def test_the_command_prints_the_table_and_the_words_and_stays_on_the_ground_floor(tmp_path: Path) -> None:
    write_trial(tmp_path, "full", 0, LIVING)
    program = """
import runpy, sys
runpy.run_module("analysis.report", run_name="__main__")
assert not {"ray", "torch", "gymnasium", "matplotlib.pyplot"} & set(sys.modules)
"""
    command = [sys.executable, "-c", program, str(tmp_path), "--out", str(tmp_path / "out")]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    assert "| consumer reward (utility a quarter)" in done.stdout
    assert "Not trivial: full." in done.stdout
    assert done.stderr == ""
    assert (tmp_path / "out" / "report.md").is_file()
