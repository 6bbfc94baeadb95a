"""A configuration is judged once at a milestone, by the mean of all its seeds; they stop together or go on together."""

import pickle

import pytest

from rbc_rllib.runs.searches import Remembered
from rbc_rllib.runs.seeds_together import SeedsTogether, configuration_of

MILESTONE = 50  # of 100 env steps


class Trial:
    """One of Tune's."""

    def __init__(self, draw: int, seed: int) -> None:
        self.trial_id, self.status, self.last_result = f"{draw}_{seed}", "PENDING", {}
        self.config = {"experiment": {"name": "x", "seed": seed}, "values": {"learning.clip_param": draw / 10}}

    def set_status(self, status: str) -> None:
        self.status = status


class Controller:
    """Trials, and what becomes of them: Tune, as far as a scheduler sees it."""

    def __init__(self, scheduler: SeedsTogether, draws: int, seeds: int) -> None:
        self.scheduler = scheduler
        self.trials = {(draw, seed): Trial(draw, seed) for draw in range(draws) for seed in range(seeds)}
        for trial in self.trials.values():
            scheduler.on_trial_add(self, trial)

    def get_trials(self):
        return list(self.trials.values())

    def stop_trial(self, trial):
        trial.status = "TERMINATED"

    def report(self, draw: int, seed: int, welfare: float, env_steps: int = MILESTONE) -> str:
        trial = self.trials[draw, seed]
        trial.status = "RUNNING"
        decision = self.scheduler.on_trial_result(
            self, trial, {"env_steps": env_steps, "economy/social_welfare": welfare}
        )
        trial.status = {"PAUSE": "PAUSED", "STOP": "TERMINATED", "CONTINUE": "RUNNING"}[decision]
        return decision

    def fail(self, draw: int, seed: int) -> None:
        self.trials[draw, seed].status = "ERROR"
        self.scheduler.on_trial_error(self, self.trials[draw, seed])

    def next(self):
        chosen = self.scheduler.choose_trial_to_run(self)
        return next((key for key, trial in self.trials.items() if trial is chosen), None)

    def statuses(self, draw: int) -> set[str]:
        return {trial.status for (number, _), trial in self.trials.items() if number == draw}


def controller(draws: int = 2, seeds: int = 3, judged_from: float = 0.5, factor: float = 2.0, total=100) -> Controller:
    return Controller(SeedsTogether(seeds, total, judged_from, factor), draws, seeds)


def judged(welfare: dict[int, tuple[float, ...]]) -> Controller:
    """Every draw has come to the milestone with these seeds, in this order."""
    tune = controller(len(welfare), len(welfare[0]))
    for draw, seeds in welfare.items():
        for seed, value in enumerate(seeds):
            tune.report(draw, seed, value)
    return tune


def test_seeds_of_one_draw_are_one_configuration_and_those_of_another_one_are_not():
    tune = controller()
    names = {key: configuration_of(trial.config) for key, trial in tune.trials.items()}
    assert len(set(names.values())) == 2
    assert names[0, 0] == names[0, 2] != names[1, 0]


def test_below_the_milestone_everybody_goes_on():
    tune = controller()
    assert tune.report(0, 0, -1e9, env_steps=MILESTONE - 1) == "CONTINUE"


def test_a_seed_waits_for_the_others_and_then_all_go_on():
    tune = controller()
    assert tune.report(0, 0, 1.0) == "PAUSE"
    assert tune.report(0, 1, 1.0) == "PAUSE"
    assert tune.next() == (0, 2)  # pending trials first: those that wait are not run
    assert tune.report(0, 2, 1.0) == "CONTINUE"
    for seed in range(3):
        tune.report(1, seed, 2.0)
    assert tune.next() == (0, 0)
    tune.trials[0, 0].status = "RUNNING"
    assert tune.next() == (0, 1)
    assert tune.report(0, 0, -5.0, env_steps=60) == "CONTINUE"


def test_with_nobody_else_left_a_seed_still_waits():
    tune = controller(draws=1, seeds=2)
    assert tune.report(0, 0, 1.0) == "PAUSE"
    tune.trials[0, 1].status = "RUNNING"
    assert tune.next() is None


def test_one_lucky_seed_does_not_save_a_configuration():
    """The best trial of all is in the configuration with the lower mean; that is stopped, all seeds together."""
    tune = judged({0: (5.0, 5.0, 5.0), 1: (100.0, -50.0, -50.0)})
    assert tune.trials[1, 2].status == "TERMINATED"  # who came last is told at once
    tune.next()
    assert tune.statuses(1) == {"TERMINATED"}
    assert "TERMINATED" not in tune.statuses(0)


def test_one_unlucky_seed_does_not_sink_a_configuration():
    tune = judged({0: (5.0, 5.0, 5.0), 1: (-50.0, 50.0, 50.0)})
    tune.next()
    assert "TERMINATED" not in tune.statuses(1)


def test_asha_is_asked_once_about_a_configuration():
    """Reports beyond the milestone, however bad, change nothing: it was judged there."""
    tune = judged({0: (5.0, 5.0), 1: (6.0, 6.0), 2: (1.0, 1.0)})
    recorded = tune.scheduler._asha._brackets[0]._rungs
    assert [sorted(values.values()) for _, values in recorded][-1] == [1.0, 5.0, 6.0]
    assert tune.report(1, 0, -9.0, env_steps=70) == "CONTINUE"
    assert [sorted(values.values()) for _, values in recorded][-1] == [1.0, 5.0, 6.0]


def test_the_mean_at_the_milestone_counts_not_what_came_later():
    tune = judged({0: (5.0, 5.0)})
    assert tune.scheduler._asha._brackets[0]._rungs[-1][1] == {configuration_of(tune.trials[0, 0].config): 5.0}
    tune = controller(draws=2, seeds=2)
    tune.report(0, 0, 5.0)
    assert tune.report(0, 0, -100.0, env_steps=60) == "PAUSE"  # a resumed run lets it go on once before it waits again
    tune.report(0, 1, 5.0)
    assert [*tune.scheduler._asha._brackets[0]._rungs[-1][1].values()] == [5.0]


def test_nobody_waits_for_a_seed_that_failed_and_it_counts_as_dead():
    """Without the failed seed the mean would be 9 and the configuration would go on."""
    tune = controller(draws=2, seeds=3)
    for seed in range(3):
        tune.report(0, seed, 7.0)
    tune.report(1, 0, 9.0)
    tune.report(1, 1, 9.0)
    tune.fail(1, 2)
    tune.next()
    assert [tune.trials[1, seed].status for seed in range(3)] == ["TERMINATED", "TERMINATED", "ERROR"]


def test_a_failed_seed_is_no_better_than_the_worst_that_lives():
    tune = controller(draws=2, seeds=2)
    for seed, value in enumerate((-2.0, -4.0)):
        tune.report(0, seed, value)
    tune.report(1, 0, -3.0)
    tune.fail(1, 1)  # -4, not 0: a mean of -3.5 is below -3
    tune.next()
    assert tune.trials[1, 0].status == "TERMINATED"


@pytest.mark.parametrize("first", ["the failure", "the report"])
def test_a_failed_seed_that_is_tried_again_is_waited_for(first):
    tune = controller(draws=1, seeds=2)
    for what in ("the failure", "the report") if first == "the failure" else ("the report", "the failure"):
        if what == "the report":
            assert tune.report(0, 0, 1.0) == "PAUSE"
        else:
            tune.fail(0, 1)
            tune.scheduler.on_trial_add(tune, tune.trials[0, 1])
    assert tune.next() is None
    assert tune.report(0, 1, 1.0) == "CONTINUE"
    assert tune.next() == (0, 0)


@pytest.mark.parametrize(("judged_from", "factor", "milestones"), [(0.1, 3.0, [10, 30, 90]), (0.7, 2.0, [70])])
def test_milestones_grow_by_the_reduction_factor(judged_from, factor, milestones):
    assert SeedsTogether(1, 100, judged_from, factor).milestones == milestones


@pytest.mark.parametrize("place", range(5))
def test_a_configuration_is_judged_at_every_milestone_also_where_asha_has_no_whole_one(place):
    tune = controller(draws=2, seeds=1, total=480_000, judged_from=0.1, factor=1.6)
    assert tune.scheduler.milestones == [48_000, 76_800, 122_880, 196_608, 314_573]
    for milestone in tune.scheduler.milestones[:place]:
        assert [tune.report(draw, 0, 1.0, milestone) for draw in (0, 1)] == ["CONTINUE", "CONTINUE"]
    milestone = tune.scheduler.milestones[place]
    assert [tune.report(draw, 0, -float(draw), milestone) for draw in (0, 1)] == ["CONTINUE", "STOP"]


def test_a_configuration_is_judged_at_each_milestone():
    tune = Controller(SeedsTogether(2, 100, 0.25, 2.0), 2, 2)
    for draw, value in ((0, 5.0), (1, 6.0)):
        for seed in range(2):
            tune.report(draw, seed, value, env_steps=25)
    for seed in range(2):
        tune.report(0, seed, 9.0, env_steps=50)
    assert tune.report(1, 0, 1.0, env_steps=50) == "PAUSE"
    assert tune.report(1, 1, 1.0, env_steps=50) == "STOP"


def test_a_report_without_episodes_is_waited_over():
    tune = controller(draws=1, seeds=2)
    assert tune.scheduler.on_trial_result(tune, tune.trials[0, 0], {"env_steps": MILESTONE}) == "CONTINUE"
    assert tune.report(0, 0, 1.0, env_steps=60) == "PAUSE"


def test_a_last_report_counts_at_a_milestone_that_nobody_was_asked_at():
    tune = controller(draws=1, seeds=2)
    tune.report(0, 0, 1.0)
    result = {"env_steps": 100, "economy/social_welfare": 3.0}
    tune.scheduler.on_trial_complete(tune, tune.trials[0, 1], result)
    tune.trials[0, 1].status = "TERMINATED"
    assert tune.next() == (0, 0)


def test_a_restored_run_knows_what_was_reported_judged_and_stopped():
    """Through the callback that Tune saves with a run; the scheduler itself it forgets."""
    before = controller(draws=3, seeds=2)
    for seed in range(2):
        before.report(0, seed, 5.0)
        before.report(1, seed, 1.0)
    before.report(2, 0, 9.0)
    state = pickle.loads(pickle.dumps(Remembered(before.scheduler).get_state()))

    after = controller(draws=3, seeds=2)
    Remembered(after.scheduler).set_state(state)
    assert after.report(0, 0, -9.0, env_steps=60) == "CONTINUE"
    assert after.report(1, 0, 99.0, env_steps=60) == "STOP"
    assert after.report(2, 0, -9.0, env_steps=60) == "PAUSE"
    assert after.report(2, 1, -5.0) == "STOP"  # 2 is less than the median 3 of those before, whom only the state knows
    after.next()
    assert after.statuses(2) == {"TERMINATED"}


def test_a_seed_that_waits_goes_on_waiting_in_a_resumed_run():
    """Tune starts whatever is pending, and takes a restored trial that was paused for one that is not started."""
    before = controller(draws=2, seeds=2)
    for seed in range(2):
        before.report(0, seed, 5.0)
    assert before.report(1, 0, 1.0) == "PAUSE"
    scheduler = SeedsTogether(2, 100, 0.5, 2.0)
    scheduler.set_state(pickle.loads(pickle.dumps(before.scheduler.get_state())))

    after = Controller(scheduler, 2, 2)
    assert {key for key, trial in after.trials.items() if trial.status == "PAUSED"} == {(1, 0)}
    assert after.report(1, 1, 1.0) == "STOP"
    again = pickle.loads(pickle.dumps(scheduler.get_state()))  # the run ends before the seed that waits is stopped
    after.next()
    assert after.statuses(1) == {"TERMINATED"}

    scheduler = SeedsTogether(2, 100, 0.5, 2.0)
    scheduler.set_state(again)
    last = Controller(scheduler, 2, 2)
    last.next()
    assert last.statuses(1) == {"TERMINATED"}
    assert last.statuses(0) == {"PENDING"}


def test_what_ended_after_the_state_was_saved_is_known_in_a_resumed_run():
    """Nobody says it again, and the other seed would wait for it for ever."""
    tune = controller(draws=1, seeds=2)
    ended = tune.trials[0, 1]
    ended.status = "TERMINATED"
    ended.last_result = {"env_steps": 100, "economy": {"social_welfare": 3.0}}
    tune.scheduler.on_trial_add(tune, ended)
    assert ended.status == "TERMINATED"
    assert tune.report(0, 0, 1.0) == "CONTINUE"


def test_a_seed_that_fails_while_it_is_paused_is_tried_again():
    tune = controller(draws=1, seeds=2)
    assert tune.report(0, 0, 1.0) == "PAUSE"
    trial = tune.trials[0, 0]
    trial.set_status("PENDING")
    tune.scheduler.on_trial_add(tune, trial)
    assert trial.status == "PENDING"
