"""What a run is resumed from: a whole snapshot, and no other user's pickles."""

import itertools
import json
import os
import pickle
from types import SimpleNamespace
from zipfile import ZipFile

import pytest

from rbc_rllib.runs import snapshots
from rbc_rllib.runs.launch import can_resume
from rbc_rllib.runs.snapshots import COPY, SnapshotCopy, check_own, is_whole, mend, snapshot_files
from rbc_rllib.settings import ConfigError

NAMES = ("experiment_state-2026-11-28.json", "searcher-state-2026-11-28.pkl", "callback-states-2026-11-28.pkl")
CLOCK = itertools.count(10**18)
"""Nanoseconds at which snapshots are written."""


def write_snapshot(folder, text: str) -> None:
    """As Tune does."""
    folder.mkdir(exist_ok=True)
    for name in NAMES:
        (folder / name).write_text(text)
    os.utime(folder / NAMES[0], ns=(next(CLOCK),) * 2)


@pytest.fixture
def staged(tmp_path):
    """Where Tune writes snapshots of a run."""
    return tmp_path / "staged"


@pytest.fixture
def folder(tmp_path, staged):
    """A run's, with a snapshot that was copied."""
    folder = tmp_path / "run"
    folder.mkdir()
    (folder / "sweep.json").write_text("{}")
    write_snapshot(staged, '{"number": 1}')
    copier(folder, staged)()
    write_snapshot(folder, '{"number": 1}')
    return folder


def trial_of(staged) -> SimpleNamespace:
    return SimpleNamespace(storage=SimpleNamespace(experiment_driver_staging_path=str(staged)))


def copier(folder, staged, remote=None):
    """What Tune calls after each event of a run."""
    copy, own = SnapshotCopy(folder, remote), (trial_of(staged),)

    def step(trials=own) -> None:
        copy._next_look = 0.0
        copy.on_step_end(1, list(trials))

    return step


def copied(folder) -> dict[str, str]:
    with ZipFile(folder / COPY) as archive:
        return {name: archive.read(name).decode() for name in archive.namelist()}


def test_every_snapshot_is_copied_when_tune_has_written_it(folder, staged):
    step = copier(folder, staged)
    for number in (2, 3):
        write_snapshot(staged, f'{{"number": {number}}}')
        step()
        assert copied(folder) == dict.fromkeys(NAMES, f'{{"number": {number}}}')
    (staged / NAMES[1]).write_text("not of a snapshot that is new")
    step()
    assert copied(folder) == dict.fromkeys(NAMES, '{"number": 3}')
    assert sorted(path.name for path in folder.iterdir()) == sorted([*NAMES, COPY, "sweep.json"])


def test_results_that_tune_has_copied_beside_its_snapshots_replace_no_newer_ones(folder, staged):
    (staged / "solutions.json").write_text("of before")
    copier(folder, staged)()
    assert sorted(path.name for path in staged.iterdir()) == sorted(NAMES)


def test_without_trials_nothing_is_copied(tmp_path, staged):
    copier(tmp_path, staged)(())
    assert not (tmp_path / COPY).exists()


def test_copies_take_a_twentieth_of_the_time(folder, staged, monkeypatch):
    copy, now = SnapshotCopy(folder), [100.0]
    monkeypatch.setattr(snapshots.time, "monotonic", lambda: now[0])
    monkeypatch.setattr(snapshots, "keep_copy", lambda *_: now.append(now.pop() + 2.0))
    looks = []
    for second in range(100, 200):
        now[0] = max(now[0], float(second))
        before = now[0]
        os.utime(staged / NAMES[0], ns=(next(CLOCK),) * 2)
        copy.on_step_end(1, [trial_of(staged)])
        looks += [before] if now[0] > before else []
    assert looks == [100.0, 142.0, 184.0]


def test_a_store_gets_the_copy_too(tmp_path, staged, remote):
    run = remote.copies / "run"
    run.mkdir()
    write_snapshot(staged, '{"number": 1}')
    copier(run, staged, remote)()
    assert copied(tmp_path / "store" / "results" / "run") == dict.fromkeys(NAMES, '{"number": 1}')


def test_a_run_that_has_only_a_copy_can_be_resumed(folder):
    for path in snapshot_files(folder):
        path.unlink()
    assert can_resume(folder)
    mend(folder)
    assert is_whole(folder)


def test_what_tune_had_not_yet_renamed_does_not_count(folder):
    """A store keeps what was copied to it, however short it lived here."""
    (folder / ".0123-tmp-search_gen_state-2026-11-28.json").write_text("")
    (folder / ".0123-tmp-callback-states-2026-11-28.pkl").write_text("")
    assert is_whole(folder)


@pytest.mark.parametrize("text", ["", '{"num'])
def test_a_snapshot_that_was_cut_off_is_replaced_by_the_copy(text, folder):
    write_snapshot(folder, text)
    assert not is_whole(folder)
    mend(folder)
    assert {path.read_text() for path in snapshot_files(folder)} == {'{"number": 1}'}
    assert (folder / "sweep.json").read_text() == "{}"


def test_a_whole_snapshot_stays(folder):
    write_snapshot(folder, '{"number": 2}')
    mend(folder)
    assert {path.read_text() for path in snapshot_files(folder)} == {'{"number": 2}'}


def test_without_a_copy_a_run_whose_snapshot_was_cut_off_is_refused(tmp_path):
    write_snapshot(tmp_path, "")
    with pytest.raises(ConfigError, match="snapshot in it was cut off, and there is no copy of it yet; start anew"):
        mend(tmp_path)


@pytest.mark.parametrize(
    "name", ["searcher-state-2026-11-28.pkl", "trial/checkpoint_000000/state.pkl", "sweep.json", COPY]
)
def test_files_of_another_user_are_not_resumed_from(name, folder, monkeypatch):
    check_own(folder)
    (folder / "trial" / "checkpoint_000000").mkdir(parents=True)
    (folder / name).write_text("{}")
    owner = os.getuid()
    if owner:
        monkeypatch.setattr(os, "getuid", lambda: owner + 1)
    else:  # only root may give files away
        os.chown(folder / name, 12345, -1)
    with pytest.raises(ConfigError, match=r"--resume = .* belongs to another user, whose pickles .*; add --trust if"):
        check_own(folder)


def test_a_snapshot_is_whole_at_its_last_bracket_and_nowhere_before(tmp_path):
    """Brackets in strings and escaped quotation marks count for nothing."""
    text = json.dumps({"trial_data": [['{"a": "\\"[', "}]\\"], ["\\\\", {}]], "runner_data": {"ends with \\": "\\\\"}})
    for length in range(1, len(text)):
        write_snapshot(tmp_path, text[:length])
        assert not is_whole(tmp_path), text[:length]
    write_snapshot(tmp_path, text)
    assert is_whole(tmp_path)


@pytest.mark.parametrize("name", NAMES[1:])
def test_a_snapshot_of_which_a_pickle_is_cut_off_is_not_whole(name, tmp_path):
    """Also one that holds nothing yet: of it Tune reads all files."""
    write_snapshot(tmp_path, '{"number": 1}')
    whole = pickle.dumps({"trials": ["one", 2.5], "state": None}, protocol=5)
    (tmp_path / name).write_bytes(whole)
    assert is_whole(tmp_path)
    for length in range(len(whole)):
        (tmp_path / name).write_bytes(whole[:length])
        assert not is_whole(tmp_path)
