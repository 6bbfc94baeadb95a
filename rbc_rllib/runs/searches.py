"""A sweep's search as Tune's objects: who draws, who stops early, and whose state is saved with the run."""

from copy import deepcopy
from dataclasses import dataclass, replace
from typing import Any

from ray import tune
from ray.tune.utils import flatten_dict

from rbc_rllib.experiment import Sweep
from rbc_rllib.runs.population import Population
from rbc_rllib.runs.seeds_together import SeedsTogether
from rbc_rllib.runs.suggestions import Suggestions
from rbc_rllib.search import AT_ONCE, Search
from rbc_rllib.settings import ConfigError

KEPT_CHECKPOINTS = 4  # the newest ones of each trial


class Remembered(tune.Callback):
    """Saves a scheduler's state with the run, which Tune itself forgets."""

    def __init__(self, scheduler: SeedsTogether | Population) -> None:
        self.scheduler = scheduler

    def get_state(self) -> dict[str, Any]:
        """The scheduler's."""
        return self.scheduler.get_state()

    def set_state(self, state: dict[str, Any]) -> None:
        """Into the scheduler."""
        self.scheduler.set_state(state)


class KnownTrials(tune.Callback):
    """Tells suggestions, when a run starts or is resumed, which of their trials there are and what came of them: the
    files of a snapshot that was cut off may be of different age."""

    def __init__(self, suggestions: Suggestions) -> None:
        self.suggestions = suggestions
        self._told = False

    def on_step_begin(self, iteration: int, trials: list[Any], **_: Any) -> None:
        """In the first step."""
        if not self._told:
            self._told = True
            self.suggestions.forget_all_but({trial.trial_id for trial in trials})
            for trial in trials:
                if trial.status == "TERMINATED":
                    self.suggestions.on_trial_complete(trial.trial_id, flatten_dict(trial.last_result))


@dataclass(frozen=True)
class TuneParts:
    """What a search is made of."""

    param_space: dict[str, Any]
    tune_config: dict[str, Any]
    callbacks: tuple[tune.Callback, ...] = ()
    kept_checkpoints: int | None = KEPT_CHECKPOINTS


def at_once(sweep: Sweep, trials: int) -> Sweep:
    """The same sweep with at most so many trials at the same time; raises `ConfigError` for fewer than one."""
    if trials < 1:
        rule = "it must be 1 or more"
        raise ConfigError("--at-once", trials, rule, "leave it out to run as many as there is room for")
    return replace(sweep, tune_config={**sweep.tune_config, AT_ONCE: trials})


def tune_parts(sweep: Sweep) -> TuneParts:
    """The parts of Tune that search as the sweep says.

    Raises `ConfigError` where the search cannot draw from a domain.
    """
    search, grid = sweep.search, param_space(sweep)
    experiments, values = grid["experiment"]["grid_search"], grid["values"]
    settings = {"num_samples": sweep.num_samples, **deepcopy(sweep.tune_config)}
    draws = tune.search.BasicVariantGenerator(
        constant_grid_search=True,
        random_state=(search or Search()).seed,
        max_concurrent=settings.get(AT_ONCE) or 0,  # Tune limits a searcher, but no draws that it is given
    )
    settings.setdefault("search_alg", draws)
    if search is None or search.kind == "random":
        # Every checkpoint of a deviator is a response, and is kept where it saved others as it was interrupted.
        deviating = any(experiment.deviation for experiment in sweep.experiments)
        return TuneParts(grid, settings, kept_checkpoints=None if deviating else KEPT_CHECKPOINTS)
    total = sweep.experiments[0].curriculum.total_env_steps
    if search.kind == "asha":
        together = SeedsTogether(len(experiments), total, search.judged_from, search.reduction_factor)
        return TuneParts(grid, settings | {"scheduler": together}, (Remembered(together),))
    if search.kind == "optuna":
        searcher = Suggestions(search, experiments, values, sweep.num_samples)
        # It says itself when it has made all trials.
        return TuneParts({}, settings | {"search_alg": searcher, "num_samples": -1}, (KnownTrials(searcher),))
    population = Population(values, max(1, round(search.interval * total)))
    # A member may go on from any checkpoint of another one.
    space, kept = {"experiment": experiments[0], "values": values}, None
    return TuneParts(space, settings | {"scheduler": population}, (Remembered(population),), kept)


def param_space(sweep: Sweep) -> dict[str, Any]:
    """Tune's view of a sweep, the config of each trial once Tune has drawn."""
    complete = [experiment.model_dump(mode="json", exclude_unset=True) for experiment in sweep.experiments]
    return {"experiment": tune.grid_search(complete), "values": dict(sweep.search_space)}
