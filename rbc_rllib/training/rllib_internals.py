"""Where Ray 2.60 has no public way: each use of its insides, with the reason. `tests/training/test_rllib_internals.py`
fails when Ray changes one of them.
"""

import logging
import os
import signal
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ray.rllib.algorithms.ppo.torch.ppo_torch_learner import PPOTorchLearner

# Batches that do not come from RLlib's episodes have only the old stack's classes; all others take them from here.
from ray.rllib.evaluation.postprocessing import Postprocessing as Postprocessing
from ray.rllib.policy.sample_batch import MultiAgentBatch as MultiAgentBatch
from ray.rllib.policy.sample_batch import SampleBatch as SampleBatch
from ray.rllib.policy.sample_batch import concat_samples as concat_samples
from ray.rllib.utils.schedules.scheduler import Scheduler

from rbc_rllib.play.env import RBCEnv
from rbc_rllib.play.vector_economy import VectorEconomy


class MinibatchingLearner(PPOTorchLearner):
    """RLlib's learner with a place to cut minibatches: it asks a private method for them, and copies each one twice."""

    def minibatches(
        self, batch: MultiAgentBatch, size: int, *, num_epochs: int, count: int, seed: int
    ) -> Iterator[MultiAgentBatch]:
        """The minibatches of an update, of `size` rows; subclasses say. A `count` of 0: as many as the epochs take."""
        raise NotImplementedError

    def _create_iterator_if_necessary(
        self,
        *,
        minibatch_size: int | None = None,
        num_epochs: int = 1,
        num_total_minibatches: int = 0,
        shuffle_batch_per_epoch: bool = True,
        shuffle_seed: int = 0,
        **kwargs: Any,
    ) -> Any:
        whole = super()._create_iterator_if_necessary(**kwargs)  # one batch, of the policies in training
        if not minibatch_size:
            return whole
        (batch,) = whole
        return self.minibatches(
            batch, minibatch_size, num_epochs=num_epochs, count=num_total_minibatches, seed=shuffle_seed
        )


def set_entropy_coefficient(learner: Any, policy: str, coefficient: float) -> None:
    """Set a policy's entropy coefficient: a learner's schedules are set when it is built, in env steps, and move only
    after an update, so they can follow no curriculum."""
    learner.entropy_coeff_schedulers_per_module[policy] = Scheduler(
        fixed_value_or_schedule=coefficient, framework=learner.framework, device=learner.device
    )


def follow_learning_rates(learner: Any, env_steps: int) -> None:
    """Set the learning rates of a learner's own schedules: it takes those of the checkpoint that it loads, be it of a
    run with others, and moves them only after an update."""
    for optimizer, schedule in learner._optimizer_lr_schedules.items():
        learner._set_optimizer_lr(optimizer, lr=schedule.update(timestep=env_steps))


def economies_of(env_runner: Any) -> Iterator[VectorEconomy]:
    """The economies of `BatchedEnvRunner` or of RLlib's `MultiAgentEnvRunner`, which hides its environments in a vector
    environment; `foreach_env` is gone."""
    env = env_runner.env
    if env is None:
        return
    for single in [env] if isinstance(env, RBCEnv) else env.unwrapped.envs:
        yield single.unwrapped.economy


def leave_interrupts_to_us() -> None:
    """Have Tune leave Ctrl-C alone: its own handler ends the run without a checkpoint of the running trials."""
    os.environ["TUNE_DISABLE_SIGINT_HANDLER"] = "1"


def end_tune_gracefully() -> None:
    """End the Tune run of this process so that it can be resumed. A `tune.Stopper` cannot: what it stops counts as
    finished and is never resumed."""
    os.kill(os.getpid(), signal.SIGUSR1)


def give_callbacks(tuner: Any, callbacks: list[Any]) -> None:
    """Have a run call these too. A restored `Tuner` takes none: it calls those that were pickled with it."""
    config = tuner._local_tuner.get_run_config()
    config.callbacks = [*(config.callbacks or []), *callbacks]


def forget_statistics(trial: Any) -> None:
    """Drop what Tune keeps of every metric of a trial (extremes, means of the last reports), for good: of trials that
    have ended it is most of the driver's memory and of snapshots."""
    trial.run_metadata.metric_analysis, trial.run_metadata.metric_n_steps = {}, {}


def has_snapshot(folder: Path) -> bool:
    """Whether Tune has saved the state of the run in `folder`. `Tuner.can_restore` asks only for the file that every
    `Tuner` writes when it is made, from which nothing can be resumed."""
    return any(folder.glob("experiment_state-*.json"))


def state_file(trial: Any) -> Path | None:
    """Where the driver writes the state of a trial's run, before a thread copies it to the results; `None` before the
    first time."""
    folder = Path(trial.storage.experiment_driver_staging_path)
    return max(folder.glob("experiment_state-*.json"), default=None)


def quiet() -> None:
    """Keep Ray's own tables and warnings from the terminal."""
    os.environ["RAY_AIR_NEW_OUTPUT"] = "0"  # our progress lines instead of Tune's tables
    os.environ["TUNE_PRINT_ALL_TRIAL_ERRORS"] = "0"  # a line with the cause; tracebacks are in `error.txt`
    for library in ("ray", "ray.rllib", "ray.tune"):
        logging.getLogger(library).setLevel(logging.ERROR)
    warnings.filterwarnings("ignore", category=DeprecationWarning)
    # A member that goes on from another's checkpoint is started anew, so that its settings are whole.
    warnings.filterwarnings("ignore", message="Consider boosting PBT performance")
