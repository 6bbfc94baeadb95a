"""What a sweep of many trials costs beside training: with all that this project does around them, and with Tune alone.

    python -m benchmarks.trials                               # 1,000 trials on each side: ten minutes
    python -m benchmarks.trials --trials 50 --reports 100     # what a report takes shows in the difference

One tiny trial is really trained. Then many trials replay its reports and save a checkpoint without networks, so that
what is measured is the sweep around them. `ours` is a run of `rbc_rllib.runs.launch` with its config files, progress
files, trials table, copies of snapshots, TensorBoard, gauges, display, retries and interruption; `bare` is a
`tune.Tuner` with Tune's own loggers. They take turns, each sweep in a process of its own, whose memory is the sweep's.
Both reuse the processes of trials, whose start is therefore left out; that of the real one is printed.

Prints seconds a trial, the driver's memory on the way, and what each of our callbacks takes, in the first and in the
last tenth of the sweep: what grows with the number of trials shows there.
"""

import json
import statistics
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import Any

from benchmarks.replays import EVENTS, PARTS, SIDES, SNAPSHOT, Mark, Measured, What, measure, record, tiny
from benchmarks.throughput import table
from benchmarks.timing import machine
from rbc_rllib.settings import ConfigError, at_least_one, command_parser, refused

Numbers = dict[str, float]
"""By column of a table."""


def alone(function: Callable[..., Any], *arguments: Any) -> Any:
    """What `function` gives in a fresh process."""
    with ProcessPoolExecutor(1, get_context("spawn")) as process:
        return process.submit(function, *arguments).result()


def seconds(mark: Mark) -> float:
    """Of a clock."""
    return mark.seconds


def cpu_seconds(mark: Mark) -> float:
    """Of this process."""
    return mark.cpu_seconds


def of_parts(*names: str) -> What:
    """CPU milliseconds of some parts."""
    return lambda mark: 1e3 * sum(mark.by_part.get(name, 0.0) for name in names)


def time_row(sweep: Measured) -> Numbers:
    """Seconds a trial."""
    return {"all": sweep.a_trial(seconds), "CPU": sweep.a_trial(cpu_seconds), **sweep.tenths(cpu_seconds)}


def memory_row(sweep: Measured) -> Numbers:
    """The driver's peak megabytes after so many trials."""
    after = sorted({max(1, round(share * sweep.trials)) for share in (0, 0.1, 0.5, 1)})
    return {f"{number:,}": sweep.marks[number].peak_bytes / 2**20 for number in after}


def part_row(sweep: Measured, name: str, reports: int) -> Numbers:
    """CPU milliseconds of a part: each report, all else of a trial, and a whole trial early and late."""
    report, *others = (f"{name} {event}" for event in EVENTS)
    row = {"a report": sweep.a_trial(of_parts(report)) / reports, "all else": sweep.a_trial(of_parts(*others))}
    return row | sweep.tenths(of_parts(report, *others))


def middle(rows: Sequence[Numbers]) -> Numbers:
    """The medians of rows."""
    return {column: statistics.median(row[column] for row in rows) for column in rows[0]}


def run(trials: int, reports: int, repeats: int) -> dict[str, Any]:
    """All measurements, printed."""
    experiment = tiny(reports)
    recording = alone(record, experiment)
    sweeps: dict[str, list[Measured]] = {side: [] for side in SIDES}
    for _ in range(repeats):
        for side in SIDES:
            sweeps[side].append(alone(measure, side, experiment, trials, recording.reports))
    times = {side: middle([time_row(sweep) for sweep in own]) for side, own in sweeps.items()}
    memory = {side: middle([memory_row(sweep) for sweep in own]) for side, own in sweeps.items()}
    parts = {name: middle([part_row(sweep, name, reports) for sweep in sweeps["ours"]]) for name in PARTS}
    own = [row for name, row in parts.items() if name != SNAPSHOT]
    parts["all but the snapshot"] = {column: sum(row[column] for row in own) for column in own[0]}
    rounds = list(zip(sweeps["ours"], sweeps["bare"], strict=True))
    beyond = {
        name: statistics.median(ours.a_trial(what) - bare.a_trial(what) for ours, bare in rounds)
        for name, what in {"seconds": seconds, "CPU seconds": cpu_seconds}.items()
    }
    snapshot = sweeps["ours"][0].snapshot_bytes / trials / 1e3
    print(
        f"{trials:,} trials with {reports} reports and a checkpoint each. A real one's process starts in "
        f"{recording.seconds_to_start:.1f} s, {recording.cpu_seconds_to_start:.1f} s of them CPU time.\n"
    )
    print(table("seconds of the driver for a trial", times, ".4f"))
    print(f"Ours takes {beyond['seconds']:.3f} s a trial longer, {beyond['CPU seconds']:.3f} s of them CPU time.\n")
    print(table("driver's peak memory, MB, after trials", memory))
    print(table("CPU milliseconds of the driver in ours", parts, ".2f"))
    print(f"Tune's snapshot has {snapshot:.1f} kB a trial.")
    return {
        "seconds": times,
        "overhead": beyond,
        "megabytes": memory,
        "milliseconds": parts,
        "snapshot_kilobytes_a_trial": snapshot,
        "seconds_to_start": recording.seconds_to_start,
        "cpu_seconds_to_start": recording.cpu_seconds_to_start,
        "machine": machine(),
    }


def main(arguments: list[str] | None = None) -> None:
    """The command line."""
    command = command_parser("benchmarks.trials", __doc__)
    command.add_argument("--trials", type=int, default=1000, metavar="N", help="of a sweep (default 1,000)")
    command.add_argument("--reports", type=int, default=5, metavar="N", help="of a trial (default 5)")
    command.add_argument("--repeats", type=int, default=1, metavar="N", help="sweeps of each side (default 1)")
    command.add_argument("--json", type=Path, metavar="FILE", help="write the numbers here")
    options = command.parse_args(arguments)
    with refused(command):
        at_least_one(repeats=options.repeats)
        for name, least in (("trials", 2), ("reports", 1)):
            if getattr(options, name) < least:
                rule, fix = f"it must be at least {least}", "leave it out to get the default"
                raise ConfigError(f"--{name}", getattr(options, name), rule, fix)
    numbers = run(options.trials, options.reports, options.repeats)
    if options.json:
        options.json.write_text(json.dumps(numbers, indent=2) + "\n")


if __name__ == "__main__":
    main()
