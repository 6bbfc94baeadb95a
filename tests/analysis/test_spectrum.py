"""Kinds of solutions are told apart by what they are alike in."""

import numpy
import pytest

from analysis.results import load_trials
from analysis.sections.spectrum import kinds_of_solution, kinds_words, silhouette
from tests.analysis.samples import LIVING, write_trial

WORKERS = LIVING | {"hours": 800.0, "consumer_reward": 6.0, "corporate_tax_rate": 0.2}


def trials_in(folder, kinds):
    rng = numpy.random.default_rng(0)
    for name, seeds, indicators in kinds:
        for seed in seeds:
            noisy = {key: value * (1 + 0.01 * rng.normal()) for key, value in indicators.items()}
            write_trial(folder, name, seed, noisy, iterations=3)
    return load_trials(folder)


def test_two_kinds_are_found_whatever_their_treatments_are_called(tmp_path):
    trials = trials_in(tmp_path, [("a", range(4), LIVING), ("b", range(3), WORKERS), ("c", range(2), WORKERS)])
    first, second = kinds_of_solution(trials)
    assert {trial.config["name"] for trial in first} == {"b", "c"}
    assert {trial.config["name"] for trial in second} == {"a"}
    workers, others = kinds_words([first, second])
    assert workers.startswith("Kind 1, 5 trials of b (3) and c (2): ")
    assert "higher hours" in workers
    assert "lower hours" in others


def test_few_trials_and_equal_ones_are_of_one_kind(tmp_path):
    few = trials_in(tmp_path / "few", [("a", range(2), LIVING), ("b", range(2), WORKERS)])
    assert [len(group) for group in kinds_of_solution(few)] == [4]
    for seed in range(7):
        write_trial(tmp_path / "equal", "a", seed, LIVING, iterations=3)
    equal = load_trials(tmp_path / "equal")
    assert [len(group) for group in kinds_of_solution(equal)] == [7]
    assert kinds_words([equal]) == []


def test_the_silhouette_of_points_on_a_line_by_hand():
    values, labels = numpy.array([[0.0], [1.0], [10.0]]), numpy.array([1, 1, 2])
    assert silhouette(values, labels) == pytest.approx(((10 - 1) / 10 + (9 - 1) / 9 + 0) / 3)
