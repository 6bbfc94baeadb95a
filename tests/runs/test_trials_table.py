"""The table that outlives Tune: a row for each trial that has ended, whatever the order and however often."""

from types import SimpleNamespace

import pandas
import pytest

from rbc_rllib.experiment import ExperimentConfig
from rbc_rllib.runs.trials_table import FILE, TrialsTable, commit, read_table
from tests.small import SMALL


def ended(folder, name, seed, env_steps=640, welfare=5.0):
    """A Tune trial at its end."""
    experiment = SMALL.replace(name=name, seed=seed)
    path = folder / f"{name}_seed{seed}"
    path.mkdir(exist_ok=True, parents=True)
    return SimpleNamespace(
        path=str(path),
        error_file=str(path / "error.txt"),
        num_failures=0,
        checkpoint=None,
        config={"experiment": experiment.model_dump(mode="json"), "values": {"curriculum.firm_range_end": 0.07}},
        last_result={
            "env_steps": env_steps,
            "time_total_s": 12.5,
            "economy": {"social_welfare": welfare, "hours": 300.0},
        },
        metric_analysis={"economy/social_welfare": {"max": 2 * welfare}},
        run_metadata=SimpleNamespace(),
    )


def test_every_trial_has_one_row_with_what_it_was_and_came_to(tmp_path):
    table = TrialsTable(tmp_path)
    first, second = ended(tmp_path, "a", 0), ended(tmp_path, "b", 1, welfare=7.0)
    first.checkpoint = SimpleNamespace(path="bucket/a_seed0/checkpoint_000002")
    table.on_trial_complete(1, [], first)
    table.on_trial_complete(2, [], second)
    rows = pandas.read_parquet(tmp_path / FILE).set_index("trial")
    assert rows.index.tolist() == ["a_seed0", "b_seed1"]
    own = rows.loc["a_seed0"]
    assert (own["name"], own["seed"], own["status"]) == ("a", 0, "TERMINATED")
    assert own["checkpoint"] == "a_seed0/checkpoint_000002"
    assert pandas.isna(rows.loc["b_seed1", "checkpoint"])
    assert (own["env_steps"], own["agent_steps"], own["seconds"]) == (640, 640 * (6 + 3 + 1), 12.5)
    assert rows["final/social_welfare"].tolist() == [5.0, 7.0]
    assert rows["best/social_welfare"].tolist() == [10.0, 14.0]
    assert own["version/ray"].startswith("2.")
    assert own["commit"] == commit()
    drawn = ExperimentConfig.model_validate_json(own["config"])
    assert drawn == SMALL.replace(name="a", seed=0).with_values({"curriculum.firm_range_end": 0.07})


def test_a_trial_that_failed_and_then_ended_has_the_row_of_its_end(tmp_path):
    table, trial = TrialsTable(tmp_path), ended(tmp_path, "a", 0)
    trial.num_failures = 2
    (tmp_path / "a_seed0" / "error.txt").write_text("Traceback\n\nNumericsError: firm, step 7: price is NaN\n")
    table.on_trial_error(1, [], trial)
    (row,) = read_table(tmp_path / FILE).to_pylist()
    assert (row["status"], row["error"]) == ("ERROR", "NumericsError: firm, step 7: price is NaN")
    assert row["failures"] == 2
    TrialsTable(tmp_path).on_trial_complete(2, [], trial)
    (row,) = read_table(tmp_path / FILE).to_pylist()
    assert (row["status"], row["error"]) == ("TERMINATED", None)
    assert not list(tmp_path.glob("*.part"))


def test_a_trial_that_failed_before_its_first_report_has_a_row_too(tmp_path):
    trial = ended(tmp_path, "a", 0)
    trial.last_result, trial.metric_analysis = {}, {}
    TrialsTable(tmp_path).on_trial_error(1, [], trial)
    TrialsTable(tmp_path).on_trial_complete(2, [], ended(tmp_path, "b", 0))
    TrialsTable(tmp_path).on_trial_complete(3, [], trial)  # stopped with its configuration, it is not tried again
    first, second = read_table(tmp_path / FILE).to_pylist()
    assert first["status"] == "ERROR"
    assert (first["error"], first["env_steps"], first["final/hours"]) == ("unknown", 0, None)
    assert second["final/hours"] == pytest.approx(300.0)
