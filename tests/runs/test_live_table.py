"""The table that a terminal shows: drawn in its place, whatever the number of trials; lines where there is none."""

import io
import re
from types import SimpleNamespace

import pytest
from rich.console import Console

from rbc_rllib.runs import live_table
from rbc_rllib.runs.launch import progress_display
from rbc_rllib.runs.live_table import LINES_AROUND, LiveTable, trials_table
from rbc_rllib.runs.progress import ProgressLines
from tests.small import SMALL

CONFIG = {"experiment": SMALL.model_dump(mode="json"), "values": {}}
INDICATORS = ("social_welfare", "hours", "price", "wage", "income_tax_rate", "corporate_tax_rate")


class Named(SimpleNamespace):
    def __str__(self):
        return self.name


def trial(number: int, status: str, env_steps: int = 160) -> Named:
    """Of 640 env steps; one that waits, or that has just begun, has told nothing."""
    result = {
        "env_steps": env_steps,
        "curriculum_stage": "firms learn",
        "economy": dict.fromkeys(INDICATORS, 0.25),
        "agent_steps_per_second": 1234.5,
        "seconds_left": 75.2,
    }
    name = f"small_seed{number}"
    return Named(name=name, status=status, config=CONFIG, last_result=result if env_steps else {})


def drawn(trials: list[Named], width: int, height: int) -> list[str]:
    """The table's lines, on paper."""
    console = Console(file=io.StringIO(), width=width)
    console.print(trials_table(trials, width, height))
    return console.file.getvalue().splitlines()


def test_a_running_trial_has_a_bar_and_its_economy():
    head, begun, running, foot = drawn([trial(0, "RUNNING", 0), trial(1, "RUNNING")], 140, 40)
    for word in ("trial", "stage", "welfare", "income tax", "agent-steps/s", "left"):
        assert word in head
    assert begun.split()[0] == "small_seed0"
    assert begun.split()[-1] == "starts"
    assert re.search(r"small_seed1 +━+.* 25%  firms learn +0\.2 +0 +0 +0\.2 +25% +25% +1,23[45] +1:15$", running)
    assert foot.strip() == "2 running"


@pytest.mark.parametrize(("width", "height"), [(60, 12), (80, 24), (200, 50)])
def test_a_thousand_trials_fit_any_terminal(width, height):
    kinds = ["TERMINATED"] * 300 + ["ERROR"] * 2 + ["RUNNING"] * 64 + ["PAUSED"] + ["PENDING"] * 633
    lines = drawn([trial(number, kind) for number, kind in enumerate(kinds)], width, height)
    assert len(lines) < height
    assert all(len(line) <= width for line in lines)
    shown = [line for line in lines if line.startswith("small_seed")]
    assert len(shown) == min(64, height - LINES_AROUND)
    foot = " ".join("\n".join(lines).partition("64 running")[2].split())
    hidden = f" ({64 - len(shown)} of them not shown)" if len(shown) < 64 else ""
    assert foot == f", 633 waiting, 1 paused, 300 finished, 2 failed{hidden}"


def test_the_table_takes_its_own_place_and_what_ended_stays_above_it(monkeypatch):
    monkeypatch.setattr(live_table, "SECONDS_BETWEEN_DRAWINGS", 60.0)
    out = io.StringIO()
    table = LiveTable(Console(file=out, force_terminal=True, width=140, height=30))
    trials = [trial(0, "RUNNING"), trial(1, "RUNNING")]
    with table:
        table.on_step_end(1, trials)
        first = out.getvalue()
        table.on_step_end(2, trials)  # at once: it waits
        assert out.getvalue() == first
        table.on_trial_complete(3, trials, trials[0])
        table.on_trial_error(3, trials, trials[1])
    text = out.getvalue()
    assert text.startswith("\x1b[?25l")  # no cursor while it is drawn
    assert "\x1b[?25h" in text.replace(first, "")
    ended = text.replace(first, "").replace("\x1b[2K", "").replace("\x1b[1A", "")
    assert "small_seed0  25% firms learn: welfare 0.2, hours 0, price 0" in ended
    assert "small_seed1 failed" in ended
    drawings, erased = text.count("2 running"), text.count("\x1b[1A\x1b[2K")
    assert erased == 3 * (drawings - 1) + 4  # each of four lines begins where the last one did, and the last one goes


def test_a_trial_that_was_stopped_before_it_began_leaves_no_line():
    out = io.StringIO()
    LiveTable(Console(file=out)).on_trial_complete(1, [], trial(0, "PAUSED", 0))
    assert out.getvalue() == ""


@pytest.mark.parametrize(("terminal", "display"), [(True, LiveTable), (False, ProgressLines)])
def test_lines_are_printed_where_there_is_no_terminal(terminal, display, monkeypatch):
    monkeypatch.setattr(
        "sys.stdout", SimpleNamespace(isatty=lambda: terminal, write=lambda _: None, flush=lambda: None)
    )
    assert isinstance(progress_display(), display)
