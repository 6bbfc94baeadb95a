"""Stopwatches, and the machine that they are read on."""

import os
import platform
import resource
import sys
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from unittest import mock

import numpy
import ray
import torch

Clock = Callable[[], float]


class Stopwatch:
    """A function that remembers how long its last call took."""

    def __init__(self, function: Callable[..., Any], clock: Clock = time.perf_counter):
        self.function = function
        self.clock = clock
        self.seconds = 0.0

    def __call__(self, *arguments: Any, **keywords: Any) -> Any:
        """Call the function."""
        start = self.clock()
        result = self.function(*arguments, **keywords)
        self.seconds = self.clock() - start
        return result


class PartTimer:
    """Divides time among named parts of a program; a part's time excludes that of the parts within it."""

    def __init__(self, clock: Clock = time.perf_counter):
        self.seconds: dict[str, float] = defaultdict(float)
        self._clock = clock
        self._running: list[str] = []
        self._since = 0.0

    @contextmanager
    def part(self, name: str) -> Iterator[None]:
        """Time spent in this context belongs to part `name`."""
        self._pass_to(name)
        try:
            yield
        finally:
            self._pass_to(None)

    def _pass_to(self, name: str | None) -> None:
        """The clock stops for the part that is running and starts for `name`, or for the part around it."""
        now = self._clock()
        if self._running:
            self.seconds[self._running[-1]] += now - self._since
        self._since = now
        if name is None:
            self._running.pop()
        else:
            self._running.append(name)

    def patch(self, owner: Any, function: str, name: str, within: tuple[str, ...] = ()) -> Any:
        """A context in which calls of `owner.function` belong to part `name`, or to one of `within` that runs."""
        original = getattr(owner, function)

        def timed(*arguments: Any, **keywords: Any) -> Any:
            if self._running and self._running[-1] in within:
                return original(*arguments, **keywords)
            with self.part(name):
                return original(*arguments, **keywords)

        return mock.patch.object(owner, function, timed)


def peak_bytes() -> int:
    """The most memory that this process has had."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else 1024 * peak  # Linux counts in KiB


def machine() -> dict[str, Any]:
    """What a reader must know about this machine to compare numbers."""
    return {
        "cpu": _cpu_model(),
        "cores": os.cpu_count(),
        "load": round(os.getloadavg()[0], 2),  # above 1, somebody else was working too
        "torch_threads": torch.get_num_threads(),
        "python": platform.python_version(),
        "numpy": numpy.__version__,
        "torch": torch.__version__,
        "ray": ray.__version__,
    }


def _cpu_model() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor()
    return next((line.split(":")[1].strip() for line in lines if line.startswith("model name")), platform.processor())
