"""`StagedTraining`: says which policies learn; the others act and stay as they are."""

from collections.abc import Collection, Mapping
from functools import partial
from typing import Any

from callbacks.stage_callback import Change, StageCallback
from rbc_rllib.curriculum import Curriculum, CurriculumStage


class StagedTraining(StageCallback):
    """Has learners update the policies of the groups in training, but for those that are frozen.

    `policies` says for which group each policy acts.
    """

    def __init__(self, curriculum: Curriculum, policies: Mapping[str, str], frozen: Collection[str]):
        super().__init__(curriculum)
        self.policies = dict(policies)
        self.frozen = frozenset(frozen)

    def change_learner(self, stage: CurriculumStage) -> Change:
        """Train the stage's policies only."""
        in_training = [name for name, group in self.policies.items() if group in stage.trainable_groups]
        return partial(train_only, policies=[name for name in in_training if name not in self.frozen])


def train_only(learner: Any, policies: Collection[str]) -> None:
    """Have a `StagedLearner` update these policies only."""
    learner.trained_policies = policies
