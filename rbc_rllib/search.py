"""How the search space of a sweep is searched, and how a seed counts that failed."""

import math
from collections.abc import Iterable
from typing import Literal, Self

from pydantic import Field, PositiveInt, model_validator

from rbc_rllib.settings import ConfigError, Settings

AT_ONCE = "max_concurrent_trials"
"""What Tune calls the number of trials that may run at the same time."""

Objective = Literal["welfare", "dead_share", "gain"]

ASKED = "each_firm"
"""Who is asked for the gain: consumers gain little, and nearly all of it by acting with less noise."""

GAIN = f"gain/{ASKED}"
"""The path of that in a report: percent of firms' mean absolute reward."""


ONLY_OF = {
    "judged_from": "asha",
    "reduction_factor": "asha",
    "objectives": "optuna",
    "gain_iterations": "optuna",
    "at_once": "optuna",
    "interval": "population",
}
"""The kind of search that reads a setting, of those that one kind does alone."""


class Search(Settings):
    """A way to look for the configuration with the highest social welfare.

    Seeds repeat a configuration, which is judged by the mean over all of them; one that fails counts as dead
    (`counted`).

    - random: each draw is trained to its end.
    - asha: at `judged_from` of the training, and whenever `reduction_factor` times that is reached, only configurations
      among the best 1 / `reduction_factor` of those judged so far go on (asynchronous successive halving).
    - optuna: a draw follows from what came of those before it (a tree-structured Parzen estimator). With several
      objectives it looks for the configurations that no other beats in all of them: much welfare, few dead seeds, and
      little gain, what a single firm gains at least by leaving the policies that were learned. Each seed that lives
      measures that at the end of its training, by a best response of `gain_iterations`.
    - population: all draws are trained side by side; at each `interval` the worst quarter goes on from policies of the
      best quarter, with their values changed a little (population-based training). A member's values change while it
      learns, and its policies come from others: there is nothing for seeds to repeat. So members have one seed, the
      first experiment's, and the values with which the best member ends are then trained anew with every seed.
    """

    kind: Literal["random", "asha", "optuna", "population"] = "random"
    seed: int = Field(0, ge=0, lt=2**32)  # of the draws; a population changes its values at random without one
    judged_from: float = Field(0.7, gt=0, lt=1)  # asha
    reduction_factor: float = Field(2.0, gt=1)  # asha
    objectives: tuple[Objective, ...] = Field(("welfare",), min_length=1)  # optuna
    gain_iterations: PositiveInt = 40  # optuna: of the training that finds a gain; a longer one finds more of it
    # optuna: configurations in training at a time; one that does not wait for others learns less of them
    at_once: PositiveInt = 1
    interval: float = Field(0.1, gt=0, lt=1)  # population: share of the training

    @model_validator(mode="after")
    def _of_one_kind(self) -> Self:
        for name, kind in ONLY_OF.items():
            value = getattr(self, name)
            if kind != self.kind and value != type(self).model_fields[name].default:
                rule = f"only a search of the kind {kind} reads it, and this one is of the kind {self.kind}"
                raise ConfigError(name, value, rule, f"leave it out, or set kind to {kind}")
        return self


def lowest(welfare: Iterable[float | None]) -> float:
    """The welfare of a seed that failed, given that of all seeds of a search: 0, as where nobody works or consumes, or
    the lowest of any seed where that is less."""
    return min([0.0, *(value for value in welfare if value is not None and math.isfinite(value))])


def highest(gains: Iterable[float | None]) -> float:
    """What counts as the gain of a seed that failed or died, or of which it is unknown, given those of all seeds of a
    search: the highest of any, or 0."""
    return max([0.0, *(value for value in gains if value is not None)])


def counted(values: Iterable[float | None], otherwise: float) -> list[float]:
    """What each seed of a configuration came to, `otherwise` for those that failed (None): none is left out."""
    return [otherwise if value is None else value for value in values]
