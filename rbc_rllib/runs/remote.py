"""Results in an object store such as S3, which no node mounts: trials save there, and the command works on a copy."""

import shutil
import tempfile
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any
from urllib.parse import urlsplit

from pyarrow.fs import FileInfo, FileSelector, FileSystem
from ray import tune

from rbc_rllib.runs.trials_table import FILE
from rbc_rllib.settings import ConfigError
from rbc_rllib.training.checkpoints import NETWORKS, STATE_FILE

REQUESTS_AT_ONCE = 16


@dataclass(frozen=True)
class Remote:
    """A results folder in a store, and a folder of this machine for copies of the runs of this command.

    That one is empty when the command starts: the store alone says what there is.
    """

    uri: str
    store: FileSystem
    path: str  # of the results in the store
    copies: Path
    _sent: dict[Path, int] = field(default_factory=dict)  # when the files changed that the store has as they are here

    @classmethod
    def at(cls, uri: str) -> "Remote":
        """The results folder of a URI as pyarrow takes it; raises `ConfigError` where it cannot be opened.

        Credentials are where the store's own programs look for them, not in the URI, which is shown and written.
        """
        parts = urlsplit(uri)
        if "@" in parts.netloc:
            rule, fix = "it holds credentials, which would be shown", "leave them to the environment"
            raise ConfigError("--results", f"{parts.scheme}://...@...", rule, fix)
        fix = "write e.g. s3://BUCKET/PREFIX, or name a folder"
        try:
            store, path = FileSystem.from_uri(uri)
        except (OSError, ValueError) as error:
            reason = str(error).splitlines()[0]
            raise ConfigError("--results", uri, f"it cannot be opened ({reason})", fix) from None
        if not path.strip("/"):
            raise ConfigError("--results", uri, "it names no bucket", fix)
        return cls(uri, store, path.rstrip("/"), Path(tempfile.mkdtemp(prefix="rbc_rllib-")))

    def path_of(self, local: Path) -> str:
        """Where the store has what is copied at `local`."""
        return f"{self.path}/{local.relative_to(self.copies).as_posix()}"

    def uri_of(self, local: Path) -> str:
        """The same as a URI."""
        parts = urlsplit(self.uri)
        path = f"{parts.path.rstrip('/')}/{local.relative_to(self.copies).as_posix()}"
        return parts._replace(path=path).geturl()

    def names(self, folder: Path) -> set[str]:
        """What the store has in a folder."""
        return {info.base_name for info in self._infos(folder, recursive=False)}

    def fetch(self, folder: Path) -> None:
        """Copy a folder from the store; of checkpoints only what can run nothing when it is read."""
        root = self.path_of(folder)

        def copy(name: PurePosixPath) -> None:
            local = folder / name
            local.parent.mkdir(parents=True, exist_ok=True)
            with self.store.open_input_stream(f"{root}/{name}") as source, local.open("wb") as target:
                shutil.copyfileobj(source, target)
            self._sent[local] = local.stat().st_mtime_ns

        found = [PurePosixPath(info.path).relative_to(root) for info in self._infos(folder) if info.is_file]
        with ThreadPoolExecutor(REQUESTS_AT_ONCE) as pool:
            list(pool.map(copy, filter(_is_wanted, found)))

    def send(self, place: Path) -> None:
        """Copy a file, or a folder's files, to the store where they have changed; take away there what is gone here."""
        for local in sorted(path for path in (place, *place.rglob("*")) if path.is_file()):
            changed = local.stat().st_mtime_ns
            if self._sent.get(local) != changed:
                self.store.create_dir(self.path_of(local.parent))
                with local.open("rb") as source, self.store.open_output_stream(self.path_of(local)) as target:
                    shutil.copyfileobj(source, target)
                self._sent[local] = changed
        for gone in [local for local in self._sent if local.is_relative_to(place) and not local.exists()]:
            self.store.delete_file(self.path_of(gone))
            del self._sent[gone]

    def check_own(self, folder: Path) -> None:
        """Raise `ConfigError`: nobody knows whose pickles a store has, and to resume is to read them."""
        rule = "an object store does not tell who wrote the pickles in it, which can run anything when they are read"
        fix = "add --trust if you know who may write there"
        raise ConfigError("--resume", self.uri_of(folder), rule, fix)

    def _infos(self, folder: Path, recursive: bool = True) -> list[FileInfo]:
        place = self.path_of(folder)
        try:
            return self.store.get_file_info(FileSelector(place, allow_not_found=True, recursive=recursive))
        except OSError as error:
            fix = "see to its address, the network and the credentials"
            raise ConfigError("--results", self.uri_of(folder), f"it cannot be read ({error})", fix) from None


def _is_wanted(name: PurePosixPath) -> bool:
    """Whether a file of a run is one that evaluations and reports may read."""
    parts = name.parts
    if ".." in parts:  # a store may have such names, a copy may not
        return False
    return len(parts) < 3 or not parts[1].startswith("checkpoint_") or parts[2] in (NETWORKS, STATE_FILE)


class Sending(tune.Callback):
    """Sends what the command has written of a trial before Tune's next snapshot tells of it."""

    def __init__(self, remote: Remote, run: Path) -> None:
        self._remote, self._run = remote, run

    def on_trial_start(self, iteration: int, trials: list[Any], trial: Any, **_: Any) -> None:
        """Its config; what it has reported up to a checkpoint; how it has ended."""
        for name in (Path(trial.path).name, FILE):
            self._remote.send(self._run / name)

    on_trial_save = on_trial_complete = on_trial_error = on_trial_start
