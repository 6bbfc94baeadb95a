"""What a terminal shows of a run: a table of the running trials, drawn anew in its place."""

import time
from collections import Counter
from collections.abc import Sequence
from typing import Any

from ray import tune
from rich.console import Console
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table

from rbc_rllib.runs.progress import progress_line, time_left
from rbc_rllib.runs.trial import experiment_of

SECONDS_BETWEEN_DRAWINGS = 0.5
WIDE = 120  # columns from which there is room for every number
LINES_AROUND = 6  # head, foot, and some of what was said before
STATUSES = {"RUNNING": "running", "PENDING": "waiting", "PAUSED": "paused", "TERMINATED": "finished", "ERROR": "failed"}


class LiveTable(tune.Callback):
    """Draws the table while it is entered; a trial that ends leaves its last line above it."""

    def __init__(self, console: Console | None = None):
        self._console = console or Console()
        self._live = Live(console=self._console, auto_refresh=False, transient=True)
        self._last = float("-inf")

    def __enter__(self) -> "LiveTable":
        self._live.start()
        return self

    def __exit__(self, *_: Any) -> None:
        self._live.stop()

    def on_step_end(self, iteration: int, trials: list[Any], **_: Any) -> None:
        """Draw it, a few times a second at most."""
        if time.monotonic() - self._last < SECONDS_BETWEEN_DRAWINGS:
            return
        self._last = time.monotonic()
        self._live.update(trials_table(trials, *self._console.size), refresh=True)

    def on_trial_complete(self, iteration: int, trials: list[Any], trial: Any, **_: Any) -> None:
        """The line of a trial that is trained to its end; one that was stopped before it began has none."""
        if "env_steps" in (trial.last_result or {}):
            self._say(progress_line(str(trial), trial.last_result, experiment_of(trial.config)))

    def on_trial_error(self, iteration: int, trials: list[Any], trial: Any, **_: Any) -> None:
        """The line of one that is not."""
        self._say(f"{trial} failed")

    def _say(self, line: str) -> None:
        self._console.print(line, markup=False, highlight=False, soft_wrap=True)


def trials_table(trials: Sequence[Any], width: int, height: int) -> Table:
    """The running ones of Tune's trials, as many as there is room for, and how many there are of each kind."""
    running = [trial for trial in trials if trial.status == "RUNNING"]
    shown = running[: max(1, height - LINES_AROUND)]
    counts = Counter(STATUSES[trial.status] for trial in trials)
    words = [f"{counts[status]:,} {status}" for status in STATUSES.values() if counts[status]]
    hidden = f" ({len(running) - len(shown):,} of them not shown)" if len(running) > len(shown) else ""
    table = Table(box=None, pad_edge=False, caption=", ".join(words) + hidden, caption_justify="left")
    table.add_column("trial", no_wrap=True, max_width=max(12, width // 4))
    table.add_column("done", min_width=10, ratio=1)
    table.add_column("", justify="right", no_wrap=True)
    table.add_column("stage", no_wrap=True)
    numbers = ("welfare", "hours", "price", "wage", "income tax", "corporate tax", "agent-steps/s", "left")
    for name in numbers if width >= WIDE else ("welfare", "left"):
        table.add_column(name, justify="right", no_wrap=True)
    table.expand = True
    for trial in shown:
        table.add_row(*_row(trial, width >= WIDE))
    return table


def _row(trial: Any, wide: bool) -> list[Any]:
    result = trial.last_result or {}
    if "env_steps" not in result:
        return [str(trial), ProgressBar(total=1, completed=0), "", "starts"]
    done = experiment_of(trial.config).curriculum.progress(result["env_steps"])
    economy = {name: float(value) for name, value in result["economy"].items()}
    more = [
        f"{economy['hours']:.0f}",
        f"{economy['price']:.0f}",
        f"{economy['wage']:.1f}",
        f"{economy['income_tax_rate']:.0%}",
        f"{economy['corporate_tax_rate']:.0%}",
        f"{result['agent_steps_per_second']:,.0f}",
    ]
    return [
        str(trial),
        ProgressBar(total=1, completed=done),
        f"{done:.0%}",
        result["curriculum_stage"],
        f"{economy['social_welfare']:.1f}",
        *(more if wide else []),
        time_left(result),
    ]
