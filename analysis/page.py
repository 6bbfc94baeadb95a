"""One self-contained page of words, tables and figures; each figure also as PNG and PDF, each table as CSV.

The page needs no network: its style, the script that sorts its tables and all images are inside.
"""

import base64
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import jinja2
import pandas
from matplotlib.figure import Figure

from analysis.figures import save

PIXELS_AN_INCH = 85
TEMPLATE = Path(__file__).with_name("page.html")


@dataclass(frozen=True)
class Words:
    """A paragraph."""

    text: str


@dataclass(frozen=True)
class Details:
    """Paragraphs that are shown where a reader asks for them."""

    title: str
    paragraphs: tuple[str, ...]


@dataclass(frozen=True)
class Missing:
    """What is not there, and the command that would add it."""

    what: str
    command: str


@dataclass(frozen=True)
class Table:
    """Numbers, a row each; its columns are what stands above them."""

    name: str  # of its file
    caption: str
    frame: pandas.DataFrame
    texts: pandas.DataFrame | None = None  # what is shown in place of the numbers, row by row
    numbers: Mapping[str, str] = field(default_factory=dict)  # shown columns by their names in `frame`

    @property
    def head(self) -> list[str]:
        """Above each column."""
        return [str(self.frame.index.name or ""), *map(str, self.shown.columns)]

    @property
    def shown(self) -> pandas.DataFrame:
        """What a reader sees."""
        return self.frame if self.texts is None else self.texts

    @property
    def rows(self) -> list[list[tuple[str, str]]]:
        """Text and sorting key of each cell."""
        shown = self.shown
        lines = []
        for place, (index, row) in enumerate(shown.iterrows()):
            keys = self.frame.iloc[place]
            cells = [(_text(value), _key(keys.get(self.numbers.get(name, name), value))) for name, value in row.items()]
            lines.append([(str(index), str(index)), *cells])
        return lines


@dataclass(frozen=True)
class Picture:
    """A figure with what it shows."""

    name: str  # of its files
    caption: str
    figure: Figure

    @property
    def width(self) -> int:
        """Pixels, at which its letters are as large as the page's."""
        return round(PIXELS_AN_INCH * float(self.figure.get_figwidth()))

    @property
    def is_map(self) -> bool:
        """Whether its colours are numbers, so that a dark page shows them as they are."""
        return any(ax.images for ax in self.figure.axes)


Part = Words | Details | Missing | Table | Picture


@dataclass(frozen=True)
class Section:
    """A heading and what stands below it."""

    title: str
    parts: tuple[Part, ...]

    @property
    def anchor(self) -> str:
        """Where links lead."""
        return self.title.lower().replace(" ", "-")


def write_page(title: str, sections: Sequence[Section], folder: Path) -> Path:
    """Write `report.html` into `folder`, and figures and tables beside it into `report/`; returns the page's path.

    What an earlier page left is replaced, file by file, and what of it is no longer shown is taken away.
    """
    files, path = folder / "report", folder / "report.html"
    files.mkdir(parents=True, exist_ok=True)
    environment = jinja2.Environment(autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True)
    environment.tests["of_kind"] = lambda part, kind: type(part).__name__ == kind
    images = {}
    for section in sections:
        for part in section.parts:
            if isinstance(part, Picture):
                image = save(part.figure, files / f"{part.name}.png")
                save(part.figure, files / f"{part.name}.pdf")
                images[part.name] = base64.b64encode(image.read_bytes()).decode()
            elif isinstance(part, Table):
                part.frame.to_csv(files / f"{part.name}.csv")
    page = environment.from_string(TEMPLATE.read_text()).render(
        title=title, sections=sections, images=images, files=files.name
    )
    earlier = _files_of(path.read_text()) if path.exists() else set()
    path.write_text(page)
    for gone in earlier - _files_of(page):
        (files / gone).unlink(missing_ok=True)
    return path


def _files_of(page: str) -> set[str]:
    """The figures and tables that a page links to."""
    return {*re.findall(r'href="report/([^"/]+)"', page)}


def _text(value: Any) -> str:
    if isinstance(value, float):
        return "-" if math.isnan(value) else f"{value:,.4g}"
    return str(value).replace(", ", ",\N{NO-BREAK SPACE}")  # an interval is not broken


def _key(value: Any) -> str:
    """By which a cell is sorted: numbers by their size, those that are missing last."""
    if isinstance(value, int | float):
        return "" if isinstance(value, float) and math.isnan(value) else repr(float(value))
    return str(value)
