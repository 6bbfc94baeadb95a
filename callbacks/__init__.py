"""RLlib callbacks that carry the curriculum to environments, learners and checkpoints; one file, one duty.

They work with `EconomyPPO` and with RLlib's stock PPO on `RBCEnv` alike: give `curriculum_callbacks(curriculum)` to
the algorithm's config.
"""

from functools import partial
from typing import Any

from callbacks.action_range_annealing import ActionRangeAnnealing
from callbacks.one_deviator import OneDeviator
from callbacks.penalty_annealing import PenaltyAnnealing
from callbacks.staged_training import StagedTraining
from rbc_rllib.curriculum import Curriculum
from rbc_rllib.experiment import Deviation

__all__ = ["ActionRangeAnnealing", "OneDeviator", "PenaltyAnnealing", "StagedTraining", "curriculum_callbacks"]


def curriculum_callbacks(curriculum: Curriculum, deviation: Deviation | None = None) -> list[Any]:
    """Makers of all three callbacks, for `AlgorithmConfig.callbacks(callbacks_class=...)`.

    In a deviation one policy learns, whatever the stage.
    """
    who_learns = partial(OneDeviator, deviation=deviation) if deviation else StagedTraining
    return [partial(callback, curriculum) for callback in (ActionRangeAnnealing, PenaltyAnnealing, who_learns)]
