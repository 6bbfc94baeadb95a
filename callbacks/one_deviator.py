"""`OneDeviator`: one policy learns, a group's or a single agent's; all others act and stay as they are."""

from functools import partial
from typing import Any

from callbacks.penalty_annealing import set_entropy
from callbacks.stage_callback import Change, StageCallback
from callbacks.staged_training import train_only
from rbc_rllib.curriculum import Curriculum, CurriculumStage
from rbc_rllib.experiment import Deviation


class OneDeviator(StageCallback):
    """Has learners update the deviator's policy only, with its group's entropy coefficient."""

    def __init__(self, curriculum: Curriculum, deviation: Deviation):
        super().__init__(curriculum)
        self.deviation = deviation

    def change_learner(self, stage: CurriculumStage) -> Change:
        """Train the deviator only."""
        coefficient = stage.entropy_coeff[self.deviation.group]
        return partial(_train_deviator, policy=self.deviation.policy, entropy_coeff=coefficient)


def _train_deviator(learner: Any, policy: str, entropy_coeff: float) -> None:
    train_only(learner, (policy,))
    set_entropy(learner, {policy: entropy_coeff})
