"""`StagedTraining`: says which groups learn; the others act and stay as they are."""

from functools import partial
from typing import Any

from callbacks.stage_callback import Change, StageCallback
from rbc_rllib.curriculum import CurriculumStage


class StagedTraining(StageCallback):
    """Sets the groups that learners update."""

    def change_learner(self, stage: CurriculumStage) -> Change:
        """Train the stage's groups only."""
        return partial(train_only, groups=stage.trainable_groups)


def train_only(learner: Any, groups: tuple[str, ...]) -> None:
    """Have `learner` update these policies only."""
    learner.config.multi_agent(policies_to_train=list(groups))
