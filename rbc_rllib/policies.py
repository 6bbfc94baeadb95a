"""Trained policies in Python: from what agents see to what they do, on NumPy arrays, without a Ray cluster.

from rbc_rllib import load_policies, parallel_env
policies = load_policies("results/quickstart/full_curriculum_seed0")
env = policies.parallel_env()
observations, _ = env.reset()
observations, rewards, *_ = env.step(policies.act(observations, seed=0))
"""

import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from rbc_rllib.economy.actions import group_sizes, tax_choice
from rbc_rllib.economy.observations import private_sizes
from rbc_rllib.experiment import ExperimentConfig
from rbc_rllib.play.modules import GroupModule
from rbc_rllib.play.parallel import ParallelEconomy, parallel_env
from rbc_rllib.play.randomness import ACTING, stream
from rbc_rllib.play.seats import Network, Seen
from rbc_rllib.play.spaces import agent_names
from rbc_rllib.settings import ConfigError
from rbc_rllib.training.checkpoints import load_networks, newest_checkpoint


@dataclass(frozen=True)
class Policies:
    """The frozen networks of a run."""

    experiment: ExperimentConfig
    networks: dict[str, GroupModule]  # by policy

    def parallel_env(self) -> ParallelEconomy:
        """The economy of the run, as a PettingZoo environment: whole menus, and the penalties of its config."""
        learning, curriculum = self.experiment.learning, self.experiment.curriculum
        return parallel_env(
            self.experiment.economy,
            encodings=learning.observation_encodings,
            fixed_tax_rates=curriculum.fixed_tax_rates,
        )

    def act(self, observations: Mapping[str, Any], seed: int | None = None, greedy: bool = False) -> dict[str, Any]:
        """What agents do who see `observations`: drawn with `seed` (a fresh one where there is none), or most likely.

        Takes observations agent by agent, as an environment gives them, and returns each agent's action; or arrays, as
        `VectorEconomy.observe` gives them (shared `[E, G]`, consumer `[E, C, P]`, firm `[E, F, P]`), and returns the
        arrays of indices that `VectorEconomy.decode` takes. One seed gives the same choices again: in every quarter
        give another one. Raises `ConfigError` where `shared` or a group's own observations are missing.
        """
        if "shared" in observations:
            own = private_sizes(self.experiment.economy, self.experiment.learning.observation_encodings)
            if unseen := [group for group in self._members() if own[group] and group not in observations]:
                rule = f"each {unseen[0]} sees something of its own, and the array of that is missing"
                raise ConfigError("observations", sorted(observations), rule, "give all that `observe` returned")
            return self._act(observations, {}, seed, greedy)
        members = {group: names for group, names in self._members().items() if names[0] in observations}
        missing = [name for group in self._members() for name in self._members()[group] if name not in observations]
        if missing:
            rule = f"every agent sees something, and {len(missing)} do not, first {missing[0]}"
            raise ConfigError("observations", sorted(observations), rule, "give all that the environment returned")
        first = {group: observations[names[0]] for group, names in members.items()}
        arrays = {"shared": first["consumer"]["shared"][None]}
        arrays |= {
            group: np.stack([observations[name]["private"] for name in names])[None]
            for group, names in members.items()
            if "private" in first[group]
        }
        masks = {group: seen["action_mask"] for group, seen in first.items() if "action_mask" in seen}
        indices = self._act(arrays, masks, seed, greedy)
        return {
            name: indices[group][0, k] if indices[group].ndim > 2 else int(indices[group][0, k])
            for group, names in members.items()
            for k, name in enumerate(names)
        }

    def _members(self) -> dict[str, list[str]]:
        """The agents who choose; a planner with fixed taxes does not."""
        names = agent_names(self.experiment.economy)
        return {group: names[group] for group in names if group in self.experiment.policies}

    @torch.no_grad()
    def _act(
        self, arrays: Mapping[str, Any], masks: Mapping[str, Any], seed: int | None, greedy: bool
    ) -> dict[str, np.ndarray]:
        """Index arrays by group, consumer `[E, C, F + 2]`, firm `[E, F]`, planner `[E, 1]`."""
        params, deviation = self.experiment.economy, self.experiment.deviation
        generator = stream(secrets.randbits(32) if seed is None else seed, ACTING)
        shared = _tensor(arrays["shared"])
        indices: dict[str, np.ndarray] = {}
        for policy, group in self.experiment.policies.items():
            size = group_sizes(params)[group]
            own = {"shared": shared, "private": shared.new_empty((len(shared), size, 0))}
            if group in arrays:
                own["private"] = _tensor(arrays[group])
            if group in masks:
                own["action_mask"] = _tensor(masks[group]).expand(len(shared), -1)
            network = self.networks[policy]
            uniforms = torch.rand((len(network.head_sizes), len(shared), size), generator=generator)
            actions = Network(network, greedy).act(Seen(0, own), uniforms).actions.numpy().astype(np.int64)
            if group not in indices:
                indices[group] = actions
            elif deviation and deviation.agents:  # they act by a policy of their own
                indices[group][:, list(deviation.agents)] = actions[:, list(deviation.agents)]
        if rates := self.experiment.curriculum.fixed_tax_rates:
            indices["planner"] = np.full((len(shared), 1), tax_choice(params, rates))
        return indices


def load_policies(run: str | Path, checkpoint: str | None = None) -> Policies:
    """The policies of a trial's folder, of its newest checkpoint or of the one of that name.

    Raises `ConfigError` where there is no such trial or checkpoint, or where it does not fit the trial.
    """
    experiment = ExperimentConfig.of_trial(Path(run))
    folder = newest_checkpoint(Path(run)) if checkpoint is None else Path(run) / checkpoint
    return Policies(experiment, load_networks(folder, experiment))


def _tensor(array: Any) -> Tensor:
    return torch.as_tensor(np.asarray(array, dtype=np.float32))
