"""Training against a pool of best responses, from the policies of a checkpoint: what learns, and what does not."""

import numpy as np
import pytest
import torch
from ray.rllib.core.columns import Columns

from rbc_rllib.leaving import DEVIATOR, Deviation, PoolMember
from rbc_rllib.play.modules import untrained_modules
from rbc_rllib.play.rollout import Experience, Rollout
from rbc_rllib.settings import ConfigError
from rbc_rllib.training.batch import batch_of, standardise
from rbc_rllib.training.checkpoints import (
    TrainingState,
    describe,
    initial_weights,
    load_networks,
    member_network,
    weights_hash,
)
from rbc_rllib.training.rllib_internals import Postprocessing
from tests.runs.trials import trial_of, untrained
from tests.small import SMALL, changed, weights

EVERYONE = SMALL.with_values({"curriculum.staged_training": False, "learning.updates_per_iteration": 1})
POOL = [{"checkpoint": "somewhere", "deviator": "each_firm"}, {"checkpoint": "somewhere", "deviator": "consumer"}]


@pytest.fixture
def meeting(tmp_path, ray_on_this_machine):
    """Training from untrained networks against a pool of untrained ones, of every firm alone and of all consumers."""
    start = untrained(EVERYONE, tmp_path / "start") / "checkpoint_000000"
    pool = []
    for name in ("each_firm", "consumer"):
        left = EVERYONE.with_values({"deviation": {"checkpoint": str(start), "deviator": name}})
        checkpoint = untrained(left, tmp_path / name) / "checkpoint_000000"
        pool.append(PoolMember(checkpoint=str(checkpoint), deviator=name))
    return EVERYONE.with_values({"start": str(start), "refinement.pool": pool, "refinement.pool_share": 0.5})


def hashes_of(trial) -> list[str]:
    return [weights_hash(actor.module.get_state()) for _, actor in trial.env_runner.pool]


def test_policies_start_where_they_are_told_and_the_pool_stays_bit_by_bit(meeting, tmp_path):
    trial = trial_of(meeting)
    start = load_networks(tmp_path / "start" / "checkpoint_000000", meeting)
    before, pool = weights(trial), hashes_of(trial)
    assert not changed(before, {policy: module.get_state() for policy, module in start.items()})
    networks = [member_network(each.checkpoint, each.deviator, meeting) for each in meeting.refinement.pool]
    assert pool == [weights_hash(network.get_state()) for network in networks]
    for _ in range(2):
        trial.train()
    assert changed(before, weights(trial)) == {"consumer", "firm", "planner"}
    assert hashes_of(trial) == pool
    trial.stop()


def test_a_member_acts_by_what_it_has_learned(tmp_path):
    left = EVERYONE.replace(deviation=Deviation(checkpoint="somewhere", deviator="each_firm"))
    modules, checkpoint = untrained_modules(left, seed=0), tmp_path / "checkpoint_000000"
    describe(checkpoint, TrainingState(0, 0.0), {policy: module.get_state() for policy, module in modules.items()})
    own = weights_hash(member_network(str(checkpoint), "each_firm", EVERYONE).get_state())
    assert own == weights_hash(modules[DEVIATOR].get_state())
    assert own != weights_hash(modules["firm"].get_state())


def test_a_training_that_goes_on_is_one_that_was_never_cut(meeting, tmp_path):
    straight, cut, resumed = trial_of(meeting), trial_of(meeting), trial_of(meeting)
    checkpoint = tmp_path / "checkpoint_000000"
    checkpoint.mkdir()
    straight.train(), straight.train()
    cut.train(), cut.save_checkpoint(str(checkpoint))
    resumed.load_checkpoint(str(checkpoint))
    resumed.train()
    assert not changed(weights(straight), weights(resumed))
    alone = trial_of(meeting.with_values({"refinement.pool": ()}))
    alone.train(), alone.train()
    assert changed(weights(straight), weights(alone))
    for trial in (straight, cut, resumed, alone):
        trial.stop()


def test_what_members_did_is_no_part_of_the_loss(meeting, tmp_path):
    trial = trial_of(meeting.with_values({"refinement.magnet_coeff": 0.3}))
    learner = trial.learner_group._learner
    start = load_networks(tmp_path / "start" / "checkpoint_000000", meeting)
    assert learner.magnets.keys() == start.keys()
    for policy, magnet in learner.magnets.items():
        assert weights_hash(magnet.get_state()) == weights_hash(start[policy].get_state())
    with torch.no_grad():
        for magnet in learner.magnets.values():
            for parameter in magnet.parameters():
                parameter += 0.1
    batch = trial._sample(env_steps=0)
    for group, share in {"consumer": (0.5, 1), "firm": (0.5, 1)}.items():
        rows = dict(batch.policy_batches[group])
        mask = rows[Columns.LOSS_MASK]
        assert mask.dtype == torch.bool
        assert share[0] <= mask.float().mean() < share[1]
        advantages = rows[Postprocessing.ADVANTAGES]
        assert advantages[mask].mean().item() == pytest.approx(0, abs=1e-5)
        assert advantages[mask].std(correction=0).item() == pytest.approx(1, rel=1e-4)
        other = rows | {
            Postprocessing.ADVANTAGES: torch.where(mask, advantages, 1e4),
            Postprocessing.VALUE_TARGETS: torch.where(mask, rows[Postprocessing.VALUE_TARGETS], -1e4),
        }
        seen = rows[Columns.OBS]
        other[Columns.OBS] = seen | {"private": torch.where(mask[..., None], seen["private"], 0.5)}
        config, module = learner.config.get_config_for_module(group), learner.module[group]
        losses = [
            learner.compute_loss_for_module(
                module_id=group, config=config, batch=each, fwd_out=module.forward_train(each)
            ).item()
            for each in (rows, other)
        ]
        assert losses[0] == losses[1]
    assert Columns.LOSS_MASK not in batch.policy_batches["planner"]
    trial.stop()


def test_a_firm_that_is_away_everywhere_has_no_advantage_of_its_own():
    generator = torch.Generator().manual_seed(0)
    rewards, zeros = torch.randn((6, 1, 3), generator=generator), torch.zeros(6, 1, 3)
    present = torch.tensor([[True, True, False]]).repeat(6, 1)
    present[2:4, 0] = False
    experience = Experience({"private": zeros.unsqueeze(-1)}, zeros, zeros, zeros, 1e5 * rewards, present)
    rollout = Rollout(torch.zeros((6, 1, 1)), {"firm": experience}, [], [])
    experiment = SMALL.with_values({"refinement.pool": POOL})
    batch = batch_of(rollout, experiment)
    standardise(batch, experiment, own_advantages=True)
    found = batch.policy_batches["firm"][Postprocessing.ADVANTAGES]
    assert torch.isfinite(found).all()
    for firm, here in ((0, [0, 1, 4, 5]), (1, list(range(6)))):
        own = rewards[here, 0, firm].numpy()
        expected = (own - own.mean()) / own.std()
        np.testing.assert_allclose(found[here, firm].numpy(), expected, rtol=1e-4, atol=1e-5)


def test_hands_tremble_from_their_time_on():
    values = {"refinement.pool": [{"deviator": "each_firm"}], "refinement.pool_share": 0.5, "refinement.pool_from": 0.4}
    trial = trial_of(EVERYONE.with_values(values))
    learns = []
    for share in (0.3, 0.5):
        (batch,) = trial.env_runner.sample(env_steps=round(share * EVERYONE.curriculum.total_env_steps))
        learns.append(batch.policy_batches["firm"].get(Columns.LOSS_MASK))
    trial.stop()
    before, after = learns
    firms, trembling = EVERYONE.economy.num_firms, EVERYONE.learning.economies_per_update // 2
    assert before is None
    assert (~after).any(0).sum() > 1  # not always the same firm
    assert (~after).sum().item() == trembling * EVERYONE.economy.episode_length
    assert after.shape[1] == firms


def test_runners_in_other_processes_meet_the_pool(meeting):
    trial = trial_of(meeting.with_values({"resources.num_env_runners": 2}))
    batch, met = trial._sample(env_steps=0), torch.zeros((2, 4), dtype=torch.bool)  # runners, their economies
    for group in ("firm", "consumer"):
        mask = torch.as_tensor(batch.policy_batches[group][Columns.LOSS_MASK])
        met |= (~mask).reshape(2, 4, -1).any(-1)
    assert met.tolist() == [[False, True] * 2] * 2
    before = weights(trial)
    trial.train()
    assert changed(before, weights(trial)) == {"consumer", "firm", "planner"}
    trial.stop()


def test_a_member_of_another_economy_is_refused(meeting, tmp_path):
    wider = meeting.with_values({"learning.hidden_sizes": (16, 16)})
    member = wider.refinement.pool[0]
    for find in (lambda: member_network(member.checkpoint, member.deviator, wider), lambda: initial_weights(wider)):
        with pytest.raises(ConfigError, match="has other layers"):
            find()


@pytest.mark.parametrize(
    ("values", "key"),
    [
        ({"refinement.pool": [{"checkpoint": "somewhere", "deviator": "firm_3"}]}, r"refinement\.pool\.0\.deviator"),
        (
            {
                "refinement.pool": [*POOL, {"checkpoint": "somewhere", "deviator": "planner"}],
                "planner": {"mode": "fixed", "rates": (0.0, 0.0)},
            },
            r"refinement\.pool\.2\.deviator",
        ),
        ({"refinement.pool": POOL, "refinement.pool_share": 0.1}, r"refinement\.pool_share"),
        ({"refinement.pool_share": 0.6}, r"refinement\.pool_share"),
        (
            {"refinement.pool": POOL, "refinement.pool_share": 0.5, "learning.num_minibatches": 8},
            r"learning\.num_minibatches",
        ),
        ({"refinement.pool": POOL, "deviation": {"checkpoint": "somewhere", "deviator": "firm"}}, "deviation"),
        ({"start": "somewhere", "deviation": {"checkpoint": "somewhere", "deviator": "firm"}}, "deviation"),
    ],
)
def test_a_pool_that_cannot_be_met_is_refused(values, key):
    with pytest.raises(ConfigError, match=f"^{key} = "):
        SMALL.with_values(values)


@pytest.mark.parametrize("economies", [3, 9, 11, 12])
def test_the_share_that_a_refusal_names_is_taken(economies):
    values = {"refinement.pool": POOL, "learning.economies_per_update": economies, "learning.num_minibatches": 1}
    with pytest.raises(ConfigError, match="nobody would meet the pool") as refusal:
        SMALL.with_values(values | {"refinement.pool_share": 0.01})
    share = float(refusal.value.fix.removeprefix("take at least "))
    assert SMALL.with_values(values | {"refinement.pool_share": share}).refinement.pool_share == share
