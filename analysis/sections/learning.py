"""How training went (the paper's Figure 3)."""

from analysis.facets import Facet, facets
from analysis.page import Missing, Picture, Section
from analysis.study import Study
from analysis.training import training_figure
from analysis.writing import count


def section(study: Study) -> Section:
    """Rewards, hours, prices, wages and taxes against env steps, in the curriculum's stages."""
    shown = [trial for trial in study.trials if not trial.progress.empty]
    if not shown:
        return Section("Training", (Missing("No trial has training progress.", "python -m rbc_rllib.sweep"),))
    return Section("Training", tuple(_picture(facet) for facet in facets("training", shown)))


def _picture(facet: Facet) -> Picture:
    caption = (
        f"Training of {count(len(facet.trials), 'trial')}{facet.where}: thin lines are trials, thick ones the mean over"
        " a treatment's seeds, smoothed over 5% of the training, in its 95% Student t interval. A cross ends a trial"
        " whose economy is dead. Shaded: every other stage of the curriculum, numbered below."
    )
    return Picture(facet.file, caption, training_figure(facet.trials))
