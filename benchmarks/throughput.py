"""How fast an economy is sampled and learned: RLlib's own PPO, `EconomyPPO`, and a bare PyTorch loop.

    python -m benchmarks.throughput                                    # a few minutes
    python -m benchmarks.throughput --repeats 20 --json throughput.json
    python -m benchmarks.throughput --cpu-time                         # on a machine that has other work to do

Prints agent-steps per second (an economy of 100 consumers, 10 firms and a planner makes 111 a quarter), the ratios,
where an iteration's time goes and how far it is from the processor's peak. All run in one process with one thread, in
turn within each round, so that what disturbs one disturbs the others; numbers are medians over the rounds. Expect
`EconomyPPO` at more than ten times the stock rates and at 90% or more of the bare loop's.

All groups are trained. The stock algorithm is at its best: whole episodes as fragments, the fastest of several numbers
of environments, and minibatches that hold as many consumer-steps as there are in half a batch, so that it passes over
the consumers' data as often as ours and takes as many gradient steps. RLlib gives every policy as many rows as the
consumers get, so its firms and its planner pass over theirs 10 and 100 times as often. That is its price for policies
of unequal size, and so is training on all consumers where ours draws 25 of them: for equal numbers of consumers see
`EconomyPPO, all consumers`.
"""

import argparse
import json
import statistics
import time
from pathlib import Path
from typing import Any

from benchmarks.cases import (
    STOCK_NUM_ENVS,
    Case,
    agent_steps,
    bare_case,
    build,
    experiment_of,
    fastest_stock,
    our_case,
    ray_of_our_own,
)
from benchmarks.floor import operations, peak_speed
from benchmarks.parts import time_by_part
from benchmarks.timing import Clock, machine
from rbc_rllib.experiment import ExperimentConfig
from rbc_rllib.settings import at_least_one, command_parser, refused

STOCK, OURS, OURS_ALL, BARE = "stock RLlib", "EconomyPPO", "EconomyPPO, all consumers", "bare PyTorch loop"
KINDS = ("sampling", "learning", "iteration")
MANY_ECONOMIES = 128  # compared with the bare loop once more

Seconds = dict[str, dict[str, list[float]]]
"""Case, kind, round."""


def measure(cases: dict[str, Case], repeats: int) -> Seconds:
    """Seconds of every case in each of `repeats` rounds, after a first one that is not counted."""
    seconds: Seconds = {name: {kind: [] for kind in KINDS} for name in cases}
    for number in range(repeats + 1):
        for name, case in cases.items():
            for kind, duration in case.measure().items():
                if number > 0:
                    seconds[name][kind].append(duration)
    return seconds


def speed(seconds: Seconds, kind: str, case: str, against: str) -> float:
    """How many times as fast `case` is as `against`: the median over rounds."""
    rounds = zip(seconds[against][kind], seconds[case][kind], strict=True)
    return statistics.median(theirs / ours for theirs, ours in rounds)


def rates(seconds: Seconds, steps: int) -> dict[str, dict[str, float]]:
    """Agent-steps sampled per second of each case and kind."""
    return {name: {kind: steps / statistics.median(kinds[kind]) for kind in KINDS} for name, kinds in seconds.items()}


def table(title: str, rows: dict[str, dict[str, float]], form: str = ",.0f") -> str:
    """Numbers by row and column as aligned text."""
    columns = next(iter(rows.values()))
    width = max(len(title), *(len(name) for name in rows))
    lines = [title.ljust(width) + "".join(f"{column:>12}" for column in columns)]
    for name, numbers in rows.items():
        lines.append(name.ljust(width) + "".join(f"{number:>12{form}}" for number in numbers.values()))
    return "\n".join(lines) + "\n"


def run(experiment: ExperimentConfig, repeats: int, clock: Clock) -> dict[str, Any]:
    """All measurements, printed as they come."""
    economies = experiment.learning.economies_per_update
    every_consumer = experiment.with_values({"learning.trained_consumers": None})
    many = experiment.with_values({"learning.economies_per_update": MANY_ECONOMIES})

    stock, num_envs = fastest_stock(experiment, clock)
    algorithm = build(experiment)
    cases = {
        STOCK: stock,
        OURS: our_case(algorithm, clock),
        OURS_ALL: our_case(build(every_consumer), clock),
        BARE: bare_case(experiment, clock),
    }
    seconds = measure(cases, repeats)
    few_rates = rates(seconds, agent_steps(experiment))
    print(f"Stock RLlib samples fastest with num_envs_per_env_runner = {num_envs} (tried: {STOCK_NUM_ENVS}).\n")
    print(table(f"agent-steps per second, {economies} economies", few_rates))

    many_cases = {OURS: our_case(build(many), clock), BARE: bare_case(many, clock)}
    many_seconds = measure(many_cases, repeats)
    many_rates = rates(many_seconds, agent_steps(many))
    print(table(f"agent-steps per second, {MANY_ECONOMIES} economies", many_rates))

    ratios = {
        "sampling_vs_stock": speed(seconds, "sampling", OURS, STOCK),
        "learning_vs_stock": speed(seconds, "learning", OURS, STOCK),
        "iteration_vs_stock": speed(seconds, "iteration", OURS, STOCK),
        "iteration_vs_stock_all_consumers": speed(seconds, "iteration", OURS_ALL, STOCK),
        "iteration_vs_bare": speed(seconds, "iteration", OURS, BARE),
        f"iteration_vs_bare_{MANY_ECONOMIES}": speed(many_seconds, "iteration", OURS, BARE),
    }
    print(table("EconomyPPO's speed", {name: {"times": ratio} for name, ratio in ratios.items()}, ".2f"))

    parts = time_by_part(algorithm, repeats, clock)
    print(table("EconomyPPO's time", {part: {"share": share} for part, share in parts.items()}, ".1%"))

    needed, peak = operations(experiment), peak_speed()
    share = sum(needed.values()) / peak / statistics.median(seconds[OURS]["iteration"])
    print(f"The layers of an iteration need {sum(needed.values()) / 1e9:.2f} billion floating-point operations: at the")
    print(f"{peak / 1e9:.0f} billion a second of a large matrix product, {share:.0%} of EconomyPPO's time.")

    return {
        **ratios,
        "agent_steps_per_second": {"usual": few_rates, "many": many_rates},
        "time_by_part": parts,
        "floor": {"operations": needed, "peak_operations_per_second": peak, "share_of_iteration": share},
        "settings": {
            "economies": economies,
            "repeats": repeats,
            "clock": clock.__name__,
            "agent_steps_per_iteration": agent_steps(experiment),
            "stock_num_envs_per_env_runner": num_envs,
            "stock_num_envs_tried": STOCK_NUM_ENVS,
            "experiment": experiment.model_dump(mode="json"),
        },
        "machine": machine(),
    }


def parser(name: str, description: str) -> argparse.ArgumentParser:
    """The options of a benchmark whose cases run in turn in one process."""
    command = command_parser(f"benchmarks.{name}", description)
    command.add_argument("--economies", type=int, default=32, metavar="N", help="economies played at once (default 32)")
    command.add_argument("--repeats", type=int, default=10, metavar="N", help="rounds (default 10)")
    command.add_argument("--cpu-time", action="store_true", help="count the process's CPU time, not the wall clock's")
    command.add_argument("--json", type=Path, metavar="FILE", help="write the numbers here")
    return command


def main(arguments: list[str] | None = None) -> None:
    """The command line."""
    command = parser("throughput", __doc__ or "")
    options = command.parse_args(arguments)
    clock = time.process_time if options.cpu_time else time.perf_counter
    with refused(command):
        at_least_one(repeats=options.repeats)
        experiment = experiment_of({"learning.economies_per_update": options.economies})
    with ray_of_our_own():
        result = run(experiment, options.repeats, clock)
    if options.json:
        options.json.write_text(json.dumps(result, indent=2) + "\n")


if __name__ == "__main__":
    main()
