"""TensorBoard: what trials report in groups of its own, over env steps, and what an evaluation adds."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from ray.tune.logger import TBXLoggerCallback
from tensorboardX import SummaryWriter

from rbc_rllib.economy.planner import Rates
from rbc_rllib.runs.reports import numbers
from rbc_rllib.runs.trial import experiment_of

EVALUATION = ".evaluation"
"""Ends the name of the event file that an evaluation writes."""


class TensorBoard(TBXLoggerCallback):
    """Tune's, but for its tags: such as `economy/price`, where Tune's all begin with `ray/tune`; the stage is text."""

    def __init__(self) -> None:
        super().__init__()
        self._stages: dict[str, str] = {}

    def log_trial_result(self, iteration: int, trial: Any, result: dict) -> None:
        """Write a report."""
        writer, steps, stage = self._trial_writer[trial], result["env_steps"], result["curriculum_stage"]
        values = numbers(result, experiment_of(trial.config))
        for tag, value in values.items():
            writer.add_scalar(tag, value, steps)
        if self._stages.get(trial.trial_id) != stage:
            writer.add_text("curriculum/stage", stage, steps)
            self._stages[trial.trial_id] = stage
        writer.flush()
        self._trial_result[trial] = values  # Tune writes the last one beside the sampled values


def add_evaluation(folder: Path, steps: int, rollout: np.ndarray, plan: str, rates: Sequence[Rates]) -> None:
    """Show what an evaluation after `steps` env steps found, in place of an earlier one: the picture of the roll-out,
    `[H, W, RGBA]`, and the announced plan, if any, in words and by its rates from the second quarter on."""
    for earlier in folder.glob(f"events.out.tfevents.*{EVALUATION}"):
        earlier.unlink()
    with SummaryWriter(str(folder), filename_suffix=EVALUATION) as writer:
        writer.add_image("rollout", rollout, steps, dataformats="HWC")
        if rates:
            writer.add_text("announced_plan/rates", plan, steps)
        for quarter, (income, corporate) in enumerate(rates, start=2):
            writer.add_scalar("announced_plan/income_tax_rate", income, quarter)
            writer.add_scalar("announced_plan/corporate_tax_rate", corporate, quarter)
