"""Optuna hears of a suggestion once, when all its seeds are over, and of their means; a restored search goes on."""

import json
import math
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from ray import tune
from ray.tune.search import Searcher

from rbc_rllib.runs.searches import KnownTrials
from rbc_rllib.runs.suggestions import Suggestions
from rbc_rllib.search import Search
from rbc_rllib.settings import ConfigError

SPACE = {"learning.clip_param": tune.uniform(0.0, 1.0), "curriculum.staged_training": tune.choice([True, False])}
SEEDS = 2


def suggestions(num_samples: int = 12, at_once: int = 1, objectives=("welfare",), space=None) -> Suggestions:
    search = Search(kind="optuna", at_once=at_once, objectives=objectives)
    experiments = [{"name": "x", "seed": seed} for seed in range(SEEDS)]
    return Suggestions(search, experiments, space or SPACE, num_samples)


class Trials:
    """Asks for trials and tells what came of them, as Tune does."""

    def __init__(self, searcher: Suggestions) -> None:
        self.searcher, self.number = searcher, 0

    def ask(self) -> tuple[str, dict[str, Any]]:
        self.number += 1
        return f"t{self.number}", self.searcher.suggest(f"t{self.number}")

    def tell(self, trial_id: str, welfare: float, trivial_share: float = 0.0, gain: float = math.nan) -> None:
        result = {"economy/social_welfare": welfare, "economy/trivial_share": trivial_share, "gain/each_firm": gain}
        self.searcher.on_trial_complete(trial_id, result=result)

    def fail(self, trial_id: str) -> None:
        self.searcher.on_trial_complete(trial_id, error=True)

    def run(self, *outcomes: tuple[float, ...] | None) -> dict[str, Any]:
        """The values of the next suggestion, of whose seeds this comes; None: it fails."""
        asked = [self.ask() for _ in outcomes]
        for (trial_id, _), outcome in zip(asked, outcomes, strict=True):
            if outcome is None:
                self.fail(trial_id)
            else:
                self.tell(trial_id, *outcome)
        return asked[0][1]["values"]


def test_each_suggestion_is_made_with_every_seed():
    trials = Trials(suggestions(at_once=2))
    configs = [trials.ask()[1] for _ in range(4)]
    assert [config["experiment"]["seed"] for config in configs] == [0, 1, 0, 1]
    assert [config["draw"] for config in configs] == [0, 0, 1, 1]
    assert configs[0]["values"] == configs[1]["values"] != configs[2]["values"]


def test_the_next_suggestion_waits_for_all_seeds_and_no_longer():
    trials = Trials(suggestions())
    (first, _), (second, _) = trials.ask(), trials.ask()
    assert trials.ask()[1] is None
    trials.tell(first, 1.0)
    assert trials.ask()[1] is None
    assert trials.searcher.objectives() == [None]
    trials.tell(second, 2.0)
    assert trials.ask()[1]["draw"] == 1


def test_optuna_hears_means_over_seeds():
    trials = Trials(suggestions(objectives=("welfare", "dead_share")))
    trials.run((10.0, 0.0), (4.0, 0.6))
    trials.run((1.0, 0.9), (3.0, 0.5))
    assert trials.searcher.objectives() == [[7.0, 0.5], [2.0, 1.0]]


def test_a_failed_seed_counts_as_dead_and_is_not_left_out():
    trials = Trials(suggestions(objectives=("welfare", "dead_share")))
    trials.run((10.0, 0.0), None)
    assert trials.searcher.objectives() == [[5.0, 0.5]]
    trials.run((-6.0, 0.0), (-2.0, 0.0))
    assert trials.searcher.objectives() == [[2.0, 0.5], [-4.0, 0.0]]
    trials.run(None, None)
    assert trials.searcher.objectives()[2] == [-6.0, 1.0]


def test_seeds_measure_gains_where_these_are_an_objective():
    for objectives, asked in ((("welfare", "gain"), 40), (("welfare", "dead_share"), None)):
        _, config = Trials(suggestions(objectives=objectives)).ask()
        assert config.get("gain_iterations") == asked


def test_nothing_is_gained_by_a_seed_that_dies_or_fails():
    """Nobody gains by leaving a dead economy: such a seed counts with the highest gain of all."""
    trials = Trials(suggestions(objectives=("gain", "dead_share")))
    trials.run((0.0, 1.0), None)
    assert trials.searcher.objectives() == [[0.0, 1.0]]  # nobody lives
    trials.run((10.0, 0.0, 2.0), (4.0, 0.0, 8.0))
    trials.run((9.0, 0.0, 1.0), (0.0, 1.0))
    trials.run((9.0, 0.0, 1.0), None)
    assert trials.searcher.objectives() == [[8.0, 1.0], [5.0, 0.0], [4.5, 0.5], [4.5, 0.5]]


def test_a_seed_whose_welfare_nobody_knows_counts_as_failed():
    trials = Trials(suggestions(objectives=("welfare", "dead_share")))
    trials.run((4.0, 0.0), (float("nan"), 0.0))
    trials.ask()
    trials.searcher.on_trial_complete("t3", result={"env_steps": 64})
    trials.ask()
    trials.searcher.on_trial_complete("t4", result=None)
    assert trials.searcher.objectives() == [[2.0, 0.5], [0.0, 1.0]]


def test_a_failed_seed_that_is_resumed_counts_as_it_ended():
    trials = Trials(suggestions())
    (first, _), (second, _) = trials.ask(), trials.ask()
    trials.tell(first, 4.0)
    trials.fail(second)
    assert trials.searcher.objectives() == [[2.0]]
    trials.tell(second, 6.0)
    assert trials.searcher.objectives() == [[5.0]]


def test_there_are_as_many_suggestions_as_the_sweep_says():
    trials = Trials(suggestions(num_samples=2))
    trials.run((1.0, 0.0), (1.0, 0.0))
    trials.run((1.0, 0.0), (1.0, 0.0))
    assert trials.ask()[1] == Searcher.FINISHED


def test_suggestions_go_where_the_mean_is_high_not_where_one_seed_was_lucky():
    """Seed 0 thrives at a clip_param of 1 where seed 1 dies; the mean is highest at 0.2."""
    trials = Trials(suggestions(num_samples=40))
    drawn = []
    for _ in range(40):
        (first, config), (second, _) = trials.ask(), trials.ask()
        value = config["values"]["learning.clip_param"]
        mean = -100 * (value - 0.2) ** 2
        trials.tell(first, mean + 500 * value)
        trials.tell(second, mean - 500 * value)
        drawn.append(value)
    late = sorted(drawn[20:])
    assert 0.1 < late[len(late) // 2] < 0.3


def test_a_restored_search_goes_on_with_the_suggestions_of_one_that_was_not_interrupted(tmp_path):
    def outcomes(values: dict[str, Any]) -> tuple[float, float]:
        return values["learning.clip_param"], 0.0

    def go_on(trials: Trials, times: int) -> list[dict[str, Any]]:
        drawn = []
        for _ in range(times):
            asked = [trials.ask() for _ in range(SEEDS)]
            drawn.append(asked[0][1]["values"])
            for trial_id, config in asked:
                trials.tell(trial_id, *outcomes(config["values"]))
        return drawn

    whole = go_on(Trials(suggestions()), 12)
    assert len({json.dumps(values) for values in whole}) == 12

    cut = Trials(suggestions())
    assert go_on(cut, 7) == whole[:7]
    running, config = cut.ask()  # one seed is in training, the other one not begun
    assert config["values"] == whole[7]
    cut.searcher.save(str(tmp_path / "state"))

    restored = Trials(suggestions())
    restored.number = 100
    restored.searcher.restore(str(tmp_path / "state"))
    other, config = restored.ask()
    assert (config["values"], config["experiment"]["seed"], config["draw"]) == (whole[7], 1, 7)
    for trial_id in (running, other):
        restored.tell(trial_id, *outcomes(whole[7]))
    assert go_on(restored, 4) == whole[8:]
    assert restored.ask()[1] == Searcher.FINISHED


def test_a_trial_that_a_killed_driver_has_lost_is_made_again():
    """The searcher's file was written, the one with the trials not: without the trial nothing would ever go on."""
    trials = Trials(suggestions())
    trials.run((1.0, 0.0), (1.0, 0.0))
    (kept, first), (_, lost) = trials.ask(), trials.ask()
    callback = KnownTrials(trials.searcher)
    callback.on_step_begin(0, [SimpleNamespace(trial_id=each, status="PENDING") for each in ("t1", "t2", kept)])
    callback.on_step_begin(1, [])  # later on new trials are there before the searcher is asked
    again, config = trials.ask()
    assert config == lost != first
    assert trials.ask()[1] is None
    trials.tell(kept, 1.0)
    trials.tell(again, 2.0)
    assert trials.searcher.objectives() == [[1.0], [1.5]]
    assert trials.ask()[1]["draw"] == 2


def test_what_ended_after_the_state_was_saved_is_known_in_a_resumed_run():
    """Nobody says it again, and nothing would ever go on."""
    trials = Trials(suggestions())
    (first, _), (second, _) = trials.ask(), trials.ask()
    report = {"economy": {"social_welfare": 2.0, "trivial_share": 0.0}}
    ended = [SimpleNamespace(trial_id=each, status="TERMINATED", last_result=report) for each in (first, second)]
    KnownTrials(trials.searcher).on_step_begin(0, ended)
    assert trials.searcher.objectives() == [[2.0]]
    assert trials.ask()[1]["draw"] == 1


def test_the_state_is_plain_json(tmp_path):
    trials = Trials(suggestions())
    trials.run((1.0, 0.0), None)
    trials.searcher.save(str(tmp_path / "state"))
    (suggestion,) = json.loads(Path(tmp_path / "state").read_text())
    assert suggestion["outcomes"] == {"t1": {"economy/social_welfare": 1.0, "economy/trivial_share": 0.0}, "t2": None}


@pytest.mark.filterwarnings("ignore:Choices for a categorical distribution")
def test_a_restored_search_goes_on_from_choices_that_are_tuples(tmp_path):
    space = {"learning.hidden_sizes": tune.choice([(64, 64), (128, 128)])}
    trials, restored = Trials(suggestions(space=space)), suggestions(space=space)
    drawn = trials.run((1.0, 0.0), (1.0, 0.0))
    trials.searcher.save(str(tmp_path / "state"))
    restored.restore(str(tmp_path / "state"))
    assert restored.suggested[0]["values"] == drawn
    assert restored.suggest("t3")["values"]["learning.hidden_sizes"] in ((64, 64), (128, 128))


def test_values_that_are_no_domains_are_passed_on():
    trials = Trials(suggestions(space={**SPACE, "learning.num_epochs": 3}))
    assert trials.ask()[1]["values"]["learning.num_epochs"] == 3


@pytest.mark.parametrize("domain", [tune.grid_search([1, 2]), tune.sample_from(len), tune.randn(0, 1)])
def test_what_optuna_cannot_draw_from_is_refused(domain):
    with pytest.raises(ConfigError, match=r"search_space\.learning\.num_epochs .* Optuna cannot draw .* choice"):
        suggestions(space={"learning.num_epochs": domain})
