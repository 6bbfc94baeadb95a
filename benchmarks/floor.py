"""The floor under one iteration: the floating-point operations of its layers, at the speed of a large matrix product.

Counted are the multiplications and additions of the linear layers, two for each weight and agent, and nothing else:
no economy, no activation, no distribution, no optimizer. Nothing that uses these networks in float32 is faster.
"""

import time

import torch

from rbc_rllib.economy import GROUPS
from rbc_rllib.economy.actions import group_sizes, head_sizes
from rbc_rllib.economy.observations import private_sizes, shared_size
from rbc_rllib.experiment import ExperimentConfig
from rbc_rllib.play.process import multiply_with_onednn

MATRIX_SIZE = 1024


def operations(experiment: ExperimentConfig) -> dict[str, int]:
    """Floating-point operations of one iteration, all groups in training: `sampling` and `learning`.

    A forward pass multiplies by every weight once; the backward pass once for the weights' gradients and, except in
    the first layer, once for the inputs' gradients.
    """
    learning, economy = experiment.learning, experiment.economy
    encodings = learning.observation_encodings
    first, second = learning.hidden_sizes
    sampling = training = 0
    for group in GROUPS:
        acting = group_sizes(economy)[group]
        trained = min(acting, learning.trained_consumers or acting) if group == "consumer" else acting
        shared = shared_size(economy, encodings) * first  # weights used once for all agents of an economy
        private = private_sizes(economy, encodings)[group] * first
        hidden, policy, value = first * second, second * sum(head_sizes(economy)[group]), second
        sampling += shared + acting * (private + hidden + policy) + trained * value
        forward = shared + trained * (private + hidden + policy + value)
        training += 2 * forward + trained * (hidden + policy + value)
    rows = 2 * experiment.env_steps_per_update
    return {"sampling": rows * sampling, "learning": rows * learning.num_epochs * training}


def peak_speed(seconds: float = 1.0) -> float:
    """Floating-point operations per second of the fastest of many float32 matrix products, on torch's threads."""
    multiply_with_onednn()
    one, other = torch.rand(2, MATRIX_SIZE, MATRIX_SIZE)
    out = torch.empty_like(one)
    fastest, end = float("inf"), time.perf_counter() + seconds
    while time.perf_counter() < end:
        start = time.perf_counter()
        torch.mm(one, other, out=out)
        fastest = min(fastest, time.perf_counter() - start)
    return 2 * MATRIX_SIZE**3 / fastest
