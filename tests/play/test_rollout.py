"""Advantages against RLlib's own, and episodes whose stored experience can be replayed and recomputed."""

import numpy
import pytest
import torch
from ray.rllib.core.columns import Columns
from ray.rllib.utils.postprocessing.value_predictions import compute_value_targets
from torch import Tensor
from torch.testing import assert_close

from rbc_rllib.economy import GROUPS, ActionRanges, Actions, EconomyParameters
from rbc_rllib.leaving import DEVIATOR
from rbc_rllib.play.distribution import MultiHeadCategorical
from rbc_rllib.play.rollout import Rollout, advantages, play
from rbc_rllib.play.seats import Network, Seat, in_every_economy, others
from rbc_rllib.play.vector_economy import VectorEconomy
from tests.play.networks import build_modules, group_seats

SMALL = EconomyParameters(num_consumers=5, num_firms=3, episode_length=4)
NUM_ENVS = 3
DISCOUNTS = [(1.0, 1.0), (0.9999, 1.0), (0.9, 0.95), (1.0, 0.5), (0.5, 0.0), (0.0, 1.0)]


def random_episodes(rng: numpy.random.Generator) -> tuple[numpy.ndarray, numpy.ndarray]:
    """Rewards and values [3 economies, 10 quarters, 4 agents]."""
    rewards, values = rng.normal(size=(2, 3, 10, 4)).astype(numpy.float32)
    return rewards, values + 1


def played(
    params: EconomyParameters = SMALL,
    num_envs: int = NUM_ENVS,
    seed: int = 0,
    greedy: bool = False,
    trained_consumers: int | None = None,
) -> Rollout:
    """One episode of fresh economies with the test networks, all recorded."""
    seats, generator = group_seats(build_modules(params), greedy), torch.Generator().manual_seed(seed)
    economy = VectorEconomy(params, num_envs)
    return play(economy, seats, generator, recorded=GROUPS, trained_consumers=trained_consumers)


def rows(values: Tensor) -> Tensor:
    """[E, T, ...] as the learner gets it: [E * T, ...]."""
    return values.flatten(0, 1)


@pytest.mark.parametrize(("discount", "gae_lambda"), DISCOUNTS)
def test_advantages_are_those_of_rllib(discount, gae_lambda, rng):
    """RLlib computes all episodes in one long row, each ended by a terminal flag."""
    rewards, values = random_episodes(rng)

    def in_a_row(array: numpy.ndarray) -> numpy.ndarray:
        return array.transpose(0, 2, 1).reshape(-1)

    terminal = numpy.zeros_like(rewards)
    terminal[:, -1] = 1
    columns = (values, rewards, terminal, numpy.zeros_like(rewards))
    targets = compute_value_targets(*map(in_a_row, columns), discount, gae_lambda)
    actual = advantages(torch.tensor(rewards), torch.tensor(values), discount, gae_lambda)
    assert actual.shape == rewards.shape
    numpy.testing.assert_allclose(in_a_row((actual + torch.tensor(values)).numpy()), targets, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(("discount", "gae_lambda"), DISCOUNTS)
def test_advantages_are_the_discounted_sum_of_all_later_errors(discount, gae_lambda, rng):
    """The definition: A[t] = sum over l of (discount * lambda)^l delta[t + l], and nothing after the episode."""
    rewards, values = random_episodes(rng)
    expected = numpy.zeros(rewards.shape)
    for env in range(3):
        for agent in range(4):
            r, v = rewards[env, :, agent].tolist(), [*values[env, :, agent].tolist(), 0.0]
            deltas = [r[t] + discount * v[t + 1] - v[t] for t in range(10)]
            for t in range(10):
                expected[env, t, agent] = sum((discount * gae_lambda) ** (k - t) * deltas[k] for k in range(t, 10))
    actual = advantages(torch.tensor(rewards), torch.tensor(values), discount, gae_lambda)
    numpy.testing.assert_allclose(actual.numpy(), expected, rtol=1e-4, atol=1e-5)


def test_without_discounts_the_value_target_is_what_is_still_to_come(rng):
    rewards, values = (torch.tensor(array) for array in random_episodes(rng))
    to_come = rewards.flip(1).cumsum(1).flip(1)
    assert_close(advantages(rewards, values, 1.0, 1.0) + values, to_come, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("trained_consumers", [None, 1, 2])
@pytest.mark.parametrize(("num_consumers", "num_firms", "num_envs"), [(1, 1, 1), (5, 3, 2), (2, 4, 3)])
def test_shapes(num_consumers, num_firms, num_envs, trained_consumers):
    params = EconomyParameters(num_consumers=num_consumers, num_firms=num_firms, episode_length=4)
    rollout = played(params, num_envs, trained_consumers=trained_consumers)
    kept = min(num_consumers, trained_consumers or num_consumers)
    shared = num_firms * 14 + 3  # price, wage, 10 digits and log of the inventory, flag; two rates and time
    heads = {"consumer": (11,) * num_firms + (5, num_firms), "firm": (30,), "planner": (36,)}
    agents = {"consumer": kept, "firm": num_firms, "planner": 1}
    private = {"consumer": 12, "firm": 13 + num_firms, "planner": 0}
    assert rollout.shared.shape == (num_envs, 4, shared)
    for group in GROUPS:
        experience, lead = rollout.experience[group], (num_envs, 4)
        expected = {"private": (*lead, agents[group], private[group])}
        if group != "consumer":
            expected["action_mask"] = (*lead, *heads[group])
        assert {name: tuple(values.shape) for name, values in experience.observations.items()} == expected
        each = (*lead, agents[group])
        for column in (experience.action_logp, experience.values, experience.rewards):
            assert column.shape == each
            assert column.dtype == torch.float32
            assert not column.requires_grad
        assert experience.actions.shape == (each if len(heads[group]) == 1 else (*each, len(heads[group])))
    assert len(rollout.states) == len(rollout.outcomes) == 4


def test_rewards_are_those_of_the_economies():
    rollout = played()
    for t, outcome in enumerate(rollout.outcomes):
        for group, values in (
            ("consumer", outcome.consumer_reward),
            ("firm", outcome.firm_reward),
            ("planner", outcome.planner_reward[:, None]),
        ):
            numpy.testing.assert_array_equal(rollout.experience[group].rewards[:, t].numpy(), values)
    assert all(rollout.experience[group].rewards.std() > 0 for group in GROUPS)


def test_stored_actions_replay_the_same_episode():
    """Through fresh economies and a decoding written out by hand; observations, states and outcomes are all there."""
    economy = VectorEconomy(SMALL, NUM_ENVS)
    economy.anneal(labor_disutility_scale=0.5, penalty_increase=3.0)
    seats = group_seats(build_modules(SMALL))
    rollout = play(economy, seats, torch.Generator().manual_seed(0), recorded=GROUPS)
    actions = {group: rollout.experience[group].actions.numpy() for group in GROUPS}
    units = numpy.array(SMALL.demand_choices, numpy.float32)

    fresh = VectorEconomy(SMALL, NUM_ENVS)
    fresh.anneal(labor_disutility_scale=0.5, penalty_increase=3.0)
    fresh.reset()
    for t in range(SMALL.episode_length):
        assert not fresh.done
        observations = fresh.observe()
        numpy.testing.assert_array_equal(rollout.shared[:, t].numpy(), observations["shared"])
        for group in GROUPS:
            seen = rollout.experience[group].observations
            if group in observations:
                numpy.testing.assert_array_equal(seen["private"][:, t].numpy(), observations[group])
        for name, values in vars(fresh.state).items():
            numpy.testing.assert_array_equal(getattr(rollout.states[t], name), values, err_msg=f"{name} {t}")
        chosen = actions["consumer"][:, t]
        outcome = fresh.step(
            Actions(
                consumption=units[chosen[..., : SMALL.num_firms]],
                hours_index=chosen[..., SMALL.num_firms],
                employer=chosen[..., SMALL.num_firms + 1],
                firm=actions["firm"][:, t],
                planner=actions["planner"][:, t, 0],
            )
        )
        for name, values in vars(outcome).items():
            numpy.testing.assert_array_equal(getattr(rollout.outcomes[t], name), values, err_msg=f"{name} {t}")
    assert fresh.done


@pytest.mark.parametrize("trained_consumers", [None, 2])
@pytest.mark.parametrize("group", GROUPS)
def test_the_learner_recomputes_logp_and_values_from_the_stored_rows(group, trained_consumers):
    """What PPO does first: its ratio of new to old probability is 1 before the first update."""
    modules = build_modules(SMALL)
    economy = VectorEconomy(SMALL, NUM_ENVS)
    economy.restrict(ActionRanges(price=(500.0, 1500.0), corporate_tax_rate=(0.2, 0.6)))
    generator = torch.Generator().manual_seed(0)
    seats = group_seats(modules)
    rollout = play(economy, seats, generator, recorded=GROUPS, trained_consumers=trained_consumers)
    experience, module = rollout.experience[group], modules[group]
    seen = {"shared": rollout.shared, **experience.observations}
    batch = {Columns.OBS: {name: rows(values) for name, values in seen.items()}}
    with torch.no_grad():
        output = module.forward_train(batch)
        values = module.compute_values(batch)
    distribution = module.action_dist_cls.from_logits(output[Columns.ACTION_DIST_INPUTS])
    assert_close(distribution.logp(rows(experience.actions)), rows(experience.action_logp), rtol=1e-5, atol=1e-5)
    assert_close(values, rows(experience.values), rtol=1e-5, atol=1e-5)
    assert rows(experience.action_logp).unique().numel() > 10


def consumers_of(rollout: Rollout) -> numpy.ndarray:
    """[E, K] who the kept consumers are, told by their labor disutility, which differs from consumer to consumer."""
    traits = rollout.experience["consumer"].observations["private"][..., -1].numpy()  # [E, T, K]
    everyone = rollout.states[0].labor_disutility / EconomyParameters().labor_disutility  # [E, C]
    distance = numpy.abs(traits[..., None] - everyone[:, None, None, :])
    assert distance.min(-1).max() < 1e-6
    who = distance.argmin(-1)
    assert (who == who[:, :1]).all()  # the same ones in every quarter
    return who[:, 0]


def test_trained_consumers_are_distinct_and_their_rows_are_those_of_the_full_experience():
    kept, full = played(num_envs=20, trained_consumers=3), played(num_envs=20)

    who = consumers_of(kept)
    assert who.shape == (20, 3)
    assert all(len(set(env)) == 3 for env in who.tolist())
    assert len({frozenset(env) for env in who.tolist()}) > 3  # drawn for each economy by itself
    economies = numpy.arange(20)[:, None]
    for name in ("actions", "action_logp", "values", "rewards"):
        everyone = getattr(full.experience["consumer"], name).transpose(1, 2)  # [E, C, T, ...]
        expected = everyone[economies, who].transpose(1, 2)
        assert_close(getattr(kept.experience["consumer"], name), expected, rtol=1e-5, atol=1e-5)
    private = full.experience["consumer"].observations["private"].transpose(1, 2)[economies, who].transpose(1, 2)
    assert torch.equal(kept.experience["consumer"].observations["private"], private)
    for group in ("firm", "planner"):
        assert torch.equal(kept.experience[group].rewards, full.experience[group].rewards)


def test_rewards_of_trained_consumers_are_their_own():
    rollout = played(num_envs=20, trained_consumers=3)
    who = consumers_of(rollout)
    for t, outcome in enumerate(rollout.outcomes):
        expected = numpy.take_along_axis(outcome.consumer_reward, who, axis=1)
        numpy.testing.assert_array_equal(rollout.experience["consumer"].rewards[:, t].numpy(), expected)


def test_every_consumer_is_trained_equally_often_and_drawn_anew_each_time():
    params = EconomyParameters(num_consumers=5, num_firms=1, episode_length=1)
    economy, seats = VectorEconomy(params, 2_000), group_seats(build_modules(params))
    generator, options = torch.Generator().manual_seed(3), {"recorded": ["consumer"], "trained_consumers": 2}
    first, second = (consumers_of(play(economy, seats, generator, **options)) for _ in range(2))
    share = numpy.bincount(first.ravel(), minlength=5) / 2_000
    numpy.testing.assert_allclose(share, 0.4, atol=5 * (0.4 * 0.6 / 2_000) ** 0.5)
    assert (numpy.sort(first) != numpy.sort(second)).any(-1).mean() > 0.8


@pytest.mark.parametrize("trained_consumers", [5, 6, None])
def test_as_many_trained_consumers_as_there_are_means_all_in_their_order(trained_consumers):
    rollout = played(trained_consumers=trained_consumers)
    numpy.testing.assert_array_equal(consumers_of(rollout), numpy.broadcast_to(numpy.arange(5), (NUM_ENVS, 5)))


def test_no_forbidden_price_wage_or_tax_rate_is_ever_chosen():
    params = SMALL.replace(episode_length=10)
    economy = VectorEconomy(params, 200)
    economy.restrict(
        ActionRanges(
            price=(500.0, 1500.0), wage=(22.0, 33.0), income_tax_rate=(0.4, 0.4), corporate_tax_rate=(0.0, 0.2)
        )
    )
    modules = build_modules(params)
    with torch.no_grad():  # almost uniform, so that all that is allowed is tried
        for module in modules.values():
            module.policy_head.weight.mul_(0.01)
            module.policy_head.bias.zero_()
    rollout = play(economy, group_seats(modules), torch.Generator().manual_seed(0), recorded=GROUPS)
    states = [*rollout.states[1:], economy.state]  # what is chosen now holds from the next quarter on
    choices = {
        name: {round(float(value), 6) for state in states for value in getattr(state, name).ravel()}
        for name in ("prices", "wages", "income_tax_rate", "corporate_tax_rate")
    }
    assert choices == {
        "prices": {500.0, 1000.0, 1500.0},
        "wages": {22.0, 33.0},
        "income_tax_rate": {0.4},
        "corporate_tax_rate": {0.0, 0.2},
    }
    for group, allowed in (("firm", 6), ("planner", 2)):
        mask = rollout.experience[group].observations["action_mask"]
        assert (mask.sum(-1) == allowed).all()
        actions = rollout.experience[group].actions
        chosen = mask.unsqueeze(-2).expand(*actions.shape, -1).gather(-1, actions.long().unsqueeze(-1))
        assert chosen.all()


def test_greedy_networks_take_the_most_likely_action():
    first, second = (played(seed=seed, greedy=True) for seed in (1, 2))
    for group, module in build_modules(SMALL).items():
        experience = first.experience[group]
        assert torch.equal(experience.actions, second.experience[group].actions)
        assert torch.equal(experience.rewards, second.experience[group].rewards)
        seen = {"shared": first.shared, **experience.observations}
        batch = {Columns.OBS: {name: rows(values) for name, values in seen.items()}}
        with torch.no_grad():
            logits = module.forward_inference(batch)[Columns.ACTION_DIST_INPUTS]
        heads = logits.split(list(module.head_sizes), dim=-1)
        actions = rows(experience.actions)
        best = torch.stack([head.argmax(-1) for head in heads], dim=-1).to(actions.dtype)
        assert torch.equal(actions, best if len(heads) > 1 else best[..., 0])
        likely = MultiHeadCategorical(logits, module.head_sizes).logp(actions)
        assert_close(rows(experience.action_logp), likely, rtol=1e-5, atol=1e-5)


def test_the_same_seed_plays_the_same_episode_and_another_does_not():
    first, second, other = (played(seed=seed) for seed in (1, 1, 2))
    for group in GROUPS:
        assert torch.equal(first.experience[group].actions, second.experience[group].actions)
        assert torch.equal(first.experience[group].rewards, second.experience[group].rewards)
        assert not torch.equal(first.experience[group].actions, other.experience[group].actions)


def test_economies_and_agents_draw_their_own_actions():
    """Equal economies in their first quarter see the same; equal numbers for all would make them twins."""
    experience = played(num_envs=50).experience
    for group in GROUPS:
        first_quarter = experience[group].actions[:, 0].flatten(1)
        assert first_quarter.unique(dim=0).shape[0] > 5


@pytest.mark.parametrize("options", [{}, {"trained_consumers": 2}, {"greedy": True}], ids=str)
@pytest.mark.parametrize("at_once", [1, SMALL.num_consumers, 3 * SMALL.num_consumers])
def test_how_many_act_at_once_changes_nothing(at_once, options, monkeypatch):
    """7 economies, their 4 consumers but one by 1, 1 and 3 economies at once: whole parts and a rest."""
    modules = build_modules(SMALL)
    greedy, trained_consumers = options.get("greedy", False), options.get("trained_consumers")
    alone = in_every_economy([3], 7)
    seats = [
        *(Seat(group, group, Network(modules[group], greedy)) for group in ("firm", "planner")),
        Seat("consumer", "consumer", Network(modules["consumer"], greedy), others(5, alone)),
        Seat(DEVIATOR, "consumer", Network(modules["consumer"], greedy), alone),
    ]
    recorded = [*GROUPS, DEVIATOR]

    def rollout() -> Rollout:
        generator, economy = torch.Generator().manual_seed(0), VectorEconomy(SMALL, 7)
        return play(economy, seats, generator, recorded=recorded, trained_consumers=trained_consumers)

    whole = rollout()
    monkeypatch.setattr("rbc_rllib.play.rollout.AGENTS_AT_ONCE", at_once)
    parts = rollout()
    assert torch.equal(parts.shared, whole.shared)
    assert set(parts.experience) == set(whole.experience) == set(recorded)
    for name, experience in whole.experience.items():
        for column, x in {**vars(experience), **experience.observations}.items():
            if column != "observations":
                assert_close({**vars(parts.experience[name]), **parts.experience[name].observations}[column], x)


def test_playing_again_starts_anew():
    economy, seats = VectorEconomy(SMALL, NUM_ENVS), group_seats(build_modules(SMALL))
    first, second = (play(economy, seats, torch.Generator().manual_seed(5), recorded=GROUPS) for _ in range(2))
    for group in GROUPS:
        assert torch.equal(first.experience[group].rewards, second.experience[group].rewards)


def test_a_float64_economy_is_played_in_float64_and_learned_in_float32():
    wide = played(SMALL.replace(dtype="float64"), greedy=True, trained_consumers=2)
    narrow = played(greedy=True, trained_consumers=2)
    assert wide.outcomes[0].firm_reward.dtype == numpy.float64
    for group in GROUPS:
        experience = wide.experience[group]
        for name in ("action_logp", "values", "rewards"):
            assert getattr(experience, name).dtype == torch.float32, name
        assert wide.shared.dtype == experience.observations["private"].dtype == torch.float32
        assert_close(experience.rewards[:, 0], narrow.experience[group].rewards[:, 0], rtol=1e-4, atol=1e-4)
