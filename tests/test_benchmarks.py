"""The benchmarks compare equal work, count right, and print what they measured."""

import pytest
import torch

from benchmarks.bare import BareLoop
from benchmarks.floor import operations
from benchmarks.parts import PARTS, time_by_part
from benchmarks.throughput import rates, speed, table
from benchmarks.timing import PartTimer
from rbc_rllib.algorithm import lifetime_env_steps
from rbc_rllib.economy import GROUPS
from rbc_rllib.env_runner import stream_seed
from tests.small import SMALL, build, weights

EVERYONE_LEARNS = SMALL.with_values(
    {"curriculum.staged_training": False, "learning.num_epochs": 1, "learning.num_minibatches": 1}
)


@pytest.fixture
def algorithm(ray_on_this_machine):
    algorithm = build(EVERYONE_LEARNS)
    yield algorithm
    algorithm.stop()


@pytest.fixture
def loop(algorithm):
    """The bare loop with the algorithm's weights and random numbers."""
    loop = BareLoop(EVERYONE_LEARNS)
    for group, state in algorithm.learner_group.get_weights().items():
        loop.modules[group].set_state(state)
    loop.generator.manual_seed(stream_seed(EVERYONE_LEARNS.seed, 0, 0))
    return loop


def test_the_bare_loop_samples_the_rows_that_the_runner_samples(algorithm, loop):
    (theirs,) = algorithm.env_runner.sample(env_steps=0)
    ours = loop.sample()
    for group in GROUPS:
        columns = theirs.policy_batches[group]
        assert set(ours[group]) == set(columns) - {"action_dist_inputs"}
        for name, values in ours[group].items():
            torch.testing.assert_close(values, columns[name], rtol=0, atol=0)


def test_the_bare_loop_takes_the_gradient_step_of_the_learner(algorithm, loop):
    before = {group: dict(module.state_dict()) for group, module in BareLoop(EVERYONE_LEARNS).modules.items()}
    loop.iteration()
    algorithm.training_step()
    assert lifetime_env_steps(algorithm) == EVERYONE_LEARNS.env_steps_per_update
    for group, module in loop.modules.items():
        for name, values in weights(algorithm)[group].items():
            torch.testing.assert_close(module.state_dict()[name], torch.from_numpy(values), rtol=0, atol=1e-5)
    assert before
