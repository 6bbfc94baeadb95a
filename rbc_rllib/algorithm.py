"""`EconomyPPO`: RLlib's PPO with a batched way from the economy to its learner, and configs built from an
`ExperimentConfig`."""

import logging
import math
import os
import warnings
from functools import partial
from pathlib import Path
from typing import Any

import ray
from ray.rllib.algorithms.ppo import PPO, PPOConfig
from ray.rllib.core.rl_module.multi_rl_module import MultiRLModuleSpec
from ray.rllib.core.rl_module.rl_module import RLModuleSpec
from ray.rllib.policy.sample_batch import MultiAgentBatch, concat_samples
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

from rbc_rllib.env import RBCEnv, group_of, group_spaces
from rbc_rllib.env_runner import BatchedEnvRunner, stream_seed
from rbc_rllib.experiment import ExperimentConfig
from rbc_rllib.learner import EconomyLearner
from rbc_rllib.modules import GroupModule
from rbc_rllib.numerics import NumericsError

MODULES = Path("learner_group") / "learner" / "rl_module"
"""Where a checkpoint keeps the networks, a folder for each policy."""

CHECKED_LEARNER_METRICS = ("total_loss", "gradients_default_optimizer_global_norm")


class EconomyPPOConfig(PPOConfig):
    """PPO on batches whose rows are quarters of whole economies."""

    def __init__(self, algo_class: Any = None):
        super().__init__(algo_class=algo_class or EconomyPPO)
        self.env_runner_cls = BatchedEnvRunner
        self.add_default_connectors_to_learner_pipeline = False
        self.trained_consumers: int | None = None
        self.torch_threads = 1
        self.deviator: tuple[str, int] | None = None

    def get_default_learner_class(self) -> type[EconomyLearner]:
        """`EconomyLearner`."""
        return EconomyLearner

    def batched(
        self, *, trained_consumers: int | None, torch_threads: int, deviator: tuple[str, int] | None = None
    ) -> "EconomyPPOConfig":
        """How many consumers of each economy a batch holds (None: all), torch threads in each process, and group and
        index of an agent that acts by a policy of its own."""
        self.trained_consumers = trained_consumers
        self.torch_threads = torch_threads
        self.deviator = deviator
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
        with self.metrics.log_time((TIMERS, ENV_RUNNER_SAMPLING_TIMER)):
            batch = self._sample(env_steps)
        if batch is None:
            return
        rows_per_learner = batch.env_steps() // max(1, config.num_learners)
        minibatches = math.ceil(rows_per_learner / config.minibatch_size) if config.minibatch_size else 1
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
                minibatch_size=config.minibatch_size,
                shuffle_seed=stream_seed(config.seed or 0, 2**31, env_steps),
                # Learners with unequal numbers of minibatches would wait for each other forever.
                num_total_minibatches=minibatches * config.num_epochs if config.minibatch_size else 0,
            )
            self.metrics.aggregate(results, key=LEARNER_RESULTS)
        self._check_finite()

    def _sample(self, env_steps: int) -> MultiAgentBatch | None:
        """One batch from all runners, which first load the learners' weights; None if no runner answered."""
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
        if not answers:
            return None
        self.metrics.aggregate([metrics for _, metrics in answers], key=ENV_RUNNER_RESULTS)
        batches = [batch for batches, _ in answers for batch in batches]
        return batches[0] if len(batches) == 1 else concat_samples(batches)

    def _check_finite(self) -> None:
        for group in self.config.policies:
            for name in CHECKED_LEARNER_METRICS:
                value = self.metrics.peek((LEARNER_RESULTS, group, name), default=0.0)
                if not math.isfinite(value):
                    raise NumericsError(group, self.env_steps, name, "learner")


def quiet() -> None:
    """Keep Ray's own tables and warnings from the terminal."""
    os.environ["RAY_AIR_NEW_OUTPUT"] = "0"  # our progress lines instead of Tune's tables
    for library in ("ray", "ray.rllib", "ray.tune"):
        logging.getLogger(library).setLevel(logging.ERROR)
    warnings.filterwarnings("ignore", category=DeprecationWarning)


def lifetime_env_steps(algorithm: Any) -> int:
    """Env steps that `algorithm`, this PPO or a stock one, has sampled since training began."""
    return int(algorithm.metrics.peek((ENV_RUNNER_RESULTS, NUM_ENV_STEPS_SAMPLED_LIFETIME), default=0))


def algorithm_config(experiment: ExperimentConfig, callbacks: list[Any] | None = None) -> EconomyPPOConfig:
    """The RLlib config of `experiment` for `EconomyPPO`; `callbacks` make `RLlibCallback`s.

    Where the experiment is a deviation, every policy starts with the weights of the deviation's checkpoint.
    """
    learning, resources = experiment.learning, experiment.resources
    runners = max(1, resources.num_env_runners)
    config = EconomyPPOConfig().batched(
        trained_consumers=learning.trained_consumers,
        torch_threads=resources.torch_threads,
        deviator=experiment.deviation.agent if experiment.deviation else None,
    )
    _configure(config, experiment, callbacks)
    config.environment(env_config={"num_envs": learning.economies_per_update // runners, **_env_config(experiment)})
    # Several updates between two reports: Tune's and RLlib's cost of a report is shared by them.
    config.reporting(
        min_sample_timesteps_per_iteration=experiment.env_steps_per_update * learning.updates_per_iteration
    )
    return config


def stock_config(experiment: ExperimentConfig, callbacks: list[Any] | None = None) -> PPOConfig:
    """The same experiment for RLlib's own PPO and runner on `RBCEnv`: one economy an environment, agents in dicts."""
    config = PPOConfig()
    _configure(config, experiment, callbacks)
    length = experiment.economy.episode_length
    config.env_runners(
        num_envs_per_env_runner=1,
        batch_mode="truncate_episodes",
        # The runner converts all finished episodes at every step; a fragment of one episode keeps that linear.
        rollout_fragment_length=length,
    )
    config.environment(env_config={"num_envs": 1, **_env_config(experiment)})
    return config


def _env_config(experiment: ExperimentConfig) -> dict[str, Any]:
    return {
        "economy": experiment.economy.model_dump(),
        "array_library": experiment.resources.array_library,
        "encodings": experiment.learning.observation_encodings,
        "reward_scale": experiment.learning.reward_scale.model_dump(),
    }


def _initial_weights(experiment: ExperimentConfig, group: str) -> str | None:
    deviation = experiment.deviation
    return str(Path(deviation.checkpoint).absolute() / MODULES / group) if deviation else None


def _configure(config: PPOConfig, experiment: ExperimentConfig, callbacks: list[Any] | None) -> None:
    """Everything that both ways through RLlib share."""
    learning, resources, curriculum = experiment.learning, experiment.resources, experiment.curriculum
    rows = experiment.env_steps_per_update // max(1, resources.num_learners)
    plain = learning.algorithm == "policy_gradient"
    config.environment(RBCEnv, disable_env_checking=True)
    config.framework("torch")
    config.debugging(seed=experiment.seed, log_level="ERROR")
    config.env_runners(
        num_env_runners=resources.num_env_runners,
        num_gpus_per_env_runner=resources.num_gpus_per_env_runner,
        num_cpus_per_env_runner=resources.num_cpus_per_env_runner,
    )
    config.learners(
        num_learners=resources.num_learners,
        num_gpus_per_learner=resources.num_gpus_per_learner,
        num_cpus_per_learner=resources.num_cpus_per_learner,
    )
    config.training(
        lr=learning.learning_rate.consumer,
        gamma=learning.discount,
        lambda_=learning.gae_lambda,
        train_batch_size_per_learner=rows,
        num_epochs=1 if plain else learning.num_epochs,
        minibatch_size=None if plain else rows // learning.num_minibatches,
        # In a single pass over the batch the ratio is 1: its gradient is the policy gradient.
        clip_param=1e9 if plain else learning.clip_param,
        vf_clip_param=float("inf"),
        vf_loss_coeff=learning.value_loss_coeff,
        use_kl_loss=False,
        kl_coeff=0.0,
        grad_clip=learning.grad_clip,
        grad_clip_by="global_norm",
        entropy_coeff=0.0,
    )
    policies = experiment.policies
    # In this order, which a set would not keep: networks are initialised one after the other.
    config.multi_agent(policies=list(policies), policy_mapping_fn=group_of)
    spaces = group_spaces(experiment.economy, learning.observation_encodings)
    config.rl_module(
        rl_module_spec=MultiRLModuleSpec(
            rl_module_specs={
                name: RLModuleSpec(
                    module_class=GroupModule,
                    observation_space=spaces[group][0],
                    action_space=spaces[group][1],
                    model_config={"hidden_sizes": list(learning.hidden_sizes)},
                    load_state_path=_initial_weights(experiment, group),
                )
                for name, group in policies.items()
            }
        ),
        algorithm_config_overrides_per_module={
            name: PPOConfig.overrides(
                lr=[
                    [0, getattr(learning.learning_rate, group)],
                    [
                        curriculum.total_env_steps,
                        getattr(learning.learning_rate, group) * learning.final_learning_rate_share,
                    ],
                ]
            )
            for name, group in policies.items()
        },
    )
    # RLlib's finite checks cost two device synchronisations for each parameter and step; `NumericsError` checks
    # losses and gradient norms once an update instead.
    config.torch_skip_nan_gradients = True
    if callbacks:
        config.callbacks(callbacks_class=callbacks)
