"""`EconomyPPO`: RLlib's PPO with a batched way from the economy to its learner."""

import math
from functools import partial
from typing import Any

import numpy as np
import ray
from ray.rllib.algorithms.ppo import PPO, PPOConfig
from ray.rllib.utils.metrics import (
    ALL_MODULES,
    ENV_RUNNER_RESULTS,
    ENV_RUNNER_SAMPLING_TIMER,
    LEARNER_RESULTS,
    LEARNER_UPDATE_TIMER,
    NUM_ENV_STEPS_SAMPLED_LIFETIME,
    NUM_MODULE_STEPS_TRAINED_LIFETIME,
    TIMERS,
)

from rbc_rllib.experiment import ExperimentConfig
from rbc_rllib.play.numerics import NumericsError
from rbc_rllib.play.randomness import SHUFFLE, stream_seed
from rbc_rllib.training.batch import standardise
from rbc_rllib.training.env_runner import BatchedEnvRunner
from rbc_rllib.training.learner import EconomyLearner
from rbc_rllib.training.metric_keys import TOTAL_LOSS
from rbc_rllib.training.rllib_internals import MultiAgentBatch, concat_samples


class EconomyPPOConfig(PPOConfig):
    """PPO on batches whose rows are quarters of whole economies."""

    def __init__(self, algo_class: Any = None):
        super().__init__(algo_class=algo_class or EconomyPPO)
        self.env_runner_cls = BatchedEnvRunner
        self.add_default_connectors_to_learner_pipeline = False
        self.experiment = ExperimentConfig()

    def get_default_learner_class(self) -> type[EconomyLearner]:
        """`EconomyLearner`."""
        return EconomyLearner

    def play(self, experiment: ExperimentConfig) -> "EconomyPPOConfig":
        """What runners and learners play and train."""
        self.experiment = experiment
        return self


class EconomyPPO(PPO):
    """PPO whose runners return learner-ready batches."""

    @classmethod
    def get_default_config(cls) -> EconomyPPOConfig:
        """An empty `EconomyPPOConfig`."""
        return EconomyPPOConfig()

    @property
    def env_steps(self) -> int:
        """Lifetime env steps: quarters of all economies sampled since training began."""
        return lifetime_env_steps(self)

    def training_step(self) -> None:
        """Sample once from every runner, update the groups in training, and check that all stays finite."""
        config = self.config
        env_steps = self.env_steps
        self.check_learners()
        with self.metrics.log_time((TIMERS, ENV_RUNNER_SAMPLING_TIMER)):
            batch = self._sample(env_steps)
        rows_per_learner = batch.env_steps() // max(1, config.num_learners)
        growth = config.experiment.refinement.batches(config.experiment.curriculum.progress(env_steps))
        minibatch_size = config.minibatch_size and growth * config.minibatch_size
        minibatches = math.ceil(rows_per_learner / minibatch_size) if minibatch_size else 1
        with self.metrics.log_time((TIMERS, LEARNER_UPDATE_TIMER)):
            results = self.learner_group.update(
                batch=batch,
                timesteps={
                    NUM_ENV_STEPS_SAMPLED_LIFETIME: self.env_steps,
                    NUM_MODULE_STEPS_TRAINED_LIFETIME: self.metrics.peek(
                        (LEARNER_RESULTS, ALL_MODULES, NUM_MODULE_STEPS_TRAINED_LIFETIME), default=0
                    ),
                },
                num_epochs=config.num_epochs,
                minibatch_size=minibatch_size,
                shuffle_seed=stream_seed(config.seed or 0, SHUFFLE, env_steps),
                # Learners with unequal numbers of minibatches would wait for each other forever.
                num_total_minibatches=minibatches * config.num_epochs if minibatch_size else 0,
            )
            self._check_finite(results)
            self.metrics.aggregate(results, key=LEARNER_RESULTS)

    def check_learners(self) -> None:
        """Raise what ended a learner's process since the last update: RLlib keeps it to itself."""
        for answer in self.learner_group.foreach_learner(_nothing, healthy_only=False).result_or_errors:
            if not answer.ok:
                raise answer.get()

    def _sample(self, env_steps: int) -> MultiAgentBatch:
        """One batch from all runners, which first load the learners' weights.

        Raises what a runner raised, and Ray's error where one has died.
        """
        weights = self.learner_group.get_weights()
        runners = self.env_runner_group
        if runners.num_remote_env_runners() == 0:
            answers = [runners.local_env_runner.sample_with(weights, env_steps)]
        else:
            answers = runners.foreach_env_runner(
                partial(BatchedEnvRunner.sample_with, weights=ray.put(weights), env_steps=env_steps),
                local_env_runner=False,
                timeout_seconds=self.config.sample_timeout_s,
            )
        for answer in answers:
            if isinstance(answer, Exception):
                raise answer
        self.metrics.aggregate([metrics for _, metrics in answers], key=ENV_RUNNER_RESULTS)
        batches = [batch for batches, _ in answers for batch in batches]
        whole, experiment = batches[0] if len(batches) == 1 else concat_samples(batches), self.config.experiment
        own_advantages = experiment.refinement.own_advantages(experiment.curriculum.progress(env_steps))
        standardise(whole, experiment, own_advantages)
        return whole

    def _check_finite(self, results: list[dict[str, Any]]) -> None:
        """The losses of an update, and the weights, where NaN and infinity of a gradient end: RLlib takes them out of
        its norm, and for the mean of an iteration it leaves NaN out."""
        for learner in results:
            for policy in self.config.policies:
                loss = learner.get(policy, {}).get(TOTAL_LOSS)  # none of those that do not learn now
                if loss is not None and not math.isfinite(loss.peek()):
                    raise NumericsError(policy, self.env_steps, TOTAL_LOSS, "learner")
        for policy, weights in self.learner_group.get_weights().items():
            for name, values in weights.items():
                if not np.isfinite(values).all():
                    raise NumericsError(policy, self.env_steps, name, "weights after an update")


def _nothing(_: Any) -> None:
    """What to ask of a process to see whether it is alive."""


def lifetime_env_steps(algorithm: Any) -> int:
    """Env steps that `algorithm`, this PPO or a stock one, has sampled since training began."""
    return int(algorithm.metrics.peek((ENV_RUNNER_RESULTS, NUM_ENV_STEPS_SAMPLED_LIFETIME), default=0))
