"""Trained policies in Python: from what agents see to what they do, on NumPy arrays, without a Ray cluster.

from rbc_rllib import load_policies, parallel_env
policies = load_policies("results/quickstart/commitment_seed0")
env = policies.parallel_env()
observations, _ = env.reset()
observations, rewards, *_ = env.step(policies.act(observations, seed=0))
"""

import secrets
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from rbc_rllib.economy.actions import group_sizes
from rbc_rllib.economy.observations import private_sizes
from rbc_rllib.economy.planner import Rates
from rbc_rllib.experiment import ExperimentConfig
from rbc_rllib.play.modules import GroupModule, settled_plan
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
        """The economy of the run, as a PettingZoo environment: whole menus, the penalties of its config, and a planner
        who keeps to its most likely plan."""
        final = self.experiment.curriculum.final()
        encodings = self.experiment.learning.observation_encodings
        env = parallel_env(self.experiment.economy, encodings=encodings, planner=self.experiment.planner)
        env.economy.restrict(final.ranges, final.plan_sharpness)
        return env

    @property
    def tax_plan(self) -> tuple[Rates, ...] | None:
        """The income and corporate tax rate that the planner announces, for all quarters after the first or for each;
        None where it announces none."""
        return settled_plan(self.experiment, self.networks)

    def announced_plan(self, name: str) -> tuple[Rates, ...]:
        """The tax plan of the run of this name; raises `ConfigError` where there is none, or none that is ever in
        force."""
        plan, planner = self.tax_plan, self.experiment.planner
        learns_one = planner.learns and planner.announces
        if plan is None and not learns_one:
            fix = "name a run with planner.mode=constant, schedule, or fixed with given rates"
            raise ConfigError("RUN", name, "its planner announces no plan of its own", fix)
        if self.experiment.economy.episode_length < 2:
            rule = "its episodes have one quarter, which is untaxed"
            raise ConfigError("RUN", name, rule, "name a run with economy.episode_length of at least 2")
        if plan is None:
            rule = "its planner has not learned which plan it prefers, and draws them at random"
            raise ConfigError("RUN", name, rule, "train it on with --resume, or name another run")
        return plan

    def act(self, observations: Mapping[str, Any], seed: int | None = None, greedy: bool = False) -> dict[str, Any]:
        """What agents do who see `observations`: drawn with `seed` (a fresh one where there is none), or most likely.

        Takes observations agent by agent, as an environment gives them, and returns each agent's action; or arrays, as
        `VectorEconomy.observe` gives them (shared `[E, G]`, consumer `[E, C, P]`, firm `[E, F, P]`), and returns the
        arrays of indices that `VectorEconomy.decode` takes; where a plan was announced, the planner's choice is of no
        consequence and 0. One seed gives the same choices again: in every quarter give another one. Raises
        `ConfigError` where `shared` or a group's own observations are missing.
        """
        if "shared" in observations:
            own = private_sizes(self.experiment.economy, self.experiment.learning.observation_encodings)
            acting = [g for g in self._members() if g != "planner" or not self.experiment.planner.announces]
            if unseen := [group for group in acting if own[group] and group not in observations]:
                rule = f"each {unseen[0]} sees something of its own, and the array of that is missing"
                raise ConfigError("observations", sorted(observations), rule, "give all that `observe` returned")
            indices = self._act(acting, observations, {}, seed, greedy)
            return {"planner": np.zeros_like(indices["firm"][:, :1]), **indices}
        members = {group: names for group, names in self._members().items() if names[0] in observations}
        alone = members.keys() == {"planner"} and self.experiment.planner.announces  # while it makes its plan
        everyone = members if alone else self._members()
        missing = [name for group in everyone for name in everyone[group] if name not in observations]
        if missing:
            rule = f"every agent sees something, and {len(missing)} do not, first {missing[0]}"
            raise ConfigError("observations", sorted(observations), rule, "give all that the environment returned")
        first = {group: observations[names[0]] for group, names in members.items()}
        arrays = {"shared": first["consumer"]["shared"][None]} if "consumer" in first else {}
        arrays |= {
            group: np.stack([observations[name]["private"] for name in names])[None]
            for group, names in members.items()
            if "private" in first[group]
        }
        masks = {group: seen["action_mask"] for group, seen in first.items() if "action_mask" in seen}
        indices = self._act(members, arrays, masks, seed, greedy)
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
        self,
        acting: Collection[str],
        arrays: Mapping[str, Any],
        masks: Mapping[str, Any],
        seed: int | None,
        greedy: bool,
    ) -> dict[str, np.ndarray]:
        """Index arrays of the `acting` groups, consumer `[E, C, F + 2]`, firm `[E, F]`, planner `[E, 1]`."""
        params, deviation = self.experiment.economy, self.experiment.deviation
        generator = stream(secrets.randbits(32) if seed is None else seed, ACTING)
        seen = {name: _tensor(array) for name, array in arrays.items()}
        num_envs = len(next(iter(seen.values())))
        indices: dict[str, np.ndarray] = {}
        for policy, group in self.experiment.policies.items():
            if group not in acting:
                continue
            size = group_sizes(params)[group]
            own = {"private": seen[group] if group in seen else torch.empty((num_envs, size, 0))}
            own |= {"shared": seen["shared"]} if "shared" in seen else {}
            if group in masks:
                own["action_mask"] = _tensor(masks[group]).expand(num_envs, -1)
            network = self.networks[policy]
            uniforms = torch.rand((len(network.head_sizes), num_envs, size), generator=generator)
            actions = Network(network, greedy).act(Seen(0, own), uniforms).actions.numpy().astype(np.int64)
            if group not in indices:
                indices[group] = actions
            elif deviation and (agents := deviation.parts[policy].agents):  # they act by a policy of their own
                indices[group][:, list(agents)] = actions[:, list(agents)]
        return indices


def load_policies(run: str | Path, checkpoint: str | None = None) -> Policies:
    """The policies of a trial's folder, of its newest checkpoint or of the one of that name.

    Raises `ConfigError` where there is no such trial or checkpoint, where it does not fit the trial, or where each
    agent of a group deviates alone, so that there is no one set of policies.
    """
    experiment = ExperimentConfig.of_trial(Path(run))
    if experiment.deviation and experiment.deviation.each:
        rule = f"it is a best response of {experiment.deviation.deviator}, each of whom leaves others who stay"
        raise ConfigError("run", str(run), rule, "load the run that they leave, or one of --individual")
    folder = newest_checkpoint(Path(run)) if checkpoint is None else Path(run) / checkpoint
    return Policies(experiment, load_networks(folder, experiment))


def _tensor(array: Any) -> Tensor:
    return torch.as_tensor(np.asarray(array, dtype=np.float32))
