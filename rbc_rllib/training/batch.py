"""From episodes to what a learner takes: rows that are quarters of whole economies, in RLlib's columns."""

from typing import Any

import torch
from ray.rllib.core.columns import Columns

from rbc_rllib.arrays import to_numpy
from rbc_rllib.experiment import ExperimentConfig
from rbc_rllib.play.rollout import Experience, Rollout, advantages
from rbc_rllib.training.rllib_internals import MultiAgentBatch, Postprocessing, SampleBatch


def batch_of(
    rollout: Rollout, experiment: ExperimentConfig, on_host: bool = False, own_advantages: bool = False
) -> MultiAgentBatch:
    """The rows of every recorded policy, E x T of them, economy-major; in NumPy where they leave this process.

    With `own_advantages`, those of each firm are standardised by themselves.
    """

    def rows(values: torch.Tensor) -> Any:
        flat = values.flatten(0, 1)
        return to_numpy(flat) if on_host else flat

    shared = rows(rollout.shared)  # one array in all batches, so that it is sent once
    policies = {}
    for policy, experience in rollout.experience.items():
        observations = {name: rows(values) for name, values in experience.observations.items()}
        whole_group = policy == "firm" and experiment.deviation is None  # whose agents are the same in all economies
        computed = _columns(experience, experiment, policy, by_agent=own_advantages and whole_group)
        columns = {name: rows(values) for name, values in computed.items()}
        policies[policy] = SampleBatch({Columns.OBS: {"shared": shared, **observations}, **columns})
    return MultiAgentBatch(policies, env_steps=len(shared))


def _columns(
    experience: Experience, experiment: ExperimentConfig, policy: str, by_agent: bool = False
) -> dict[str, torch.Tensor]:
    """What the loss reads: advantages by generalised advantage estimation, standardised over the rollout's economies.

    Every choice of a plan that was announced before the first quarter is credited with the whole episode.
    """
    learning, group = experiment.learning, experiment.policies[policy]
    rewards = experience.rewards / getattr(learning.reward_scale, group)
    if group == "planner" and experiment.planner.announces:
        gained = rewards.sum(1, keepdim=True) - experience.values
    else:
        gained = advantages(rewards, experience.values, learning.discount, learning.gae_lambda)
    over = (0, 1) if by_agent else (0, 1, 2)
    # Where the pool acts there is nothing to learn, neither by the loss nor from the spread of advantages.
    learned = experience.present if experiment.refinement.pool else None
    mask = {} if learned is None else {Columns.LOSS_MASK: learned[:, None].expand_as(gained)}
    return {
        Columns.ACTIONS: experience.actions,
        Columns.ACTION_LOGP: experience.action_logp,
        # RLlib builds the old distribution from it even where no KL loss needs one.
        Columns.ACTION_DIST_INPUTS: rewards.new_empty((*rewards.shape, 0)),
        Postprocessing.ADVANTAGES: _standardised(gained, over, mask.get(Columns.LOSS_MASK)),
        Postprocessing.VALUE_TARGETS: gained + experience.values,
        **mask,
    }


def _standardised(gained: torch.Tensor, over: tuple[int, ...], learned: torch.Tensor | None) -> torch.Tensor:
    """`gained` [E, T, K] less its mean, in units of its spread, both of what is `learned`, or of all."""
    if learned is None:
        mean, spread = gained.mean(over, keepdim=True), gained.std(over, correction=0, keepdim=True)
    else:
        own = gained.where(learned, torch.nan)
        mean = own.nanmean(over, keepdim=True).nan_to_num()  # a firm may be away in all economies
        spread = (own - mean).square().nanmean(over, keepdim=True).nan_to_num().sqrt()
    return (gained - mean) / spread.clamp(min=1e-4)
