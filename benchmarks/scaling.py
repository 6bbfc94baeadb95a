"""How the cost of an iteration and its memory grow with consumers, firms and economies, and with processes.

    python -m benchmarks.scaling                                            # about ten minutes
    python -m benchmarks.scaling --quick                                    # about five
    python -m benchmarks.scaling --json scaling.json --figure scaling.png

Each point is measured in a process of its own, with one thread. A consumer-step is one quarter of one consumer; its
cost is that of the whole iteration, with firms, planner and updates, divided by their number. Expect it to fall while
fixed costs are shared by more consumers or economies, then to stay flat; it grows with firms, as each is one more
choice of every consumer. With more consumers there are fewer economies, two at least, so that the batch fits in memory
until 10,000 consumers; the economies of each point are printed.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, NullFormatter, StrMethodFormatter

from analysis.figures import COLORS, new_figure, save, tidy
from benchmarks.cases import REPOSITORY, Case, build, experiment_of, our_case, ray_of_our_own
from benchmarks.timing import Stopwatch, machine, peak_bytes
from rbc_rllib.experiment import ExperimentConfig
from rbc_rllib.settings import at_least_one, command_parser, refused

Point = dict[str, Any]
"""What is measured (numbers of consumers, .., learners), and when it was, `seconds`, `microseconds` and `megabytes`."""

Works = dict[str, Callable[[Any], Callable[[], float]]]
"""What algorithms are asked for: by name, a function of an algorithm that gives one of the seconds it takes."""

BASE: Point = {"consumers": 100, "firms": 10, "economies": 32, "trained": 25, "runners": 0, "learners": 0}
CONSUMERS = (100, 300, 1000, 3000, 10_000)
FIRMS = (10, 20, 50, 100)
ECONOMIES = (1, 4, 16, 64, 256, 1024)
ECONOMIES_OF_PROCESSES = 1024  # so that work, and not Ray's messages, is compared


def points(quick: bool) -> dict[str, list[Point]]:
    """The points of each axis: all of them, or the first and a middle one."""
    return {
        "consumers": [
            BASE | {"consumers": consumers, "economies": 2 * max(1, 1600 // consumers), "trained": trained}
            for trained in (25, None)
            for consumers in _some(CONSUMERS, quick)
        ],
        "firms": [BASE | {"firms": firms} for firms in _some(FIRMS, quick)],
        "economies": [BASE | {"economies": economies} for economies in _some(ECONOMIES, quick)],
    }


def _some(values: tuple[int, ...], quick: bool) -> tuple[int, ...]:
    return (values[0], values[len(values) // 2]) if quick else values


def _experiment(point: Point) -> ExperimentConfig:
    return experiment_of(
        {
            "economy.num_consumers": point["consumers"],
            "economy.num_firms": point["firms"],
            "learning.economies_per_update": point["economies"],
            "learning.num_minibatches": min(2, point["economies"]),
            "learning.trained_consumers": point["trained"],
            "resources.num_env_runners": point["runners"],
            "resources.num_learners": point["learners"],
        }
    )


def measure(point: Point, repeats: int) -> Point:
    """`point` with the median seconds of its iterations, and the peak memory of this process."""
    experiment = _experiment(point)
    with ray_of_our_own():
        algorithm = build(experiment)
        case = our_case(algorithm, time.perf_counter)
        rounds = [_iterate(case) for _ in range(repeats + 1)][1:]
        algorithm.stop()
    medians = {kind: statistics.median(each[kind] for each in rounds) for kind in rounds[0]}
    consumer_steps = experiment.env_steps_per_update * point["consumers"]
    return point | {
        "seconds": medians,
        "microseconds": {kind: 1e6 * value / consumer_steps for kind, value in medians.items()},
        "megabytes": peak_bytes() / 2**20,
    }


def _iterate(case: Case) -> dict[str, float]:
    """Seconds of an iteration, of the learning in it, and of the rest, which is sampling with all that it takes."""
    case.iteration()
    seconds = {"iteration": case.iteration.seconds, "learning": case.learning.seconds}
    return seconds | {"sampling": seconds["iteration"] - seconds["learning"]}


def measure_processes(repeats: int) -> dict[str, float]:
    """How many times as fast two runners sample and play, and two learners learn, as one; they need two cores.

    Two either share the economies of one (strong scaling) or have as many each (weak scaling, `.._each`). One and two,
    and what they do, take turns; medians over rounds. Each turn is taken twice and the second is measured, since a core
    that was idle has lost its cache. Playing is what of sampling the runners do alone: its ratio is the most that
    sampling can reach on this machine.
    """
    faster = {}
    with ray_of_our_own():
        for several, works in PROCESSES.items():
            one = _on_its_cores(BASE | {"economies": ECONOMIES_OF_PROCESSES, several: 1})
            for scaling, work_of_two in (("", 1), ("_each", 2)):
                two = _on_its_cores(BASE | {"economies": ECONOMIES_OF_PROCESSES * work_of_two, several: 2})
                for name, ratio in _in_turn(one, two, works, repeats).items():
                    faster[f"two_{several}_{name}{scaling}"] = work_of_two * ratio
                two.stop()
            one.stop()
    return faster


def _on_its_cores(point: Point) -> Any:
    """The algorithm of a point, each of its runners kept on a core of its own."""
    algorithm = build(_experiment(point))
    algorithm.env_runner_group.foreach_env_runner(_to_its_core, local_env_runner=False)
    return algorithm


def _in_turn(one: Any, two: Any, works: Works, repeats: int) -> dict[str, float]:
    """Seconds that each of the `works` takes one algorithm, divided by those it takes the other."""
    measured = {name: (seconds_of(one), seconds_of(two)) for name, seconds_of in works.items()}
    rounds = [
        {name: _again(first) / _again(second) for name, (first, second) in measured.items()} for _ in range(repeats)
    ]
    return {name: statistics.median(each[name] for each in rounds) for name in works}


def _again(seconds_of: Callable[[], float]) -> float:
    """The seconds of the second of two calls."""
    seconds_of()
    return seconds_of()


def sampling(algorithm: Any) -> Callable[[], float]:
    """A function that samples once from all runners and gives the seconds, messages and their joining included."""
    return _timed(partial(algorithm._sample, env_steps=0))


def playing(algorithm: Any) -> Callable[[], float]:
    """As `sampling`, with the weights that the runners have, and they keep what they sampled."""

    def play(runner: Any) -> None:
        runner.sample(env_steps=0)
        runner.get_metrics()

    return _timed(partial(algorithm.env_runner_group.foreach_env_runner, play, local_env_runner=False))


def _timed(function: Callable[[], Any]) -> Callable[[], float]:
    watch = Stopwatch(function)

    def seconds() -> float:
        watch()
        return watch.seconds

    return seconds


def learning(algorithm: Any) -> Callable[[], float]:
    """A function that samples, learns once with all learners, and gives the seconds of the learning."""
    case = our_case(algorithm, time.perf_counter)
    return lambda: _iterate(case)["learning"]


PROCESSES: dict[str, Works] = {
    "runners": {"sampling": sampling, "playing": playing},
    "learners": {"learning": learning},
}
"""What is asked of one and of two of them."""


def _to_its_core(runner: Any) -> None:
    """Keep a runner on a core of its own, where the system can do that."""
    if hasattr(os, "sched_setaffinity"):
        cores = sorted(os.sched_getaffinity(0))
        os.sched_setaffinity(0, {cores[(runner.worker_index - 1) % len(cores)]})


def measure_alone(point: Point, repeats: int) -> Point:
    """`measure` in a fresh process, whose peak memory is the point's."""
    command = [sys.executable, "-m", "benchmarks.scaling", "--point", json.dumps(point), "--repeats", str(repeats)]
    done = subprocess.run(command, cwd=REPOSITORY, stdout=subprocess.PIPE, text=True, check=True)
    return json.loads(done.stdout.splitlines()[-1])


HEADER = "consumers trained  firms economies   s/iteration  us/consumer-step  peak MB"

PROCESSES_HEADER = f"two to one of     {ECONOMIES_OF_PROCESSES} shared    {ECONOMIES_OF_PROCESSES} each"


def row(point: Point) -> str:
    """One measured point as a line under `HEADER`."""
    return (
        f"{point['consumers']:>9,} {point['trained'] or 'all':>7} {point['firms']:>6} {point['economies']:>9,}"
        f" {point['seconds']['iteration']:>13.3f} {point['microseconds']['iteration']:>17.2f}"
        f" {point['megabytes']:>8,.0f}"
    )


def draw(axes: dict[str, list[Point]]) -> Figure:
    """Cost and peak memory along each axis, both scales logarithmic."""
    figure = new_figure(11, 6)
    panels = figure.subplots(2, 3, sharex="col", sharey="row")
    for column, axis in enumerate(("consumers", "firms", "economies")):
        cost, memory = panels[:, column]
        for color, trained in zip(COLORS, (25, None), strict=False):
            line = [point for point in axes[axis] if point["trained"] == trained]
            if not line:
                continue
            values = [point[axis] for point in line]
            style = {"marker": "o", "color": color, "label": f"{trained or 'all'} consumers trained"}
            cost.loglog(values, [point["microseconds"]["iteration"] for point in line], **style)
            memory.loglog(values, [point["megabytes"] for point in line], **style)
        tidy(cost, axis.capitalize(), "microseconds per consumer-step" if column == 0 else "")
        tidy(memory, "", "peak memory, MB" if column == 0 else "")
        memory.set_xlabel(axis)
        ticks = sorted({point[axis] for point in axes[axis]})
        memory.set_xticks(ticks, [f"{tick:,}" for tick in ticks])
        memory.xaxis.set_minor_formatter(NullFormatter())
    for panel in panels[:, 0]:
        panel.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        panel.yaxis.set_major_formatter(StrMethodFormatter("{x:,g}"))
        panel.yaxis.set_minor_formatter(NullFormatter())
    panels[0, 0].legend(frameon=False, fontsize=9)
    return figure


def main(arguments: list[str] | None = None) -> None:
    """The command line."""
    command = command_parser("benchmarks.scaling", __doc__)
    command.add_argument("--quick", action="store_true", help="two points an axis, two rounds of processes")
    command.add_argument("--repeats", type=int, default=5, metavar="N", help="iterations at each point (default 5)")
    command.add_argument("--json", type=Path, metavar="FILE", help="write the numbers here")
    command.add_argument("--figure", type=Path, metavar="FILE", help="draw them here")
    command.add_argument("--point", type=json.loads, help=argparse.SUPPRESS)
    options = command.parse_args(arguments)
    if options.point:
        print(json.dumps(measure(options.point, options.repeats)))
        return

    with refused(command):
        at_least_one(repeats=options.repeats)
    measured: dict[str, list[Point]] = {}
    for axis, along in points(options.quick).items():
        measured[axis] = []
        print(f"\n{axis}\n{HEADER}")
        for point in along:
            measured[axis].append(measure_alone(point, options.repeats))
            print(row(measured[axis][-1]), flush=True)
    two = measure_processes(min(2, options.repeats) if options.quick else options.repeats)
    print(f"\n{PROCESSES_HEADER}")
    for name in (f"{several}_{work}" for several, works in PROCESSES.items() for work in works):
        print(f"{name.replace('_', ' '):<18} {two[f'two_{name}']:>10.2f} {two[f'two_{name}_each']:>11.2f}")
    if options.json:
        options.json.write_text(json.dumps({**measured, **two, "machine": machine()}, indent=2) + "\n")
    if options.figure:
        save(draw(measured), options.figure)


if __name__ == "__main__":
    main()
