"""Where our metrics lie among RLlib's, and RLlib's names of what we report and check."""

from ray.rllib.core.learner.learner import DEFAULT_OPTIMIZER, ENTROPY_KEY, LR_KEY, POLICY_LOSS_KEY, VF_LOSS_KEY, Learner

ECONOMY = "economy"
"""The indicators of a runner's episodes, below the results of env runners."""

PENALTY_INCREASE = "penalty_coefficient"
"""What dual ascent has added to the no-Ponzi penalty, a lifetime sum."""

TOTAL_LOSS = Learner.TOTAL_LOSS_KEY
GRADIENT_NORM = f"gradients_{DEFAULT_OPTIMIZER}_global_norm"

LEARNING = {
    POLICY_LOSS_KEY: "policy_loss",
    VF_LOSS_KEY: "value_loss",
    ENTROPY_KEY: "entropy",
    GRADIENT_NORM: "gradient_norm",
    f"{DEFAULT_OPTIMIZER}_{LR_KEY}": "learning_rate",
}
"""RLlib's metrics of a learner, and the words that reports have for them."""
