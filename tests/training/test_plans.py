"""How a planner learns a plan: whole episodes credited, its table moved to what is better, RLlib's own PPO too."""

import math
from typing import Any

import numpy as np
import pytest
import torch
from ray.rllib.core.columns import Columns
from torch import Tensor
from torch.testing import assert_close

from callbacks import curriculum_callbacks
from rbc_rllib.economy import GROUPS, Outcome
from rbc_rllib.experiment import ExperimentConfig
from rbc_rllib.play.rollout import Rollout, advantages, play
from rbc_rllib.play.vector_economy import VectorEconomy
from rbc_rllib.settings import ConfigError
from rbc_rllib.training.algorithm import EconomyPPO
from rbc_rllib.training.batch import batch_of, standardise
from rbc_rllib.training.config import stock_config
from rbc_rllib.training.rllib_internals import Postprocessing, SampleBatch
from tests.play.networks import build_modules, group_seats
from tests.small import SMALL, build, changed, weights

EVERYONE_LEARNS = SMALL.with_values({"curriculum.staged_training": False, "curriculum.annealed_ranges": False})


def learning(mode: str, values: dict[str, Any] | None = None) -> ExperimentConfig:
    """The small experiment in which all learn from the first step on, with whole menus."""
    return EVERYONE_LEARNS.with_values({"planner.mode": mode} | (values or {}))


# Credit


def played(experiment: ExperimentConfig) -> Rollout:
    """One episode of 8 economies, all recorded."""
    encodings, planner = experiment.learning.observation_encodings, experiment.planner
    economy = VectorEconomy(experiment.economy, 8, encodings=encodings, planner=planner)
    seats = group_seats(build_modules(experiment.economy, encodings, planner=planner))
    return play(economy, seats, torch.Generator().manual_seed(0), recorded=GROUPS)


def standardised_batch(rollout: Rollout, experiment: ExperimentConfig) -> dict[str, Any]:
    """What learners get, by policy."""
    batch = batch_of(rollout, experiment)
    standardise(batch, experiment)
    return batch.policy_batches


def standardised(values: Tensor) -> Tensor:
    return (values - values.mean()) / values.std(correction=0)


@pytest.mark.parametrize("scale", [1.0, 40.0])
@pytest.mark.parametrize("mode", ["constant", "schedule"])
def test_every_choice_of_a_plan_is_credited_with_the_whole_episode_of_its_economy(mode, scale):
    """Its welfare, standardised over the economies, whatever the discount; values aim at it as it is."""
    values = {"learning.reward_scale.planner": scale, "learning.discount": 0.5}
    experiment = learning(mode, values)
    rollout = played(experiment)
    columns = standardised_batch(rollout, experiment)["planner"]
    by_hand = [sum(float(outcome.planner_reward[env]) for outcome in rollout.outcomes) / scale for env in range(8)]
    welfare = torch.tensor(by_hand)
    credit = columns[Postprocessing.ADVANTAGES].view(8, 4)
    assert (credit == credit[:, :1]).all()
    assert_close(credit[:, 0], standardised(welfare), rtol=1e-4, atol=1e-4)
    assert credit[:, 0].std() > 0.5
    targets = columns[Postprocessing.VALUE_TARGETS].view(8, 4)
    assert_close(targets, welfare[:, None].expand(8, 4), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(("mode", "groups"), [("schedule", ("consumer", "firm")), ("discretion", GROUPS)])
def test_all_others_and_a_planner_with_discretion_are_credited_with_what_is_still_to_come(mode, groups):
    experiment = learning(mode)
    rollout = played(experiment)
    batch = standardised_batch(rollout, experiment)
    for group in groups:
        experience = rollout.experience[group]
        rewards = experience.rewards / getattr(experiment.learning.reward_scale, group)
        discount, gae_lambda = experiment.learning.discount, experiment.learning.gae_lambda
        expected = standardised(advantages(rewards, experience.values, discount, gae_lambda))
        credit = batch[group][Postprocessing.ADVANTAGES].view(expected.shape)
        assert_close(credit, expected, rtol=1e-4, atol=1e-4)
        assert (credit[:, 0] != credit[:, 1]).any()


def test_rows_of_a_planner_hold_what_its_learner_needs():
    """And everybody's shared observation beside them, as in every policy's rows."""
    experiment = learning("schedule")
    rollout = played(experiment)
    columns = batch_of(rollout, experiment).policy_batches["planner"]
    assert columns[Columns.OBS]["private"].shape == (32, 1, 3)
    assert columns[Columns.OBS]["action_mask"].shape == (32, 36)
    assert columns[Columns.OBS]["shared"].shape == (32, rollout.shared.shape[-1])
    assert columns[Columns.ACTIONS].view(8, 4).tolist() == rollout.experience["planner"].actions[..., 0].tolist()


def test_a_plan_that_is_learned_is_compared_with_those_of_other_economies():
    """Of one economy the advantages of a plan, less their mean, are 0: nothing would be learned, without a word."""
    alone = {"planner.mode": "schedule", "learning.economies_per_update": 1, "learning.num_minibatches": 1}
    with pytest.raises(ConfigError, match="compared with those of other economies, and there is none"):
        ExperimentConfig().with_values(alone)
    assert ExperimentConfig().with_values(alone | {"learning.economies_per_update": 2}).planner.learns
    assert ExperimentConfig().with_values(alone | {"planner.mode": "discretion"}).planner.learns


# Learning


def with_corporate_rates_worth(algorithm: EconomyPPO, worth: dict[int, float]) -> None:
    """Make welfare in quarter t `worth[t]` times the corporate rate in force then, and nothing else."""
    economy, step = algorithm.env_runner.env.economy, VectorEconomy.step

    def rewarded(actions: Any) -> Outcome:
        quarter, rate = economy.quarter, economy.state.corporate_tax_rate
        outcome = step(economy, actions)
        return Outcome(**vars(outcome) | {"planner_reward": worth.get(quarter, 0.0) * rate})

    economy.step = rewarded


def expected_corporate_rates(algorithm: EconomyPPO) -> list[float]:
    """By page, under the table."""
    logits = torch.tensor(weights(algorithm)["planner"]["corporate"])
    return (logits.softmax(-1) @ torch.tensor(SMALL.economy.tax_choices)).tolist()


@pytest.mark.usefixtures("ray_on_this_machine")
def test_a_schedule_learns_for_each_quarter_the_rate_that_is_better_then():
    """High in the second, low in the third; in the fourth rates are worth nothing."""
    values = {"learning.plan_learning_rate": 0.05, "curriculum.final_entropy_coeff.planner": 0.0}
    algorithm = build(learning("schedule", values | {"curriculum.annealed_entropy": False}))
    with_corporate_rates_worth(algorithm, {1: 1.0, 2: -1.0})
    assert expected_corporate_rates(algorithm) == pytest.approx([0.5] * 3)
    for _ in range(6):
        algorithm.train()
    high, low, neither = expected_corporate_rates(algorithm)
    assert high > 0.6
    assert low < 0.4
    assert low < neither < high
    algorithm.stop()


@pytest.mark.usefixtures("ray_on_this_machine")
def test_a_constant_plan_moves_to_the_choice_that_was_better_and_its_value_to_the_welfare():
    """One update in which income 40%, corporate 80% was good and all else was not."""
    values = {"curriculum.annealed_entropy": False, "learning.plan_learning_rate": 3e-3}
    algorithm = build(learning("constant", values))
    (batch,) = algorithm.env_runner.sample(env_steps=0)
    columns = dict(batch.policy_batches["planner"])
    good = 6 * 2 + 4
    columns[Columns.ACTIONS] = torch.where(torch.arange(32)[:, None] % 2 == 0, good, columns[Columns.ACTIONS])
    is_good = columns[Columns.ACTIONS] == good
    columns[Columns.ACTION_LOGP] = torch.full((32, 1), -math.log(36.0))
    columns[Postprocessing.ADVANTAGES] = torch.where(is_good, 1.0, -1.0)
    columns[Postprocessing.VALUE_TARGETS] = torch.full((32, 1), 7.0)
    batch.policy_batches["planner"] = SampleBatch(columns)
    algorithm.learner_group.update(batch=batch, num_epochs=1, minibatch_size=None, timesteps={})
    table = weights(algorithm)["planner"]
    for name, chosen in (("income", 2), ("corporate", 4)):
        (logits,) = table[name]
        assert logits.argmax() == chosen
        assert (np.delete(logits, chosen) < 0).all()
        assert logits[chosen] == pytest.approx(3e-3, rel=1e-3)  # Adam's first step is its learning rate
    assert table["value"][0] == pytest.approx(3e-3, rel=1e-3)
    algorithm.stop()


@pytest.mark.usefixtures("ray_on_this_machine")
@pytest.mark.parametrize("mode", ["constant", "schedule"])
def test_a_table_stays_as_it_is_until_the_planners_stage(mode):
    experiment = SMALL.with_values({"planner.mode": mode})
    algorithm = build(experiment)
    moved = []
    for _ in range(4):
        before = weights(algorithm)
        groups = set(experiment.curriculum.at(algorithm.env_steps).trainable_groups)
        algorithm.train()
        assert changed(before, weights(algorithm)) == groups
        moved.append("planner" in groups)
    assert moved == [False, False, True, True]
    algorithm.stop()


@pytest.mark.usefixtures("ray_on_this_machine")
@pytest.mark.parametrize("rates", [(0.2, 0.8), "drawn"], ids=str)
def test_where_rates_are_given_nobody_learns_for_the_planner(rates):
    experiment = EVERYONE_LEARNS.with_values({"planner.mode": "fixed", "planner.rates": rates})
    algorithm = build(experiment)
    before = weights(algorithm)
    result = algorithm.train()
    assert changed(before, weights(algorithm)) == set(before) == {"consumer", "firm"}
    taxed = result["env_runners"]["economy"]["corporate_tax_rate"]
    assert taxed == pytest.approx(0.8, rel=1e-4) if rates != "drawn" else 0 < taxed < 1
    algorithm.stop()


# RLlib's own PPO


@pytest.mark.usefixtures("ray_on_this_machine")
def test_rllibs_own_ppo_learns_a_schedule():
    """Its episodes have the pages first; everybody then sees the plan that the planner has announced in them."""
    small = {"economy.num_consumers": 2, "learning.economies_per_update": 14}
    experiment = learning("schedule", small)
    algorithm = stock_config(experiment, curriculum_callbacks(experiment)).build_algo()
    (episode,) = algorithm.env_runner.sample(num_episodes=1)
    planner, firm = episode.agent_episodes["planner"], episode.agent_episodes["firm_0"]
    assert (len(planner), len(firm)) == (3 + 4, 4)
    choices = [int(action) for action in planner.get_actions()]
    assert choices[3:] == [*choices[:3], choices[2]]
    rates = np.array(SMALL.economy.tax_choices)
    plan = [rates[index] for choice in choices[:3] for index in divmod(choice, 6)]
    for shared in firm.get_observations()["shared"]:
        np.testing.assert_allclose(shared[-6:], plan, rtol=1e-6)
    assert [float(reward) for reward in planner.get_rewards()[:3]] == [0.0] * 3
    assert any(planner.get_rewards()[3:])

    before = weights(algorithm)
    result = algorithm.train()
    assert changed(before, weights(algorithm)) == set(GROUPS)
    for group in GROUPS:
        assert math.isfinite(result["learners"][group]["total_loss"])
    algorithm.stop()


@pytest.mark.usefixtures("ray_on_this_machine")
def test_rllibs_own_ppo_takes_as_many_economies_as_an_experiment_has():
    """Whose episodes are as long as their pages and quarters together."""
    experiment = learning("schedule", {"economy.num_consumers": 2, "learning.economies_per_update": 2})
    algorithm = stock_config(experiment, curriculum_callbacks(experiment)).build_algo()
    assert algorithm.train()["env_runners"]["num_episodes"] == 2
    algorithm.stop()
