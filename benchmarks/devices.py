"""How fast one process samples and learns on its CPU core and on its GPU, from few economies to many.

    python -m benchmarks.devices                      # some minutes; needs a CUDA device and CuPy
    python -m benchmarks.devices --economies 32 1024

Prints agent-steps per second (an economy of 100 consumers, 10 firms and a planner makes 111 a quarter) of sampling,
learning and whole iterations, and what torch held of the GPU's memory at most. On the GPU the economies are CuPy's, and
networks and learner share their device; on the CPU all is NumPy and torch with one thread. At each number of economies
both run in turn.
"""

import statistics
import time
from typing import Any

import torch

from benchmarks.cases import Case, agent_steps, build, experiment_of, our_case, ray_of_our_own
from rbc_rllib.arrays import array_library
from rbc_rllib.settings import at_least_one, command_parser, refused

ECONOMIES = (32, 128, 512, 1024, 4096)
LARGEST_ON_CPU = 512
"""More take the CPU long, and their rate is the same."""

HEAD = f"{'economies':>9}  {'device':<6}{'sampling':>14}{'learning':>14}{'iteration':>14}{'torch MB':>10}"


def clock() -> float:
    """Seconds, when all that was asked of the GPU is done."""
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    return time.perf_counter()


def case(economies: int, gpus: int) -> tuple[Case, int]:
    """`EconomyPPO` with that many economies in one process, and the agent-steps of an iteration."""
    experiment = experiment_of({"learning.economies_per_update": economies, "resources.num_gpus_per_learner": gpus})
    return our_case(build(experiment), clock), agent_steps(experiment)


def measure(economies: int, repeats: int) -> list[dict[str, Any]]:
    """A row for each device: agent-steps per second, medians over `repeats` rounds after one that is not counted."""
    places = {"GPU": 1} | ({"CPU": 0} if economies <= LARGEST_ON_CPU else {})
    cases = {device: case(economies, gpus) for device, gpus in places.items()}
    rounds: dict[str, list[dict[str, float]]] = {device: [] for device in cases}
    torch.cuda.reset_peak_memory_stats()
    for number in range(repeats + 1):
        for device, (each, _) in cases.items():
            seconds = each.measure()
            if number:
                rounds[device].append(seconds)
    peak = torch.cuda.max_memory_allocated() / 2**20
    return [
        {
            "economies": economies,
            "device": device,
            "megabytes": peak if device == "GPU" else None,
            **{kind: steps / statistics.median(each[kind] for each in rounds[device]) for kind in rounds[device][0]},
        }
        for device, (_, steps) in cases.items()
    ]


def line(row: dict[str, Any]) -> str:
    """A row as aligned text."""
    rates = "".join(f"{row[kind]:>14,.0f}" for kind in ("sampling", "learning", "iteration"))
    memory = "" if row["megabytes"] is None else f"{row['megabytes']:,.0f}"
    return f"{row['economies']:>9,}  {row['device']:<6}{rates}{memory:>10}"


def main(arguments: list[str] | None = None) -> None:
    """The command line."""
    command = command_parser("benchmarks.devices", __doc__)
    command.add_argument("--economies", type=int, nargs="+", default=ECONOMIES, metavar="N", help="played at once")
    command.add_argument("--repeats", type=int, default=5, metavar="N", help="rounds at each number (default 5)")
    options = command.parse_args(arguments)
    with refused(command):
        at_least_one(repeats=options.repeats)
        array_library("cupy")
        with ray_of_our_own():
            print(HEAD)
            for economies in options.economies:
                for row in measure(economies, options.repeats):
                    print(line(row), flush=True)


if __name__ == "__main__":
    main()
