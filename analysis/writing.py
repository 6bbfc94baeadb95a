"""How results become text: tables, lists, counts, and plain numbers for JSON."""

import math
from collections.abc import Sequence
from itertools import groupby
from typing import Any


def markdown(lines: Sequence[Sequence[str]]) -> str:
    """A table whose first line is the head, as Markdown that is also readable as plain text.

    The first column is aligned left, the others right. Every line needs as many cells as the first.
    """
    widths = [max(len(cell) for cell in column) for column in zip(*lines, strict=True)]
    rule = ["-" * widths[0], *("-" * (width - 1) + ":" for width in widths[1:])]
    padded = [[line[0].ljust(widths[0]), *map(str.rjust, line[1:], widths[1:])] for line in lines]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in (padded[0], rule, *padded[1:]))


def listed(names: Sequence[str]) -> str:
    """Such as `a, b and c`."""
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"


def count(number: int, noun: str) -> str:
    """Such as `1 seed` or `3 seeds`."""
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def numbered(numbers: Sequence[int]) -> str:
    """Such as `seed 4` or `seeds 0, 1 and 2`."""
    return f"{'seed' if len(numbers) == 1 else 'seeds'} {listed([str(number) for number in numbers])}"


def number(value: float) -> str:
    """Four digits, or whole numbers from 10,000 on."""
    return f"{value:,.0f}" if abs(value) >= 1e4 else f"{value:.4g}"


def percent(rate: float) -> str:
    """Such as `20%` or `12.5%`."""
    return f"{100 * rate:.4g}%"


def plan_words(plan: Sequence[Sequence[float]]) -> str:
    """Income / corporate rate of each quarter after the first, such as `0% / 100% x8, 0% / 20%`."""
    parts = []
    for pair, quarters in groupby(tuple(pair) for pair in plan):
        times = len(list(quarters))
        parts.append(" / ".join(map(percent, pair)) + (f" x{times}" if times > 1 else ""))
    return ", ".join(parts)


def plain(value: Any) -> Any:
    """For JSON, which knows neither NaN nor infinity: None in their place, at any depth."""
    if isinstance(value, dict):
        return {key: plain(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [plain(inner) for inner in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
