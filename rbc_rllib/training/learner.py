"""Learners: RLlib's PPO as a curriculum wants it, and the same with less work around every gradient step."""

import math
from collections.abc import Collection, Iterator
from copy import deepcopy
from typing import Any

import torch
from ray.rllib.algorithms.ppo.torch.ppo_torch_learner import PPOTorchLearner
from ray.rllib.core.columns import Columns

from rbc_rllib.play.distribution import MultiHeadCategorical
from rbc_rllib.play.modules import GroupModule, PlanModule
from rbc_rllib.play.process import prepare_process
from rbc_rllib.training.checkpoints import initial_weights
from rbc_rllib.training.rllib_internals import (
    MinibatchingLearner,
    MultiAgentBatch,
    SampleBatch,
    set_entropy_coefficient,
)

SLOW_COPIES = "slow_copies"
"""Their name in a learner's state."""


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

    `update` takes one argument more, `shuffle_seed`, which fixes the order of rows, in remote learners too. Where the
    experiment's `Refinement` says so, copies of the networks follow them slowly: averages, which checkpoints keep, and
    magnets, to which the loss pulls.
    """

    def build(self) -> None:
        """Build the networks and optimizers; in a process that may have been started for this learner.

        Policies start with the weights of the checkpoints that the experiment or its deviation names.
        """
        experiment = self.config.experiment
        prepare_process(experiment.resources.torch_threads)
        super().build()
        refinement = experiment.refinement
        modules = {policy: self.module[policy].unwrapped() for policy in experiment.policies}
        for policy, weights in initial_weights(experiment).items():
            modules[policy].set_state(weights)
        uncertain = {policy: module for policy, module in modules.items() if not isinstance(module, PlanModule)}
        self.averages = _frozen_copies(modules) if refinement.weight_average else {}
        self.magnets = _frozen_copies(uncertain) if refinement.magnet_coeff else {}

    def compute_loss_for_module(
        self, *, module_id: str, config: Any, batch: dict[str, Any], fwd_out: dict[str, Any]
    ) -> torch.Tensor:
        """RLlib's PPO loss, and magnet_coeff * KL(policy || magnet), mean over the batch."""
        loss = super().compute_loss_for_module(module_id=module_id, config=config, batch=batch, fwd_out=fwd_out)
        magnet = self.magnets.get(module_id)
        if magnet is None:
            return loss
        with torch.no_grad():
            seen = batch[Columns.OBS]
            pull = MultiHeadCategorical(magnet.logits(seen, magnet.trunk(seen)), magnet.head_sizes)
        own = MultiHeadCategorical(fwd_out[Columns.ACTION_DIST_INPUTS], magnet.head_sizes)
        distance = own.kl(pull)
        if Columns.LOSS_MASK in batch:
            distance = distance[batch[Columns.LOSS_MASK]]
        return loss + self.config.experiment.refinement.magnet_coeff * distance.mean()

    @torch.no_grad()
    def after_gradient_based_update(self, *, timesteps: dict[str, Any]) -> None:
        """Let the copies follow."""
        super().after_gradient_based_update(timesteps=timesteps)
        refinement = self.config.experiment.refinement
        for copies, share in ((self.averages, 1 - refinement.weight_average), (self.magnets, refinement.magnet_rate)):
            for policy, copy in copies.items():
                torch._foreach_lerp_(list(copy.parameters()), list(self.module[policy].parameters()), share)

    def kept_weights(self) -> dict[str, Any]:
        """The weights, by policy, that a checkpoint keeps beside those that learn; empty without averages."""
        return _states(self.averages)

    def get_state(self, components: Any = None, *, not_components: Any = None, **kwargs: Any) -> dict[str, Any]:
        """RLlib's state, and the slow copies."""
        state = super().get_state(components, not_components=not_components, **kwargs)
        if self._check_component(SLOW_COPIES, components, not_components):
            state[SLOW_COPIES] = [_states(self.averages), _states(self.magnets)]
        return state

    def set_state(self, state: dict[str, Any]) -> None:
        """RLlib's state, and the slow copies."""
        super().set_state(state)
        for copies, states in zip((self.averages, self.magnets), state.get(SLOW_COPIES, ()), strict=False):
            for policy, copy in copies.items():
                copy.set_state(states[policy])

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


def _frozen_copies(modules: dict[str, GroupModule]) -> dict[str, GroupModule]:
    return {policy: deepcopy(module).requires_grad_(False) for policy, module in modules.items()}


def _states(copies: dict[str, GroupModule]) -> dict[str, Any]:
    return {policy: copy.get_state() for policy, copy in copies.items()}


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
