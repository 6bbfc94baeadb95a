"""What a run shows of its trials: a line now and then, and each one's complete config in its folder."""

import time
from pathlib import Path
from typing import Any

from ray import tune

from rbc_rllib.experiment import ExperimentConfig
from rbc_rllib.runs.trial import experiment_of

SECONDS_BETWEEN_LINES = 10.0


class ConfigFile(tune.Callback):
    """Writes each trial's complete config into its folder when it starts."""

    def on_trial_start(self, iteration: int, trials: list[Any], trial: Any, **_: Any) -> None:
        """Write `config.json`."""
        folder = Path(trial.path)
        folder.mkdir(parents=True, exist_ok=True)
        experiment_of(trial.config).to_json(folder / "config.json")


class ProgressLines(tune.Callback):
    """Prints a line for a trial that has something new to tell, every few seconds."""

    def __init__(self) -> None:
        self._printed: dict[str, float] = {}

    def __reduce__(self) -> Any:
        return ProgressLines, ()  # a restored run begins to count anew

    def on_trial_result(self, iteration: int, trials: list[Any], trial: Any, result: dict, **_: Any) -> None:
        """Print the line, unless the trial has just had one."""
        last = self._printed.get(trial.trial_id, float("-inf"))
        if time.monotonic() - last < SECONDS_BETWEEN_LINES and not result["done"]:
            return
        self._printed[trial.trial_id] = time.monotonic()
        print(progress_line(str(trial), result, experiment_of(trial.config)), flush=True)


def progress_line(name: str, result: dict[str, Any], experiment: ExperimentConfig) -> str:
    """Where a trial stands, in one line."""
    economy = result["economy"]
    done = experiment.curriculum.progress(result["env_steps"])
    minutes, seconds = divmod(round(result["seconds_left"]), 60)
    return (
        f"{name} {done:4.0%} {result['curriculum_stage']}: "
        f"welfare {economy['social_welfare']:.1f}, hours {economy['hours']:.0f}, "
        f"price {economy['price']:.0f}, wage {economy['wage']:.1f}, "
        f"taxes {economy['income_tax_rate']:.0%} income {economy['corporate_tax_rate']:.0%} corporate, "
        f"{result['agent_steps_per_second']:,.0f} agent-steps/s, {minutes}:{seconds:02d} left"
    )
