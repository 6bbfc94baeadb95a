"""What one quarter and one update ask of a GPU: kernel launches and bytes, counted from the code.

    python -m benchmarks.launches                     # seconds; needs no GPU
    python -m benchmarks.launches --economies 1024

Runs the same programs on a CPU and counts their operations: one launch for each operation that computes something
(views are free), and the bytes of the arrays that it reads and writes. CuPy and torch may take more than one kernel for
an operation, and torch fewer for Adam on a GPU: the counts are a measure, not a promise. Launches do not grow with the
number of economies, bytes do.
"""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any
from unittest import mock

import numpy
import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from benchmarks.bare import BareLoop
from benchmarks.cases import experiment_of
from rbc_rllib.economy import GROUPS
from rbc_rllib.experiment import ExperimentConfig
from rbc_rllib.play.rollout import play
from rbc_rllib.settings import command_parser, refused
from rbc_rllib.training.rllib_internals import quiet

CREATING = ("asarray", "arange", "empty", "full", "ones", "zeros")
"""NumPy functions that make an array without being given one."""


@dataclass
class Count:
    """Operations, and the bytes that they read and write."""

    launches: int = 0
    bytes: int = 0

    def add(self, read: list[Any], written: list[Any]) -> None:
        """Count one operation, unless all it gave are views of what it was given."""
        if all(any(_shares(result, array) for array in read) for result in written):
            return
        self.launches += 1
        self.bytes += sum(array.nbytes for array in (*read, *written))


def _shares(one: Any, other: Any) -> bool:
    if isinstance(one, torch.Tensor):
        return one.untyped_storage().data_ptr() == other.untyped_storage().data_ptr()
    return numpy.may_share_memory(one, other)


class CountedArray(numpy.ndarray):
    """A NumPy array whose operations are counted in `CountedArray.count`, with those of all that comes of it."""

    count = Count()

    def __array_ufunc__(self, ufunc: Any, method: str, *inputs: Any, **options: Any) -> Any:
        """Operators and elementwise functions."""
        return _counted(getattr(ufunc, method), inputs, options)

    def __array_function__(self, function: Any, types: Any, inputs: Any, options: Any) -> Any:
        """All other functions of NumPy."""
        return _counted(function, inputs, options)

    def astype(self, *arguments: Any, **options: Any) -> Any:
        """Conversions, which are a method."""
        return _counted(numpy.ndarray.astype, (self, *arguments), options)


def _counted(function: Any, inputs: Any, options: Any) -> Any:
    inputs, options = _plain(inputs), _plain(options)
    result = function(*inputs, **options)
    CountedArray.count.add(_arrays((inputs, options)), _arrays(result))
    return result.view(CountedArray) if isinstance(result, numpy.ndarray) else result


def _plain(value: Any) -> Any:
    """`value` with plain arrays in the place of counted ones."""
    if isinstance(value, CountedArray):
        return value.view(numpy.ndarray)
    if isinstance(value, list | tuple):
        return type(value)(_plain(each) for each in value)
    return {key: _plain(each) for key, each in value.items()} if isinstance(value, dict) else value


def _arrays(value: Any) -> list[numpy.ndarray]:
    return [leaf for leaf in tree_leaves(value) if isinstance(leaf, numpy.ndarray)]


@contextmanager
def count_arrays() -> Iterator[Count]:
    """Counts what is done to `CountedArray`s, and the arrays that are made."""
    count = CountedArray.count = Count()

    def counted(function: Any) -> Any:
        def make(*arguments: Any, **options: Any) -> Any:
            made = function(*_plain(arguments), **options)
            count.add(_arrays(arguments), [made])
            return made

        return make

    originals = {name: getattr(numpy, name) for name in CREATING}
    with mock.patch.multiple(numpy, **{name: counted(original) for name, original in originals.items()}):
        yield count


class CountTensors(TorchDispatchMode):
    """Counts the operations on tensors within its context."""

    def __init__(self) -> None:
        super().__init__()
        self.count = Count()

    def __torch_dispatch__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Run the operation, then count it."""
        result = function(*args, **(kwargs or {}))
        read, written = ([x for x in tree_leaves(v) if isinstance(x, torch.Tensor)] for v in ((args, kwargs), result))
        mutable = function._schema.is_mutable
        self.count.add([] if mutable else read, read if mutable else written)
        return result


def count(experiment: ExperimentConfig) -> dict[str, Count]:
    """Launches and bytes of one quarter of all economies, by part, and of the update that follows an episode."""
    loop, params = BareLoop(experiment), experiment.economy
    economy = loop.economy
    indices = {
        group: experience.actions[:, 0].numpy().view(CountedArray)
        for group, experience in play(economy, loop.seats, loop.generator, recorded=GROUPS).experience.items()
    }
    # On a CPU agents act in parts, on a GPU all at once.
    with mock.patch("rbc_rllib.play.rollout.AGENTS_AT_ONCE", sys.maxsize), CountTensors() as acting:
        batch = loop.sample()
    with CountTensors() as learning:
        loop.learn(batch)

    economy.reset()
    economy.state = replace(
        economy.state, **{name: array.view(CountedArray) for name, array in vars(economy.state).items()}
    )
    parts: dict[str, Count] = {}
    with count_arrays() as parts["economy: observations"]:
        economy.observe()
    with count_arrays() as parts["economy: decoding of actions"]:
        actions = economy.decode(indices)
    with count_arrays() as parts["economy: step"]:
        economy.step(actions)
    quarters = params.episode_length
    parts["networks, choices, advantages"] = Count(acting.count.launches // quarters, acting.count.bytes // quarters)
    parts["update (once an episode)"] = learning.count
    return parts


def table(parts: dict[str, Count]) -> str:
    """The counts as aligned text."""
    lines = [f"{'a quarter of all economies':<32}{'launches':>10}{'megabytes':>12}"]
    lines += [f"{name:<32}{each.launches:>10,}{each.bytes / 1e6:>12,.2f}" for name, each in parts.items()]
    return "\n".join(lines)


def main(arguments: list[str] | None = None) -> None:
    """The command line."""
    command = command_parser("benchmarks.launches", __doc__)
    command.add_argument("--economies", type=int, default=32, metavar="N", help="economies played at once (default 32)")
    options = command.parse_args(arguments)
    with refused(command):
        experiment = experiment_of({"learning.economies_per_update": options.economies})
    quiet()
    torch.set_num_threads(1)
    print(table(count(experiment)))


if __name__ == "__main__":
    main()
