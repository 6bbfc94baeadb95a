"""Learners: RLlib's PPO as a curriculum wants it, and the same with less work around every gradient step."""

import math
from collections.abc import Collection, Iterator
from typing import Any

import torch
from ray.rllib.algorithms.ppo.torch.ppo_torch_learner import PPOTorchLearner

from rbc_rllib.play.process import prepare_process
from rbc_rllib.training.rllib_internals import (
    MinibatchingLearner,
    MultiAgentBatch,
    SampleBatch,
    set_entropy_coefficient,
)


class StagedLearner(PPOTorchLearner):
    """RLlib's PPO learner, which updates the policies, and with the entropy bonus, that a curriculum's stage says."""

    trained_policies: Collection[str] | None = None  # None: all
    entropy_coefficients: dict[str, float] = {}  # noqa: RUF012 (replaced, never changed); by policy

    def should_module_be_updated(self, module_id: str, multi_agent_batch: Any = None) -> bool:
        """Whether the stage trains this policy."""
        in_stage = self.trained_policies is None or module_id in self.trained_policies
        return in_stage and super().should_module_be_updated(module_id, multi_agent_batch)

    def before_gradient_based_update(self, *, timesteps: dict[str, Any]) -> None:
        """Set the stage's entropy coefficients."""
        super().before_gradient_based_update(timesteps=timesteps)
        for policy, coefficient in self.entropy_coefficients.items():
            set_entropy_coefficient(self, policy, coefficient)


class EconomyLearner(StagedLearner, MinibatchingLearner):
    """Loss, gradients, schedules and metrics are RLlib's own; optimizers are fused, and minibatches cut from tensors.

    `update` takes one argument more, `shuffle_seed`, which fixes the order of rows, in remote learners too.
    """

    def build(self) -> None:
        """Build the networks and optimizers; in a process that may have been started for this learner."""
        prepare_process(self.config.experiment.resources.torch_threads)
        super().build()

    def configure_optimizers_for_module(self, module_id: str, config: Any = None) -> None:
        """Adam in one kernel for all parameters of a policy."""
        parameters = self.get_parameters(self._module[module_id])
        self.register_optimizer(
            module_id=module_id,
            optimizer=torch.optim.Adam(parameters, fused=True),
            params=parameters,
            lr_or_lr_schedule=config.lr,
        )

    def minibatches(
        self, batch: MultiAgentBatch, size: int, *, num_epochs: int, count: int, seed: int
    ) -> Iterator[MultiAgentBatch]:
        """`count` minibatches, or those of all epochs where it is 0."""
        count = count or num_epochs * math.ceil(_length(batch) / size)
        return minibatches(batch, size, count, torch.Generator(self.device).manual_seed(seed))


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
