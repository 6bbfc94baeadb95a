"""`BatchedEnvRunner`: an RLlib EnvRunner that plays many economies as arrays and returns learner-ready batches."""

import time
from typing import Any

import numpy as np
import ray
import torch
from ray.rllib.callbacks.utils import make_callback
from ray.rllib.core import COMPONENT_RL_MODULE
from ray.rllib.env import INPUT_ENV_SINGLE_SPACES, INPUT_ENV_SPACES
from ray.rllib.env.env_runner import EnvRunner
from ray.rllib.utils import force_list
from ray.rllib.utils.checkpoints import Checkpointable
from ray.rllib.utils.framework import get_device
from ray.rllib.utils.metrics import (
    EPISODE_DURATION_SEC_MEAN,
    EPISODE_LEN_MEAN,
    EPISODE_RETURN_MEAN,
    NUM_ENV_STEPS_SAMPLED,
    NUM_ENV_STEPS_SAMPLED_LIFETIME,
    NUM_EPISODES,
    NUM_EPISODES_LIFETIME,
    NUM_MODULE_STEPS_SAMPLED,
    NUM_MODULE_STEPS_SAMPLED_LIFETIME,
    WEIGHTS_SEQ_NO,
)

from rbc_rllib.arrays import array_library, pull_floats, stack
from rbc_rllib.economy.actions import group_sizes, head_sizes
from rbc_rllib.economy.indicators import episode_indicators
from rbc_rllib.leaving import PoolMember
from rbc_rllib.play.env import RBCEnv
from rbc_rllib.play.numerics import check_trajectory
from rbc_rllib.play.pool import meet_pool
from rbc_rllib.play.process import prepare_process
from rbc_rllib.play.randomness import stream_seed
from rbc_rllib.play.rollout import Rollout, play
from rbc_rllib.play.seats import Actor, AtRandom, Network, Seat, seats_of
from rbc_rllib.play.spaces import group_spaces
from rbc_rllib.training.batch import batch_of
from rbc_rllib.training.checkpoints import member_network, weights_hash
from rbc_rllib.training.metric_keys import ECONOMY
from rbc_rllib.training.rllib_internals import MultiAgentBatch


class BatchedEnvRunner(EnvRunner, Checkpointable):
    """Samples whole episodes of `env_config["num_envs"]` economies.

    A row of the batches it returns is one quarter of one economy, with the agents of a group on an inner axis:
    observations `shared` [G] and `private` [K, P], actions [K, heads], advantages [K]. Every group has equally many
    rows, so RLlib's batch sizes, counters and minibatches mean what they say, and its stock PPO learner applies.

    What it draws in training depends only on the seed, the runner's index and the env steps before it: nothing is lost
    when a run is restored or a runner restarted. In RLlib's own evaluations, which do not tell of env steps, it goes
    through one stream of its own.
    """

    def __init__(self, *, config: Any, **kwargs: Any):
        super().__init__(config=config, **kwargs)
        self.worker_index: int = kwargs.get("worker_index") or 0
        self.experiment = self.config.experiment
        prepare_process(self.experiment.resources.torch_threads)
        self._callbacks = [make() for make in force_list(self.config.callbacks_class)]
        self._device = get_device(self.config, self._num_gpus())
        self._weights_seq_no = 0
        self.make_env()
        self.make_module()

    def _num_gpus(self) -> float:
        """A runner's own, or those of the learner with which the only runner shares its process."""
        if self.worker_index > 0:
            return self.config.num_gpus_per_env_runner
        alone_with_learner = self.config.num_env_runners == 0 and self.config.num_learners == 0
        return self.config.num_gpus_per_learner if alone_with_learner else 0

    def make_env(self) -> None:
        """Create the economies, in CuPy where the runner owns a GPU."""
        settings = dict(self.config.env_config)
        if settings.get("array_library", "auto") == "auto":
            settings["array_library"] = "cupy" if self._device.type == "cuda" else "numpy"
        if array_library(settings["array_library"]) is np:
            self._device = torch.device("cpu")
        self._generator = torch.Generator(self._device)
        self._generator.manual_seed(stream_seed(self._seed or 0, self.worker_index))
        self.env: Any = RBCEnv(settings)
        make_callback(
            "on_environment_created",
            self._callbacks,
            self.config.callbacks_on_environment_created,
            kwargs={
                "env_runner": self,
                "metrics_logger": self.metrics,
                "env": self.env,
                "env_context": self.config.env_config,
            },
        )

    def make_module(self) -> None:
        """Create the RLModules; with their critics, which the advantages need."""
        spec = self.config.get_multi_rl_module_spec(spaces=self.get_spaces(), inference_only=False)
        self.module = spec.build()
        self.module.foreach_module(lambda _, module: module.to(self._device).eval())
        self.pool = [(member, self._actor(member)) for member in self.experiment.refinement.pool]

    def _actor(self, member: PoolMember) -> Actor:
        if member.checkpoint is None:
            return AtRandom(head_sizes(self.experiment.economy)[member.group])
        return Network(member_network(member.checkpoint, member.deviator, self.experiment).to(self._device))

    def get_spaces(self) -> dict[str, Any]:
        """The spaces of one agent of each policy."""
        encodings = self.experiment.learning.observation_encodings
        spaces = group_spaces(self.experiment.economy, encodings, self.experiment.planner)
        own = {policy: spaces[group] for policy, group in self.experiment.policies.items()}
        return {INPUT_ENV_SPACES: (None, None), INPUT_ENV_SINGLE_SPACES: (None, None), **own}

    def seats(self, greedy: bool = False, played: int = 0) -> list[Seat]:
        """Who acts for whom after `played` economies, of all runners."""
        modules = {policy: self.module[policy].unwrapped() for policy in self.experiment.policies}
        return seats_of(self.experiment, modules, self.env.economy, greedy, played)

    def assert_healthy(self) -> None:
        """Whether there is something to play and somebody to play it."""
        assert self.env is not None
        assert self.module is not None

    def stop(self) -> None:
        """Let go of the economies."""
        self.env = None

    # Sampling

    def sample(
        self,
        *,
        num_timesteps: int | None = None,
        num_episodes: int | None = None,
        explore: bool | None = None,
        random_actions: bool = False,
        force_reset: bool = False,
        env_steps: int | None = None,
        **_: Any,
    ) -> list[MultiAgentBatch]:
        """Play whole episodes: as many rollouts of all economies as the numbers ask for, at least one.

        `env_steps`, the lifetime env steps before this sample, fixes the random numbers. Raises `NumericsError`
        where the economy leaves the finite numbers.
        """
        if random_actions:
            raise ValueError("random_actions is not supported: an untrained module already acts nearly at random.")
        greedy = not (self.config.explore if explore is None else explore)
        economy = self.env.economy
        if env_steps is not None:
            self._generator.manual_seed(stream_seed(self._seed or 0, self.worker_index, env_steps))
        per_rollout = economy.num_envs * economy.params.episode_length
        wanted = num_episodes * economy.params.episode_length if num_episodes else num_timesteps or per_rollout
        frozen, refinement = self.experiment.frozen_policies, self.experiment.refinement
        remote = self.worker_index > 0 or self.config.num_learners > 0
        progress = self.experiment.curriculum.progress(env_steps or 0)
        training = env_steps is not None
        meets_pool = training and refinement.meets_pool(progress)
        rollouts = -(-wanted // per_rollout) * (refinement.batches(progress) if training else 1)
        earlier_runners = max(self.worker_index - 1, 0)
        played = (env_steps or 0) // economy.params.episode_length + earlier_runners * rollouts * economy.num_envs
        batches = []
        for rollout_number in range(rollouts):
            start = time.perf_counter()
            seats = self.seats(greedy, played + rollout_number * economy.num_envs)
            rollout = play(
                economy,
                meet_pool(seats, self.pool, refinement.pool_share, economy, self._generator) if meets_pool else seats,
                self._generator,
                recorded=[policy for policy in self.experiment.policies if policy not in frozen],
                trained_consumers=self.experiment.learning.trained_consumers,
            )
            batches.append(batch_of(rollout, self.experiment, remote))
            self._log(rollout, env_steps or 0, time.perf_counter() - start)
        make_callback(
            "on_sample_end",
            self._callbacks,
            self.config.callbacks_on_sample_end,
            kwargs={"env_runner": self, "metrics_logger": self.metrics, "samples": batches},
        )
        return batches

    def sample_with(self, weights: Any, env_steps: int) -> tuple[list[MultiAgentBatch], Any] | Exception:
        """Load `weights`, play, and return batches and metrics, or what was raised instead.

        RLlib's own weight synchronisation is dropped while another request is in flight, for example right after a
        restore; weights that travel with the request cannot be. And it ends the process of a runner that raises, so
        that nobody would know of what.
        """
        try:
            self._load(weights)
            return self.sample(env_steps=env_steps), self.get_metrics()
        except Exception as error:
            return error

    def _load(self, weights: Any) -> None:
        self.module.set_state(ray.get(weights) if isinstance(weights, ray.ObjectRef) else weights)

    def weights_hashes(self) -> dict[str, str]:
        """SHA-256 of the weights with which each policy acts."""
        return {name: weights_hash(state) for name, state in self.module.get_state().items()}

    # Metrics

    def _log(self, rollout: Rollout, env_steps: int, seconds: float) -> None:
        economy, log = self.env.economy, self.metrics.log_value
        states, outcomes = stack(rollout.states), stack(rollout.outcomes)
        check_trajectory(states, outcomes, env_steps)
        xp = economy.xp
        indicators = episode_indicators(economy.params, states, outcomes)
        means = pull_floats({name: xp.mean(values) for name, values in indicators.items()})
        for name, value in means.items():
            log((ECONOMY, name), value, reduce="mean")

        length = economy.params.episode_length
        steps = economy.num_envs * length
        for name, count in ((NUM_ENV_STEPS_SAMPLED, steps), (NUM_EPISODES, economy.num_envs)):
            log(name, count, reduce="sum")
        log(NUM_ENV_STEPS_SAMPLED_LIFETIME, steps, reduce="lifetime_sum")
        log(NUM_EPISODES_LIFETIME, economy.num_envs, reduce="lifetime_sum")
        for group, size in group_sizes(economy.params).items():
            log((NUM_MODULE_STEPS_SAMPLED, group), steps * size, reduce="sum")
            log((NUM_MODULE_STEPS_SAMPLED_LIFETIME, group), steps * size, reduce="lifetime_sum")
        log(EPISODE_RETURN_MEAN, means["social_welfare"] * length, reduce="mean")
        log(EPISODE_LEN_MEAN, length, reduce="mean")
        log(EPISODE_DURATION_SEC_MEAN, seconds, reduce="mean")
        log(WEIGHTS_SEQ_NO, self._weights_seq_no, reduce="max")

    def get_metrics(self) -> Any:
        """Everything logged since the last call."""
        return self.metrics.reduce()

    # Checkpointable

    def get_state(self, components: Any = None, *, not_components: Any = None, **kwargs: Any) -> dict[str, Any]:
        """Weights; random numbers need no state."""
        state: dict[str, Any] = {}
        if self._check_component(COMPONENT_RL_MODULE, components, not_components):
            state[COMPONENT_RL_MODULE] = self.module.get_state(
                components=self._get_subcomponents(COMPONENT_RL_MODULE, components),
                not_components=self._get_subcomponents(COMPONENT_RL_MODULE, not_components),
                **kwargs,
            )
            state[WEIGHTS_SEQ_NO] = self._weights_seq_no
        return state

    def set_state(self, state: dict[str, Any]) -> None:
        """Load weights, always: RLlib's rule to ignore old sequence numbers loses weights that were restored."""
        if COMPONENT_RL_MODULE in state:
            self._load(state[COMPONENT_RL_MODULE])
            self._weights_seq_no = state.get(WEIGHTS_SEQ_NO, 0)

    def get_ctor_args_and_kwargs(self) -> tuple[tuple, dict[str, Any]]:
        """What a restored runner is built from."""
        return (), {"config": self.config}

    def get_checkpointable_components(self) -> list[tuple[str, Any]]:
        """The RLModules."""
        return [(COMPONENT_RL_MODULE, self.module)]
