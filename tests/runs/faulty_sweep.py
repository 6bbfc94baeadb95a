"""The command `sweep` with small sweeps, in which processes are killed when a trial reports an iteration.

    FAULTS='{"alone_seed0": ["trial", 5]}' RAYLETS=12,34 python -m tests.runs.faulty_sweep trials --results DIR

A fault is a kind of process and the iteration; `RAYLETS` are those of the cluster, whose processes may be killed. A
node is killed, the last one, when the trial lives there; that happens once. Searches end without a report, which takes
longer than their trials.
"""

import json
import os
import signal
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import ray  # noqa: F401 (it brings psutil)

# isort: split
import psutil
from ray import tune

from rbc_rllib import sweep
from rbc_rllib.evaluate import evaluate_trial
from rbc_rllib.experiment import Sweep
from rbc_rllib.runs.progress import ProgressLines
from rbc_rllib.search import Search
from tests.small import SMALL

ALONE = SMALL.with_values(
    {"name": "alone", "iterations_per_checkpoint": 3, "evaluation_episodes": 2, "learning.hidden_sizes": (16, 16)}
)
RUNNERS = ALONE.with_values(
    {"name": "runners", "resources.num_env_runners": 2, "resources.num_cpus_per_env_runner": 0.01}
)
LEARNERS = ALONE.with_values({"name": "learners", "resources.num_learners": 2, "resources.num_cpus_per_learner": 0.01})
BROKEN = ALONE.with_values({"name": "broken", "economy.total_factor_productivity": 1e38})

SEARCHED = ALONE.with_values({"name": "searched", "curriculum.total_env_steps": 256})  # four iterations
DRAWS_GET_WORSE = 3
"""The seed of two draws of which the second one makes work harder."""

SWEEPS = {
    "undisturbed": Sweep((ALONE, ALONE.replace(seed=1), RUNNERS, LEARNERS)),
    "deaths": Sweep((ALONE, RUNNERS, LEARNERS, BROKEN)),
    "pair": Sweep((ALONE, ALONE.replace(seed=1))),
    "one": Sweep((ALONE,)),
    "stopped": Sweep(
        (SEARCHED, SEARCHED.replace(seed=1)),
        {"economy.labor_disutility": tune.uniform(0.01, 1.0)},
        num_samples=2,
        search=Search(kind="asha", judged_from=0.5, seed=DRAWS_GET_WORSE),
    ),
    "bred": Sweep(
        (SEARCHED,),
        {"learning.learning_rate.firm": tune.loguniform(1e-4, 1e-2), "learning.clip_param": tune.uniform(0.1, 0.3)},
        num_samples=2,
        search=Search(kind="population", interval=0.5),
    ),
}
TITLES = {"runner": "ray::BatchedEnvRunner", "learner": ("ray::_WrappedExecutable", "ray::_RayTrainWorker")}
"""How processes call themselves."""


def raylets() -> list[psutil.Process]:
    """The head's first."""
    return [psutil.Process(int(pid)) for pid in os.environ["RAYLETS"].split(",")]


def titled(title: str | tuple[str, ...]) -> Iterator[psutil.Process]:
    for raylet in raylets():
        for process in raylet.children(recursive=True):
            if process.cmdline() and process.cmdline()[0].startswith(title):
                yield process


def on_last_node(pid: int) -> bool:
    return any(process.pid == pid for process in raylets()[-1].children(recursive=True))


def kill(kind: str, pid: int) -> None:
    """A process of this kind; `pid` is the trial's."""
    if kind == "driver":
        os.kill(os.getpid(), signal.SIGKILL)
    elif kind == "trial":
        os.kill(pid, signal.SIGKILL)
    elif kind == "node":
        raylet = raylets()[-1]
        for process in [raylet, *raylet.children(recursive=True)]:  # at once, as a machine would
            with suppress(psutil.NoSuchProcess):
                process.kill()
    else:
        next(titled(TITLES[kind])).kill()


def evaluated(folder: Path, finished: list[Path]) -> str:
    return "\n".join(evaluate_trial(trial) for trial in finished)


def main() -> None:
    faults = json.loads(os.environ.get("FAULTS", "{}"))
    show = ProgressLines.on_trial_result

    def show_and_kill(self, iteration, trials, trial, result, **info):
        show(self, iteration, trials, trial, result, **info)
        kind, number = faults.get(str(trial), (None, None))
        if result["training_iteration"] == number and (kind != "node" or on_last_node(result["pid"])):
            for name in [name for name in faults if kind == "node" or name == str(trial)]:
                del faults[name]  # once
            print(f"{trial}: kill {kind}", flush=True)
            kill(kind, result["pid"])

    ProgressLines.on_trial_result = show_and_kill
    sweep.find_sweep = SWEEPS.__getitem__
    if SWEEPS[sys.argv[1]].search:
        sweep.judge = evaluated
    elif os.environ.get("JUDGED") == "False":
        sweep.judge = lambda folder, finished: ""
    sweep.main()


if __name__ == "__main__":
    main()
