"""The economies in the words of macroeconomics, by treatment."""

import math
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy
import pandas
from matplotlib.figure import Figure

from analysis.economics import MACRO, RATIOS, consumption_equivalent_variation, incidence_panel, lorenz_panel, macro
from analysis.facets import facets
from analysis.figures import legend_below, new_figure
from analysis.intervals import CONFIDENCE, Interval, t_interval
from analysis.metrics import indicator, living
from analysis.page import Missing, Part, Picture, Section, Table, Words
from analysis.quantities import Quantity
from analysis.results import Trial, by_treatment, rolled_out
from analysis.rollout import Rollout, load_rollout
from analysis.study import Study
from analysis.taxes import by_economy

VARIATION = Quantity("variation", "consumption-equivalent variation against no taxes", "%", "z,.1f")
EQUIVALENT = VARIATION.title


def section(study: Study) -> Section:
    """A table by treatment, Lorenz curves, who gains from taxes, and whether the accounts add up."""
    shown = rolled_out(study.trials)
    if not shown:
        return Section("Economics", (Missing("No trial has a held-out roll-out.", study.to_evaluate),))
    loaded = {trial.path: load_rollout(trial.path / "rollout.npz") for trial in shown}
    groups = by_treatment(shown)
    params = {name: members[0].economy_parameters for name, members in groups.items()}
    economies = {trial.path: economy for economy, members in by_economy(shown).items() for trial in members}
    economy_of = {name: economies[members[0].path] for name, members in groups.items()}
    untaxed = {economy_of[n]: members for n, members in groups.items() if _is_untaxed(members[0].planner.rates)}
    numbers, texts, worst = {}, {}, 0.0
    for name, members in groups.items():
        values = {trial: macro(loaded[trial.path], params[name]) | _of_all_episodes(trial) for trial in members}
        worst = float(numpy.max([worst, *(each["residual"] for each in values.values())]))
        of = {q: living(members) if q.name in RATIOS else members for q in MACRO}
        means = {q: t_interval([values[trial][q.name] for trial in of[q]]) for q in MACRO}
        if base := {trial.seed: loaded[trial.path] for trial in living(untaxed.get(economy_of[name], []))}:
            pairs = [(loaded[trial.path], base[trial.seed]) for trial in members if trial.seed in base]
            means[VARIATION] = t_interval([consumption_equivalent_variation(*pair, params[name]) for pair in pairs])
        numbers[name] = {q.title: interval.mean for q, interval in means.items()}
        texts[name] = {q.title: _text(q, interval) for q, interval in means.items()}
    caption = (
        f"Means over held-out episodes and seeds; [low, high] is the {CONFIDENCE:.0%} Student t interval over seeds,"
        " where there are two or more. Real wage and labor share are of living economies; no taxes: of the same seed,"
        " where it lives."
    )
    frames = [pandas.DataFrame.from_dict(each, orient="index").rename_axis("treatment") for each in (numbers, texts)]
    frames[1] = frames[1].fillna("-")  # economies in which nobody is untaxed
    accounts = "add up" if worst < 1e-3 else "do NOT add up"
    parts: list[Part] = [
        Table("economics", caption, frames[0], frames[1]),
        Words(
            f"The accounts of goods, money and taxes {accounts}: their largest residual in any quarter is {worst:.1e}."
        ),
    ]
    if EQUIVALENT not in frames[0]:
        what = "What consumption would be worth taxes is not told: no living trial has no taxes."
        parts.append(Missing(what, "python -m rbc_rllib.sweep tax_baselines"))
    for facet in facets("inequality", shown):
        caption = (
            f"How equally consumption and wealth are spread{facet.where} (the diagonal: all have the same), and who"
            " gains from taxes; means over held-out episodes and seeds."
        )
        parts.append(Picture(facet.file, caption, inequality_figure(_by_treatment(facet.trials, loaded))))
    return Section("Economics", tuple(parts))


def inequality_figure(rollouts: Mapping[str, Sequence[Rollout]]) -> Figure:
    """Three panels with one legend."""
    figure = new_figure(15, 4.4)
    left, middle, right = figure.subplots(1, 3)
    lorenz_panel(rollouts, left, "consumption")
    lorenz_panel(rollouts, middle, "wealth")
    incidence_panel(rollouts, right)
    legend_below(figure, right.get_legend_handles_labels()[0], fontsize=9)
    return figure


def _by_treatment(trials: Sequence[Trial], loaded: Mapping[Path, Rollout]) -> dict[str, list[Rollout]]:
    return {name: [loaded[trial.path] for trial in members] for name, members in by_treatment(trials).items()}


def _is_untaxed(rates: object) -> bool:
    return isinstance(rates, tuple) and not any(rate for pair in rates for rate in pair)


def _of_all_episodes(trial: Trial) -> dict[str, float]:
    """What the evaluation knows of all held-out episodes; a roll-out is of some."""
    return {q.name: value for q in MACRO if not math.isnan(value := indicator(trial, q.name))}


def _text(quantity: Quantity, interval: Interval) -> str:
    return "-" if numpy.isnan(interval.mean) else quantity.of(interval)
