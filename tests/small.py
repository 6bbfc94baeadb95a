"""A small experiment that the tests of the learning side share, and what they ask of algorithms."""

from typing import Any

import numpy as np

from callbacks import curriculum_callbacks
from rbc_rllib.experiment import ExperimentConfig
from rbc_rllib.training.algorithm import EconomyPPO
from rbc_rllib.training.config import algorithm_config

SMALL = ExperimentConfig(name="small").with_values(
    {
        "economy.num_consumers": 6,
        "economy.num_firms": 3,
        "economy.episode_length": 4,
        "curriculum.total_env_steps": 640,
        "learning.economies_per_update": 8,
        "learning.updates_per_iteration": 2,
        "learning.trained_consumers": 3,
    }
)
"""64 env steps an iteration, 10 iterations of training."""


def build(experiment: ExperimentConfig = SMALL) -> EconomyPPO:
    """An algorithm with its curriculum."""
    return algorithm_config(experiment, curriculum_callbacks(experiment)).build_algo()


def weights(algorithm: Any) -> dict[str, dict[str, np.ndarray]]:
    """A copy of the learners' weights by policy."""
    state = algorithm.learner_group.get_weights()
    return {policy: {name: np.array(value) for name, value in values.items()} for policy, values in state.items()}


def changed(before: dict, after: dict) -> set[str]:
    """The policies whose weights differ in any bit."""
    return {
        policy
        for policy in before
        if any(not np.array_equal(before[policy][name], after[policy][name]) for name in before[policy])
    }
