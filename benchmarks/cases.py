"""The programs that are compared: RLlib's own PPO, `EconomyPPO`, and a bare PyTorch loop."""

import logging
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import ray
import torch

from benchmarks.bare import BareLoop
from benchmarks.timing import Clock, Stopwatch
from callbacks import curriculum_callbacks
from rbc_rllib.economy.actions import group_sizes
from rbc_rllib.experiment import ExperimentConfig
from rbc_rllib.training.config import algorithm_config, stock_config
from rbc_rllib.training.rllib_internals import quiet

REPOSITORY = Path(__file__).parent.parent
STOCK_NUM_ENVS = (1, 4, 8)
"""Environments in the stock runner; the fastest of these numbers is compared."""


@contextmanager
def ray_of_our_own() -> Iterator[None]:
    """Ray on this machine, silent, with logical CPUs for one runner and for two beside it; torch on one thread.

    No more: Ray starts a process for each logical CPU, and those that wait for work take time from the others.
    """
    torch.set_num_threads(1)
    quiet()
    warnings.filterwarnings("ignore", message=".*Overriding environment")
    ray.init(
        address="local",
        num_cpus=3,
        include_dashboard=False,
        log_to_driver=False,
        logging_level=logging.ERROR,
        runtime_env={"env_vars": {"PYTHONPATH": str(REPOSITORY)}},
    )
    try:
        yield
    finally:
        ray.shutdown()


def experiment_of(values: dict[str, Any]) -> ExperimentConfig:
    """The default experiment with all groups in training and `values` changed."""
    return ExperimentConfig(name="benchmark").with_values({"curriculum.staged_training": False, **values})


def agent_steps(experiment: ExperimentConfig) -> int:
    """Agent-steps sampled in an iteration, whether or not they are trained on."""
    return experiment.env_steps_per_update * sum(group_sizes(experiment.economy).values())


def build(experiment: ExperimentConfig) -> Any:
    """`EconomyPPO` with its curriculum."""
    return algorithm_config(experiment, curriculum_callbacks(experiment)).build_algo()


def build_stock(experiment: ExperimentConfig, num_envs: int) -> Any:
    """RLlib's PPO with as many passes over the consumers' data as ours, and as many gradient steps in each."""
    config = stock_config(experiment, curriculum_callbacks(experiment))
    agents = sum(group_sizes(experiment.economy).values())
    rows = experiment.env_steps_per_update
    # Counted in env steps, RLlib would refuse minibatches that hold more agents than the batch has env steps.
    config.multi_agent(count_steps_by="agent_steps")
    config.env_runners(
        num_envs_per_env_runner=num_envs, rollout_fragment_length=experiment.economy.episode_length * agents
    )
    config.training(
        train_batch_size_per_learner=rows * agents,
        minibatch_size=rows * experiment.economy.num_consumers // experiment.learning.num_minibatches,
    )
    return config.build_algo()


@dataclass
class Case:
    """One program, ready to be measured."""

    sample: Stopwatch
    iteration: Stopwatch
    learning: Stopwatch  # of the learning within `iteration`

    def measure(self) -> dict[str, float]:
        """Seconds of one sample, of one iteration, and of the learning in it."""
        self.sample()
        self.iteration()
        return {
            "sampling": self.sample.seconds,
            "learning": self.learning.seconds,
            "iteration": self.iteration.seconds,
        }


def stock_case(experiment: ExperimentConfig, num_envs: int, clock: Clock) -> Case:
    """RLlib's PPO; advantages are part of its learning."""
    algorithm = build_stock(experiment, num_envs)
    runner = algorithm.env_runner

    def sample() -> None:
        for _ in range(experiment.learning.economies_per_update // num_envs):
            runner.sample()
        # Steps that stay in the runner's metrics would count as sampled in the next iteration.
        runner.get_metrics()

    return _case(sample, algorithm.training_step, algorithm.learner_group, "update", clock)


def fastest_stock(experiment: ExperimentConfig, clock: Clock) -> tuple[Case, int]:
    """The stock case whose number of environments samples fastest, and that number."""
    cases = {
        num_envs: stock_case(experiment, num_envs, clock)
        for num_envs in STOCK_NUM_ENVS
        if experiment.learning.economies_per_update % num_envs == 0
    }
    seconds = {num_envs: min(case.measure()["sampling"] for _ in range(3)) for num_envs, case in cases.items()}
    best = min(seconds, key=lambda num_envs: seconds[num_envs])
    return cases[best], best


def our_case(algorithm: Any, clock: Clock) -> Case:
    """`EconomyPPO`; advantages, batches and indicators are part of its sampling."""

    def sample() -> None:
        algorithm.env_runner.sample(env_steps=0)

    return _case(sample, algorithm.training_step, algorithm.learner_group, "update", clock)


def bare_case(experiment: ExperimentConfig, clock: Clock) -> Case:
    """The bare loop; advantages and batches are part of its sampling."""
    loop = BareLoop(experiment)
    return _case(loop.sample, loop.iteration, loop, "learn", clock)


def _case(sample: Callable[[], Any], iteration: Callable[[], Any], learner: Any, learn: str, clock: Clock) -> Case:
    learning = Stopwatch(getattr(learner, learn), clock)
    setattr(learner, learn, learning)
    return Case(Stopwatch(sample, clock), Stopwatch(iteration, clock), learning)
