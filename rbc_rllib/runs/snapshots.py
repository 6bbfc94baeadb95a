"""What a run is resumed from: Tune's snapshots, a copy of the last whole one, and whose files they are."""

import os
import pickletools
import shutil
import time
from pathlib import Path
from typing import Any, BinaryIO

from ray import tune

from rbc_rllib.settings import ConfigError

COPY = "last_snapshot"
SECONDS_BETWEEN_LOOKS = 5.0
SECONDS_TO_SETTLE = 1.0  # in which nothing is written: Tune writes a snapshot in a thread of its own
LONGEST_SHARE = 0.05
"""Of a run's time that copies may take; Tune gives its snapshots as much."""

PIECE = 2**20  # bytes of a snapshot that are looked at together


class SnapshotCopy(tune.Callback):
    """Keeps a copy of the last whole snapshot in `last_snapshot/`.

    Tune writes every snapshot over the one before, in several files: where the run is killed meanwhile, or finds the
    disk full, neither is left.
    """

    def __init__(self, run: Path) -> None:
        self._run = run
        self._next_look = 0.0
        self._copied: dict[str, int] = {}

    def on_step_end(self, iteration: int, trials: list[Any], **_: Any) -> None:
        """Wait until a snapshot that is new is written, and copy it: Tune begins none before this is through."""
        started = time.monotonic()
        if started < self._next_look:
            return
        times, before = self._times(), dict[str, int]()
        if not times:
            return
        if times != self._copied:
            while times != before and max(times.values()) / 1e9 > time.time() - SECONDS_TO_SETTLE:
                time.sleep(SECONDS_TO_SETTLE)
                times, before = self._times(), times
            if is_whole(self._run):
                keep_copy(self._run)
                self._copied = times
        now = time.monotonic()
        self._next_look = now + max(SECONDS_BETWEEN_LOOKS, (now - started) / LONGEST_SHARE)

    def _times(self) -> dict[str, int]:
        return {path.name: path.stat().st_mtime_ns for path in snapshot_files(self._run)}


def check_own(folder: Path) -> None:
    """Raise `ConfigError` where a run's folder, or a pickle in it, belongs to another user.

    To resume is to read pickles, and a pickle can run anything.
    """
    me = os.getuid() if hasattr(os, "getuid") else 0
    for path in (folder, *sorted(folder.glob("*.json")), *sorted(folder.rglob("*.pkl"))):
        if path.stat().st_uid != me:
            rule = f"{path} belongs to another user, whose pickles can run anything when they are read"
            raise ConfigError("--resume", str(folder), rule, "add --trust if you know who wrote them")


def snapshot_files(folder: Path) -> list[Path]:
    """The files of Tune's snapshots in a run's folder."""
    return sorted([*folder.glob("*state*.json"), *folder.glob("*state*.pkl")])


def is_whole(folder: Path) -> bool:
    """Whether the newest snapshot in a folder can be read."""
    files = snapshot_files(folder)
    try:
        return any(path.name.startswith("experiment_state-") for path in files) and all(map(_goes_to_its_end, files))
    except OSError:
        return False


def _goes_to_its_end(path: Path) -> bool:
    """Whether a file of a snapshot, which is a pickle or JSON whatever its name, is not cut off; nothing is run."""
    with path.open("rb") as file:
        starts_as_pickle = file.read(1) == b"\x80"
        file.seek(0)
        if not starts_as_pickle:
            return _closes_its_brackets(file)
        try:
            return any(operation.name == "STOP" for operation, _, _ in pickletools.genops(file))
        except ValueError:
            return False


def _closes_its_brackets(file: BinaryIO) -> bool:
    """Whether JSON is not cut off: its last bracket is there. In pieces, since there may be hundreds of megabytes."""
    depth, in_string, rest, some = 0, False, b"", False
    while read := file.read(PIECE):
        piece = (rest + read).rstrip(b"\\")  # what a backslash at the end escapes is in the next piece
        rest, some = (rest + read)[len(piece) :], True
        parts = piece.replace(b"\\\\", b"").replace(b'\\"', b"").split(b'"')
        for outside in parts[in_string::2]:
            depth += outside.count(b"{") + outside.count(b"[") - outside.count(b"}") - outside.count(b"]")
        in_string ^= len(parts) % 2 == 0
    return some and depth == 0 and not in_string


def keep_copy(folder: Path) -> None:
    """Copy the snapshot in a folder; the copy before is there until this one is."""
    unfinished, copy = folder / f"{COPY}.part", folder / COPY
    for left in (unfinished, folder / f"{COPY}.old"):
        shutil.rmtree(left, ignore_errors=True)
    unfinished.mkdir()
    for path in snapshot_files(folder):
        shutil.copy2(path, unfinished)
    if copy.is_dir():
        copy.rename(folder / f"{COPY}.old")
    unfinished.rename(copy)
    shutil.rmtree(folder / f"{COPY}.old", ignore_errors=True)


def mend(folder: Path) -> None:
    """Put the copy in the place of a snapshot that was cut off; raises `ConfigError` where there is none."""
    if is_whole(folder):
        return
    copies = [copy for copy in (folder / COPY, folder / f"{COPY}.old") if is_whole(copy)]
    if not copies:
        rule = "Tune's snapshot in it was cut off, and there is no copy of it yet"
        raise ConfigError("--resume", str(folder), rule, "start anew under another --results")
    for cut_off in snapshot_files(folder):
        cut_off.unlink()
    for path in snapshot_files(copies[0]):
        shutil.copy2(path, folder)
