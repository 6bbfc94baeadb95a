"""How fast an iteration is in each of the planner's modes, beside one with discretion.

    python -m benchmarks.planner_modes                     # two minutes
    python -m benchmarks.planner_modes --repeats 20 --cpu-time

Prints agent-steps per second and the ratios to discretion. All run in one process with one thread, in turn within each
round; numbers are medians over the rounds. Expect ratios of about 1: a plan is drawn once an episode, by a small table.
"""

import json
import time

from benchmarks.cases import agent_steps, build, experiment_of, our_case, ray_of_our_own
from benchmarks.throughput import measure, parser, rates, speed, table
from benchmarks.timing import machine
from rbc_rllib.economy import Planner
from rbc_rllib.settings import at_least_one, refused

DISCRETION = "discretion"
PLANNERS = {
    DISCRETION: Planner(mode="discretion"),
    "constant": Planner(mode="constant"),
    "schedule": Planner(mode="schedule"),
    "fixed": Planner(mode="fixed", rates=((0.0, 0.8),)),
    "drawn": Planner(mode="fixed", rates="drawn"),
}


def main(arguments: list[str] | None = None) -> None:
    """The command line."""
    command = parser("planner_modes", __doc__ or "")
    options = command.parse_args(arguments)
    clock = time.process_time if options.cpu_time else time.perf_counter
    with refused(command):
        at_least_one(repeats=options.repeats)
        experiment = experiment_of({"learning.economies_per_update": options.economies})
    with ray_of_our_own():
        algorithms = {name: build(experiment.replace(planner=planner)) for name, planner in PLANNERS.items()}
        cases = {name: our_case(algorithm, clock) for name, algorithm in algorithms.items()}
        seconds = measure(cases, options.repeats)
    ratios = {name: speed(seconds, "iteration", name, DISCRETION) for name in PLANNERS}
    print(table(f"agent-steps per second, {options.economies} economies", rates(seconds, agent_steps(experiment))))
    print(
        table("iteration, times discretion's speed", {name: {"times": ratio} for name, ratio in ratios.items()}, ".2f")
    )
    if options.json:
        record = {"iteration_vs_discretion": ratios, "repeats": options.repeats, "machine": machine()}
        options.json.write_text(json.dumps(record, indent=2) + "\n")


if __name__ == "__main__":
    main()
