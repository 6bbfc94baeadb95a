"""What running trials report, as metrics of Ray: for Prometheus, and for `cluster/grafana_dashboard.json`."""

import time
from typing import Any

from ray import tune
from ray.util.metrics import Gauge

from rbc_rllib.runs.reports import numbers
from rbc_rllib.runs.trial import experiment_of

PREFIX = "rbc_rllib_"
OF_THE_RUN = ("run/progress", "run/agent_steps_per_second")
SECONDS_BETWEEN = 5.0
"""Ray forgets a gauge that has not been set for two of its reports, which are 10 seconds apart."""


class Gauges(tune.Callback):
    """Sets a gauge `rbc_rllib_<indicator>` for each indicator of the economy, and for progress and speed, tagged with
    sweep and trial. Those of a trial that has ended go away by themselves."""

    def __init__(self, sweep: str):
        self._sweep = sweep
        self._gauges: dict[str, Gauge] = {}
        self._last = float("-inf")

    def on_step_end(self, iteration: int, trials: list[Any], **_: Any) -> None:
        """Set those of the running trials, now and then."""
        if time.monotonic() - self._last < SECONDS_BETWEEN:
            return
        self._last = time.monotonic()
        for trial in trials:
            if trial.status == "RUNNING":
                self._set(trial)

    def on_trial_complete(self, iteration: int, trials: list[Any], trial: Any, **_: Any) -> None:
        """Set what a trial came to."""
        self._set(trial)

    def _set(self, trial: Any) -> None:
        if "env_steps" not in (trial.last_result or {}):
            return
        tags = {"sweep": self._sweep, "trial": str(trial)}
        for path, value in numbers(trial.last_result, experiment_of(trial.config)).items():
            part, _, name = path.partition("/")
            if part == "economy" or path in OF_THE_RUN:
                self._gauge(name).set(value, tags)

    def _gauge(self, name: str) -> Gauge:
        if name not in self._gauges:
            words = f"{name.replace('_', ' ')} in the last iteration"
            self._gauges[name] = Gauge(f"{PREFIX}{name}", words, ("sweep", "trial"))
        return self._gauges[name]
