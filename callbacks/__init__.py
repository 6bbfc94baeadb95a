"""RLlib callbacks that carry the curriculum to environments, learners and checkpoints; one file, one duty.

They work with `EconomyPPO` and with RLlib's stock PPO on `RBCEnv` alike, where the learner is a `StagedLearner`: give
`curriculum_callbacks(experiment)` to the algorithm's config. Only the firms' debt, on which dual ascent raises the
no-Ponzi penalty, is told by the runner of `EconomyPPO` alone: with stock PPO that penalty stays as it begins.
"""

from functools import partial
from typing import Any

from callbacks.action_range_annealing import ActionRangeAnnealing
from callbacks.penalty_annealing import PenaltyAnnealing
from callbacks.staged_training import StagedTraining
from rbc_rllib.experiment import ExperimentConfig

__all__ = ["ActionRangeAnnealing", "PenaltyAnnealing", "StagedTraining", "curriculum_callbacks"]


def curriculum_callbacks(experiment: ExperimentConfig) -> list[Any]:
    """Makers of all three callbacks, for `AlgorithmConfig.callbacks(callbacks_class=...)`."""
    curriculum, policies, frozen = experiment.curriculum, experiment.policies, experiment.frozen_policies
    return [
        partial(ActionRangeAnnealing, curriculum),
        partial(PenaltyAnnealing, curriculum, policies),
        partial(StagedTraining, curriculum, policies, frozen),
    ]
