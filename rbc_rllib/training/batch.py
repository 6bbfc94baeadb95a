"""From episodes to what a learner takes: rows that are quarters of whole economies, in RLlib's columns."""

from typing import Any

import torch
from ray.rllib.core.columns import Columns

from rbc_rllib.arrays import to_numpy
from rbc_rllib.experiment import ExperimentConfig
from rbc_rllib.play.rollout import Experience, Rollout, advantages
from rbc_rllib.training.rllib_internals import MultiAgentBatch, Postprocessing, SampleBatch


def batch_of(rollout: Rollout, experiment: ExperimentConfig, on_host: bool = False) -> MultiAgentBatch:
    """The rows of every recorded policy, E x T of them, economy-major; in NumPy where they leave this process.

    Advantages are in the unit of rewards: `standardise` is for the whole batch, whoever has played it.
    """

    def rows(values: torch.Tensor) -> Any:
        flat = values.flatten(0, 1)
        return to_numpy(flat) if on_host else flat

    shared = rows(rollout.shared)  # one array in all batches, so that it is sent once
    policies = {}
    for policy, experience in rollout.experience.items():
        observations = {name: rows(values) for name, values in experience.observations.items()}
        columns = {name: rows(values) for name, values in _columns(experience, experiment, policy).items()}
        policies[policy] = SampleBatch({Columns.OBS: {"shared": shared, **observations}, **columns})
    return MultiAgentBatch(policies, env_steps=len(shared))


def standardise(batch: MultiAgentBatch, experiment: ExperimentConfig, own_advantages: bool = False) -> None:
    """Take from all advantages of a policy `[N, K]` their mean, and divide them by their spread.

    With `own_advantages`, those of each firm by themselves. Where the pool acts there is nothing to learn, neither by
    the loss nor from the spread.
    """
    for policy, columns in batch.policy_batches.items():
        gained, learned = columns[Postprocessing.ADVANTAGES], columns.get(Columns.LOSS_MASK)
        on_host = not isinstance(gained, torch.Tensor)
        gained = torch.tensor(gained) if on_host else gained
        whole_group = policy == "firm" and experiment.deviation is None  # whose agents are the same in all economies
        over = (0,) if own_advantages and whole_group else (0, 1)
        if learned is None:
            mean, spread = gained.mean(over, keepdim=True), gained.std(over, correction=0, keepdim=True)
        else:
            own = gained.where(torch.tensor(learned) if on_host else learned, torch.nan)
            mean = own.nanmean(over, keepdim=True).nan_to_num()  # a firm may be away in all economies
            spread = (own - mean).square().nanmean(over, keepdim=True).nan_to_num().sqrt()
        standardised = (gained - mean) / spread.clamp(min=1e-4)
        columns[Postprocessing.ADVANTAGES] = to_numpy(standardised) if on_host else standardised


def _columns(experience: Experience, experiment: ExperimentConfig, policy: str) -> dict[str, torch.Tensor]:
    """What the loss reads, advantages by generalised advantage estimation.

    Every choice of a plan that was announced before the first quarter is credited with the whole episode.
    """
    learning, group = experiment.learning, experiment.policies[policy]
    rewards = experience.rewards / getattr(learning.reward_scale, group)
    if group == "planner" and experiment.planner.announces:
        gained = rewards.sum(1, keepdim=True) - experience.values
    else:
        gained = advantages(rewards, experience.values, learning.discount, learning.gae_lambda)
    learned = experience.present if experiment.refinement.pool else None
    mask = {} if learned is None else {Columns.LOSS_MASK: learned[:, None].expand_as(gained)}
    return {
        Columns.ACTIONS: experience.actions,
        Columns.ACTION_LOGP: experience.action_logp,
        # RLlib builds the old distribution from it even where no KL loss needs one.
        Columns.ACTION_DIST_INPUTS: rewards.new_empty((*rewards.shape, 0)),
        Postprocessing.ADVANTAGES: gained,
        Postprocessing.VALUE_TARGETS: gained + experience.values,
        **mask,
    }
