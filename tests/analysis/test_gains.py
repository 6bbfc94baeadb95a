"""Gains in numbers and honest words: units, intervals, seeds that stayed, economies that are dead."""

import json

import numpy as np
import pytest

from analysis.equivalents import consumption_equivalent
from analysis.gains import Solution, measure_each, measure_gain, table, words
from rbc_rllib.economy import EconomyParameters
from rbc_rllib.economy.consumers import utility
from rbc_rllib.settings import ConfigError


@pytest.mark.parametrize("crra", [0.0, 0.1, 1.0, 3.0])
def test_a_consumption_equivalent_is_worth_the_gain(crra, rng, monkeypatch):
    monkeypatch.setattr("analysis.equivalents.BASKETS_AT_ONCE", 7)
    params = EconomyParameters(num_consumers=4, num_firms=3, crra=crra)
    baskets = rng.uniform(0, 10, size=(6, 2, 4, 3))

    def enjoyed(x):
        nothing = np.zeros((12, 4))
        return utility(params, x.reshape(12, 4, 3), nothing, nothing).mean()

    for percent in (-40.0, 0.0, 2.5, 80.0):
        gain = enjoyed(baskets * (1 + percent / 100)) - enjoyed(baskets)
        assert consumption_equivalent(params, baskets, gain) == pytest.approx(percent, abs=1e-4)


def test_a_consumption_equivalent_at_its_limits():
    bounded = EconomyParameters(num_consumers=1, num_firms=1, crra=2.0)  # utility stays below 1
    one = np.ones((1, 1, 1, 1))
    assert consumption_equivalent(bounded, one, 5.0) == np.inf
    assert consumption_equivalent(bounded, one, -5.0) == -100
    assert consumption_equivalent(bounded, one, 0.0) == 0
    assert np.isnan(consumption_equivalent(bounded, 0 * one, 0.1))
    linear = EconomyParameters(num_consumers=1, num_firms=1, crra=0.0)
    assert consumption_equivalent(linear, 4 * one, 1.0) == pytest.approx(25.0)


def test_consumption_equivalents_are_of_each_agents_own_baskets(rng):
    params = EconomyParameters(num_consumers=2, num_firms=1, crra=0.0)  # linear
    baskets = np.tile(np.array([[2.0], [8.0]]), (40, 3, 1, 1))
    before, gains = rng.normal(10, 1, (40, 2)), np.array([[0.5, 1.0], [1.5, 3.0]])
    gain = measure_each(
        "each_consumer",
        ["consumer_0", "consumer_1"],
        before,
        before + gains[:, None],
        gains,
        [0, 1],
        untrained=0.0,
        size=10.0,
        params=params,
        consumption=baskets,
    )
    assert gain.alone.consumption_equivalents == pytest.approx({"consumer_0": 50.0, "consumer_1": 25.0})
    equivalent = gain.consumption_equivalent
    assert equivalent.mean == pytest.approx(30.0)
    assert (equivalent.low, equivalent.high) == pytest.approx((20 * gain.gain.low, 20 * gain.gain.high))
    assert equivalent.low < equivalent.high


def test_an_agent_stays_by_its_own_validation_episodes(rng):
    before = rng.normal(10, 1, (40, 3))
    after = before[None] + np.array([1.0, -2.0, 4.0])
    gain = measure_each(
        "each_firm",
        ["firm_0", "firm_1", "firm_2"],
        before,
        after,
        np.array([[1.0, -2.0, 4.0]]),
        [0],
        untrained=0.0,
        size=20.0,
        params=EconomyParameters(),
        cooled=np.tile([0.5, 0.0, 1.0], (40, 1)),
    )
    means = {name: each.mean for name, each in gain.alone.agents.items()}
    assert means == pytest.approx({"firm_0": 1.0, "firm_1": 0.0, "firm_2": 4.0})
    assert gain.gain.mean == pytest.approx(5 / 3)
    assert gain.alone.largest == "firm_2"
    assert gain.nash_conv.mean == pytest.approx(5.0)
    assert gain.percent_of_reward.mean == pytest.approx(100 * (5 / 3) / 20.0)
    assert gain.temperature.mean == pytest.approx(0.5)
    assert gain.unconverged.mean == pytest.approx(5 / 3 - 0.5)
    assert gain.alone.over_agents.mean == pytest.approx(5 / 3)
    assert 0 <= gain.alone.over_agents.low < 1 < 4 <= gain.alone.over_agents.high + 0.1
    assert gain.record()["over_agents"]["count"] == 3
    assert gain.record()["unit"] == "money"
    solution = Solution("checkpoint_000001", 100, "their hash", 0.0, (gain,))
    assert "firm_2, who gained most on validation episodes, gains 4 [4, 4] a quarter" in words(solution)
    assert "the largest of 1 gain, is at least 20% of the mean absolute reward, that of firm_2." in words(solution)
    assert solution.record()["epsilon_percent_at_least"] == pytest.approx(20.0)
    assert solution.record()["largest_gain"] == "firm_2"
    assert "each_firm" in table(solution)
    said = words(solution)
    assert "means over them (1.667 [0, 4] over agents), and all gains add up to 5 [5, 5] (NashConv)" in said
    assert "itself gains 0.5 [0.5, 0.5] with less noise (temperature); the rest, 1.167 [1.167, 1.167]," in said
    assert "is what training had not reached" in said
    assert table(solution).splitlines()[-1].startswith("| each_firm (money) |")


def gain_of(rng, mean, *, seeds=4, validation=None, before=10.0, untrained=2.0, deviator="firm"):
    base = rng.normal(before, 1, 200)
    after = base + mean + rng.normal(0, 0.3, (seeds, 200)) + rng.normal(0, 0.05, (seeds, 1))
    validation = [mean] * seeds if validation is None else validation
    return measure_gain(deviator, base, after, validation, range(seeds), untrained, 10.0, EconomyParameters())


def test_gains_in_all_units(rng):
    gain = gain_of(rng, 2.0)
    assert gain.gain.above_zero
    assert gain.gain.low < 2.0 < gain.gain.high
    assert gain.percent_of_reward.mean == pytest.approx(20, rel=0.05)
    assert gain.percent_of_improvement.mean == pytest.approx(25, rel=0.05)
    assert gain.consumption_equivalent is None
    assert gain_of(rng, 2.0, untrained=11.0).percent_of_improvement is None


def test_the_best_seed_and_staying_are_chosen_on_validation_episodes_only(rng):
    gain = gain_of(rng, 2.0, validation=[0.1, -0.3, 0.5, -0.1])
    assert gain.stayed == (1, 3)
    assert gain.best_seed == 2
    assert gain.gain.mean == pytest.approx(1.0, abs=0.1)
    assert gain.best_gain.mean == pytest.approx(2.0, abs=0.2)


def test_who_gains_most_is_told_by_gains_that_are_taken_not_by_losses_that_are_not(rng):
    before = rng.normal(10, 1, (40, 2))
    gains = np.array([[4.0, 1.0], [-10.0, 1.0]])
    after, settings = before + gains[:, None], {"untrained": 0.0, "size": 20.0, "params": EconomyParameters()}
    gain = measure_each("each_firm", ["firm_0", "firm_1"], before, after, gains, [0, 1], **settings)
    assert gain.alone.largest == "firm_0"
    assert [each.mean for each in gain.alone.agents.values()] == pytest.approx([2.0, 1.0])


def test_words_are_lower_bounds_and_a_dead_economy_is_no_equilibrium(rng):
    large, none = gain_of(rng, 2.0), gain_of(rng, 0.0, deviator="planner", validation=[0.01] * 4)
    alive = words(Solution("checkpoint_000001", 100, "their hash", 0.0, (large, none)))
    assert "firm gains at least" in alive
    assert "planner: a gain of" in alive
    assert "not distinguishable from 0" in alive
    assert "Epsilon, the largest of 2 gains, is at least" in alive
    assert "of the mean absolute reward, that of firm" in alive
    dead = Solution("checkpoint_000001", 100, "their hash", 0.9, (none,))
    assert dead.trivial
    assert "trivial" in words(dead)
    assert "not called an equilibrium" in words(dead)
    assert "Epsilon" not in words(dead)
    quiet = words(Solution("checkpoint_000001", 100, "their hash", 0.0, (none,)))
    assert "Better responses than those found may exist" in quiet
    lines = table(Solution("checkpoint_000001", 100, "their hash", 0.0, (large, none))).splitlines()
    assert len({line.count("|") for line in lines}) == 1


def test_a_solution_is_read_as_it_was_written(rng):
    before = rng.normal(10, 1, (40, 2))
    alone = measure_each(
        "each_firm",
        ["firm_0", "firm_1"],
        before,
        before[None] + 1.0,
        np.array([[1.0, -2.0]]),
        [0],
        untrained=0.0,
        size=20.0,
        params=EconomyParameters(),
        cooled=np.full((40, 2), 0.5),
        chosen=("from frozen, after 8 iterations",),
        curve={"frozen": ((4, 0.5), (8, 1.0))},
    )
    record = Solution("checkpoint_000001", 100, "their hash", 0.0, (gain_of(rng, 2.0), alone)).record()
    again = Solution.read(json.loads(json.dumps(record)))
    assert json.loads(json.dumps(again.record())) == json.loads(json.dumps(record))
    assert again.gains[1].alone.agents == alone.alone.agents
    assert again.gains[0].temperature is None
    for gain in record["gains"]:
        del gain["temperature"]
    with pytest.raises(ConfigError, match=r"best_response\.json = .* has temperature, which earlier versions did not"):
        Solution.read(record)
