"""What a search found: means over all seeds, and nothing is gained by losing one."""

import math
from pathlib import Path

import pandas
import pytest

from analysis.ranking import RULE, SHOWN, rank, ranking_text, searched
from analysis.report import text_of
from analysis.results import load_trials
from analysis.sections.search import importances, ranking
from analysis.study import load_study
from tests.analysis.samples import DEAD, LIVING, SMALL, fail, write_trial

CONSUMERS = SMALL.num_consumers


def living(reward: float) -> dict[str, float]:
    """Indicators whose welfare is that of all consumers."""
    return LIVING | {"consumer_reward": reward, "social_welfare": reward * SMALL.num_consumers}


def failing(folder: Path, rate: float, seed: int) -> None:
    trial = write_trial(folder, "tuned", seed, LIVING, learning_rate=rate, evaluated=False, folder=f"{rate}_{seed}")
    fail(trial, "NumericsError: firm, step 7: price is NaN")


def seed(folder: Path, rate: float, number: int, indicators: dict[str, float], **how) -> Path:
    return write_trial(folder, "tuned", number, indicators, learning_rate=rate, folder=f"{rate}_{number}", **how)


def rates(folder: Path) -> list[str]:
    return [each.name.rpartition("=")[2].rstrip("]") for each in rank(load_trials(folder))]


def test_configurations_are_ranked_by_their_mean_over_seeds_with_a_student_t_interval(tmp_path):
    for number, reward in enumerate((1.0, 9.0)):
        seed(tmp_path, 0.1, number, living(reward))
    for number, reward in enumerate((6.0, 6.2)):
        seed(tmp_path, 0.2, number, living(reward))
    steady, lucky = rank(load_trials(tmp_path))
    assert (steady.name, lucky.name) == (
        "tuned [learning.learning_rate.consumer=0.2]",
        "tuned [learning.learning_rate.consumer=0.1]",
    )
    assert (steady.welfare.mean, lucky.welfare.mean) == pytest.approx((6.1 * CONSUMERS, 5.0 * CONSUMERS))
    half = 12.7062 * (4.0 * math.sqrt(2)) / math.sqrt(2)  # t(1) * standard deviation / sqrt(2)
    assert lucky.welfare.high == pytest.approx((5.0 + half) * CONSUMERS, rel=1e-4)
    assert (steady.seeds, steady.dead, steady.failed, steady.trained, steady.complete) == (2, 0, 0, 1.0, True)


def test_a_dead_seed_counts_in_the_mean_and_in_the_dead_share(tmp_path):
    seed(tmp_path, 0.1, 0, living(9.0))
    seed(tmp_path, 0.1, 1, DEAD)
    for number in (0, 1):
        seed(tmp_path, 0.2, number, living(5.0))
    best, half_dead = rank(load_trials(tmp_path))
    assert best.name.endswith("=0.2]")
    assert (half_dead.dead, half_dead.failed) == (1, 0)
    assert half_dead.welfare.mean == pytest.approx(4.5 * CONSUMERS)


def test_a_configuration_does_not_rise_by_seeds_that_fail(tmp_path):
    """Without its failed seed the first would have the highest mean."""
    seed(tmp_path, 0.1, 0, living(9.0))
    failing(tmp_path, 0.1, 1)
    for number in (0, 1):
        seed(tmp_path, 0.2, number, living(5.0))
    best, torn = rank(load_trials(tmp_path))
    assert best.name.endswith("=0.2]")
    assert (torn.seeds, torn.dead, torn.failed, torn.complete) == (2, 1, 1, True)
    assert torn.welfare.mean == pytest.approx(4.5 * CONSUMERS)


def test_a_failed_seed_is_no_better_than_the_worst_that_lives(tmp_path):
    """Where everybody works for little, 0 would be a reward for failing."""
    for number in (0, 1):
        seed(tmp_path, 0.1, number, living(-3.0 - number))
    seed(tmp_path, 0.2, 0, living(-2.0))
    failing(tmp_path, 0.2, 1)
    assert [each.welfare.mean for each in rank(load_trials(tmp_path))] == pytest.approx(
        [-3.0 * CONSUMERS, -3.5 * CONSUMERS]
    )


def test_a_seed_that_failed_and_was_resumed_counts_as_it_ended(tmp_path):
    trial = seed(tmp_path, 0.1, 0, living(5.0))
    fail(trial, "RayActorError: the node went away", status="TERMINATED")
    seed(tmp_path, 0.2, 0, living(4.0))
    best, _ = rank(load_trials(tmp_path))
    assert (best.failed, best.welfare.mean) == (0, pytest.approx(5.0 * CONSUMERS))


def test_configurations_that_are_not_trained_to_the_end_come_last(tmp_path):
    """One was stopped with both seeds; of the other one a seed was never begun."""
    for number in (0, 1):
        seed(tmp_path, 0.1, number, living(9.0), evaluated=False, iterations=70)
        seed(tmp_path, 0.3, number, living(1.0))
    seed(tmp_path, 0.2, 0, living(8.0))
    ended, stopped, alone = rank(load_trials(tmp_path))
    assert [each.name[-4:-1] for each in (ended, stopped, alone)] == ["0.3", "0.1", "0.2"]
    assert [each.complete for each in (ended, stopped, alone)] == [True, False, False]
    assert stopped.trained == pytest.approx(0.7)
    assert (alone.seeds, alone.trained) == (1, 1.0)


def test_of_two_trials_of_a_seed_the_finished_one_counts(tmp_path):
    """A killed driver may leave a trial that it had not noted yet."""
    seed(tmp_path, 0.1, 0, living(5.0))
    write_trial(tmp_path, "tuned", 0, living(9.0), learning_rate=0.1, evaluated=False, iterations=3, folder="left")
    seed(tmp_path, 0.2, 0, living(4.0))
    best, _ = rank(load_trials(tmp_path))
    assert (best.seeds, best.trials[0].path.name, best.complete) == (1, "0.1_0", True)


def test_measured_gains_are_means_over_the_seeds_that_live(tmp_path):
    for number, gain in enumerate((1.0, 4.0, math.nan)):
        trial = seed(tmp_path, 0.1, number, living(9.0) if number < 2 else DEAD)
        progress = pandas.read_csv(trial / "progress.csv")
        progress["gain/each_firm"] = [math.nan] * (len(progress) - 1) + [gain]
        progress.to_csv(trial / "progress.csv", index=False)
    seed(tmp_path, 0.2, 0, living(5.0))
    ranked = rank(load_trials(tmp_path))
    assert [each.gain for each in ranked] == pytest.approx([2.5, math.nan], nan_ok=True)
    head, _, first, second = ranking_text(ranked).splitlines()[:4]
    place = [cell.strip() for cell in head.split("|")].index("gain of a single firm, %")
    assert [line.split("|")[place].strip() for line in (first, second)] == ["2.5", "-"]
    assert ranking(ranked)[0]["gain of a single firm, %"].tolist() == pytest.approx([2.5, math.nan], nan_ok=True)
    assert "single firm" not in ranking_text(ranked[1:])


def test_configurations_that_are_alike_in_what_is_shown_are_told_apart(tmp_path):
    seed(tmp_path, 0.1, 0, living(9.0))
    write_trial(tmp_path, "tuned", 0, living(1.0), learning_rate=0.10000001, folder="other")
    one, other = rank(load_trials(tmp_path))
    assert (one.name + " (2)", one.seeds, other.seeds) == (other.name, 1, 1)
    assert (one.welfare.mean, other.welfare.mean) == pytest.approx((9.0 * CONSUMERS, 1.0 * CONSUMERS))


def test_only_configurations_of_a_search_are_ranked_whatever_seeds_others_have(tmp_path):
    for number in range(3):
        write_trial(tmp_path, "baseline", number, living(1.0))
        for rate in (0.1, 0.2)[: 3 - number]:
            seed(tmp_path, rate, number, living(5.0 - rate))
    ranked = rank(searched(load_trials(tmp_path)))
    assert [(each.name[-4:-1], each.seeds, each.complete) for each in ranked] == [("0.1", 3, True), ("0.2", 2, False)]


def test_a_seed_that_is_tried_again_has_not_failed(tmp_path):
    failing(tmp_path, 0.1, 0)
    seed(tmp_path, 0.2, 0, living(4.0))
    again = seed(tmp_path, 0.3, 0, living(4.0), evaluated=False, iterations=50)
    (again / "error.txt").write_text("Traceback\nRayActorError: the node went away\n")
    ranked = {each.name[-4:-1]: each for each in rank(load_trials(tmp_path))}
    assert [(ranked[rate].failed, ranked[rate].complete) for rate in ("0.1", "0.2", "0.3")] == [
        (1, True),
        (0, True),
        (0, False),
    ]


def test_settings_explain_nothing_where_all_is_alike():
    settings = pandas.DataFrame({"rate": [0.1, 0.2, 0.3, 0.4]}, index=list("abcd"))
    assert importances(settings, pandas.Series(0.0, index=settings.index)) == {}
    assert importances(settings, pandas.Series([0.0, 1.0, 2.0, 3.0], index=settings.index)) == {"rate": 1.0}


def test_the_text_says_what_was_searched_what_failed_and_the_rule(tmp_path):
    seed(tmp_path, 0.1, 0, living(9.0))
    failing(tmp_path, 0.1, 1)
    for number in (0, 1):
        seed(tmp_path, 0.2, number, living(5.0))
    _, _, part = text_of(load_study([tmp_path])).partition("## Search")
    table = [line for line in part.splitlines() if line.startswith("| tuned")]
    assert [line.split("|")[1].strip() for line in table] == [
        "tuned [learning_rate.consumer=0.2]",
        "tuned [learning_rate.consumer=0.1]",
    ]
    assert "50% (1 failed)" in table[1]
    assert RULE in part


def test_a_long_ranking_is_cut_and_says_so(tmp_path):
    for number in range(SHOWN + 2):
        seed(tmp_path, (number + 1) / 100, 0, living(float(number)))
    text = ranking_text(rank(load_trials(tmp_path)))
    assert len([line for line in text.splitlines() if line.startswith("| tuned")]) == SHOWN
    assert "2 configurations more in report.html" in text
    assert rates(tmp_path)[0] == "0.12"


def test_a_study_of_treatments_is_no_search(tmp_path):
    write_trial(tmp_path, "one", 0, LIVING)
    write_trial(tmp_path, "other", 0, LIVING, learning_rate=0.2)
    assert not searched(load_trials(tmp_path))
    assert "## Search" not in text_of(load_study([tmp_path]))
