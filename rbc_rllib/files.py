"""Files that are there whole or not at all."""

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from rbc_rllib.settings import ConfigError


@contextmanager
def whole(path: Path) -> Iterator[Path]:
    """Where to write what is to be at `path`, and in the end comes there.

    A reader finds the old file or the new one, never half of one.
    """
    unfinished = path.with_name(f"{path.name}.part")
    yield unfinished
    unfinished.replace(path)


def write_text(text: str, path: Path) -> None:
    """A text file, whole."""
    with whole(path) as unfinished:
        unfinished.write_text(text)


def read_object(path: Path, fix: str) -> dict[str, Any]:
    """What a JSON file holds; raises `ConfigError`, with `fix`, where that is no whole object."""
    try:
        found = json.loads(path.read_text())
    except ValueError as error:  # no JSON, or no text
        raise ConfigError(str(path), path.name, f"it must be complete JSON ({error})", fix) from None
    if not isinstance(found, dict):
        raise ConfigError(str(path), found, "it must be a JSON object", fix)
    return found


def write_json(record: Mapping[str, Any], path: Path) -> None:
    """A JSON file, whole; NaN and infinity, which JSON does not have, raise `ValueError`."""
    write_text(json.dumps(record, indent=2, allow_nan=False) + "\n", path)
