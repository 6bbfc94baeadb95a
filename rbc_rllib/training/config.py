"""RLlib's configs of an experiment: for `EconomyPPO`, and for RLlib's own PPO."""

from typing import Any

from ray.rllib.algorithms.ppo import PPOConfig
from ray.rllib.core.rl_module.multi_rl_module import MultiRLModuleSpec
from ray.rllib.core.rl_module.rl_module import RLModuleSpec

from rbc_rllib.experiment import ExperimentConfig
from rbc_rllib.play.env import RBCEnv, group_of
from rbc_rllib.play.modules import module_arguments, module_class
from rbc_rllib.settings import ConfigError
from rbc_rllib.training.algorithm import EconomyPPOConfig
from rbc_rllib.training.learner import StagedLearner


def algorithm_config(experiment: ExperimentConfig, callbacks: list[Any] | None = None) -> EconomyPPOConfig:
    """The RLlib config of `experiment` for `EconomyPPO`; `callbacks` make `RLlibCallback`s."""
    learning, resources = experiment.learning, experiment.resources
    runners = max(1, resources.num_env_runners)
    config = EconomyPPOConfig().play(experiment)
    _configure(config, experiment, callbacks, experiment.economy.episode_length)
    config.environment(env_config={"num_envs": learning.economies_per_update // runners, **_env_config(experiment)})
    # Several updates between two reports: Tune's and RLlib's cost of a report is shared by them.
    config.reporting(min_sample_timesteps_per_iteration=experiment.env_steps_per_iteration)
    return config


def stock_config(experiment: ExperimentConfig, callbacks: list[Any] | None = None) -> PPOConfig:
    """The same experiment for RLlib's own PPO and runner on `RBCEnv`: one economy an environment, agents in dicts.

    What starts with the networks of a checkpoint is refused: RLlib's own learner would start with untrained ones.
    """
    if checkpoint := experiment.deviation.checkpoint if experiment.deviation else experiment.start:
        rule = "only `EconomyPPO` starts with the networks of a checkpoint"
        raise ConfigError("deviation" if experiment.deviation else "start", checkpoint, rule, "take `algorithm_config`")
    config = PPOConfig().learners(learner_class=StagedLearner)
    # A planner who learns a plan announces it before the first quarter, a page in each step.
    pages = experiment.planner.num_pages(experiment.economy) if experiment.planner.learns else 0
    length = experiment.economy.episode_length + pages
    _configure(config, experiment, callbacks, length)
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
        "planner": experiment.planner.model_dump(),
    }


def _configure(config: PPOConfig, experiment: ExperimentConfig, callbacks: list[Any] | None, length: int) -> None:
    """Everything that both ways through RLlib share; `length`: the environment's steps in an episode."""
    learning, resources, curriculum = experiment.learning, experiment.resources, experiment.curriculum
    rows = learning.economies_per_update * length // max(1, resources.num_learners)
    plain = learning.algorithm == "policy_gradient"
    config.environment(RBCEnv, disable_env_checking=True)
    config.framework("torch")
    config.debugging(seed=experiment.seed, log_level="ERROR")
    config.env_runners(
        num_env_runners=resources.num_env_runners,
        num_gpus_per_env_runner=resources.num_gpus_per_env_runner,
        num_cpus_per_env_runner=resources.num_cpus_per_env_runner,
        sample_timeout_s=None,  # after it RLlib would go on without the slow runner's economies
    )
    # RLlib would go on without a runner that died until it is back, that is with other numbers; so the trial fails, and
    # Tune tries it again from its last checkpoint.
    config.fault_tolerance(restart_failed_env_runners=False, ignore_env_runner_failures=False)
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
        num_epochs=learning.passes,
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
    config.rl_module(
        rl_module_spec=MultiRLModuleSpec(
            rl_module_specs={
                name: RLModuleSpec(
                    module_class=module_class(experiment, group),
                    **module_arguments(experiment, group),
                )
                for name, group in policies.items()
            }
        ),
        algorithm_config_overrides_per_module={
            name: PPOConfig.overrides(
                lr=[
                    [0, rate := experiment.learning_rate(group)],
                    [curriculum.total_env_steps, rate * learning.final_learning_rate_share],
                ]
            )
            for name, group in policies.items()
        },
    )
    # RLlib's finite checks cost two device synchronisations for each parameter and step; `EconomyPPO` checks
    # losses and weights once an update instead.
    config.torch_skip_nan_gradients = True
    if callbacks:
        config.callbacks(callbacks_class=callbacks)
