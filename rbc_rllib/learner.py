"""`EconomyLearner`: RLlib's PPO learner with less work around every gradient step."""

import math
from collections.abc import Iterator
from typing import Any

import torch
from ray.rllib.algorithms.ppo.torch.ppo_torch_learner import PPOTorchLearner
from ray.rllib.policy.sample_batch import MultiAgentBatch, SampleBatch


class EconomyLearner(PPOTorchLearner):
    """Loss, gradients, schedules and metrics are RLlib's own; optimizers are fused, and minibatches cut from tensors.

    `update` takes one argument more, `shuffle_seed`, which fixes the order of rows, in remote learners too.
    """

    def configure_optimizers_for_module(self, module_id: str, config: Any = None) -> None:
        """Adam in one kernel for all parameters of a policy."""
        parameters = self.get_parameters(self._module[module_id])
        self.register_optimizer(
            module_id=module_id,
            optimizer=torch.optim.Adam(parameters, fused=True),
            params=parameters,
            lr_or_lr_schedule=config.lr,
        )

    def _create_iterator_if_necessary(
        self,
        *,
        num_total_minibatches: int = 0,
        num_epochs: int = 1,
        minibatch_size: int | None = None,
        shuffle_batch_per_epoch: bool = True,
        shuffle_seed: int = 0,
        **kwargs: Any,
    ) -> Any:
        """RLlib's iterator copies each minibatch twice and shuffles once more after the last epoch."""
        whole = super()._create_iterator_if_necessary(**kwargs)  # one batch, of the groups in training
        if not minibatch_size:
            return whole
        (batch,) = whole
        count = num_total_minibatches or num_epochs * math.ceil(_length(batch) / minibatch_size)
        generator = torch.Generator(self._device).manual_seed(shuffle_seed)
        return minibatches(batch, minibatch_size, count, generator)


def minibatches(batch: MultiAgentBatch, size: int, count: int, generator: torch.Generator) -> Iterator[MultiAgentBatch]:
    """`count` minibatches of at most `size` rows: the first epoch as rows come, later ones in random orders.

    All policies have equally many rows and see the same ones at once.
    """
    columns = {name: dict(policy_batch) for name, policy_batch in batch.policy_batches.items()}
    rows = _length(batch)
    starts = range(0, rows, size)
    for number in range(count):
        start = starts[number % len(starts)]
        if number and start == 0:
            columns = rows_of(columns, torch.randperm(rows, generator=generator, device=generator.device))
        part = rows_of(columns, slice(start, start + size))
        yield MultiAgentBatch({name: SampleBatch(own) for name, own in part.items()}, env_steps=min(size, rows - start))


def _length(batch: MultiAgentBatch) -> int:
    return len(next(iter(batch.policy_batches.values())))


def rows_of(values: Any, rows: slice | torch.Tensor) -> Any:
    """`rows` of every tensor in a nested dict."""
    return {name: rows_of(value, rows) for name, value in values.items()} if isinstance(values, dict) else values[rows]
