"""Files that are there whole or not at all."""

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any


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


def write_json(record: Mapping[str, Any], path: Path) -> None:
    """A JSON file, whole; NaN and infinity, which JSON does not have, raise `ValueError`."""
    write_text(json.dumps(record, indent=2, allow_nan=False) + "\n", path)
