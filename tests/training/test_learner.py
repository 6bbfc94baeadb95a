"""`EconomyLearner`: minibatches in the order that a seed fixes, and the steps of RLlib's own learner."""

import pytest
import torch

from callbacks import curriculum_callbacks
from rbc_rllib.economy import GROUPS
from rbc_rllib.training.config import algorithm_config
from rbc_rllib.training.learner import StagedLearner, minibatches
from rbc_rllib.training.rllib_internals import MultiAgentBatch, SampleBatch
from tests.small import SMALL, changed, weights


def batch_of(rows: int) -> MultiAgentBatch:
    """Row r of each of two policies holds r, in a tensor and in a nested one with an inner axis."""
    numbers = torch.arange(rows)
    columns = {"actions": numbers, "obs": {"private": numbers[:, None, None].expand(-1, 3, 2)}}
    return MultiAgentBatch({name: SampleBatch(columns) for name in ("consumer", "firm")}, env_steps=rows)


def orders(rows: int, size: int, count: int, seed: int = 0) -> list[list[int]]:
    """The rows in each minibatch; all policies and columns must agree on them."""
    result = []
    for minibatch in minibatches(batch_of(rows), size, count, torch.Generator().manual_seed(seed)):
        seen = []
        for policy in minibatch.policy_batches.values():
            private = policy["obs"]["private"]
            seen += [policy["actions"], private[:, 0, 1], private[:, 2, 0]]
        assert all(torch.equal(each, seen[0]) for each in seen)
        assert minibatch.env_steps() == len(seen[0])
        result.append(seen[0].tolist())
    return result


def test_the_first_epoch_takes_rows_as_they_come_and_later_ones_shuffle_all_of_them():
    halves = orders(8, 4, 6)
    first, second, third = (halves[i] + halves[i + 1] for i in (0, 2, 4))
    assert first == list(range(8))
    assert sorted(second) == sorted(third) == first
    assert len({tuple(first), tuple(second), tuple(third)}) == 3


def test_a_seed_fixes_the_order():
    assert orders(32, 8, 12, seed=1) == orders(32, 8, 12, seed=1) != orders(32, 8, 12, seed=2)


@pytest.mark.parametrize(("rows", "sizes"), [(7, [4, 3, 4]), (3, [3, 3, 3]), (4, [4, 4, 4])])
def test_as_many_minibatches_as_asked_for_whatever_the_number_of_rows(rows, sizes):
    """Learners that take unequal numbers of steps would wait for each other forever."""
    assert [len(rows) for rows in orders(rows, 4, 3)] == sizes


@pytest.mark.usefixtures("ray_on_this_machine")
def test_its_steps_are_those_of_the_stock_learner():
    """`StagedLearner` is RLlib's own but for the stage, which both get here."""
    experiment = SMALL.with_values({"curriculum.staged_training": False})
    config = algorithm_config(experiment, curriculum_callbacks(experiment))
    ours = config.copy(copy_frozen=False).build_algo()
    stock = config.copy(copy_frozen=False).learners(learner_class=StagedLearner).build_algo()
    stock.learner_group.set_state(ours.learner_group.get_state())
    before = weights(ours)
    for _ in range(3):
        (batch,) = ours.env_runner.sample(env_steps=0)
        common = {"timesteps": {"num_env_steps_sampled_lifetime": 0}, "minibatch_size": 16, "num_total_minibatches": 2}
        ours.learner_group.update(batch=batch.copy(), num_epochs=1, **common)
        stock.learner_group.update(batch=batch.copy(), num_epochs=1, **common)
    assert changed(before, weights(ours)) == set(GROUPS)
    pairs = zip(
        ours.learner_group._learner._params.values(), stock.learner_group._learner._params.values(), strict=True
    )
    for one, other in pairs:
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-6)
    ours.stop()
    stock.stop()
