"""Where an iteration of `EconomyPPO` spends its time: economy, networks, update, or RLlib around them."""

import time
from contextlib import ExitStack
from typing import Any

import torch
from ray.rllib.algorithms.ppo.torch import ppo_torch_learner
from ray.rllib.algorithms.ppo.torch.ppo_torch_learner import PPOTorchLearner
from ray.rllib.core.learner.learner_group import LearnerGroup
from ray.rllib.core.rl_module.multi_rl_module import MultiRLModule
from ray.rllib.utils.metrics.metrics_logger import MetricsLogger

from benchmarks.timing import Clock, PartTimer
from rbc_rllib.play.distribution import MultiHeadCategorical
from rbc_rllib.play.modules import GroupModule
from rbc_rllib.play.vector_economy import VectorEconomy
from rbc_rllib.training import algorithm, batch, env_runner
from rbc_rllib.training.algorithm import EconomyPPO
from rbc_rllib.training.env_runner import BatchedEnvRunner

UPDATE = "update: forward, loss, backward, Adam"
RLLIB = "RLlib: minibatches, metrics, all else"

PARTS: dict[str, list[tuple[Any, str]]] = {
    "economy: step": [(VectorEconomy, "step")],
    "economy: observations": [(VectorEconomy, "observe")],
    "sampling: forward": [(GroupModule, "trunk"), (GroupModule, "logits"), (GroupModule, "compute_values")],
    "sampling: choice of actions": [(MultiHeadCategorical, "sample"), (MultiHeadCategorical, "logp")],
    "sampling: all else": [(env_runner, "play")],
    "batch: advantages": [(batch, "advantages"), (algorithm, "standardise")],
    "batch: rows": [(env_runner, "batch_of")],
    "indicators and checks": [(BatchedEnvRunner, "_log")],
    UPDATE: [
        (GroupModule, "_forward_train"),
        (PPOTorchLearner, "compute_loss_for_module"),
        (torch.Tensor, "backward"),
        (PPOTorchLearner, "postprocess_gradients_for_module"),
        (torch.optim.Adam, "step"),
    ],
    "weights: to the runner, and whether they are finite": [
        (LearnerGroup, "get_weights"),
        (MultiRLModule, "set_state"),
        (EconomyPPO, "_check_finite"),
    ],
    RLLIB: [
        (EconomyPPO, "training_step"),
        (MetricsLogger, "log_value"),
        (MetricsLogger, "log_dict"),
        (ppo_torch_learner, "explained_variance"),
    ],
}
"""The functions whose time, less that of functions listed within them, belongs to each part."""


def time_by_part(algorithm: EconomyPPO, iterations: int, clock: Clock = time.perf_counter) -> dict[str, float]:
    """Each part's share of `iterations` training steps; the shares sum to 1."""
    timer = PartTimer(clock)
    with ExitStack() as patches:
        for part, functions in PARTS.items():
            for owner, function in functions:
                # The learner calls modules and distributions too: there they are part of the update.
                within = () if part == RLLIB else (UPDATE,)
                patches.enter_context(timer.patch(owner, function, part, within))
        for _ in range(iterations):
            algorithm.training_step()
    total = sum(timer.seconds.values())
    return {part: timer.seconds[part] / total for part in PARTS}
