"""Which trials are drawn together: more lines than there are colours well apart tell nothing."""

from collections.abc import Sequence
from dataclasses import dataclass

from analysis.figures import COLORS
from analysis.results import Trial, by_treatment

MOST = len(COLORS)
MOST_FIGURES = 3
"""Of one experiment. One with more treatments, a search, is shown as a whole."""


@dataclass(frozen=True)
class Facet:
    """One of the figures that show the same of different trials."""

    file: str  # its name
    where: str  # `, tax_baselines, 1 of 2` for its caption; nothing where one figure shows all
    trials: tuple[Trial, ...]


def facets(name: str, trials: Sequence[Trial]) -> list[Facet]:
    """One figure called `name` where there are up to seven treatments.

    More are divided by experiment, and those of an experiment into figures of seven treatments, learned taxes first;
    the figures are called `name_0`, `name_1` and so on.
    """
    if len(by_treatment(trials)) <= MOST:
        return [Facet(name, "", tuple(trials))]
    experiments: dict[str, list[Trial]] = {}
    for trial in trials:
        experiments.setdefault(trial.path.resolve().parent.name, []).append(trial)
    figures: list[Facet] = []
    for experiment, own in experiments.items():
        members = sorted(by_treatment(own).values(), key=lambda each: each[0].planner.mode == "fixed")
        size = MOST if len(members) <= MOST_FIGURES * MOST else len(members)
        parts = [members[start : start + size] for start in range(0, len(members), size)]
        for number, part in enumerate(parts, 1):
            where = f", {experiment}" + (f", {number} of {len(parts)}" if len(parts) > 1 else "")
            figures.append(Facet(f"{name}_{len(figures)}", where, tuple(trial for each in part for trial in each)))
    return figures
