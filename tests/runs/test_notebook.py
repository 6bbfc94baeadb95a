"""The notebook, cell by cell, on a run of a small economy; and plans that are announced by hand."""

import json
from pathlib import Path

import pytest
from matplotlib.figure import Figure

from rbc_rllib import ConfigError, evaluate
from tests.runs.trials import untrained
from tests.small import SMALL

NOTEBOOK = Path(__file__).parents[2] / "notebooks" / "quickstart.ipynb"


@pytest.fixture
def runs(tmp_path, monkeypatch):
    """Both trials of the main job, of an economy that is small and has learned nothing."""
    monkeypatch.chdir(tmp_path)
    for name, mode in (("commitment", "schedule"), ("discretion", "discretion")):
        experiment = SMALL.with_values({"planner.mode": mode})
        untrained(experiment, tmp_path / "results" / "quickstart" / f"{name}_seed0")
    return tmp_path / "results" / "quickstart"


@pytest.mark.usefixtures("runs")
def test_every_cell_runs_and_says_something(capsys):
    cells = json.loads(NOTEBOOK.read_text())["cells"]
    code = ["".join(cell["source"]) for cell in cells if cell["cell_type"] == "code"]
    assert len(code) == 10
    names: dict = {}
    for source in code:
        exec(compile(source, str(NOTEBOOK), "exec"), names)
        assert capsys.readouterr().out.strip(), source
    assert isinstance(names["figure"], Figure)
    assert len(names["changed"]) == len(names["plan"]) == SMALL.economy.episode_length - 1


def test_another_plan_is_in_force_and_answered(runs):
    run = runs / "commitment_seed0"
    high = evaluate(run, episodes=4, tax_plan=[(0.2, 1.0)])
    assert high.summary["corporate_tax_rate"].mean == pytest.approx(1.0)
    assert high.summary["income_tax_rate"].mean == pytest.approx(0.2)
    by_quarter = [(0.0, 0.2), (0.0, 0.4), (0.0, 0.6)]
    assert evaluate(run, episodes=4, tax_plan=by_quarter).summary["corporate_tax_rate"].mean == pytest.approx(0.4)


@pytest.mark.parametrize(
    ("trial", "plan", "words"),
    [
        ("discretion_seed0", [(0.0, 0.8)], "have never seen an announced plan"),
        ("commitment_seed0", [(0.0, 0.33)], "rates"),
        ("commitment_seed0", [(0.0, 0.8)] * 2, "quarters after the first"),
    ],
)
def test_a_plan_that_cannot_be_announced_is_refused(runs, trial, plan, words):
    with pytest.raises(ConfigError, match=words):
        evaluate(runs / trial, episodes=4, tax_plan=plan)
