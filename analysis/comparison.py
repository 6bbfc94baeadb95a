"""The table by treatment."""

from collections.abc import Sequence
from typing import Any

import pandas

from analysis.metrics import measured, over_seeds, seeds, source, verdict
from analysis.quantities import QUANTITIES
from analysis.results import Trial, by_treatment
from analysis.writing import markdown

WIDE = 5  # more treatments than this become the rows of the printed table


def comparison_table(trials: Sequence[Trial]) -> pandas.DataFrame:
    """One row a treatment: `seeds`, `trivial_seeds`, `unfinished`, `source` and, for every quantity, its mean over
    seeds with the 95% Student t interval in `<quantity>_low` and `<quantity>_high` (NaN below two seeds).

    `source` says whether the numbers come from held-out evaluation or, where no trial of the treatment is finished,
    from the last 5% of the training progress. `seeds` counts those behind the numbers, `unfinished` all trials
    without an evaluation. Trivial seeds are part of the means.
    """
    rows = {name: _row(members) for name, members in by_treatment(trials).items()}
    return pandas.DataFrame.from_dict(rows, orient="index").rename_axis("treatment")


def _row(trials: list[Trial]) -> dict[str, Any]:
    chosen = measured(trials)
    row: dict[str, Any] = {
        "seeds": len(seeds(chosen)),
        "trivial_seeds": len(seeds([trial for trial in chosen if verdict(trial) == "trivial"])),
        "unfinished": sum(not trial.finished for trial in trials),
        "source": source(chosen[0]) if chosen else "none",
    }
    for quantity in QUANTITIES:
        interval = over_seeds(chosen, quantity.name)
        row[quantity.name] = interval.mean
        row[f"{quantity.name}_low"], row[f"{quantity.name}_high"] = interval.low, interval.high
    return row


def markdown_table(table: pandas.DataFrame) -> str:
    """`comparison_table` as Markdown that is also readable as plain text."""
    cells = {
        str(name): {
            "seeds": str(row["seeds"]),
            "trivial seeds": str(row["trivial_seeds"]),
            "unfinished trials": str(row["unfinished"]),
            "numbers from": str(row["source"]),
            **{q.title: q.text(row[q.name], row[f"{q.name}_low"], row[f"{q.name}_high"]) for q in QUANTITIES},
        }
        for name, row in table.iterrows()
    }
    frame = pandas.DataFrame.from_dict(cells, orient="index")
    frame = frame if len(frame) > WIDE else frame.T
    return markdown(
        [
            ["", *map(str, frame.columns)],
            *([str(name), *row] for name, row in zip(frame.index, frame.values, strict=True)),
        ]
    )
