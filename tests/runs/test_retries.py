"""How often a trial is tried again, and what is said of why it failed."""

from types import SimpleNamespace

import pytest

from rbc_rllib.runs.faults import RETRIES, Retries, cause_in, failure_line
from rbc_rllib.runs.launch import RunOptions

NAN = """Failure # 1 (occurred at 2026-11-28_07-00-00)
ray::Trial.train() (pid=7, ip=192.0.2.2, actor_id=ab)
  File "trainable.py", line 330, in train
ray.exceptions.ActorDiedError: of another failure
Failure # 2 (occurred at 2026-11-28_07-01-00)
ray::Trial.train() (pid=8, ip=192.0.2.2, actor_id=ab)
  File "trainable.py", line 330, in train
    raise exc
rbc_rllib.play.numerics.NumericsError: firm: capital is not finite (quarter 1 of an episode) after 64 env steps; the \
trial stops.
"""

DIED = """Failure # 1 (occurred at 2026-11-28_07-00-00)
The actor died unexpectedly before finishing this task.
	class_name: Trial
	actor_id: ab
	pid: 15
The actor is dead because its worker process has died. Worker exit type: SYSTEM_ERROR Worker exit detail: Worker \
unexpectedly exits with a connection error code 2. End of file. Some common causes include: (1) the process
"""


def trial_with(error: str, folder, failures: int, **attributes) -> SimpleNamespace:
    """A Tune trial that has failed."""
    (folder / "error.txt").write_text(error)
    config = {"experiment": {"name": "small"}, "values": {}}
    values = {
        "trial_id": "a",
        "config": config,
        "num_failures": failures,
        "error_file": str(folder / "error.txt"),
        "checkpoint": None,
    }
    return SimpleNamespace(**values | attributes)


@pytest.mark.parametrize(("number", "before"), [(3, 0), (0, 0), (3, 4)])
def test_every_run_grants_its_retries_once_whatever_earlier_ones_saw(number, before, tmp_path):
    retries, trial = Retries(number), trial_with(DIED, tmp_path, before)
    retries.on_step_begin(1, [trial])
    assert trial.max_failures == before + number
    trial.num_failures += 1
    retries.on_step_begin(2, [trial])
    assert trial.max_failures == before + number


def test_values_that_are_refused_are_not_tried_again(tmp_path):
    config = {"experiment": {"name": "small"}, "values": {"learning.clip_param": -1.0}}
    trial = trial_with("", tmp_path, 0, config=config)
    Retries(RETRIES).on_step_begin(1, [trial])
    assert trial.max_failures == 0


def test_the_number_is_three_unless_said_otherwise():
    assert RunOptions().retries == RETRIES == 3


def test_a_failure_is_told_with_its_cause_and_where_the_trial_goes_on(tmp_path, capsys):
    checkpoint = SimpleNamespace(path=f"{tmp_path}/checkpoint_000002")
    retries, trial = Retries(RETRIES), trial_with(DIED, tmp_path, 0, checkpoint=checkpoint)
    retries.on_step_begin(1, [trial])
    trial.num_failures = 1
    retries.on_trial_recover(1, [trial], trial)
    assert trial.max_failures == 3
    assert (
        "goes on from checkpoint_000002 (2 more retries): the trial's process died: The actor is"
        in capsys.readouterr().out
    )
    retries.on_trial_error(1, [trial], trial)
    assert "failed for good: the trial's process died: The actor is" in capsys.readouterr().out


def test_the_last_cause_is_named_in_one_line(tmp_path):
    trial_with(NAN, tmp_path, 2)
    cause = "NumericsError: firm: capital is not finite (quarter 1 of an episode) after 64 env steps; the trial stops."
    assert cause_in(tmp_path / "error.txt") == cause
    assert failure_line(tmp_path) == f"{tmp_path.name}, 2 times: {cause}"


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("Trial", "the trial's process"),
        ("BatchedEnvRunner", "an env runner"),
        ("create_executable_class.<locals>._WrappedExecutable", "a learner"),
        ("Other", "Other"),
    ],
)
def test_of_a_process_that_died_the_kind_is_named(name, kind, tmp_path):
    trial_with(DIED.replace("class_name: Trial", f"class_name: {name}"), tmp_path, 1)
    cause = cause_in(tmp_path / "error.txt")
    assert cause.startswith(f"{kind} died: The actor is dead because its worker process has died.")
    assert cause.endswith("End of file.")
    assert failure_line(tmp_path) == f"{tmp_path.name}, 1 time: {cause}"


@pytest.mark.parametrize("path", [None, "nowhere/error.txt"])
def test_without_an_error_file_the_cause_is_unknown(path):
    assert cause_in(path) == "unknown"
