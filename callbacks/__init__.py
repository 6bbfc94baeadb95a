"""RLlib callbacks that carry the curriculum to environments, learners and checkpoints; one file, one duty.

They work with `EconomyPPO` and with RLlib's stock PPO on `RBCEnv` alike: give `curriculum_callbacks(curriculum)` to
the algorithm's config.
"""

from functools import partial
from typing import Any

from callbacks.action_range_annealing import ActionRangeAnnealing
from callbacks.penalty_annealing import PenaltyAnnealing
from callbacks.staged_training import StagedTraining
from rbc_rllib.curriculum import Curriculum

__all__ = ["ActionRangeAnnealing", "PenaltyAnnealing", "StagedTraining", "curriculum_callbacks"]


def curriculum_callbacks(curriculum: Curriculum) -> list[Any]:
    """Makers of all three callbacks, for `AlgorithmConfig.callbacks(callbacks_class=...)`."""
    return [partial(callback, curriculum) for callback in (ActionRangeAnnealing, PenaltyAnnealing, StagedTraining)]
