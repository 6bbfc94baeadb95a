"""The limit: PPO on the economy as a plain PyTorch loop, without Ray in it.

It plays the same episodes with the same networks and takes the same gradient steps as `EconomyPPO`
(`tests/test_benchmarks.py` proves both), so what `EconomyPPO` takes longer is what RLlib costs. It has no metrics, no
checks, no schedules and no checkpoints. Used by `benchmarks.throughput`.
"""

from typing import Any

import torch

from rbc_rllib.economy import GROUPS
from rbc_rllib.experiment import ExperimentConfig
from rbc_rllib.play.distribution import MultiHeadCategorical
from rbc_rllib.play.modules import untrained_modules
from rbc_rllib.play.rollout import Experience, advantages, play
from rbc_rllib.play.seats import seats_of
from rbc_rllib.play.vector_economy import VectorEconomy
from rbc_rllib.training.learner import rows_of

Columns = dict[str, Any]
"""The rows of one group, under RLlib's names; `obs` is a dict of tensors, everything else a tensor."""


class BareLoop:
    """`experiment` at the first stage of its curriculum, and always there."""

    def __init__(self, experiment: ExperimentConfig):
        learning = self.learning = experiment.learning
        self.stage = experiment.curriculum.at(0)
        self.economy = VectorEconomy(
            experiment.economy, learning.economies_per_update, encodings=learning.observation_encodings
        )
        self.economy.restrict(self.stage.ranges)
        self.economy.anneal(self.stage.labor_disutility_scale, penalty_increase=0.0)
        self.generator = torch.Generator()
        self.modules = untrained_modules(experiment)
        self.seats = seats_of(experiment, self.modules, self.economy)
        self.optimizers = {
            group: torch.optim.Adam(module.parameters(), lr=getattr(learning.learning_rate, group), fused=True)
            for group, module in self.modules.items()
        }

    def iteration(self) -> None:
        """Play one episode of every economy and learn from it."""
        self.learn(self.sample())

    def sample(self) -> dict[str, Columns]:
        """One episode of every economy; a row is one quarter of one economy."""
        rollout = play(
            self.economy,
            self.seats,
            self.generator,
            recorded=GROUPS,
            trained_consumers=self.learning.trained_consumers,
        )
        shared = rollout.shared.flatten(0, 1)
        return {group: self._columns(group, shared, rollout.experience[group]) for group in GROUPS}

    def _columns(self, group: str, shared: torch.Tensor, experience: Experience) -> Columns:
        learning = self.learning
        rewards = experience.rewards / getattr(learning.reward_scale, group)
        gained = advantages(rewards, experience.values, learning.discount, learning.gae_lambda)
        columns = {
            "actions": experience.actions,
            "action_logp": experience.action_logp,
            "advantages": (gained - gained.mean()) / gained.std(correction=0).clamp(min=1e-4),
            "value_targets": gained + experience.values,
        }
        rows: Columns = {name: values.flatten(0, 1) for name, values in columns.items()}
        own = {name: values.flatten(0, 1) for name, values in experience.observations.items()}
        rows["obs"] = {"shared": shared, **own}
        return rows

    def learn(self, batch: dict[str, Columns]) -> None:
        """All epochs over `batch`: the first takes rows as they come, later ones shuffled, as in `EconomyLearner`."""
        batch = {group: batch[group] for group in self.stage.trainable_groups}
        rows = self.economy.num_envs * self.economy.params.episode_length
        size = rows // self.learning.num_minibatches
        for epoch in range(self.learning.num_epochs):
            if epoch > 0:
                order = torch.randperm(rows)
                batch = {group: rows_of(columns, order) for group, columns in batch.items()}
            for start in range(0, rows, size):
                for group, columns in batch.items():
                    self._gradient_step(group, rows_of(columns, slice(start, start + size)))

    def _gradient_step(self, group: str, columns: Columns) -> None:
        learning, module, optimizer = self.learning, self.modules[group], self.optimizers[group]
        observation, gained = columns["obs"], columns["advantages"]
        embeddings = module.trunk(observation)
        policy = MultiHeadCategorical(module.logits(observation, embeddings), module.head_sizes)
        ratio = (policy.logp(columns["actions"]) - columns["action_logp"]).exp()
        clipped = ratio.clamp(1 - learning.clip_param, 1 + learning.clip_param)
        value_loss = (module.compute_values({}, embeddings) - columns["value_targets"]).square()
        loss = (
            -torch.min(gained * ratio, gained * clipped)
            + learning.value_loss_coeff * value_loss
            - self.stage.entropy_coeff[group] * policy.entropy()
        ).mean()
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(module.parameters(), learning.grad_clip)
        optimizer.step()
