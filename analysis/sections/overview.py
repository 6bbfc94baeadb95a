"""What was trained and what became of it, in a table and in words."""

import pandas

from analysis.comparison import comparison_table
from analysis.narrative import narrative
from analysis.page import Details, Missing, Part, Section, Table, Words
from analysis.quantities import QUANTITIES
from analysis.study import Study

CAPTION = (
    "Means a quarter over whole episodes and over seeds, trivial ones included; [low, high] is the 95% Student t"
    " interval over seeds. Prices and wages count the first quarter too, in which they are given; tax rates do not."
)


def section(study: Study) -> Section:
    """The table by treatment, what it says, and what could not be read."""
    parts: list[Part] = [Words(sentence) for sentence in study.damaged.values()]
    if study.trials:
        table = comparison_table(study.trials)
        parts += [Table("overview", CAPTION, table, _texts(table), {q.title: q.name for q in QUANTITIES})]
        *each, compared = narrative(study.trials).replace("**", "").split("\n\n")
        parts += [Words(compared), Details("Each treatment in words", tuple(each))]
    else:
        parts.append(Missing("There are no trials.", "python -m rbc_rllib.sweep"))
    return Section("Overview", tuple(parts))


def _texts(table: pandas.DataFrame) -> pandas.DataFrame:
    """The cells as a reader meets them."""
    columns = {
        "seeds": table["seeds"].astype(str),
        "trivial seeds": table["trivial_seeds"].astype(str),
    }
    if table["unfinished"].any():
        columns["unfinished"] = table["unfinished"].astype(str)
    for q in QUANTITIES:
        rows = zip(*(table[f"{q.name}{end}"] for end in ("", "_low", "_high")), strict=True)
        columns[q.title] = pandas.Series([q.text(*row) for row in rows], index=table.index)
    return pandas.DataFrame(columns)
