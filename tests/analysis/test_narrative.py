"""The words, for every kind of outcome."""

from pathlib import Path
from typing import Any

import pytest

from analysis.narrative import narrative
from analysis.results import load_trials
from tests.analysis.samples import DEAD, LIVING, SMALL, write_trial


def words(folder: Path) -> dict[str, str]:
    """The paragraph of each treatment, and the comparison under the empty key."""
    *paragraphs, comparison = narrative(load_trials(folder)).split("\n\n")
    return {paragraph.split("**")[1]: paragraph for paragraph in paragraphs} | {"": comparison}


def write_seeds(folder: Path, name: str, rewards: list[float], **options: Any) -> None:
    for seed, reward in enumerate(rewards):
        write_trial(folder, name, seed, LIVING | {"consumer_reward": reward}, **options)


def test_a_treatment_is_told_with_rewards_prices_wages_and_chosen_rates(tmp_path: Path) -> None:
    write_seeds(tmp_path, "full", [2.0, 3.0])
    text = words(tmp_path)["full"]
    assert text.startswith("**full** (2 seeds, held-out evaluation). The solution is not trivial.")
    assert "consumer 2.50 [-3.85, 8.85], firm 90,000 [90,000, 90,000]" in text
    assert "480 [480, 480] hours" in text
    assert "Prices average 2,000 [2,000, 2,000] a unit, wages 9.0 [9.0, 9.0] an hour." in text
    assert "The planner sets an income tax of 2% and a corporate tax of 80%" in text
    assert "Unfinished" not in text


def test_fixed_taxes_are_not_called_the_planners_choice(tmp_path: Path) -> None:
    write_trial(tmp_path, "taxed", 0, LIVING, planner={"mode": "fixed", "rates": [[0.0, 0.8]]})
    text = words(tmp_path)["taxed"]
    assert "Taxes are fixed and announced: an income tax of 2% and a corporate tax of 80%" in text
    assert "planner" not in text


@pytest.mark.parametrize("mode", ["constant", "schedule"])
def test_a_plan_is_told_as_announced(tmp_path: Path, mode: str) -> None:
    write_trial(tmp_path, "planned", 0, LIVING, planner={"mode": mode})
    text = words(tmp_path)["planned"]
    assert "The planner announces an income tax of 2% and a corporate tax of 80%" in text


@pytest.mark.parametrize(
    ("indicators", "cause"),
    [
        (DEAD, "Nobody works"),
        (DEAD | {"hours": 6.0}, "Hardly anybody works"),
        (LIVING | {"trivial_share": 1.0, "output": 0.1}, "Hardly anything is produced"),
        (LIVING | {"trivial_share": 1.0, "consumption": 0.0}, "Consumers get hardly any goods"),
        (LIVING | {"trivial_share": 0.6}, "60% of the episodes are dead"),
    ],
)
def test_a_trivial_treatment_is_no_equilibrium_and_says_why(
    tmp_path: Path, indicators: dict[str, float], cause: str
) -> None:
    write_trial(tmp_path, "full", 0, indicators)
    told = words(tmp_path)
    assert f"{cause}: the solution is trivial, not an equilibrium." in told["full"]
    assert "Prices" not in told["full"]
    assert told[""] == "The only finished treatment is trivial: there is no equilibrium and nothing to compare."


def test_all_trivial_is_said(tmp_path: Path) -> None:
    write_trial(tmp_path, "a", 0, DEAD)
    write_trial(tmp_path, "b", 0, DEAD)
    assert words(tmp_path)[""].startswith("Every finished treatment is trivial: there is no equilibrium")


def test_trivial_seeds_are_told_apart_from_the_others(tmp_path: Path) -> None:
    write_seeds(tmp_path, "full", [2.0, 4.0])
    write_trial(tmp_path, "full", 2, DEAD)
    write_seeds(tmp_path, "other", [1.0])
    told = words(tmp_path)
    assert "With seed 2 nobody works: the solution is trivial, not an equilibrium." in told["full"]
    assert "With seeds 0 and 1 the solution is not trivial." in told["full"]
    assert "consumer 3.00 [-9.71, 15.71]" in told["full"]
    assert "Of full only the seeds that are not trivial are compared." in told[""]
    assert "full 3.00 [-9.71, 15.71] (2 seeds)" in told[""]


def test_treatments_are_ranked_and_overlap_is_said_without_claiming_more(tmp_path: Path) -> None:
    write_seeds(tmp_path, "best", [5.4, 5.5, 5.6])
    write_seeds(tmp_path, "close", [5.2, 5.3, 5.4])
    write_seeds(tmp_path, "far", [1.4, 1.5, 1.6])
    write_seeds(tmp_path, "single", [3.0])
    write_trial(tmp_path, "dead", 0, DEAD)
    text = words(tmp_path)[""]
    assert "Trivial, and so left out of any comparison: dead. Not trivial: best, close, far and single." in text
    assert (
        "Consumer reward (utility a quarter), highest mean first: best 5.50 [5.25, 5.75] (3 seeds); "
        "close 5.30 [5.05, 5.55] (3 seeds; interval overlaps that of best); "
        "single 3.00 (1 seed; no interval); "
        "far 1.50 [1.25, 1.75] (3 seeds; interval apart from that of best)."
    ) in text
    assert "Intervals are 95% Student t intervals over seeds, and a single seed says nothing about chance." in text
    assert "signific" not in text
    assert "that takes a best-response test" in text


def test_a_best_treatment_of_one_seed_has_no_interval_to_compare_with(tmp_path: Path) -> None:
    write_seeds(tmp_path, "lucky", [9.0])
    write_seeds(tmp_path, "full", [1.0, 2.0])
    assert "(2 seeds; lucky has no interval to hold against)" in words(tmp_path)[""]


def test_several_seeds_need_less_caution(tmp_path: Path) -> None:
    for name in ("a", "b"):
        write_seeds(tmp_path, name, [1.0, 2.0], iterations=0)
    assert "single seed" not in words(tmp_path)[""]


def test_unfinished_trials_are_named_and_not_compared(tmp_path: Path) -> None:
    write_seeds(tmp_path, "full", [2.0])
    write_trial(tmp_path, "full", 1, LIVING, iterations=40, evaluated=False)
    write_trial(tmp_path, "late", 0, LIVING, iterations=50, evaluated=False)
    write_trial(tmp_path, "stuck", 0, DEAD, iterations=50, evaluated=False)
    write_trial(tmp_path, "queued", 5, LIVING, iterations=0, evaluated=False)
    told = words(tmp_path)
    unfinished = "Unfinished, without a held-out evaluation: "
    assert told["full"].endswith(f"{unfinished}seed 1 after 64,000 of 160,000 env steps.")
    assert "(1 seed, unfinished, last 5% of the training so far). So far this is not trivial." in told["late"]
    assert "Nobody works: so far this is trivial, not an equilibrium." in told["stuck"]
    assert told["queued"] == f"**queued** (no numbers yet). {unfinished}seed 5 after 0 of 160,000 env steps."
    assert told[""].startswith("Not trivial: full. Unfinished, and so left out: late, queued and stuck.")
    assert "There is nothing to compare it with." in told[""]


def test_nothing_finished_is_said(tmp_path: Path) -> None:
    write_trial(tmp_path, "full", 0, LIVING, evaluated=False)
    assert words(tmp_path)[""] == "No trial is finished yet: there is nothing to compare."


def test_missing_numbers_are_unknown_not_invented(tmp_path: Path) -> None:
    write_trial(tmp_path, "full", 0, {"hours": 100.0})
    told = words(tmp_path)
    assert "Whether seed 0 ended trivial is unknown." in told["full"]
    assert told[""] == "No finished treatment has numbers that can be compared."


def test_different_measures_of_welfare_are_not_compared(tmp_path: Path) -> None:
    write_seeds(tmp_path, "consumer", [2.0])
    write_seeds(tmp_path, "total", [1.0], economy=SMALL.replace(planner_welfare="total"))
    assert "Social welfare is not compared" in words(tmp_path)[""]
