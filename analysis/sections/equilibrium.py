"""What leaving the learned policies gains (the paper's Figure 4 and Table 3)."""

import math
from collections.abc import Sequence

import pandas
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from analysis.figures import GREY, colors, new_figure, tidy
from analysis.followers import FOLLOWERS
from analysis.gains import Solution, words
from analysis.gains_figure import gains_figure
from analysis.intervals import Interval, bounded
from analysis.outcomes import solutions_of
from analysis.page import Details, Missing, Part, Picture, Section, Table, Words
from analysis.study import Answer, Study
from analysis.writing import number

COMMAND = "python -m rbc_rllib.best_response RUN --groups firm consumer --everyone firm consumer"
PICTURED = 4  # runs whose agents are drawn one by one
PERCENT = "{:.1f}".format


def section(study: Study) -> Section:
    """Gains of groups, of every agent alone, of coalitions; over training where that was asked."""
    if not study.answers:
        if any(path.name == "best_response.json" for path in study.damaged):
            return Section("Equilibrium", (Words("What was asked cannot be read: the overview says why."),))
        return Section("Equilibrium", (Missing("Nobody was asked what leaving gains.", COMMAND),))
    parts: list[Part] = []
    if frames := treatment_frames(study):
        caption = (
            "What followers gain at least, by treatment, in percent of the mean absolute reward of the group's agents:"
            " means over living seeds with their 95% Student t interval. The largest: of the agents asked alone."
            " Temperature: what the frozen policy itself gains by acting with less noise."
        )
        parts.append(Table("gains_by_treatment", caption, *frames))
    caption = (
        "The same run by run, a quarter (and an agent): what a policy gains that went on learning while all others"
        " stayed. [low, high] is the 95% bootstrap interval over held-out episodes and the deviator's seeds."
    )
    parts.append(Table("gains", caption, *run_frames(study.answers)))
    longer = [answer for answer in study.answers if len(answer.solutions) > 1]
    if longer:
        caption = "Epsilon, the largest gain of any deviator, at each checkpoint whose economy lives."
        parts.append(Picture("gains_over_training", caption, over_training_figure(longer)))
    else:
        parts.append(Missing("Gains in the middle of training were not asked.", f"{COMMAND} --along-training"))
    for place, answer in enumerate(study.answers[:PICTURED]):
        last = answer.solutions[-1]
        caption = (
            f"{answer.label}, {last.checkpoint}: gains of agents asked alone against their traits, and of every"
            f" deviator on validation episodes against the length of its training; {answer.episodes} held-out"
            " episodes, 95% bootstrap intervals."
        )
        parts.append(Picture(f"gains_{place}", caption, gains_figure(last, answer.params)))
        sentences = words(last).replace("- ", "").splitlines()
        parts.append(Details(f"{answer.label} in words", tuple(sentences)))
    if left := [answer.label for answer in study.answers[PICTURED:]]:
        parts.append(Words(f"Only in the table: {', '.join(left)}."))
    return Section("Equilibrium", tuple(parts))


def treatment_frames(study: Study) -> tuple[pandas.DataFrame, pandas.DataFrame] | None:
    """One row a treatment whose followers were asked, as numbers and as they are read; None where none was."""
    numbers, texts = {}, {}
    for own in solutions_of(study.trials):
        cells = {}
        for deviator, words_of in FOLLOWERS.items():
            cells[f"{words_of}, %"] = own.gain(deviator)
            if deviator.startswith("each"):
                cells[f"{words_of}: the largest, %"] = own.largest(deviator)
            cells[f"{words_of}: temperature, %"] = own.temperature(deviator)
        if any(cells.values()):
            numbers[own.name] = {title: _number(cell) for title, cell in cells.items()}
            texts[own.name] = {title: bounded(cell, PERCENT) for title, cell in cells.items()}
    if not numbers:
        return None
    frames = [pandas.DataFrame.from_dict(each, orient="index").rename_axis("treatment") for each in (numbers, texts)]
    return frames[0], frames[1]


def run_frames(answers: Sequence[Answer]) -> tuple[pandas.DataFrame, pandas.DataFrame]:
    """One row a run, checkpoint and deviator, as numbers and as they are read."""
    numbers, texts = [], []
    several = len({solution.checkpoint for answer in answers for solution in answer.solutions}) > 1
    for answer in answers:
        for solution in answer.solutions:
            for gain in solution.gains:
                run = f"{answer.label}{' (trivial)' if solution.trivial else ''}"
                first = {"run": run, "deviator": FOLLOWERS.get(gain.deviator, gain.deviator)}
                first |= {"checkpoint": solution.checkpoint} if several else {}
                percents = {
                    "gain, %": gain.percent_of_reward,
                    "temperature, %": gain.temperature and gain.percent(gain.temperature),
                    "not converged, %": gain.unconverged and gain.percent(gain.unconverged),
                    "largest, %": gain.percent(gain.most) if gain.alone else None,
                    "consumption-equivalent, %": gain.consumption_equivalent,
                }
                numbers.append(
                    first
                    | {"reward": gain.reward, "gain": gain.gain.mean}
                    | {name: _number(each) for name, each in percents.items()}
                )
                texts.append(
                    first
                    | {"reward": number(gain.reward), "gain": bounded(gain.gain)}
                    | {name: bounded(each, PERCENT) for name, each in percents.items()}
                )
    return tuple(pandas.DataFrame(rows).set_index("run") for rows in (numbers, texts))


def _number(each: Interval | float | None) -> float:
    return math.nan if each is None else each.mean if isinstance(each, Interval) else each


def over_training(answers: Sequence[Answer], ax: Axes) -> Axes:
    """Epsilon of each run against the env steps of its checkpoints; of dead economies it would say nothing."""
    xlabel = "env steps (economy-quarters)"
    tidy(ax, "Largest gain over training", "% of the group's mean absolute reward", xlabel)
    palette = colors([answer.label for answer in answers])
    for answer in answers:
        known = [each for each in answer.solutions if each.epsilon is not None and not each.trivial]
        ax.plot(*_curve(known), color=palette[answer.label], marker="o", markersize=4, label=answer.label)
    ax.axhline(0, color=GREY, linewidth=0.8)
    ax.legend(frameon=False, fontsize=8.5)
    return ax


def _curve(solutions: Sequence[Solution]) -> tuple[list[int], list[float]]:
    return [each.env_steps for each in solutions], [each.epsilon or 0.0 for each in solutions]


def over_training_figure(answers: Sequence[Answer]) -> Figure:
    """One panel."""
    figure = new_figure(8, 4)
    over_training(answers, figure.subplots())
    return figure
