"""Frozen policies on held-out episodes: the same numbers again, honest intervals, nothing overwritten."""

import importlib
import json
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from analysis.intervals import BOOTSTRAP_SEED
from analysis.results import load_trials
from analysis.tidy import tidy_table
from rbc_rllib.evaluate import Evaluation, evaluate_trial, main
from rbc_rllib.play.held_out import ECONOMIES_AT_ONCE, play_held_out
from tests.play.networks import build_modules
from tests.runs.trials import untrained
from tests.small import SMALL

EXPERIMENT = SMALL.replace(evaluation_episodes=12, seed=3)
FILES = {"evaluation.json", "rollout.npz", "rollout.parquet", "rollout.png"}


def strict_json(path: Path) -> dict:
    """The JSON in `path`, without the NaN that only Python reads."""

    def refuse(constant: str) -> None:
        raise AssertionError(f"{constant} is no JSON")

    return json.loads(path.read_text(), parse_constant=refuse)


def written(folder: Path) -> dict[str, bytes]:
    return {name: (folder / name).read_bytes() for name in FILES}


@pytest.fixture
def trial(tmp_path) -> Path:
    return untrained(EXPERIMENT, tmp_path / "results" / "small_seed3")


def test_the_same_seed_gives_the_same_bytes_and_another_seed_other_numbers(trial):
    evaluate_trial(trial)
    first = written(trial)
    evaluate_trial(trial)
    assert written(trial) == first
    evaluate_trial(trial, seed=4)
    other = trial / "evaluation-episodes12-seed4"
    for name in FILES:
        assert (other / name).read_bytes() != first[name], name
    mine, others = (strict_json(folder / "evaluation.json")["indicators"] for folder in (trial, other))
    assert mine.keys() == others.keys()
    assert mine["consumer_reward"] != others["consumer_reward"]


def test_a_folder_is_evaluated_though_a_trial_has_no_checkpoint(trial, capsys):
    begun = trial.with_name("begun_seed3")
    begun.mkdir()
    shutil.copy(trial / "config.json", begun)
    with pytest.raises(SystemExit) as ending:
        main([str(trial.parent)])
    assert ending.value.code == 2
    assert {path.name for path in trial.iterdir()} >= FILES
    assert f"{begun} is not evaluated: " in capsys.readouterr().err


def test_a_resumed_sweep_evaluates_nothing_twice_and_what_was_trained_since_again(trial, monkeypatch):
    module = importlib.import_module("rbc_rllib.evaluate")
    evaluated, ours = [], module.evaluate_trial
    monkeypatch.setattr(module, "evaluate_trial", lambda path: evaluated.append(ours(path)))
    for expected in (1, 1):
        module.judge(trial.parent, [trial])
        assert len(evaluated) == expected
    shutil.copytree(trial / "checkpoint_000000", trial / "checkpoint_000001")
    module.judge(trial.parent, [trial])
    assert len(evaluated) == 2
    assert "checkpoint_000001" in evaluated[-1]


def test_intervals_are_the_bootstrap_over_episodes_and_shrink_with_them():
    modules = build_modules(EXPERIMENT.economy, EXPERIMENT.learning.observation_encodings)
    few, many = (Evaluation.of(EXPERIMENT, modules, episodes, seed=0) for episodes in (16, 256))
    for name, values in few.indicators.items():
        interval = few.summary[name]
        bounds = stats.bootstrap(
            (values.astype(float),),
            np.mean,
            n_resamples=10_000,
            method="percentile",
            rng=np.random.default_rng(BOOTSTRAP_SEED),
        ).confidence_interval
        assert (interval.low, interval.high, interval.count) == (bounds.low, bounds.high, 16), name
        assert interval.mean == pytest.approx(values.mean(), rel=1e-5), name
        assert interval.low <= interval.mean <= interval.high, name
    for name in ("consumer_reward", "hours", "price", "corporate_tax_rate"):
        wide, narrow = few.summary[name], many.summary[name]
        assert narrow.high - narrow.low < 0.5 * (wide.high - wide.low), name


def test_more_episodes_than_are_played_at_once_are_as_many_as_asked_and_all_different():
    modules = build_modules(EXPERIMENT.economy, EXPERIMENT.learning.observation_encodings)
    played = play_held_out(EXPERIMENT, modules, 70, seed=0)
    assert ECONOMIES_AT_ONCE < 70
    assert played.consumption.shape == (70, 4, 6, 3)
    assert len(np.unique(played.rewards["consumer"], axis=0)) == len(played.rewards["consumer"]) == 70
    assert len(played.welfare) == 70


def test_one_episode_has_a_mean_and_no_bounds(trial):
    words = evaluate_trial(trial, episodes=1)
    record = strict_json(trial / "evaluation-episodes1-seed3" / "evaluation.json")
    assert record["episodes"] == 1
    for name, number in record["indicators"].items():
        assert np.isfinite(number["mean"]), name
        assert (number["low"], number["high"]) == (None, None), name
    assert "[" not in words


def test_the_table_is_the_arrays(trial):
    evaluate_trial(trial)
    with np.load(trial / "rollout.npz") as file:
        arrays = dict(file)
    assert arrays["outcome/consumption"].shape == (4, 8, 6, 3)  # of the first 8 of 12 episodes
    table = pd.read_parquet(trial / "rollout.parquet")
    pd.testing.assert_frame_equal(table, tidy_table(arrays))
    assert table["value"].dtype == np.float32
    assert len(table) == sum(values.size for values in arrays.values())


def test_other_episodes_and_seeds_leave_the_trials_own_evaluation_alone(trial):
    main([str(trial)])
    own = written(trial)
    assert strict_json(trial / "evaluation.json")["seed"] == 3
    for options, folder in (
        (["--seed", "5"], "evaluation-episodes12-seed5"),
        (["--episodes", "2"], "evaluation-episodes2-seed3"),
        (["--episodes", "2", "--seed", "0"], "evaluation-episodes2-seed0"),
    ):
        main([str(trial), *options])
        assert {path.name for path in (trial / folder).iterdir()} == FILES
        record = strict_json(trial / folder / "evaluation.json")
        assert f"evaluation-episodes{record['episodes']}-seed{record['seed']}" == folder
    assert written(trial) == own
    main([str(trial), "--episodes", "12", "--seed", "3"])
    assert written(trial) == own
    assert len(list(trial.glob("evaluation-*"))) == 3
    (read,) = load_trials(trial.parent)
    assert read.evaluation["seed"] == 3


def test_what_is_printed(trial, capsys):
    main([str(trial.parent), "--seed", "5"])
    heading, *indicators, files, verdict = capsys.readouterr().out.splitlines()
    assert heading == f"{trial}, checkpoint_000000: 12 held-out episodes, seed 5"
    assert len(indicators) == 16
    (hours,) = [line for line in indicators if line.startswith("  hours (a quarter and consumer) ")]
    mean, low, high = (float(part.strip("[,]").replace(",", "")) for part in hours.split()[-3:])
    assert low <= mean <= high
    assert files.endswith(f"are in {trial / 'evaluation-episodes12-seed5'}")
    assert verdict == "The economy is not trivial (trivial episodes: 0%)."
    assert strict_json(trial / "evaluation-episodes12-seed5" / "evaluation.json")["trivial"] is False


def test_a_new_indicator_is_printed_by_its_name_after_the_known_ones():
    indicators = {"bread_queues": np.array([1.5, 1.5]), "wage": np.array([2.0, 2.0])}
    lines = Evaluation(indicators, {}, {}, np.zeros(0)).words().splitlines()
    assert [" ".join(line.split()) for line in lines] == [
        "wage (money an hour) 2.0 [2.0, 2.0]",
        "bread queues 1.5 [1.5, 1.5]",
    ]


def test_a_dead_economy_is_called_trivial(tmp_path, capsys):
    """Nothing is produced where a firm needs more hours than all workers have."""
    dead = EXPERIMENT.with_values({"economy.labor_floor": 1e6})
    trial = untrained(dead, tmp_path / "dead")
    main([str(trial)])
    last = capsys.readouterr().out.splitlines()[-1]
    assert last == "The economy is trivial: in 100% of the episodes next to nobody works, produces or consumes."
    assert strict_json(trial / "evaluation.json")["trivial"] is True


@pytest.mark.parametrize(("share", "trivial"), [(0.0, False), (5 / 12, False), (0.5, True), (1.0, True)])
def test_an_economy_is_trivial_from_half_of_the_episodes_on(share, trivial):
    modules = build_modules(EXPERIMENT.economy, EXPERIMENT.learning.observation_encodings)
    result = Evaluation.of(EXPERIMENT, modules, 12, seed=0)
    result.indicators["trivial_share"][:] = np.arange(12) < 12 * share
    assert result.trivial == trivial
    assert result.verdict().startswith("The economy is trivial:") == trivial
    assert f"{share:.0%}" in result.verdict()


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        (["--episodes", "0"], "--episodes = 0 is refused: it must be at least 1; leave it out"),
        (["--episodes", "-3"], "--episodes = -3 is refused: it must be at least 1; leave it out"),
        (["--seed", "-1"], "--seed = -1 is refused: it must be at least 0; leave it out"),
    ],
)
def test_numbers_that_make_no_sense_are_refused_in_one_sentence(trial, options, sentence, capsys):
    before = sorted(trial.rglob("*"))
    with pytest.raises(SystemExit) as ending:
        main([str(trial), *options])
    assert ending.value.code == 2
    printed = capsys.readouterr()
    assert printed.out == ""
    (line,) = printed.err.strip().splitlines()
    assert line.startswith(sentence)
    assert sorted(trial.rglob("*")) == before
