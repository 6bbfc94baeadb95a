"""Streams of random numbers: functions of seed, of who draws and of the env steps before, and of nothing else."""

from itertools import product

import pytest
import torch

from rbc_rllib.play.randomness import ACTING, HELD_OUT, SHUFFLE, VALIDATION, stream, stream_seed

NAMED = {"held out": HELD_OUT, "validation": VALIDATION, "shuffle": SHUFFLE, "acting": ACTING}
PLACE = {"seed": 3, "stream": 5, "env_steps": 640}


def numbers(**place: int) -> list[float]:
    return torch.rand(8, generator=stream(**place)).tolist()


@pytest.mark.parametrize("key", PLACE)
@pytest.mark.parametrize("step", [1, 2**20])
def test_another_seed_stream_or_moment_draws_other_numbers(key, step):
    elsewhere = PLACE | {key: PLACE[key] + step}
    assert stream_seed(**elsewhere) != stream_seed(**PLACE)
    assert not set(numbers(**elsewhere)) & set(numbers(**PLACE))


def test_the_three_are_not_exchanged_for_each_other():
    """Seed 1 of runner 2 is not seed 2 of runner 1, and so on."""
    places = list(product(range(6), repeat=3))
    assert len({stream_seed(*place) for place in places}) == len(places)


def test_the_same_place_draws_the_same_numbers_again():
    assert numbers(**PLACE) == numbers(**PLACE)
    before = torch.get_rng_state()
    stream(**PLACE)
    assert torch.equal(torch.get_rng_state(), before)


def test_numbers_stay_those_of_earlier_versions():
    """Written down, so that a run of today can be repeated; NumPy promises the same `SeedSequence` for ever."""
    assert [stream_seed(0, 0), stream_seed(3, 5, 640), stream_seed(7, HELD_OUT)] == [
        7896617691693857887,
        8777107450289898548,
        6235148408027436247,
    ]


@pytest.mark.parametrize("seed", [0, 1, 2**40])
@pytest.mark.parametrize("env_steps", [0, 480_000, 2**40])
def test_a_seed_of_a_stream_is_one_that_torch_takes(seed, env_steps):
    for index in (0, 1, *NAMED.values()):
        assert 0 <= stream_seed(seed, index, env_steps) < 2**63
        stream(seed, index, env_steps)


def test_named_streams_are_no_runners_and_not_each_other():
    """A runner's index is a count of processes; names lie far above any."""
    assert len(set(NAMED.values())) == len(NAMED)
    assert min(NAMED.values()) >= 2**30
    everyone = [*NAMED.values(), *range(2_000)]
    assert len({stream_seed(0, each) for each in everyone}) == len(everyone)
