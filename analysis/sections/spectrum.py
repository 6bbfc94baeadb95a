"""The spectrum of solutions (the paper's Figures 6 and 7): every seed a point."""

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy
import scipy
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from analysis.figures import COLORS, colors, legend_below, new_figure, tidy
from analysis.metrics import indicator, source, verdict
from analysis.page import Missing, Picture, Section, Words
from analysis.quantities import BY_NAME
from analysis.results import Trial, by_treatment, treatment
from analysis.study import Study
from analysis.writing import count, listed

PAIRS = (
    ("firm_reward", "consumer_reward"),
    ("price", "consumption"),
    ("wage", "hours"),
    ("corporate_tax_rate", "social_welfare"),
)
"""What is held against what: x and y."""

ALIKE = ("consumer_reward", "firm_reward", "price", "wage", "hours", "consumption", "corporate_tax_rate")
"""In what solutions of one kind are alike."""

FEWEST = 6  # trials, from which on kinds are told apart
MOST_KINDS = 4
NAMED = 3  # differences, the strongest ones
SHAPES = ("o", "s", "^")


def section(study: Study) -> Section:
    """Four pairs of indicators; open and closed economies apart."""
    known = [trial for trial in study.trials if source(trial) == "evaluation"]
    if not known:
        return Section("Spectrum of solutions", (Missing("No trial is evaluated.", study.to_evaluate),))
    kinds = {"open": True, "closed": False}
    there = {
        name: [t for t in known if t.economy_parameters.export_market == is_open] for name, is_open in kinds.items()
    }
    there = {name: trials for name, trials in there.items() if trials}
    caption = (
        f"Every trial a point, {len(known)} of them, means of its held-out episodes; a colour and shape for each"
        f" treatment, which is named in the legend, hollow where the economy is dead. Rows: {listed([*there])} economy."
    )
    words = [Words(sentence) for own in there.values() for sentence in kinds_words(kinds_of_solution(own))]
    return Section("Spectrum of solutions", (Picture("spectrum", caption, spectrum_figure(there)), *words))


def looks(names: Sequence[str]) -> dict[str, dict[str, Any]]:
    """Colour and shape of each name's points: seven colours in three shapes; for more names one shape."""
    if len(names) > len(COLORS) * len(SHAPES):
        return {name: {"color": color, "marker": SHAPES[0]} for name, color in colors(names).items()}
    pairs = [{"color": color, "marker": shape} for shape in SHAPES for color in COLORS]
    return dict(zip(names, pairs, strict=False))


def scatter(trials: Sequence[Trial], ax: Axes, x: str, y: str, look: dict[Path, dict[str, Any]]) -> Axes:
    """One pair of indicators; `look` of each trial, by its path, as its treatment's."""
    tidy(ax, "", BY_NAME[y].title, BY_NAME[x].title)
    for trial in trials:
        own = look[trial.path]
        fill = "none" if verdict(trial) == "trivial" else own["color"]
        ax.plot(indicator(trial, x), indicator(trial, y), **own, markerfacecolor=fill, ms=6, alpha=0.8)
    ax.xaxis.set_major_locator(MaxNLocator(4))
    return ax


def spectrum_figure(trials: dict[str, list[Trial]]) -> Figure:
    """A row for each kind of economy, a column a pair."""
    treatments = by_treatment([trial for own in trials.values() for trial in own])
    look = looks(list(treatments))
    by_trial = {trial.path: look[name] for name, members in treatments.items() for trial in members}
    figure = new_figure(15, 3.9 * len(trials))
    axes = figure.subplots(len(trials), len(PAIRS), squeeze=False)
    for row, (kind, own) in zip(axes, trials.items(), strict=True):
        for ax, (x, y) in zip(row, PAIRS, strict=True):
            scatter(own, ax, x, y, by_trial)
        row[0].set_title(f"{kind} economy", loc="left", fontsize=11, fontweight="bold")
    for name, own_look in look.items():
        axes[0, 0].plot([], [], linestyle="none", label=name, **own_look)
    legend_below(figure, axes[0, 0].get_legend_handles_labels()[0], fontsize=9)
    return figure


def kinds_of_solution(trials: Sequence[Trial]) -> list[list[Trial]]:
    """Groups of trials that are alike in `ALIKE`: Ward's clusters of standardised indicators, as many (two to four) as
    have the highest mean silhouette; one group of all for fewer than six trials, or where nothing differs."""
    values = numpy.array([[indicator(trial, name) for name in ALIKE] for trial in trials])
    spread = values.std(0)
    values = values[:, spread > 0] / spread[spread > 0]
    if len(trials) < FEWEST or not values.shape[1] or not numpy.isfinite(values).all():
        return [list(trials)]
    tree = scipy.cluster.hierarchy.linkage(values, "ward")
    cuts = [scipy.cluster.hierarchy.fcluster(tree, count, "maxclust") for count in range(2, MOST_KINDS + 1)]
    labels = max(cuts, key=lambda cut: silhouette(values, cut))
    groups = [
        [trial for trial, own in zip(trials, labels, strict=True) if own == label] for label in {*labels.tolist()}
    ]
    return sorted(groups, key=len, reverse=True)


def silhouette(values: numpy.ndarray, labels: numpy.ndarray) -> float:
    """Mean over points of (b - a) / max(a, b): a the mean distance to the others of its cluster, b to those of the
    nearest other one (Rousseeuw, 1987); 0 for a point that is alone."""
    distances = scipy.spatial.distance.squareform(scipy.spatial.distance.pdist(values))
    scores = []
    for point, label in enumerate(labels):
        own = (labels == label) & (numpy.arange(len(labels)) != point)
        others = [distances[point, labels == other].mean() for other in {*labels.tolist()} - {label}]
        if not own.any() or not others:
            scores.append(0.0)
            continue
        inside, outside = distances[point, own].mean(), min(others)
        scores.append((outside - inside) / max(inside, outside, 1e-12))
    return float(numpy.mean(scores))


def kinds_words(groups: Sequence[Sequence[Trial]]) -> list[str]:
    """A sentence for each kind: how many trials of which treatments, and in what it differs most from the others."""
    everyone = [trial for group in groups for trial in group]
    if len(groups) < 2:
        return []
    sentences = []
    for number, group in enumerate(groups, 1):
        differences = []
        for name in ALIKE:
            all_values = numpy.array([indicator(trial, name) for trial in everyone])
            mine = float(numpy.mean([indicator(trial, name) for trial in group]))
            others = float(numpy.mean([indicator(trial, name) for trial in everyone if trial not in group]))
            if all_values.std() > 0:
                differences.append(((mine - others) / all_values.std(), name, mine, others))
        strongest = sorted(differences, key=lambda each: -abs(each[0]))[:NAMED]
        names = [
            f"{'higher' if z > 0 else 'lower'} {BY_NAME[name].label}"
            f" ({BY_NAME[name].text(mine)} against {BY_NAME[name].text(others)})"
            for z, name, mine, others in strongest
        ]
        members = Counter(treatment(trial) for trial in group)
        listed_members = listed([f"{name} ({times})" for name, times in members.items()])
        sentences.append(f"Kind {number}, {count(len(group), 'trial')} of {listed_members}: {listed(names)}.")
    return sentences
