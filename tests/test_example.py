"""The script that makes the example's study: what it calls, and that a second start goes on with the first."""

import os
import shutil
import subprocess
from importlib.util import find_spec
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parents[1]

PYTHON = r"""#!/usr/bin/env bash
# Notes its arguments, and leaves what the command would that another one goes on from.
echo "$*" >> called
run="${3#results/}"
folder="results/${2#rbc_rllib.}-${run/\//-}"
case "$2" in
  rbc_rllib.sweep) mkdir -p "results/$3" && touch "results/$3"/experiment_state-{1,2}.json ;;
  rbc_rllib.tax_map) mkdir -p "$folder" && touch "$folder"/{tax_map.{md,png},last_snapshot.zip} ;;
  rbc_rllib.best_response) mkdir -p "$folder" && touch "$folder/experiment_state-1.json" ;;
  rbc_rllib.plan_search) mkdir -p "$folder" && touch "$folder/plan_search.json" ;;
esac
"""


@pytest.fixture
def make(tmp_path):
    """Calls the script in a copy of its place, with a stand-in for Python; gives what was called."""
    (tmp_path / "docs" / "example").mkdir(parents=True)
    (tmp_path / "docs" / "tax_map").mkdir()
    shutil.copy(REPOSITORY / "docs" / "example" / "make.sh", tmp_path / "docs" / "example")
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "python").write_text(PYTHON)
    (tmp_path / "bin" / "python").chmod(0o755)

    def run() -> list[list[str]]:
        (tmp_path / "called").unlink(missing_ok=True)
        environment = os.environ | {"PATH": f"{tmp_path / 'bin'}:{os.environ['PATH']}"}
        command = ["bash", tmp_path / "docs" / "example" / "make.sh"]
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        return [line.split() for line in (tmp_path / "called").read_text().splitlines()]

    return run


def test_the_script_begins_a_study_and_goes_on_with_it(make, tmp_path):
    for killed in ("tax_baselines", "plan_search-tax_baselines-schedule_seed1"):  # before there was anything to resume
        (tmp_path / "results" / killed).mkdir(parents=True)
    begun, again = make(), make()
    modules = [command[1] for command in begun]
    assert all(find_spec(module) for module in modules)
    assert [command[2] for command in begun if command[1] == "rbc_rllib.sweep"] == [
        "tax_baselines",
        "total_welfare",
        "closed_economy",
    ]
    counts = {module.rpartition(".")[2]: modules.count(module) for module in modules}
    assert counts == {
        "sweep": 3,
        "best_response": 20,  # four treatments of five seeds
        "tax_map": 1,
        "plan_search": 10,
        "temptation": 5,
        "report": 1,
        "welfare": 1,
        "quarters": 2,
    }
    assert not any("--resume" in command for command in begun)
    begins = ("rbc_rllib.sweep", "rbc_rllib.best_response", "rbc_rllib.tax_map")
    assert all("--resume" in command for command in again if command[1] in begins)
    assert [command[2:] for command in again if command[1] == "rbc_rllib.plan_search"] == [
        ["results/tax_baselines/schedule_seed0", "--resume", "--results", "results"]
    ]
    assert begun[-4:] == again[-4:]  # what is read and drawn
