"""How a curriculum stage reaches environments and learners, whatever the runner and wherever they live."""

from collections.abc import Callable
from functools import partial
from typing import Any

from ray.rllib.callbacks.callbacks import RLlibCallback

from rbc_rllib.curriculum import Curriculum, CurriculumStage
from rbc_rllib.training.algorithm import lifetime_env_steps
from rbc_rllib.training.rllib_internals import economies_of

Change = Callable[[Any], None]


class StageCallback(RLlibCallback):
    """Applies the stage of the moment; subclasses say what of it.

    The stage is a function of the algorithm's lifetime env steps alone. It is applied when the algorithm is built,
    after every iteration and when a checkpoint was loaded, so nothing is lost with a restore. RLlib's own evaluations
    see the final stage, at the no-Ponzi penalty that training has come to.
    """

    def __init__(self, curriculum: Curriculum):
        super().__init__()
        self.curriculum = curriculum

    def change_economy(self, stage: CurriculumStage, algorithm: Any) -> Change | None:
        """What to do to every `VectorEconomy`; a picklable function, or None."""
        return None

    def change_learner(self, stage: CurriculumStage) -> Change | None:
        """What to do to every learner; a picklable function, or None."""
        return None

    def apply(self, algorithm: Any) -> None:
        """Bring environments and learners to the present stage."""
        stage = self.curriculum.at(lifetime_env_steps(algorithm))
        self._change_economies(algorithm, algorithm.env_runner_group, stage)
        change = self.change_learner(stage)
        if change is not None:
            algorithm.learner_group.foreach_learner(change)

    def _change_economies(self, algorithm: Any, runners: Any, stage: CurriculumStage) -> None:
        change = self.change_economy(stage, algorithm)
        if change is not None and runners is not None:
            runners.foreach_env_runner(partial(_for_each_economy, change=change))

    def on_algorithm_init(self, *, algorithm: Any, **_: Any) -> None:
        """The first stage."""
        self.apply(algorithm)

    def on_train_result(self, *, algorithm: Any, result: dict[str, Any], **_: Any) -> None:
        """The stage of the next iteration."""
        self.apply(algorithm)

    def on_checkpoint_loaded(self, *, algorithm: Any, **_: Any) -> None:
        """The stage in which the checkpoint was written."""
        self.apply(algorithm)

    def on_evaluate_start(self, *, algorithm: Any, **_: Any) -> None:
        """Policies are judged in the final stage."""
        runners = algorithm.eval_env_runner_group or algorithm.env_runner_group
        self._change_economies(algorithm, runners, self.curriculum.final())

    def on_evaluate_end(self, *, algorithm: Any, **_: Any) -> None:
        """Back to the present stage, where the training runners did the evaluation."""
        self.apply(algorithm)


def _for_each_economy(env_runner: Any, change: Change) -> None:
    for economy in economies_of(env_runner):
        change(economy)
