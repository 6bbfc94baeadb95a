"""What followers gain, read from beside a trial: in a table, in words, and in the comparison of taxes."""

import json
import shutil
from pathlib import Path

import pytest

from analysis.followers import follower_gains, followers_table, followers_words, how_asked, percent_gain
from analysis.intervals import t_interval
from analysis.results import folder_beside, load_trial, load_trials
from analysis.study import load_study
from analysis.taxes import Treatment, compare_taxes
from analysis.welfare import welfare_text
from rbc_rllib.settings import ConfigError
from tests.analysis.samples import DEAD, LIVING, SMALL, gain, write_answers, write_trial


def write_gains(trial: Path, *checkpoints: dict[str, float]) -> None:
    """Gains in percent by deviator, checkpoint after checkpoint."""
    write_answers(trial, *([gain(deviator, value) for deviator, value in each.items()] for each in checkpoints))


def row(table: str, name: str) -> list[str]:
    (line,) = [line for line in table.splitlines() if line.startswith(f"| {name} ")]
    return [cell.strip() for cell in line.split("|")[2:-1]]


def test_gains_are_those_of_followers_at_the_last_checkpoint(tmp_path: Path) -> None:
    trial = write_trial(tmp_path / "main", "schedule", 0, LIVING)
    assert follower_gains(load_trial(trial)) == {}
    write_gains(trial, {"each_firm": 40.0}, {"each_firm": 2.0, "planner": 9.0, "firm_3": 8.0})
    read = load_trial(trial)
    assert set(follower_gains(read)) == {"each_firm"}
    percent = percent_gain(read, "each_firm")
    assert (percent.mean, percent.low, percent.high) == (2.0, 1.5, 2.5)
    assert percent_gain(read, "consumer") is None


def test_gains_of_other_policies_than_those_that_are_evaluated_are_not_the_trials(tmp_path: Path) -> None:
    trial = write_trial(tmp_path / "main", "schedule", 0, LIVING)
    write_answers(trial, [gain("each_firm", 2.0)], policies="others")
    assert follower_gains(load_trial(trial)) == {}
    assert how_asked(load_trial(trial)) is None
    shutil.copytree(trial, folder_beside("best_response", trial) / "each_firm")
    (answer,) = load_study([trial.parent]).answers
    assert answer.label == "main/schedule_0 (policies of before)"
    (trial / "evaluation.json").unlink()
    assert set(follower_gains(load_trial(trial))) == {"each_firm"}


def test_how_followers_were_asked_is_told(tmp_path: Path) -> None:
    usual, hard = (write_trial(tmp_path / "main", "schedule", seed, LIVING) for seed in range(2))
    write_answers(usual, [gain("each_firm", 2.0), gain("firm", 2.0)])
    write_answers(
        hard,
        [gain("each_firm", 2.0)],
        seeds=[0, 1],
        starts=["frozen", "scratch"],
        set={"learning.num_epochs": 4},
        epochs={"each_firm": 4},
    )
    assert [how_asked(load_trial(trial)) for trial in (usual, hard)] == [
        "75 iterations, 2 or 8 epochs, 1 seed, 64 held-out episodes",
        "75 iterations, 4 epochs, 2 seeds, starts frozen and scratch, learning.num_epochs=4, 64 held-out episodes",
    ]


def test_answers_about_another_experiment_are_not_taken_in(tmp_path: Path) -> None:
    """A population's values are trained anew in a folder whose name begins with that of the population's."""
    for experiment in ("population", "population-anew"):
        trial = write_trial(tmp_path / experiment, "schedule", 0, LIVING)
        write_answers(trial, [gain("each_firm", 2.0)])
        shutil.copytree(trial, folder_beside("best_response", trial) / "each_firm")
    for asked_of in (tmp_path / "population", tmp_path / "population" / "schedule_0"):
        assert [answer.label for answer in load_study([asked_of]).answers] == ["population/schedule_0"]


def test_a_spoiled_file_is_named(tmp_path: Path) -> None:
    trial = write_trial(tmp_path / "main", "schedule", 0, LIVING)
    write_gains(trial)
    (folder_beside("best_response", trial) / "best_response.json").write_text("{")
    with pytest.raises(ConfigError, match=r"best_response\.json.*complete JSON"):
        follower_gains(load_trial(trial))
    earlier = {"solutions": [{"checkpoint": "checkpoint_000001", "gains": []}]}
    (folder_beside("best_response", trial) / "best_response.json").write_text(json.dumps(earlier))
    with pytest.raises(ConfigError, match=r"-main-schedule_0/best_response\.json.*ask again with --resume"):
        follower_gains(load_trial(trial))


def test_the_table_has_a_row_for_every_trial(tmp_path: Path) -> None:
    one = write_trial(tmp_path / "main", "schedule", 0, LIVING)
    other = write_trial(tmp_path / "main", "discretion", 0, DEAD)
    write_gains(one, {"each_firm": 1.25, "each_consumer": 0.5})
    write_gains(other, {"each_firm": 70.0})
    trials = [load_trial(one), load_trial(other)]
    table = followers_table(trials)
    assert row(table, "gains at least, % of the group's mean absolute reward") == ["a single firm", "a single consumer"]
    assert row(table, "schedule, seed 0") == ["1.2 [0.8, 1.8]", "0.5 [0.0, 1.0]"]
    assert row(table, "discretion, seed 0") == ["70.0 [69.5, 70.5]", "-"]
    words = followers_words(trials)
    assert words.endswith("no proof. Gains say nothing where the economy is trivial: discretion, seed 0.")
    assert followers_words(trials[:1]).endswith("no proof.")


def test_without_an_answer_nothing_is_claimed(tmp_path: Path) -> None:
    trial = load_trial(write_trial(tmp_path / "main", "schedule", 0, LIVING))
    assert followers_words([trial]) == "Nobody was asked what leaving the learned policies would gain."


def test_the_comparison_of_taxes_shows_gains_over_seeds_and_what_commitment_is_worth(tmp_path: Path) -> None:
    folder = tmp_path / "main"
    modes = {"schedule": {"mode": "schedule"}, "discretion": {"mode": "discretion"}}
    modes["fixed"] = {"mode": "fixed", "rates": [[0.0, 0.8]]}
    rewards = {"schedule": [6.0, 7.0, 6.5], "discretion": [3.0, 3.5, 2.5], "fixed": [4.0, 5.0, 4.5]}
    for name, planner in modes.items():
        for seed, reward in enumerate(rewards[name]):
            indicators = LIVING | {"consumer_reward": reward}
            trial = write_trial(folder, name, seed, indicators, iterations=2, planner=planner)
            if name == "schedule" and seed < 2:
                write_gains(trial, {"each_firm": [1.0, 3.0][seed]})
    dead = write_trial(folder, "schedule", 3, DEAD, iterations=2, planner=modes["schedule"])
    write_gains(dead, {"each_firm": 4000.0})  # of next to nothing
    for seed in range(3):  # who wants something else is not what a planner who commits is compared with
        write_trial(folder, "another", seed, LIVING, iterations=2, economy=SMALL.replace(planner_welfare="total"))
    comparison = compare_taxes(load_trials(folder))
    schedule = next(each for each in comparison.learned if each.name == "schedule")
    own = schedule.follower_gain("each_firm")
    expected = t_interval([1.0, 3.0])
    assert (own.mean, own.low, own.high, own.count) == (2.0, expected.low, expected.high, 2)
    assert schedule.follower_gain("firm") is None
    again = write_trial(tmp_path / "again", "schedule", 1, LIVING, iterations=2, planner=modes["schedule"])
    write_gains(again, {"each_firm": 3.0})
    assert Treatment("schedule", (*schedule.trials, load_trial(again))).follower_gain("each_firm") == own
    worth = comparison.worth_of_commitment(schedule, "consumer")
    assert worth.by_seed == pytest.approx({0: 36.0, 1: 42.0, 2: 48.0})  # 12 consumers
    discretion = next(each for each in comparison.learned if each.name == "discretion")
    assert comparison.worth_of_commitment(discretion, "consumer") is None
    text = welfare_text(comparison)
    assert "What it is worth to commit: schedule against discretion" in text
    assert "gains at least, % of mean absolute reward" in text
    assert json.loads(json.dumps(comparison.record()))["treatments"]["schedule"]["follower_gains_percent"].keys() == {
        "each_firm"
    }


def test_a_fixed_treatment_that_lacks_seeds_is_no_rival(tmp_path: Path) -> None:
    """It would leave only the seeds that it has; the sentence names it."""
    rates = {"learned": None, "whole": [[0.0, 0.8]], "begun": [[0.0, 0.4]]}
    for name, pair in rates.items():
        planner = {"mode": "schedule"} if pair is None else {"mode": "fixed", "rates": pair}
        for seed in range(1 if name == "begun" else 3):
            indicators = LIVING | {"consumer_reward": 3.0 + seed}
            write_trial(tmp_path, name, seed, indicators, iterations=2, planner=planner)
    comparison = compare_taxes(load_trials(tmp_path))
    (learned,) = comparison.learned
    assert [each.name for each in comparison.rivals(learned)] == ["whole"]
    assert comparison.shared_seeds(learned) == [0, 1, 2]
    assert "not among those to choose from: begun." in welfare_text(comparison)


def test_nothing_is_given_in_percent_of_a_dead_economy(tmp_path: Path) -> None:
    """Any welfare is thousands of percent of next to nothing."""
    for name, indicators in (("learned", LIVING), ("fixed", DEAD | {"consumer_reward": 1e-3})):
        planner = {"mode": "schedule"} if name == "learned" else {"mode": "fixed", "rates": [[0.0, 1.0]]}
        for seed in range(2):
            write_trial(tmp_path, name, seed, indicators, iterations=2, planner=planner)
    comparison = compare_taxes(load_trials(tmp_path))
    difference = comparison.best_fixed(comparison.learned[0], "consumer")
    assert difference.interval.mean > 0
    assert difference.percent is None
