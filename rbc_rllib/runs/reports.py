"""What a trial tells those who watch it: flat names, plain numbers."""

import math
from typing import Any

from ray.tune.utils import flatten_dict

from rbc_rllib.experiment import ExperimentConfig

PARTS = ("economy", "curriculum", "learning", "gain")
RUN = ("env_steps", "agent_steps_per_second", "seconds_left")


def numbers(result: dict[str, Any], experiment: ExperimentConfig) -> dict[str, float]:
    """Every finite number of a report by its path, such as `economy/price` or `learning/firm/entropy`.

    What is about the run itself is in `run/`; what Tune has added is left out.
    """
    run = {"progress": experiment.curriculum.progress(result["env_steps"]), **{name: result[name] for name in RUN}}
    values = flatten_dict({**{part: result[part] for part in PARTS if part in result}, "run": run})
    return {name: float(value) for name, value in values.items() if math.isfinite(value)}


def settings(experiment: ExperimentConfig) -> dict[str, Any]:
    """Every setting by its dotted key, as `--set` takes it."""
    return flatten_dict(experiment.model_dump(mode="json"), delimiter=".")
