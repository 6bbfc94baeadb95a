"""`PenaltyAnnealing`: raises the disutility of labor, lowers the entropy bonus, and prices the firms' debt."""

from collections.abc import Mapping
from functools import partial
from typing import Any

from ray.rllib.utils.metrics import ENV_RUNNER_RESULTS

from callbacks.stage_callback import Change, StageCallback
from rbc_rllib.curriculum import Curriculum, CurriculumStage
from rbc_rllib.play.vector_economy import VectorEconomy
from rbc_rllib.training.metric_keys import ECONOMY, PENALTY_INCREASE


class PenaltyAnnealing(StageCallback):
    """Sets labor disutility and no-Ponzi penalty in environments, entropy coefficients in learners.

    The no-Ponzi penalty is found by dual ascent: after each iteration, coefficient += debt_penalty_step * mean debt
    of a firm at its last decision. It is training state: its increments are a lifetime sum among the algorithm's
    metrics, so it is reported, saved in checkpoints and restored with them. RLlib's own runner reports no debt.
    `policies` says for which group each policy acts.
    """

    def __init__(self, curriculum: Curriculum, policies: Mapping[str, str]):
        super().__init__(curriculum)
        self.policies = dict(policies)

    def change_economy(self, stage: CurriculumStage, algorithm: Any) -> Change:
        """Set the stage's labor disutility and the present penalty."""
        return partial(
            VectorEconomy.anneal,
            labor_disutility_scale=stage.labor_disutility_scale,
            penalty_increase=self.penalty_increase(algorithm),
        )

    def change_learner(self, stage: CurriculumStage) -> Change:
        """Set the stage's entropy coefficients."""
        coefficients = {policy: stage.entropy_coeff[group] for policy, group in self.policies.items()}
        return partial(set_entropy, coefficients=coefficients)

    def on_train_result(self, *, algorithm: Any, result: dict[str, Any], **_: Any) -> None:
        """Dual ascent on the mean debt, then the stage of the next iteration."""
        debt = result.get(ENV_RUNNER_RESULTS, {}).get(ECONOMY, {}).get("firm_debt", 0.0)
        if self.curriculum.annealed_debt_penalty:
            step = self.curriculum.debt_penalty_step * float(debt)
            algorithm.metrics.log_value(PENALTY_INCREASE, step, reduce="lifetime_sum")
        super().on_train_result(algorithm=algorithm, result=result)

    @staticmethod
    def penalty_increase(algorithm: Any) -> float:
        """What dual ascent has added so far to the economy's `penalty_coefficient`."""
        return float(algorithm.metrics.peek(PENALTY_INCREASE, default=0.0))


def set_entropy(learner: Any, coefficients: dict[str, float]) -> None:
    """Set the entropy coefficients, by policy, of a `StagedLearner` from its next update on."""
    learner.entropy_coefficients = coefficients
