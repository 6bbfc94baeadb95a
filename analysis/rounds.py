"""What leaving the policies of each round would gain, where policies go on learning against best responses to them."""

from collections.abc import Sequence
from pathlib import Path

from analysis.followers import read_answers
from analysis.intervals import bounded
from analysis.writing import markdown


def rounds_table(folders: Sequence[Path]) -> str:
    """One row a deviator, one more for who gains most where each deviates alone, and one column a round, each with a
    `best_response.json`; Markdown.

    Round 0 are the policies before any of them has met the pool. A round whose economy is dead says so: gains say
    nothing there.
    """
    rounds = [read_answers(folder / "best_response.json")[1][-1] for folder in folders]
    heads = [f"round {number}{' (trivial)' if each.trivial else ''}" for number, each in enumerate(rounds)]
    lines = [["gains at least, % of the group's mean absolute reward", *heads]]
    for first in rounds[0].gains:
        gains = [gain for each in rounds for gain in each.gains if gain.deviator == first.deviator]
        rows = {first.deviator: [gain.gain for gain in gains]}
        if first.alone:
            rows[f"{first.deviator}: the largest"] = [gain.most for gain in gains]
        for name, own in rows.items():
            percent = (gain.percent(each) for gain, each in zip(gains, own, strict=True))
            lines.append([name, *(bounded(each, "{:.1f}".format) for each in percent)])
    return markdown(lines)
