"""What leaving the policies of each round would gain, where policies go on learning against best responses to them."""

from collections.abc import Sequence
from pathlib import Path

from analysis.followers import read_answers
from analysis.intervals import bounded
from analysis.writing import markdown


def rounds_table(folders: Sequence[Path]) -> str:
    """One row a deviator, one column a round, each with a `best_response.json`; Markdown.

    Round 0 are the policies before any of them has met the pool. A round whose economy is dead says so: gains say
    nothing there.
    """
    rounds = [read_answers(folder / "best_response.json")[1][-1] for folder in folders]
    heads = [f"round {number}{' (trivial)' if each.trivial else ''}" for number, each in enumerate(rounds)]
    lines = [["gains at least, % of the group's mean absolute reward", *heads]]
    for deviator in [gain.deviator for gain in rounds[0].gains]:
        gains = [gain.percent_of_reward for each in rounds for gain in each.gains if gain.deviator == deviator]
        lines.append([deviator, *(bounded(gain, "{:.1f}".format) for gain in gains)])
    return markdown(lines)
