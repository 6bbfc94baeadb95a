"""What a run is resumed from: Tune's snapshots, a copy of the last whole one, and whose files they are."""

import json
import os
import pickletools
import time
from pathlib import Path
from typing import Any
from zipfile import ZipFile

from ray import tune

from rbc_rllib.files import whole
from rbc_rllib.runs.remote import Remote
from rbc_rllib.settings import ConfigError
from rbc_rllib.training.rllib_internals import has_snapshot, state_file

COPY = "last_snapshot.zip"
LONGEST_SHARE = 0.05
"""Of a run's time that copies may take; Tune gives its snapshots as much."""


class SnapshotCopy(tune.Callback):
    """Keeps a copy of the last snapshot in `last_snapshot.zip`, whole or not at all; also in an object store.

    Tune writes every snapshot over the one before, in several files, which a thread of its own copies to the results,
    half written ones too: where the run is killed meanwhile, or finds the disk full, neither is left there.
    """

    def __init__(self, run: Path, remote: Remote | None = None) -> None:
        self._run, self._remote = run, remote
        self._next_look = 0.0
        self._state: Path | None = None  # of this run's snapshots the file that changes with each of them
        self._copied = 0

    def on_step_end(self, iteration: int, trials: list[Any], **_: Any) -> None:
        """Copy a snapshot that is new: Tune calls this in the thread that writes them."""
        started = time.monotonic()
        if started < self._next_look:
            return
        if not self._state and (state := next(map(state_file, trials), None)):
            self._state = state
            forget_results(state.parent)
        changed = self._state.stat().st_mtime_ns if self._state else 0
        if not self._state or changed == self._copied:
            return
        keep_copy(self._state.parent, self._run)
        if self._remote:
            self._remote.send(self._run / COPY)
        self._copied = changed
        now = time.monotonic()
        self._next_look = now + (now - started) / LONGEST_SHARE


def forget_results(staged: Path) -> None:
    """Delete the copies of results that Tune makes beside its snapshots when a run is resumed: with each snapshot it
    would put them in the place of newer ones."""
    for path in {*staged.glob("*.json")} - {*snapshot_files(staged)}:
        path.unlink()


def check_own(folder: Path) -> None:
    """Raise `ConfigError` where a run's folder, or a pickle in it, belongs to another user.

    To resume is to read pickles, and a pickle can run anything.
    """
    me = os.getuid() if hasattr(os, "getuid") else 0
    for path in (folder, *sorted(folder.glob("*.json")), *sorted(folder.rglob("*.pkl")), *folder.glob(COPY)):
        if path.stat().st_uid != me:
            rule = f"{path} belongs to another user, whose pickles can run anything when they are read"
            raise ConfigError("--resume", str(folder), rule, "add --trust if you know who wrote them")


def snapshot_files(folder: Path) -> list[Path]:
    """The files of Tune's snapshots in a folder, without those that Tune renames when they are written."""
    files = [*folder.glob("*state*.json"), *folder.glob("*state*.pkl")]
    return sorted(path for path in files if not path.name.startswith("."))


def is_whole(folder: Path) -> bool:
    """Whether the newest snapshot in a folder can be read."""
    try:
        return has_snapshot(folder) and all(map(_goes_to_its_end, snapshot_files(folder)))
    except OSError:
        return False


def _goes_to_its_end(path: Path) -> bool:
    """Whether a file of a snapshot, which is a pickle or JSON whatever its name, is not cut off; nothing is run."""
    content = path.read_bytes()
    try:
        if content.startswith(b"\x80"):
            return any(operation.name == "STOP" for operation, _, _ in pickletools.genops(content))
        json.loads(content)
    except ValueError:
        return False
    return True


def keep_copy(snapshot: Path, run: Path) -> None:
    """Copy the snapshot in a folder into a run's; the copy before is there until this one is."""
    with whole(run / COPY) as unfinished, ZipFile(unfinished, "w") as archive:
        for path in snapshot_files(snapshot):
            archive.write(path, path.name)


def mend(folder: Path) -> None:
    """Put the copy in the place of a snapshot that was cut off; raises `ConfigError` where there is none."""
    if is_whole(folder):
        return
    copy = folder / COPY
    if not copy.exists():
        rule = "Tune's snapshot in it was cut off, and there is no copy of it yet"
        raise ConfigError("--resume", str(folder), rule, "start anew under another --results")
    for cut_off in snapshot_files(folder):
        cut_off.unlink()
    with ZipFile(copy) as archive:
        archive.extractall(folder)
