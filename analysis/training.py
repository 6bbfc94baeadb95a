"""Training curves: an indicator against env steps, a thick line for a treatment's mean in a band that is its interval
over seeds, a thin line for each trial; a cross ends those whose economy is dead."""

from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any

import numpy
import pandas
import scipy
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import EngFormatter, PercentFormatter, StrMethodFormatter
from matplotlib.typing import LineStyleType

from analysis.figures import GREY, colors, new_figure, tidy
from analysis.intervals import CONFIDENCE
from analysis.metrics import verdict
from analysis.quantities import BY_NAME
from analysis.results import Trial, by_treatment, one_a_seed

LEGEND_LETTERS = 170  # that fit into one row
THIN = 1.5  # below all thick lines, so that a PDF holds one image of them a panel
SMOOTHING = 0.05  # of the training: the window over which the thick line is averaged


def trial_curve(trial: Trial, indicator: str) -> pandas.Series:
    """An economic indicator by env steps, as training reported it; iterations without episodes are left out."""
    column = f"economy/{indicator}"
    if column not in trial.progress:
        return pandas.Series(dtype=float)
    return trial.progress.set_index("env_steps")[column].dropna().astype(float)


def interval_curve(trials: Sequence[Trial], indicator: str) -> pandas.DataFrame:
    """`mean` over the seeds of one treatment with `low` and `high`, its 95% Student t interval, by env steps.

    Smoothed by a centred moving average over 5% of the training. It covers the env steps that all finished trials have
    in common (all trials, where none is finished), so that a trial that stops early makes no jump. No bounds (NaN)
    below two seeds.
    """
    members = one_a_seed([trial for trial in trials if trial.finished] or trials)
    curves = [trial_curve(trial, indicator) for trial in members]
    curves = [curve for curve in curves if not curve.empty]
    if not curves:
        return pandas.DataFrame({"mean": [], "low": [], "high": []}, dtype=float)
    first, last = max(curve.index.min() for curve in curves), min(curve.index.max() for curve in curves)
    steps = numpy.unique(numpy.concatenate([curve.index.to_numpy() for curve in curves]))
    steps = steps[(steps >= first) & (steps <= last)]
    window = max(1, round(SMOOTHING * len(steps)))
    each = {number: numpy.interp(steps, curve.index, curve) for number, curve in enumerate(curves)}
    smooth = pandas.DataFrame(each, index=steps).rolling(window, min_periods=1, center=True).mean()
    mean, count = smooth.mean(axis=1), len(curves)
    half = smooth.std(axis=1) * scipy.stats.t.ppf((1 + CONFIDENCE) / 2, max(1, count - 1)) / numpy.sqrt(count)
    return pandas.DataFrame({"mean": mean, "low": mean - half, "high": mean + half})


def training_curve(trials: Sequence[Trial], ax: Axes, indicator: str, linestyle: LineStyleType = "-") -> Axes:
    """One thin line a trial, ending in a cross where it is trivial; a thick one in a band for each treatment's
    `interval_curve`."""
    groups = by_treatment(trials)
    for name, color in colors(list(groups)).items():
        for trial in groups[name]:
            curve = trial_curve(trial, indicator)
            thin: dict[str, Any] = {
                "color": color,
                "linewidth": 0.5,
                "alpha": 0.35,
                "linestyle": linestyle,
                "rasterized": True,
                "zorder": THIN,
            }
            ax.plot(curve.index, curve, label="_trial", **thin)
            if verdict(trial) == "trivial" and not curve.empty:
                ax.plot(curve.index[-1:], curve[-1:], "x", color=color, markersize=6, label="_dead", clip_on=False)
        band = interval_curve(groups[name], indicator)
        mean = band["mean"]
        if band["low"].notna().any():
            ax.fill_between(band.index, band["low"], band["high"], color=color, alpha=0.15, linewidth=0)
        marker = "o" if len(mean) == 1 else "None"
        ax.plot(mean.index, mean, color=color, linewidth=2, linestyle=linestyle, marker=marker, label=name)
    ax.set_xlabel("env steps (economy-quarters)", fontsize=9.5)
    ax.xaxis.set_major_formatter(EngFormatter(sep=""))
    ax.margins(x=0.01)
    return ax


def stage_starts(trial: Trial) -> list[tuple[float, str]]:
    """Env steps at which each curriculum stage was first reported, with the stage's name."""
    if "curriculum_stage" not in trial.progress:
        return []
    stages = trial.progress[["env_steps", "curriculum_stage"]].dropna()
    changed = stages["curriculum_stage"] != stages["curriculum_stage"].shift()
    return [(float(row.env_steps), str(row.curriculum_stage)) for row in stages[changed].itertuples()]


def stage_lines(trials: Sequence[Trial], ax: Axes, labels: Mapping[str, str]) -> Axes:
    """Faint vertical lines where a curriculum stage begins, with what `labels` says for its name.

    They are grey where all staged treatments share them, and then every other stage is shaded; else in a treatment's
    colour. A treatment of a single stage has no boundary and gets none.
    """
    staged = _staged(trials)
    color = colors(list(by_treatment(trials)))
    shared = [[steps for steps, _ in starts] for starts in staged.values()]
    if shared and all(starts == shared[0] for starts in shared):
        ends = [*shared[0], max(trial.env_steps for trial in trials)]
        for start, end in list(pairwise(ends))[::2]:
            ax.axvspan(start, end, color="0.5", alpha=0.07, linewidth=0, zorder=0)
    for steps in sorted({steps for starts in staged.values() for steps, _ in starts}):
        here = {name: stage for name, starts in staged.items() for start, stage in starts if start == steps}
        shade = GREY if len(here) == len(staged) else color[next(iter(here))]
        ax.axvline(steps, color=shade, linewidth=0.8, alpha=0.45, zorder=0)
        text = " / ".join(dict.fromkeys(labels[stage] for stage in here.values()))
        place = ax.get_xaxis_transform()
        ax.text(steps, 1, f" {text} ", transform=place, ha="left", va="top", fontsize=8, color=shade)
    return ax


def _staged(trials: Sequence[Trial]) -> dict[str, list[tuple[float, str]]]:
    """The stage starts of each treatment that has more than one stage, from its trial that came furthest."""
    groups = by_treatment(trials).items()
    starts = {name: max((stage_starts(trial) for trial in members), key=len) for name, members in groups}
    return {name: stages for name, stages in starts.items() if len(stages) > 1}


def training_figure(trials: Sequence[Trial]) -> Figure:
    """Consumer reward, firm reward, hours, price, wage and tax rates over training."""
    figure = new_figure(13, 7)
    axes = figure.subplots(2, 3).ravel()
    for name, ax in zip(("consumer_reward", "firm_reward", "hours", "price", "wage"), axes, strict=False):
        quantity = BY_NAME[name]
        training_curve(trials, tidy(ax, quantity.label.capitalize(), quantity.unit), name)
    axes[1].yaxis.set_major_formatter(EngFormatter(sep=""))
    axes[3].yaxis.set_major_formatter(StrMethodFormatter("{x:,.0f}"))

    taxes = tidy(axes[5], "Tax rates", "share")
    training_curve(trials, taxes, "income_tax_rate", linestyle=":")
    training_curve(trials, taxes, "corporate_tax_rate")
    taxes.set_ylim(-0.03, 1.03)
    taxes.yaxis.set_major_formatter(PercentFormatter(xmax=1))
    lines = [
        Line2D([], [], color=GREY, linestyle="-", label="corporate"),
        Line2D([], [], color=GREY, linestyle=":", label="income"),
    ]
    taxes.legend(handles=lines, frameon=False, fontsize=9)

    ordered = sorted({start for starts in _staged(trials).values() for start in starts})
    numbers = {stage: str(number) for number, stage in enumerate(dict.fromkeys(stage for _, stage in ordered), start=1)}
    for ax in axes:
        stage_lines(trials, ax, numbers)
    handles = [line for line in axes[0].get_lines() if not str(line.get_label()).startswith("_")]
    if handles:
        key = ",  ".join(f"{number} {stage}" for stage, number in numbers.items())
        figure.legend(
            handles=handles,
            title=f"Vertical lines, curriculum stages:  {key}" if numbers else None,
            loc="outside lower left",
            ncols=max(1, min(5, LEGEND_LETTERS // max(len(str(line.get_label())) + 10 for line in handles))),
            alignment="left",
            frameon=False,
            fontsize=9.5,
            title_fontsize=9.5,
        )
    figure.suptitle(
        "Training: thin lines are trials (a cross: dead in the end), thick ones means over seeds in their 95% interval",
        fontsize=13,
        x=0.01,
        ha="left",
    )
    return figure
