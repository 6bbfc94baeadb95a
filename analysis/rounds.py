"""What leaving the policies of each round would gain, where policies go on learning against best responses to them.

    python -m analysis.rounds results/psro-quickstart-commitment_seed0 results/psro-quickstart-commitment_seed1

Reads what `rbc_rllib.psro` wrote of one run or of several, of which means are taken; prints a table, and one of the
changes since round 0, which are `rounds.md` in the first FOLDER or DIR. Earlier tables there are replaced.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path

from analysis.followers import GAINS_HEAD, read_answers
from analysis.gains import Solution
from analysis.intervals import CONFIDENCE, Interval, bounded, t_interval
from analysis.writing import count, markdown
from rbc_rllib.settings import ConfigError, command_parser, refused

Percents = dict[str, float]
"""Means of one run in one round, by deviator, as in `percents`."""


def percents(solution: Solution) -> dict[str, Interval | None]:
    """Gains in percent of the group's mean absolute reward, by deviator; where each deviates alone also that of who
    gains most. None where nobody is rewarded."""
    rows: dict[str, Interval | None] = {}
    for gain in solution.gains:
        rows[gain.deviator] = gain.percent_of_reward
        if gain.alone:
            rows[f"{gain.deviator}: the largest"] = gain.percent(gain.most)
    return rows


def rounds_table(folders: Sequence[Path]) -> str:
    """One row a deviator, one more for who gains most where each deviates alone, and one column a round, each with a
    `best_response.json`; Markdown.

    Round 0 are the policies before any of them has met the pool. A round whose economy is dead says so: gains say
    nothing there.
    """
    rounds = [_solution(folder) for folder in folders]
    heads = [f"round {number}{' (trivial)' if each.trivial else ''}" for number, each in enumerate(rounds)]
    return _table(heads, [percents(each) for each in rounds])


def runs_table(runs: Sequence[Path]) -> str:
    """The same of several runs' `psro-*` folders: means over those that live, with Student t intervals; and, of rounds
    after the first, how much they differ from it, paired over the runs that live in both.

    Raises `ConfigError` where a folder has no answer of every round that the first one has.
    """
    rounds = [
        [_living_percents(run / f"round_{number}-responses") for run in runs]
        for number in range(max(1, len(list(runs[0].glob("round_*-responses")))))
    ]
    changes = [
        [_differences(before, after) for before, after in zip(rounds[0], each, strict=True)] for each in rounds[1:]
    ]
    tables = [_table(*_means(rounds, begin=0))]
    if changes:
        tables.append(_table(*_means(changes, begin=1), title="points more than in round 0", sign="+"))
    return "\n\n".join(tables)


def _living_percents(folder: Path) -> Percents | None:
    solution = _solution(folder)
    return None if solution.trivial else {name: gain.mean for name, gain in percents(solution).items() if gain}


def _differences(before: Percents | None, after: Percents | None) -> Percents | None:
    return before and after and {name: after[name] - before[name] for name in before if name in after}


def _means(rounds: Sequence[Sequence[Percents | None]], begin: int) -> tuple[list[str], list[dict[str, Interval]]]:
    """The head of each round, the first of them number `begin`, and means over the runs that live."""
    heads, columns = [], []
    for number, each in enumerate(rounds, begin):
        living = [own for own in each if own is not None]
        names = dict.fromkeys(name for own in living for name in own)
        heads.append(f"round {number} ({count(len(living), 'run')})")
        columns.append({name: t_interval([own[name] for own in living if name in own]) for name in names})
    return heads, columns


def _solution(folder: Path) -> Solution:
    if not (folder / "best_response.json").is_file():
        rule = f"{folder.name} holds no best_response.json"
        raise ConfigError("FOLDER", str(folder.parent), rule, "name what psro wrote, and finish it with --resume")
    return read_answers(folder / "best_response.json")[1][-1]


def _table(
    heads: Sequence[str], columns: Sequence[Mapping[str, Interval | None]], title: str = GAINS_HEAD, sign: str = ""
) -> str:
    lines = [[title, *heads]]
    for name in dict.fromkeys(name for column in columns for name in column):
        lines.append([name, *(bounded(column.get(name), f"{{:{sign}.1f}}".format) for column in columns)])
    return markdown(lines)


def main(arguments: Sequence[str] | None = None) -> None:
    """The command line."""
    parser = command_parser("analysis.rounds", __doc__)
    parser.add_argument("folders", type=Path, nargs="+", metavar="FOLDER", help="results/psro-<experiment>-<trial>")
    parser.add_argument("--out", type=Path, metavar="DIR", help="where to write the table (default: the first FOLDER)")
    chosen = parser.parse_args(arguments)
    with refused(parser):
        table = runs_table(chosen.folders)
        interval = f"{CONFIDENCE:.0%} Student t interval"
        note = f"Means over runs whose economy lives, with their {interval}; changes are paired."
        out = chosen.out or chosen.folders[0]
        out.mkdir(parents=True, exist_ok=True)
        (out / "rounds.md").write_text(f"# Rounds\n\n{table}\n\n{note}\n")
        print(f"{table}\n\n{note}")


if __name__ == "__main__":
    main()
