"""Every stream of random numbers: which seed, whose, and from when on.

A stream is a function of the experiment's seed, of who draws and of the lifetime env steps before, so random numbers
are no state: a restored run or a replaced runner draws what an undisturbed one draws.
"""

import numpy
import torch

HELD_OUT = 2**30
"""Episodes on which frozen policies are judged. Smaller numbers are the indices of runners."""

VALIDATION = HELD_OUT + 1
"""Episodes on which policies are chosen, not judged."""

SHUFFLE = 2**31
"""The order of rows in a learner's minibatches."""

ACTING = SHUFFLE + 1
"""Choices of policies that somebody asks from Python."""


def stream_seed(seed: int, stream: int, env_steps: int = 0) -> int:
    """The seed of `stream` (one named here, or a runner's index) after `env_steps` lifetime env steps."""
    return int(numpy.random.SeedSequence([seed, stream, env_steps]).generate_state(1, numpy.uint64)[0] >> 1)


def stream(seed: int, stream: int, env_steps: int = 0) -> torch.Generator:
    """A CPU generator at the beginning of a stream."""
    return torch.Generator().manual_seed(stream_seed(seed, stream, env_steps))
