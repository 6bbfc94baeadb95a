"""`Suggestions`: configurations by Optuna, each trained with every seed before Optuna hears of it."""

import json
import math
import warnings
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import optuna
from ray.tune.search import Searcher
from ray.tune.search.optuna import OptunaSearch
from ray.tune.search.sample import Domain

from rbc_rllib.economy.indicators import is_trivial
from rbc_rllib.runs.seeds_together import WELFARE
from rbc_rllib.runs.trial import GAIN_ITERATIONS
from rbc_rllib.search import GAIN, Search, counted, highest, lowest
from rbc_rllib.settings import ConfigError

DEAD_EPISODES = "economy/trivial_share"
DIRECTIONS = {
    "welfare": optuna.study.StudyDirection.MAXIMIZE,
    "dead_share": optuna.study.StudyDirection.MINIMIZE,
    "gain": optuna.study.StudyDirection.MINIMIZE,
}
RANDOM_DRAWS = 10  # at most, before the first that follows from others; Optuna's own default

Outcome = dict[str, float] | None
"""What a seed reported in the end, by path; None where it failed."""


class Suggestions(Searcher):
    """Repeats each suggestion once for every experiment, that is seed, and goes on from means over seeds.

    A seed that fails counts as dead, with the lowest welfare and, as one that died, with the highest gain: nobody gains
    by leaving an economy in which nobody works. None is left out. What was suggested and what came of
    it is all the state, and a suggestion follows from that and the search's seed: a restored search goes on with the
    very suggestions of one that was never interrupted.
    """

    def __init__(
        self, search: Search, experiments: Sequence[dict[str, Any]], space: dict[str, Any], num_samples: int
    ) -> None:
        super().__init__()
        self.search, self.experiments, self.num_samples = search, list(experiments), num_samples
        self.fixed = {key: value for key, value in space.items() if not _is_drawn(value)}
        self.space = distributions({key: value for key, value in space.items() if key not in self.fixed})
        # Of each suggestion: its values, the trial of each seed (None: not made yet), and what came of them.
        self.suggested: list[dict[str, Any]] = []

    def set_search_properties(self, metric: str | None, mode: str | None, config: dict[str, Any], **_: Any) -> bool:
        """Everything is known already."""
        return True

    def suggest(self, trial_id: str) -> dict[str, Any] | str | None:
        """The config of a trial: a suggestion with a seed that is due, or a new one; None while it is too early."""
        if not any(None in each["trials"] for each in self.suggested):
            if len(self.suggested) == self.num_samples:
                return Searcher.FINISHED
            if sum(not self._is_over(each) for each in self.suggested) >= self.search.at_once:
                return None
            trials = [None] * len(self.experiments)
            self.suggested.append({"values": self._next_values(), "trials": trials, "outcomes": {}})
        draw, own = next((draw, each) for draw, each in enumerate(self.suggested) if None in each["trials"])
        place = own["trials"].index(None)
        own["trials"][place] = trial_id
        config = {"experiment": self.experiments[place], "values": {**self.fixed, **own["values"]}, "draw": draw}
        return config | ({GAIN_ITERATIONS: self.search.gain_iterations} if "gain" in self.search.objectives else {})

    def forget_all_but(self, trial_ids: Collection[str]) -> None:
        """Make other trials again: a driver that is killed may have saved them here and not yet among its trials."""
        for each in self.suggested:
            each["trials"] = [trial if trial in trial_ids else None for trial in each["trials"]]
            each["outcomes"] = {trial: outcome for trial, outcome in each["outcomes"].items() if trial in trial_ids}

    def on_trial_complete(self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False) -> None:
        """Keep what came of a seed; of one that failed and was then resumed, what came of it then."""
        report = {} if error or result is None else result
        known = {name: float(report.get(name, math.nan)) for name in (WELFARE, DEAD_EPISODES, GAIN)}
        outcome = {name: value for name, value in known.items() if math.isfinite(value)}
        for each in self.suggested:
            if trial_id in each["trials"]:
                each["outcomes"][trial_id] = outcome if WELFARE in outcome else None

    def save(self, checkpoint_path: str) -> None:
        """Write the state as JSON."""
        Path(checkpoint_path).write_text(json.dumps(self.suggested))

    def restore(self, checkpoint_path: str) -> None:
        """Read it."""
        self.suggested = json.loads(Path(checkpoint_path).read_text())
        for each in self.suggested:
            each["values"] = {key: _chosen(self.space[key], value) for key, value in each["values"].items()}

    def objectives(self) -> list[list[float] | None]:
        """What Optuna hears of each suggestion, in the order of the search's objectives; None while a seed trains."""
        everything: list[Outcome] = [outcome for each in self.suggested for outcome in each["outcomes"].values()]
        floor, ceiling = lowest(_each(WELFARE, everything)), highest(_each(GAIN, everything))
        heard: list[list[float] | None] = []
        for each in self.suggested:
            own: list[Outcome] = list(each["outcomes"].values())
            if self._is_over(each):
                values: dict[str, list[Any]] = {
                    "welfare": counted(_each(WELFARE, own), floor),
                    "dead_share": [is_trivial(share) for share in counted(_each(DEAD_EPISODES, own), 1.0)],
                    "gain": counted(_each(GAIN, own), ceiling),
                }
                heard.append([float(np.mean(values[name])) for name in self.search.objectives])
            else:
                heard.append(None)
        return heard

    def _is_over(self, suggestion: dict[str, Any]) -> bool:
        return len(suggestion["outcomes"]) == len(self.experiments)

    def _next_values(self) -> dict[str, Any]:
        optuna.logging.set_verbosity(optuna.logging.WARNING)
        draw = np.random.SeedSequence([self.search.seed, len(self.suggested)]).generate_state(1)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # counting what is in training as bad is experimental in Optuna
            sampler = optuna.samplers.TPESampler(
                n_startup_trials=min(RANDOM_DRAWS, math.ceil(self.num_samples / 3)),
                constant_liar=True,
                seed=int(draw[0]),
            )
        study = optuna.create_study(directions=[DIRECTIONS[name] for name in self.search.objectives], sampler=sampler)
        for each, values in zip(self.suggested, self.objectives(), strict=True):
            state = optuna.trial.TrialState.RUNNING if values is None else optuna.trial.TrialState.COMPLETE
            study.add_trial(
                optuna.trial.create_trial(params=each["values"], distributions=self.space, values=values, state=state)
            )
        return study.ask(self.space).params


def _each(name: str, outcomes: Sequence[Outcome]) -> list[float | None]:
    return [None if outcome is None else outcome.get(name) for outcome in outcomes]


def _chosen(distribution: optuna.distributions.BaseDistribution, value: Any) -> Any:
    """A value that was drawn, from what JSON, which knows no tuples, has kept of it."""
    choices = getattr(distribution, "choices", (value,))
    return next(choice for choice in choices if json.dumps(choice) == json.dumps(value))


def _is_drawn(value: Any) -> bool:
    return isinstance(value, Domain) or (isinstance(value, dict) and "grid_search" in value)


def distributions(space: dict[str, Any]) -> dict[str, optuna.distributions.BaseDistribution]:
    """Tune's domains as Optuna's; raises `ConfigError` where Optuna has no such domain."""
    converted: dict[str, optuna.distributions.BaseDistribution] = {}
    for key, domain in space.items():
        try:
            converted |= OptunaSearch.convert_search_space({key: domain})
        except ValueError as error:
            rule = f"Optuna cannot draw from it ({error})"
            raise ConfigError(
                f"search_space.{key}", str(domain), rule, "take uniform, loguniform, randint or choice"
            ) from None
    return converted
