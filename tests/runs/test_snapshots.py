"""What a run is resumed from: a whole snapshot, and no other user's pickles."""

import json
import os
import pickle
import time

import pytest

from rbc_rllib.runs import snapshots
from rbc_rllib.runs.snapshots import COPY, SnapshotCopy, check_own, is_whole, mend, snapshot_files
from rbc_rllib.settings import ConfigError

NAMES = ("experiment_state-2026-11-28.json", "searcher-state-2026-11-28.pkl", "callback-states-2026-11-28.pkl")


def write_snapshot(folder, text: str, age: float = 60.0) -> None:
    """As Tune does, `age` seconds ago."""
    for name in NAMES:
        path = folder / name
        path.write_text(text)
        os.utime(path, times=(time.time() - age,) * 2)


def step(copy: SnapshotCopy) -> None:
    copy._next_look = 0.0
    copy.on_step_end(1, [])


@pytest.fixture
def folder(tmp_path):
    """A run's, with a snapshot that was copied."""
    (tmp_path / "sweep.json").write_text("{}")
    write_snapshot(tmp_path, '{"number": 1}')
    step(SnapshotCopy(tmp_path))
    return tmp_path


def test_a_snapshot_is_copied_when_it_is_whole(folder):
    copy = SnapshotCopy(folder)
    for text, age, expected in [('{"number": 2}', 0.0, 2), ('{"number": 3}', 60.0, 3), ('{"num', 60.0, 3)]:
        write_snapshot(folder, text, age)
        step(copy)
        copied = folder / COPY / "experiment_state-2026-11-28.json"
        assert copied.read_text() == f'{{"number": {expected}}}'
    assert sorted(path.name for path in folder.iterdir() if path.is_dir()) == [COPY]


def test_a_snapshot_is_copied_when_nothing_is_written_to_it_any_more(folder, monkeypatch):
    copy, texts = SnapshotCopy(folder), ['{"number": 3}', '{"number": 2}']
    write_snapshot(folder, '{"num', 0.0)
    monkeypatch.setattr(time, "sleep", lambda seconds: texts and write_snapshot(folder, texts.pop(), 0.0))
    step(copy)
    assert (folder / COPY / "experiment_state-2026-11-28.json").read_text() == '{"number": 3}'


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


def test_a_copy_that_was_being_replaced_is_found(folder):
    """Killed between two renames."""
    (folder / COPY).rename(folder / f"{COPY}.old")
    write_snapshot(folder, "")
    mend(folder)
    assert is_whole(folder)


@pytest.mark.parametrize("name", ["searcher-state-2026-11-28.pkl", "trial/checkpoint_000000/state.pkl", "sweep.json"])
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


@pytest.mark.parametrize("piece", [1, 3, 2**20])
def test_a_snapshot_is_whole_at_its_last_bracket_and_nowhere_before(piece, tmp_path, monkeypatch):
    """Brackets in strings and escaped quotation marks count for nothing, wherever it is divided."""
    monkeypatch.setattr(snapshots, "PIECE", piece)
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
