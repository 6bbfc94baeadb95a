"""Learned against fixed taxes: known welfare by seed, written as result folders."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy
import pandas
import pytest
from matplotlib.image import imread
from scipy import stats

from analysis.report import write_report
from analysis.results import load_trials
from analysis.taxes import Comparison, compare_taxes
from analysis.welfare import main, welfare_text, write_welfare
from rbc_rllib.settings import ConfigError
from tests.analysis.samples import DEAD, FIXED, LIVING, SMALL, write_trial

ROOT = Path(__file__).parents[2]
CONSUMERS, FIRMS, WEIGHT = SMALL.num_consumers, SMALL.num_firms, SMALL.firm_welfare_weight


def taxes(rate: float | None) -> dict[str, Any]:
    """The planner with that rate of both taxes; None: one who learns, with discretion."""
    return {} if rate is None else {"mode": "fixed", "rates": [[rate, rate]]}


def write(folder: Path, name: str, rate: float | None, welfare: list[float] | dict[int, float], **options: Any) -> None:
    """One trial a seed with that consumer welfare and firms that earn nothing."""
    by_seed = welfare if isinstance(welfare, dict) else dict(enumerate(welfare))
    planner = options.pop("planner", taxes(rate))
    for seed, value in by_seed.items():
        indicators = LIVING | {"consumer_reward": value / CONSUMERS, "firm_reward": 0.0}
        write_trial(folder, name, seed, indicators, iterations=2, planner=planner, **options)


def write_dead(folder: Path, name: str, rate: float | None, seeds: list[int]) -> None:
    for seed in seeds:
        write_trial(folder, name, seed, DEAD, iterations=2, planner=taxes(rate))


def compared(*folders: Path) -> Comparison:
    return compare_taxes([trial for folder in folders for trial in load_trials(folder)])


def text_of(*folders: Path) -> str:
    return welfare_text(compared(*folders))


def cells(text: str, row: str) -> list[str]:
    """The cells of the last table's row of that name."""
    lines = [line for line in text.splitlines() if line.startswith(f"| {row} ")]
    return [cell.strip() for cell in lines[-1].split("|")[2:-1]]


def test_both_definitions_of_welfare_follow_from_mean_rewards(tmp_path: Path) -> None:
    """Whichever of them the planner was rewarded with."""
    for goal in ("consumer", "total"):
        economy = SMALL.replace(planner_welfare=goal)
        write_trial(tmp_path, goal, 0, LIVING | {"consumer_reward": 2.0, "firm_reward": 30_000.0}, economy=economy)
    write(tmp_path, "none", 0.0, [1.0])
    for treatment in compared(tmp_path).learned:
        assert treatment.welfare("consumer") == {0: pytest.approx(2.0 * CONSUMERS)}
        assert treatment.welfare("total") == {0: pytest.approx(2.0 * CONSUMERS + WEIGHT * 30_000 * FIRMS)}


def test_treatments_are_told_apart_by_their_config_and_not_by_their_name(tmp_path: Path) -> None:
    write(tmp_path, "no_taxes", None, [1.0, 2.0])
    write(tmp_path, "learned_taxes", 0.0, [1.0, 2.0])
    write(tmp_path, "a", 0.8, [1.0, 2.0])
    write(tmp_path, "b", 0.2, [1.0, 2.0])
    comparison = compared(tmp_path)
    assert [(each.name, each.taxes) for each in comparison.treatments] == [
        ("no_taxes", "learned: discretion"),
        ("learned_taxes", "none"),
        ("b", "fixed 20%"),
        ("a", "fixed 80%"),
    ]


def test_every_way_to_decide_taxes_is_told(tmp_path: Path) -> None:
    planners = {
        "a": {"mode": "constant"},
        "b": {"mode": "schedule"},
        "c": {"mode": "fixed", "rates": [[0.0, 0.8]]},
        "d": {"mode": "fixed", "rates": [[0.0, 1.0]] * 8 + [[0.0, 0.2]]},
        "e": {"mode": "fixed", "rates": "drawn"},
    }
    for name, planner in planners.items():
        write(tmp_path, name, None, [1.0, 2.0], planner=planner)
    comparison = compared(tmp_path)
    assert {each.name: each.taxes for each in comparison.learned} == {
        "a": "learned: constant",
        "b": "learned: schedule",
    }
    assert {each.name: each.taxes for each in comparison.fixed} == {"c": "fixed 0% and 80%"}
    assert comparison.not_compared == ("d", "e")
    assert "neither learned nor one fixed pair of rates: d and e." in welfare_text(comparison)


def test_the_best_fixed_rate_is_chosen_without_the_seed_it_is_judged_on(tmp_path: Path) -> None:
    """`lucky` has the highest mean of all, but only through seed 2: there it is not what is compared."""
    write(tmp_path, "learned", None, [50.0, 60.0, 70.0])
    write(tmp_path, "steady", 0.2, [40.0, 42.0, 44.0])
    write(tmp_path, "lucky", 0.4, [10.0, 12.0, 400.0])
    comparison = compared(tmp_path)
    difference = comparison.best_fixed(comparison.learned[0], "consumer")
    assert difference is not None
    assert {seed: fixed.name for seed, fixed in difference.fixed.items()} == {0: "lucky", 1: "lucky", 2: "steady"}
    assert difference.by_seed == pytest.approx({0: 40.0, 1: 48.0, 2: 26.0})
    assert difference.percent == pytest.approx(100 * 38.0 / 22.0)
    text = welfare_text(comparison)
    assert "lucky for seeds 0 and 1; steady for seed 2" in text


def test_no_taxes_compete_for_the_best_fixed_rate(tmp_path: Path) -> None:
    write(tmp_path, "learned", None, [5.0, 5.5, 6.0])
    write(tmp_path, "none", 0.0, [4.0, 4.0, 4.0])
    write(tmp_path, "fixed", 0.4, [3.0, 3.0, 3.0])
    text = text_of(tmp_path)
    assert "none for seeds 0, 1 and 2" in text
    assert "No taxes count as a fixed rate of 0." in text


def test_the_interval_is_that_of_the_paired_t_test(tmp_path: Path) -> None:
    learned, fixed = [50.0, 61.0, 70.0, 58.0], [44.0, 43.0, 49.0, 50.0]
    write(tmp_path, "learned", None, learned)
    write(tmp_path, "fixed", 0.2, fixed)
    comparison = compared(tmp_path)
    paired = stats.ttest_rel(learned, fixed).confidence_interval(0.95)
    difference = comparison.best_fixed(comparison.learned[0], "consumer")
    assert difference is not None
    assert (difference.interval.low, difference.interval.high) == pytest.approx((paired.low, paired.high))
    alone = stats.ttest_1samp(learned, 0).confidence_interval(0.95)
    mean = comparison.learned[0].mean_welfare("consumer")
    assert (mean.mean, mean.low, mean.high) == pytest.approx((59.75, alone.low, alone.high))


def test_intervals_against_several_fixed_rates_hold_together(tmp_path: Path) -> None:
    learned = [50.0, 61.0, 70.0]
    fixed = {0.0: [44.0, 43.0, 49.0], 0.2: [20.0, 21.0, 29.0], 0.4: [60.0, 10.0, 30.0]}
    write(tmp_path, "learned", None, learned)
    for rate, welfare in fixed.items():
        write(tmp_path, f"fixed_{rate}", rate, welfare)
    comparison = compared(tmp_path)
    differences = comparison.each_fixed(comparison.learned[0], "consumer")
    for difference, welfare in zip(differences, fixed.values(), strict=True):
        expected = stats.ttest_rel(learned, welfare).confidence_interval(1 - 0.05 / 3)
        assert (difference.interval.low, difference.interval.high) == pytest.approx((expected.low, expected.high))
    text = welfare_text(comparison)
    assert "3 comparisons at once" in text
    assert "98.3%" in text


def test_a_difference_whose_interval_holds_0_is_called_not_significant(tmp_path: Path) -> None:
    """All three seeds gain, which a bootstrap would call significant."""
    write(tmp_path, "learned", None, [50.0, 60.0, 90.0])
    write(tmp_path, "fixed", 0.2, [48.0, 50.0, 50.0])
    text = text_of(tmp_path)
    assert "not significant, since its 95% interval over n = 3 seeds holds 0" in text
    assert " significant, since its 95% interval over n = 3 seeds leaves out 0" not in text
    assert cells(text, "fixed")[2] == "not significant"


@pytest.mark.parametrize(("sign", "percent"), [(1, "+20.0%"), (-1, "-20.0%")])
def test_a_clear_difference_is_called_significant_in_either_direction(tmp_path: Path, sign: int, percent: str) -> None:
    write(tmp_path, "learned", None, [50.0 + sign * gain for gain in (9.0, 10.0, 11.0)])
    write(tmp_path, "fixed", 0.2, [50.0, 50.0, 50.0])
    text = text_of(tmp_path)
    mean, near, far = 10.0 * sign, sign * 10 - 2.4841, sign * 10 + 2.4841
    difference = f"the difference is {mean:+.1f} [{near:+.1f}, {far:+.1f}], {percent}, significant"
    assert f"Consumer welfare, the planner's goal: {difference}" in text
    assert "not significant, since" not in text
    assert cells(text, "fixed")[2] == "significant"


def test_one_seed_gives_no_difference_to_the_best_fixed_rate(tmp_path: Path) -> None:
    write(tmp_path, "learned", None, [50.0])
    write(tmp_path, "fixed", 0.2, [40.0])
    comparison = compared(tmp_path)
    assert comparison.best_fixed(comparison.learned[0], "consumer") is None
    text = welfare_text(comparison)
    assert "No difference is given: it and the fixed rates share only seed 0" in text
    assert "95% interval over n" not in text
    assert cells(text, "fixed")[:3] == ["1", "+10.0, +25.0%", "unknown"]


def test_a_rate_without_all_seeds_does_not_compete_for_the_best_fixed_rate(tmp_path: Path) -> None:
    """An interrupted sweep: seed 2 has no fixed 40% yet, which must not cost the others that seed."""
    write(tmp_path, "learned", None, [50.0, 60.0, 70.0])
    write(tmp_path, "low", 0.2, [40.0, 42.0, 44.0])
    write(tmp_path, "high", 0.4, [45.0, 46.0])
    comparison = compared(tmp_path)
    difference = comparison.best_fixed(comparison.learned[0], "consumer")
    assert difference is not None
    assert {seed: fixed.name for seed, fixed in difference.fixed.items()} == {0: "low", 1: "low", 2: "low"}
    text = welfare_text(comparison)
    assert "Without all of its seeds, and so not among those to choose from: high." in text
    assert "Not all of them have finished" not in text


def test_only_seeds_that_everybody_has_finished_enter_the_best_fixed_rate(tmp_path: Path) -> None:
    """Where no rate has all of them, none must be left alone in the field with a seed of its own."""
    write(tmp_path, "learned", None, [50.0, 60.0, 70.0, 80.0])
    write(tmp_path, "low", 0.2, [40.0, 42.0, 44.0])
    write(tmp_path, "high", 0.4, [45.0, 46.0])
    comparison = compared(tmp_path)
    difference = comparison.best_fixed(comparison.learned[0], "consumer")
    assert difference is not None
    assert {seed: fixed.name for seed, fixed in difference.fixed.items()} == {0: "high", 1: "high"}
    text = welfare_text(comparison)
    assert "Not all of them have finished seeds 2 and 3" in text
    assert "not among those to choose from" not in text


def test_unfinished_trials_are_named_and_left_out(tmp_path: Path) -> None:
    write(tmp_path, "learned", None, [50.0, 60.0])
    write(tmp_path, "learned", None, {2: 9_999.0}, evaluated=False)
    write(tmp_path, "fixed", 0.2, [40.0, 42.0])
    comparison = compared(tmp_path)
    assert comparison.learned[0].mean_welfare("consumer").mean == pytest.approx(55.0)
    assert "Left out, without rewards from a finished held-out evaluation: learned, seed 2." in welfare_text(comparison)


def test_trivial_runs_count_and_are_told(tmp_path: Path) -> None:
    write(tmp_path, "learned", None, [50.0, 60.0])
    write_dead(tmp_path, "learned", None, [2])
    write(tmp_path, "fixed", 0.2, [40.0, 42.0, 44.0])
    write_dead(tmp_path, "none", 0.0, [0, 1, 2])
    comparison = compared(tmp_path)
    assert comparison.learned[0].mean_welfare("consumer").mean == pytest.approx(110 / 3)
    text = welfare_text(comparison)
    table = {line.split("|")[1].strip(): line.split("|")[4].strip() for line in text.splitlines()[2:5]}
    assert table == {"learned": "33%", "none": "100%", "fixed": "0%"}
    assert "Trivial: 1 of 3 runs of learned; a dead economy is no success" in text


def test_a_dead_economy_never_wins_against_another(tmp_path: Path) -> None:
    """Not even where the guard leaves one of them a little more, with every seed."""
    for seed in range(3):
        write_trial(tmp_path, "learned", seed, DEAD | {"consumer_reward": 0.5 + 0.01 * seed}, iterations=2)
        write_trial(tmp_path, "fixed", seed, DEAD, iterations=2, planner=FIXED)
    text = text_of(tmp_path)
    assert "Consumer welfare, the planner's goal: every run is trivial" in text
    assert "signific" not in text.split("**")[2].split("\n")[0]
    assert cells(text, "fixed")[2] == "trivial"


def test_folders_are_pooled_and_repeated_seeds_averaged(tmp_path: Path) -> None:
    first, second = tmp_path / "first", tmp_path / "second"
    write(first, "learned", None, [50.0, 60.0])
    write(first, "fixed", 0.2, [40.0, 42.0])
    write(second, "learned", None, {1: 70.0, 2: 80.0})
    write(second, "fixed", 0.2, {2: 44.0})
    comparison = compared(first, second)
    assert comparison.learned[0].welfare("consumer") == pytest.approx({0: 50.0, 1: 65.0, 2: 80.0})
    assert comparison.shared_seeds(comparison.learned[0]) == [0, 1, 2]
    main([str(first), str(second), str(first)])
    assert json.loads((first / "welfare.json").read_text())["treatments"]["learned"]["trials"] == 4
    assert not (second / "welfare.json").exists()


@pytest.mark.parametrize(
    ("rate", "missing"), [(None, "finished trials with fixed (or no) taxes"), (0.2, "finished trials with learned")]
)
def test_a_missing_side_gets_one_sentence(
    tmp_path: Path, rate: float | None, missing: str, capsys: pytest.CaptureFixture
) -> None:
    write(tmp_path, "a", rate, [50.0])
    write(tmp_path, "b", 0.2 if rate is None else None, [50.0], evaluated=False)
    with pytest.raises(SystemExit) as refusal:
        main([str(tmp_path), "--out", str(tmp_path / "out")])
    assert refusal.value.code == 2
    (sentence,) = capsys.readouterr().err.splitlines()
    for word in ("finished treatments = ['a'] is refused", missing, "rbc_rllib.sweep tax_baselines"):
        assert word in sentence
    assert not (tmp_path / "out").exists()


def test_different_economies_are_refused_and_other_differences_told(tmp_path: Path) -> None:
    write(tmp_path, "learned", None, [50.0, 60.0])
    write(tmp_path, "fixed", 0.2, [40.0, 42.0], learning_rate=1.0)
    assert "Beware: treatments also differ in learning.learning_rate.consumer." in text_of(tmp_path)
    write(tmp_path, "closed", 0.4, [40.0, 42.0], economy=SMALL.replace(export_market=False))
    with pytest.raises(ConfigError, match=r"one economy, and theirs differ in economy.export_market"):
        compared(tmp_path)


def test_a_trial_without_rewards_is_left_out(tmp_path: Path) -> None:
    write(tmp_path, "learned", None, [50.0, 60.0])
    write(tmp_path, "fixed", 0.2, [40.0, 42.0, float("nan")])
    comparison = compared(tmp_path)
    assert [trial.label for trial in comparison.left_out] == ["fixed, seed 2"]
    assert numpy.isfinite(comparison.fixed[0].mean_welfare("total").low)


def test_files_are_written_and_replaced_and_json_has_no_nan(tmp_path: Path) -> None:
    results, out = tmp_path / "results", tmp_path / "out"
    write(results, "learned", None, [0.0])
    write(results, "fixed", 0.2, [0.0])
    trials = load_trials(results)
    out.mkdir()
    for name in ("welfare.md", "welfare.json", "welfare.png"):
        (out / name).write_text("of an earlier comparison")
    text = write_welfare(trials, out)

    def refuse(constant: str) -> None:
        raise AssertionError(constant)

    record = json.loads((out / "welfare.json").read_text(), parse_constant=refuse)
    assert record["treatments"]["learned"]["consumer_welfare"]["low"] is None
    assert record["differences"][0]["best_fixed"] is None
    assert record["differences"][0]["each_fixed"]["fixed"]["percent_of_fixed"] is None
    assert (out / "welfare.md").read_text() == f"# Welfare\n\n{text}\n\n![Welfare by treatment](welfare.png)\n"
    assert imread(out / "welfare.png").std() > 0.05
    assert sorted(path.name for path in out.iterdir()) == ["welfare.json", "welfare.md", "welfare.png"]


def test_the_report_of_a_sweep_with_baselines_ends_with_the_comparison(tmp_path: Path) -> None:
    write(tmp_path, "learned", None, [50.0, 60.0])
    alone = write_report(tmp_path)
    assert not (tmp_path / "report" / "welfare.csv").exists()
    write(tmp_path, "fixed", 0.2, [40.0, 42.0])
    text = write_report(tmp_path)
    assert "## Welfare" not in alone
    assert text_of(tmp_path) in text
    table = pandas.read_csv(tmp_path / "report" / "welfare.csv", index_col="treatment")
    assert table["runs"].to_dict() == {"learned": 2, "fixed": 2}
    page = (tmp_path / "report.html").read_text()
    assert "learned against the best fixed rate." in page
    assert (tmp_path / "report" / "welfare.pdf").is_file()


def test_the_command_stays_on_the_ground_floor(tmp_path: Path) -> None:
    write(tmp_path, "learned", None, [50.0, 60.0])
    write(tmp_path, "fixed", 0.2, [40.0, 42.0])
    program = """
import runpy, sys
runpy.run_module("analysis.welfare", run_name="__main__")
assert not {"ray", "torch", "gymnasium", "matplotlib.pyplot"} & set(sys.modules)
"""
    command = [sys.executable, "-c", program, str(tmp_path)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    assert "**learned against the best fixed rate.**" in done.stdout
    assert done.stderr == ""
