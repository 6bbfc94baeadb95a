"""A search over hyperparameters: what came out best over seeds, what mattered, and what failed."""

import warnings
from collections.abc import Sequence

import numpy
import optuna
import pandas
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from analysis.figures import new_figure, tidy
from analysis.intervals import CONFIDENCE
from analysis.page import Part, Picture, Section, Table, Words
from analysis.quantities import BY_NAME
from analysis.ranking import GAIN_TITLE, RULE, Configuration, rank, searched
from analysis.results import Trial, differing_settings, flat_settings
from analysis.study import Study

FEWEST = 4  # configurations, from which on importances are told


def section(study: Study) -> Section | None:
    """The ranking of configurations, and what failed; None where nothing was searched and nothing failed."""
    parts: list[Part] = []
    if found := searched(study.trials):
        ranked = rank(found)
        table, texts = ranking(ranked)
        caption = (
            "Configurations by mean social welfare over their seeds, the highest first; [low, high] is the"
            f" {CONFIDENCE:.0%} Student t interval over seeds. {RULE}"
        )
        parts.append(Table("ranking", caption, table, texts))
        settings = numeric_settings({each.name: list(each.trials) for each in ranked if each.complete})
        if len(settings.columns):
            caption = (
                f"{len(settings)} configurations: each line is one, from its settings to its welfare, coloured by"
                " welfare; every axis runs from the lowest to the highest value."
            )
            parts.append(Picture("parallel", caption, parallel_figure(settings, table)))
        if importance := importances(settings, table["social welfare"]):
            caption = (
                "How much each setting mattered for mean welfare: shares of variance by PED-ANOVA (Watanabe et al.,"
                f" 2023), over {len(settings)} configurations."
            )
            frame = pandas.DataFrame({"importance": importance}).rename_axis("setting")
            parts.append(Table("importance", caption, frame))
    if study.failures:
        frame = pandas.DataFrame({"cause": study.failures}).rename_axis("trial")
        parts.append(Table("failures", "Trials that failed, and the last line of what they said.", frame))
        parts.append(
            Words("Failed trials go on from their last checkpoint where the sweep is run again with --resume.")
        )
    if study.recoveries:
        caption = "Trials that failed, were tried again and came to their end; and what they had said."
        frame = pandas.DataFrame({"cause": study.recoveries}).rename_axis("trial")
        parts.append(Table("recoveries", caption, frame))
    return Section("Search", tuple(parts)) if parts else None


def ranking(ranked: Sequence[Configuration]) -> tuple[pandas.DataFrame, pandas.DataFrame]:
    """A row a configuration, as they come: as numbers, and as they are read."""
    quantity = BY_NAME["social_welfare"]
    numbers, texts = {}, {}
    for each in ranked:
        numbers[each.name] = {
            "social welfare": each.welfare.mean,
            "dead share": each.dead / each.seeds,
            GAIN_TITLE: each.gain,
            "seeds": each.seeds,
            "failed": each.failed,
            "trained": each.trained,
        }
        texts[each.name] = numbers[each.name] | {
            "social welfare": quantity.of(each.welfare),
            "dead share": f"{each.dead / each.seeds:.0%}",
            "trained": f"{each.trained:.0%}",
        }
    frames = [pandas.DataFrame(rows).T.rename_axis("treatment") for rows in (numbers, texts)]
    return frames[0].astype(float), frames[1]


def numeric_settings(groups: dict[str, list[Trial]]) -> pandas.DataFrame:
    """A row a configuration, a column a setting that is a number or a switch (0 or 1) and differs between them."""
    keys = differing_settings([trial for members in groups.values() for trial in members])
    rows = {name: flat_settings(members[0].config) for name, members in groups.items()}
    table = pandas.DataFrame({key: {name: row.get(key) for name, row in rows.items()} for key in keys})
    return table.apply(pandas.to_numeric, errors="coerce").dropna(axis=1).astype(float)


def importances(settings: pandas.DataFrame, welfare: pandas.Series) -> dict[str, float]:
    """The share of each setting in what explains welfare; empty for too few configurations, or where none differ."""
    spread = {key: (float(values.min()), float(values.max())) for key, values in settings.items()}
    varied = {key: bounds for key, bounds in spread.items() if bounds[0] < bounds[1]}
    known = welfare.reindex(settings.index).dropna()
    if len(known) < FEWEST or not varied or known.nunique() < 2:
        return {}
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    study = optuna.create_study(direction="maximize")
    space: dict[str, optuna.distributions.BaseDistribution] = {
        key: optuna.distributions.FloatDistribution(*bounds) for key, bounds in varied.items()
    }
    for name, value in known.items():
        own = {key: float(settings.loc[name, key]) for key in varied}
        study.add_trial(optuna.trial.create_trial(params=own, distributions=space, value=float(value)))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        evaluator = optuna.importance.PedAnovaImportanceEvaluator()
        return {
            key: float(each)
            for key, each in optuna.importance.get_param_importances(study, evaluator=evaluator).items()
        }


def parallel(settings: pandas.DataFrame, table: pandas.DataFrame, ax: Axes) -> Axes:
    """Parallel coordinates: an axis a setting, then welfare and the dead share."""
    outcome = table.reindex(settings.index)
    whole = pandas.concat([settings, outcome[["social welfare", "dead share"]]], axis=1)
    low, high = whole.min(), whole.max()
    scaled = (whole - low) / (high - low).where(high > low, 1.0)
    places = numpy.arange(len(whole.columns))
    for _, row in scaled.iterrows():
        ax.plot(places, row, color=colormaps["viridis"](row["social welfare"]), linewidth=1.2, alpha=0.7)
    tidy(ax, "Settings and what came of them", "from the lowest to the highest")
    labels = [f"{name.split('.')[-1]}\n{low[name]:.3g} to {high[name]:.3g}" for name in whole.columns]
    ax.set_xticks(places, labels, fontsize=8.5)
    ax.set_yticks([])
    for place in places:
        ax.axvline(float(place), color="0.8", linewidth=0.8, zorder=0)
    return ax


def parallel_figure(settings: pandas.DataFrame, table: pandas.DataFrame) -> Figure:
    """One panel."""
    figure = new_figure(max(8.0, 2.0 * (len(settings.columns) + 2)), 4.6)
    parallel(settings, table, figure.subplots())
    return figure
