"""`PenaltyAnnealing`: raises the disutility of labor, lowers the entropy bonus, and prices the firms' debt."""

from functools import partial
from typing import Any

from ray.rllib.utils.metrics import ENV_RUNNER_RESULTS
from ray.rllib.utils.schedules.scheduler import Scheduler

from callbacks.stage_callback import Change, StageCallback
from rbc_rllib.curriculum import CurriculumStage
from rbc_rllib.env_runner import ECONOMY_RESULTS
from rbc_rllib.vector_economy import VectorEconomy

PENALTY_COEFFICIENT = "penalty_coefficient"


class PenaltyAnnealing(StageCallback):
    """Sets labor disutility and no-Ponzi penalty in environments, entropy coefficients in learners.

    The no-Ponzi penalty is found by dual ascent: after each iteration, coefficient += debt_penalty_step * mean debt
    of a firm at its last decision. It is training state: its increments are a lifetime sum among the algorithm's
    metrics, so it is reported, saved in checkpoints and restored with them.
    """

    def change_economy(self, stage: CurriculumStage, algorithm: Any) -> Change:
        """Set the stage's labor disutility and the present penalty."""
        return partial(
            VectorEconomy.anneal,
            labor_disutility_scale=stage.labor_disutility_scale,
            penalty_increase=self.penalty_increase(algorithm),
        )

    def change_learner(self, stage: CurriculumStage) -> Change:
        """Set the stage's entropy coefficients."""
        return partial(set_entropy, coefficients=stage.entropy_coeff)

    def on_train_result(self, *, algorithm: Any, result: dict[str, Any], **_: Any) -> None:
        """Dual ascent on the mean debt, then the stage of the next iteration."""
        debt = result.get(ENV_RUNNER_RESULTS, {}).get(ECONOMY_RESULTS, {}).get("firm_debt", 0.0)
        if self.curriculum.annealed_debt_penalty:
            step = self.curriculum.debt_penalty_step * float(debt)
            algorithm.metrics.log_value(PENALTY_COEFFICIENT, step, reduce="lifetime_sum")
        super().on_train_result(algorithm=algorithm, result=result)

    @staticmethod
    def penalty_increase(algorithm: Any) -> float:
        """What dual ascent has added so far to the economy's `penalty_coefficient`."""
        return float(algorithm.metrics.peek(PENALTY_COEFFICIENT, default=0.0))


def set_entropy(learner: Any, coefficients: dict[str, float]) -> None:
    """Set the entropy coefficients of these policies from now on."""
    for group, coefficient in coefficients.items():
        learner.entropy_coeff_schedulers_per_module[group] = Scheduler(
            fixed_value_or_schedule=coefficient, framework=learner.framework, device=learner.device
        )
