"""`ActionRangeAnnealing`: widens the ranges of prices, wages and tax rates that agents may choose from."""

from functools import partial
from typing import Any

from callbacks.stage_callback import Change, StageCallback
from rbc_rllib.curriculum import CurriculumStage
from rbc_rllib.play.vector_economy import VectorEconomy


class ActionRangeAnnealing(StageCallback):
    """Sets the allowed ranges in every environment; agents see them as action masks."""

    def change_economy(self, stage: CurriculumStage, algorithm: Any) -> Change:
        """Allow the stage's ranges, and draw plans as sharply as it says."""
        return partial(VectorEconomy.restrict, ranges=stage.ranges, plan_sharpness=stage.plan_sharpness)
