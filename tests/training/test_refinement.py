"""What may bring policies closer to an equilibrium: slow copies of networks, each firm's advantages, larger batches."""

import numpy as np
import pytest
import torch

from rbc_rllib.economy import GROUPS
from rbc_rllib.experiment import ExperimentConfig, Refinement
from rbc_rllib.play.rollout import Experience, Rollout
from rbc_rllib.training.batch import batch_of, standardise
from rbc_rllib.training.checkpoints import load_networks, weights_hash
from rbc_rllib.training.rllib_internals import Postprocessing, concat_samples
from tests.runs.trials import trial_of
from tests.small import SMALL

pytestmark = pytest.mark.usefixtures("ray_on_this_machine")

EVERYONE = SMALL.with_values({"curriculum.staged_training": False, "learning.updates_per_iteration": 1})


def states(modules) -> dict[str, dict[str, np.ndarray]]:
    return {policy: {name: np.array(x) for name, x in module.get_state().items()} for policy, module in modules.items()}


def test_checkpoints_keep_the_average_and_training_goes_on_from_what_learns(tmp_path):
    experiment = EVERYONE.with_values({"refinement.weight_average": 0.75})
    trial, plain = trial_of(experiment), trial_of(EVERYONE)
    average = states({group: trial.env_runner.module[group].unwrapped() for group in GROUPS})
    for _ in range(3):
        trial.train(), plain.train()
        learned = trial.learner_group.get_weights()
        for group, own in average.items():
            for name in own:
                own[name] += 0.25 * (learned[group][name] - own[name])
    same = plain.learner_group.get_weights()
    assert all(np.array_equal(learned[group][name], same[group][name]) for group in GROUPS for name in learned[group])

    checkpoint = tmp_path / "checkpoint_000000"
    checkpoint.mkdir()
    trial.save_checkpoint(str(checkpoint))
    kept = states(load_networks(checkpoint, experiment))
    for group in GROUPS:
        for name, values in kept[group].items():
            np.testing.assert_allclose(values, average[group][name], rtol=1e-5, atol=1e-7)
            assert not np.array_equal(values, learned[group][name]) or name == "value_head.bias"

    again = trial_of(experiment)
    again.load_checkpoint(str(checkpoint))
    trial.train(), again.train()
    for path, one in (("first", trial), ("second", again)):
        (tmp_path / path).mkdir()
        one.save_checkpoint(str(tmp_path / path))
    first, second = (states(load_networks(tmp_path / path, experiment)) for path in ("first", "second"))
    for group in GROUPS:
        for name, values in first[group].items():
            np.testing.assert_array_equal(values, second[group][name])
    for each in (trial, plain, again):
        each.stop()


def test_without_an_average_a_checkpoint_keeps_what_learns(tmp_path):
    trial = trial_of(EVERYONE)
    (tmp_path / "checkpoint").mkdir()
    trial.save_checkpoint(str(tmp_path / "checkpoint"))
    kept, learned = load_networks(tmp_path / "checkpoint", EVERYONE)["firm"], trial.learner_group.get_weights()["firm"]
    assert weights_hash(kept.get_state()) == weights_hash(learned)
    trial.stop()


def test_the_loss_pulls_to_a_magnet_that_follows_the_policy_slowly():
    values = {"refinement.magnet_coeff": 0.3, "refinement.magnet_rate": 0.25}
    free = EVERYONE.with_values({"curriculum.annealed_ranges": False})  # the whole menu from the start
    trial, plain = trial_of(free.with_values(values)), trial_of(free)
    learner, stock = trial.learner_group._learner, plain.learner_group._learner
    module, magnet = learner.module["firm"].unwrapped(), learner.magnets["firm"]
    with torch.no_grad():
        for parameter in magnet.parameters():
            parameter += 0.1 * torch.randn(parameter.shape, generator=torch.Generator().manual_seed(1))
    (batch,) = trial.env_runner.sample(env_steps=0)
    rows = dict(batch.policy_batches["firm"])
    out, pull = module.forward_train(rows)["action_dist_inputs"], magnet.forward_train(rows)["action_dist_inputs"]
    expected = torch.distributions.kl_divergence(
        torch.distributions.Categorical(logits=out), torch.distributions.Categorical(logits=pull)
    ).mean()
    assert expected > 1e-3
    config = learner.config.get_config_for_module("firm")
    losses = [
        each.compute_loss_for_module(
            module_id="firm", config=config, batch=rows, fwd_out=each.module["firm"].forward_train(rows)
        )
        for each in (learner, stock)
    ]
    assert (losses[0] - losses[1]).item() == pytest.approx(0.3 * expected.item(), rel=1e-3)

    before = {name: values.clone() for name, values in magnet.named_parameters()}
    learner.after_gradient_based_update(timesteps={})
    for name, values in module.named_parameters():
        moved = before[name] + 0.25 * (values - before[name])
        torch.testing.assert_close(dict(magnet.named_parameters())[name], moved, rtol=1e-5, atol=1e-7)
    trial.stop()
    plain.stop()


def test_a_plan_has_no_magnet():
    experiment = EVERYONE.with_values({"refinement.magnet_coeff": 0.3, "planner.mode": "schedule"})
    trial = trial_of(experiment)
    assert trial.learner_group._learner.magnets.keys() == {"consumer", "firm"}
    trial.train()
    trial.stop()


def rollout_of(rewards: torch.Tensor) -> Rollout:
    """Firms, with these rewards `[E, T, K]`, and nothing else that matters."""
    zeros = torch.zeros_like(rewards)
    experience = Experience(
        observations={"private": zeros.unsqueeze(-1)}, actions=zeros, action_logp=zeros, values=zeros, rewards=rewards
    )
    return Rollout(torch.zeros((*rewards.shape[:2], 1)), {"firm": experience}, [], [])


def test_each_firms_advantages_may_be_standardised_by_themselves():
    """Rewards in the last quarter only: the advantage of every quarter, times the discount of the quarters between."""
    rewards = torch.zeros(64, 2, 3)
    rewards[:, 1] = torch.randn(64, 3, generator=torch.Generator().manual_seed(0)) * torch.tensor([1.0, 10.0, 100.0])
    rollout, experiment = rollout_of(1e5 * rewards), ExperimentConfig()

    def spread(own_advantages: bool) -> list[float]:
        batch = batch_of(rollout, experiment)
        standardise(batch, experiment, own_advantages)
        return batch.policy_batches["firm"][Postprocessing.ADVANTAGES].std(0, correction=0).tolist()

    alone, together = spread(True), spread(False)
    assert alone == pytest.approx([1, 1, 1], rel=1e-5)
    assert together[0] < 0.05
    assert together[2] > 1.5


@pytest.mark.parametrize("on_host", [False, True])
def test_advantages_are_standardised_over_the_batch_whoever_has_played_it(on_host):
    """Of two runners whose economies went differently well, those of one are above the mean and the others below."""
    rewards, experiment = torch.zeros(8, 2, 3), ExperimentConfig()
    rewards[:, 1] = torch.randn(8, 3, generator=torch.Generator().manual_seed(0))
    lucky = rewards + torch.tensor([0.0, 10.0])[:, None]
    batch = concat_samples([batch_of(rollout_of(1e5 * each), experiment, on_host) for each in (rewards, lucky)])
    standardise(batch, experiment)
    found = torch.as_tensor(batch.policy_batches["firm"][Postprocessing.ADVANTAGES])
    assert isinstance(batch.policy_batches["firm"][Postprocessing.ADVANTAGES], np.ndarray) is on_host
    assert found.mean().item() == pytest.approx(0, abs=1e-5)
    assert found.std(correction=0).item() == pytest.approx(1, rel=1e-4)
    assert (found[:16] < found[16:]).all()


def test_late_batches_are_larger_and_rarer():
    refinement = Refinement(batch_growth=4, batch_growth_from=0.5)
    assert [refinement.batches(progress) for progress in (0.0, 0.49, 0.5, 1.0)] == [1, 1, 4, 4]
    sizes, orders = [], []
    trial = trial_of(EVERYONE.with_values({"refinement.batch_growth": 4, "refinement.batch_growth_from": 0.0}))
    update = trial.learner_group.update

    def watched(**arguments):
        sizes.append((arguments["batch"].env_steps(), arguments["minibatch_size"], arguments["num_total_minibatches"]))
        orders.append(arguments["shuffle_seed"])
        return update(**arguments)

    trial.learner_group.update = watched
    rows, learning = EVERYONE.env_steps_per_update, EVERYONE.learning
    trial.train()
    assert trial.env_steps == 4 * rows
    minibatches = learning.num_minibatches * learning.num_epochs
    assert sizes == [(4 * rows, 4 * rows // learning.num_minibatches, minibatches)]
    trial.train()
    assert len({*orders}) == 2  # rows come in another order in each update
    trial.stop()


def test_own_advantages_begin_when_they_are_told():
    refinement = Refinement(own_advantages_from=0.4)
    assert [refinement.own_advantages(progress) for progress in (0.0, 0.39, 0.4, 1.0)] == [False, False, True, True]
    assert not Refinement().own_advantages(1.0)
    trial, spreads = trial_of(EVERYONE.with_values({"refinement.own_advantages_from": 0.4})), []
    for share in (0.3, 0.5):
        batch = trial._sample(env_steps=round(share * EVERYONE.curriculum.total_env_steps))
        advantages = batch.policy_batches["firm"][Postprocessing.ADVANTAGES]
        spreads.append(advantages.std(0, correction=0).tolist())
    consumers = batch.policy_batches["consumer"][Postprocessing.ADVANTAGES].std(0, correction=0).tolist()
    trial.stop()
    before, after = spreads
    assert after == pytest.approx([1] * len(after), rel=1e-4)
    assert before != pytest.approx([1] * len(before), rel=1e-2)
    assert consumers != pytest.approx([1] * len(consumers), rel=1e-2)  # who are others in each economy
