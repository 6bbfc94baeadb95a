"""`SeedsTogether`: stops a configuration early, with all its seeds or with none."""

import json
from itertools import count, takewhile
from types import SimpleNamespace
from typing import Any

from ray.tune.schedulers import AsyncHyperBandScheduler, FIFOScheduler
from ray.tune.utils import flatten_dict

from rbc_rllib.search import counted, lowest

ENV_STEPS, WELFARE = "env_steps", "economy/social_welfare"
"""Names in a trial's report."""


def configuration_of(trial_config: dict[str, Any]) -> str:
    """What the seeds of a configuration have in common, as text."""
    experiment = {key: value for key, value in trial_config["experiment"].items() if key != "seed"}
    return json.dumps([experiment, trial_config["values"]], sort_keys=True, default=str)


class SeedsTogether(FIFOScheduler):
    """Asks Tune's ASHA about configurations, each of `num_seeds` trials, at milestones in env steps.

    A trial that has come to a milestone waits there, paused, until all seeds of its configuration have come to it or
    failed. Then ASHA is asked once, about the mean of their welfare, and all of them go on or all of them stop.
    """

    def __init__(self, num_seeds: int, total_env_steps: int, judged_from: float, reduction_factor: float) -> None:
        super().__init__()
        first = max(1, round(judged_from * total_env_steps))
        rungs = takewhile(lambda rung: rung < total_env_steps, (first * reduction_factor**k for k in count()))
        self._rungs = {round(rung): rung for rung in rungs}  # ASHA's own need not be whole
        self.milestones = list(self._rungs)
        self.num_seeds = num_seeds
        self._asha = AsyncHyperBandScheduler(
            ENV_STEPS, WELFARE, "max", max_t=total_env_steps, grace_period=first, reduction_factor=reduction_factor
        )
        # Welfare by milestone, configuration and seed; and the pairs of milestone and configuration that are judged.
        self._reported: dict[int, dict[str, dict[int, float]]] = {milestone: {} for milestone in self.milestones}
        self._judged: set[tuple[int, str]] = set()
        self._stopped: set[str] = set()
        self._failed: set[tuple[str, int]] = set()
        self._added: set[str] = set()  # trials, in this process

    def on_trial_add(self, tune_controller: Any, trial: Any) -> None:
        """A trial that failed and is added again, by a retry or when a run is resumed, has its chance.

        In a resumed run one that waits goes on waiting: Tune would start all that have not ended. What ended after the
        state was saved, which then nobody says again, is noted.
        """
        if trial.status == "TERMINATED":
            self._note(trial, flatten_dict(trial.last_result))
            return
        self._failed.discard(_names(trial))
        restored = trial.trial_id not in self._added
        self._added.add(trial.trial_id)
        if restored and (self._waits(trial) or _names(trial)[0] in self._stopped):
            trial.set_status("PAUSED")

    def on_trial_result(self, tune_controller: Any, trial: Any, result: dict[str, Any]) -> str:
        """Stop where the configuration is stopped, pause where it is not judged yet."""
        self._note(trial, result)
        if _names(trial)[0] in self._stopped:
            return self.STOP
        return self.PAUSE if self._waits(trial) else self.CONTINUE

    def on_trial_complete(self, tune_controller: Any, trial: Any, result: dict[str, Any]) -> None:
        """The last report, which is not asked about, may be beyond a milestone too."""
        self._note(trial, result)

    def on_trial_error(self, tune_controller: Any, trial: Any) -> None:
        """Nobody waits for a seed that has failed, unless it is added again at once."""
        self._failed.add(_names(trial))

    def choose_trial_to_run(self, tune_controller: Any) -> Any:
        """The first trial that is not started, then the first that waits for nobody any more.

        Those that wait and whose configuration has been stopped are stopped here, where none is being saved.
        """
        for configuration, _ in self._failed:
            for milestone in self.milestones:
                self._judge(milestone, configuration)
        paused = [trial for trial in tune_controller.get_trials() if trial.status == "PAUSED"]
        for trial in [trial for trial in paused if _names(trial)[0] in self._stopped]:
            paused.remove(trial)
            tune_controller.stop_trial(trial)
        pending = [trial for trial in tune_controller.get_trials() if trial.status == "PENDING"]
        return next(iter([*pending, *(trial for trial in paused if not self._waits(trial))]), None)

    def get_state(self) -> dict[str, Any]:
        """What has been reported and judged."""
        return {name: getattr(self, name) for name in ("_asha", "_reported", "_judged", "_stopped", "_failed")}

    def set_state(self, state: dict[str, Any]) -> None:
        """Go on from there."""
        self.__dict__.update(state)

    def _note(self, trial: Any, result: dict[str, Any]) -> None:
        if WELFARE not in result:
            return
        configuration, seed = _names(trial)
        for milestone in self.milestones:
            if result[ENV_STEPS] >= milestone:
                self._reported[milestone].setdefault(configuration, {}).setdefault(seed, result[WELFARE])
                self._judge(milestone, configuration)

    def _judge(self, milestone: int, configuration: str) -> None:
        own = self._reported[milestone].get(configuration, {})
        failed = {seed for name, seed in self._failed if name == configuration} - own.keys()
        if not own or len(own) + len(failed) < self.num_seeds or (milestone, configuration) in self._judged:
            return
        self._judged.add((milestone, configuration))
        everybody = [value for seeds in self._reported[milestone].values() for value in seeds.values()]
        welfare = counted([*own.values(), *(None for _ in failed)], lowest(everybody))
        group = SimpleNamespace(trial_id=configuration)
        if milestone == self.milestones[0]:
            self._asha.on_trial_add(None, group)
        report = {ENV_STEPS: self._rungs[milestone], WELFARE: sum(welfare) / len(welfare)}
        if self._asha.on_trial_result(None, group, report) == self.STOP:
            self._stopped.add(configuration)

    def _waits(self, trial: Any) -> bool:
        configuration, seed = _names(trial)
        reached = [m for m in self.milestones if seed in self._reported[m].get(configuration, {})]
        return bool(reached) and (reached[-1], configuration) not in self._judged


def _names(trial: Any) -> tuple[str, int]:
    return configuration_of(trial.config), int(trial.config["experiment"].get("seed", 0))
