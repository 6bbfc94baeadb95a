"""Whose policies there are in an experiment, who deviates, and who is asked."""

import pytest

from rbc_rllib.economy import Planner
from rbc_rllib.experiment import Sweep
from rbc_rllib.leaving import DEVIATOR, Deviation
from rbc_rllib.settings import ConfigError
from tests.test_experiment import CHANGED, DEFAULT

ALL = {"consumer": "consumer", "firm": "firm", "planner": "planner"}
UNDER_FIXED_TAXES = {"consumer": "consumer", "firm": "firm"}


@pytest.mark.parametrize(
    ("deviator", "group", "agents", "policies", "frozen"),
    [
        ("firm", "firm", None, ALL, ("consumer", "planner")),
        ("planner", "planner", None, ALL, ("consumer", "firm")),
        ("firm_3", "firm", (3,), ALL | {DEVIATOR: "firm"}, tuple(ALL)),
        ("consumer_99", "consumer", (99,), ALL | {DEVIATOR: "consumer"}, tuple(ALL)),
        ("firm_5+firm_0", "firm", (0, 5), ALL | {DEVIATOR: "firm"}, tuple(ALL)),
        ("consumer_2+consumer_10+consumer_9", "consumer", (2, 9, 10), ALL | {DEVIATOR: "consumer"}, tuple(ALL)),
    ],
)
def test_in_a_deviation_all_policies_but_the_deviators_are_frozen(deviator, group, agents, policies, frozen):
    deviation = Deviation(checkpoint="somewhere", deviator=deviator)
    assert (deviation.group, deviation.agents) == (group, agents)
    assert deviation.policy == (DEVIATOR if agents else deviator)
    experiment = DEFAULT.replace(deviation=deviation)
    assert experiment.policies == policies
    assert experiment.frozen_policies == frozen


def test_consumers_and_firms_who_deviate_together_have_a_policy_for_each_group():
    deviation = Deviation(checkpoint="somewhere", deviator="firm_5+consumer_7+firm_0", start="scratch")
    assert {policy: (part.group, part.agents) for policy, part in deviation.parts.items()} == {
        "deviator_consumer": ("consumer", (7,)),
        "deviator_firm": ("firm", (0, 5)),
    }
    experiment = DEFAULT.replace(deviation=deviation)
    assert experiment.policies == ALL | {"deviator_consumer": "consumer", "deviator_firm": "firm"}
    assert experiment.frozen_policies == tuple(ALL)
    starts = {policy: experiment.start_of(policy) is None for policy in experiment.policies}
    assert starts == {policy: policy not in ALL for policy in experiment.policies}


@pytest.mark.parametrize(
    ("values", "rule"),
    [
        (
            {"economy.firm_welfare_weight": 0.0, "deviation": {"checkpoint": "a", "deviator": "firm_0+consumer_1"}},
            "is 0",
        ),
        ({"refinement.pool": [{"deviator": "firm_0+consumer_1"}]}, "agents of one group"),
    ],
)
def test_consumers_and_firms_together_are_refused_where_they_cannot_be(values, rule):
    with pytest.raises(ConfigError, match=rule) as refusal:
        DEFAULT.with_values(values)
    assert (refusal.value.key.split(".")[-1], refusal.value.value) == ("deviator", "firm_0+consumer_1")
    assert "consumers alone, or firms alone" in refusal.value.fix


def test_without_a_deviation_every_group_has_its_policy_and_none_is_frozen():
    assert DEFAULT.policies == ALL
    assert DEFAULT.frozen_policies == CHANGED.frozen_policies == ()


def test_where_taxes_are_fixed_the_planner_has_no_policy():
    assert CHANGED.policies == UNDER_FIXED_TAXES
    alone = CHANGED.replace(deviation=Deviation(checkpoint="somewhere", deviator="firm_1"))
    assert alone.policies == UNDER_FIXED_TAXES | {DEVIATOR: "firm"}
    assert alone.frozen_policies == ("consumer", "firm")


@pytest.mark.parametrize(
    ("deviator", "rule", "fix"),
    [
        ("firms", "no such group or agent", "firm_0 to firm_9"),
        ("firm_10", "no such group or agent", "firm_0 to firm_9"),
        ("consumer_100", "no such group or agent", "consumer_0 to consumer_99"),
        ("planner_0", "no such group or agent", "take consumer, firm, planner"),
        ("firm_", "no such group or agent", "firm_0 to firm_9"),
        ("firm_03", "no such group or agent", "firm_0 to firm_9"),
        ("firm_0+", "no such group or agent", "firm_0 to firm_9"),
        ("firm+planner", "no such group or agent", "firm_0 to firm_9"),
        ("firm_0+firm_0", "different ones", "firm_0+firm_5"),
        ("firm_0+planner", "no such group or agent", "firm_0 to firm_9"),
    ],
)
def test_a_deviator_who_does_not_exist_is_refused(deviator, rule, fix):
    with pytest.raises(ConfigError, match=rule) as refusal:
        DEFAULT.replace(deviation=Deviation(checkpoint="somewhere", deviator=deviator))
    assert (refusal.value.key, refusal.value.value) == ("deviation.deviator", deviator)
    assert fix in refusal.value.fix


@pytest.mark.parametrize(("mode", "planner"), [("discretion", 1e-4), ("constant", 3e-2), ("schedule", 3e-2)])
def test_a_plan_is_learned_at_a_rate_of_its_own(mode, planner):
    values = {"learning.learning_rate.planner": 1e-4, "learning.plan_learning_rate": 3e-2, "planner.mode": mode}
    experiment = DEFAULT.with_values(values)
    assert experiment.learning_rate("planner") == planner
    assert experiment.learning_rate("firm") == DEFAULT.learning.learning_rate.firm


@pytest.mark.parametrize("mode", ["constant", "schedule"])
def test_a_planner_who_learns_a_plan_has_a_policy_and_can_deviate(mode):
    experiment = DEFAULT.with_values({"planner.mode": mode})
    assert experiment.policies == ALL
    deviating = experiment.replace(deviation=Deviation(checkpoint="somewhere", deviator="planner"))
    assert (deviating.policies, deviating.frozen_policies) == (ALL, ("consumer", "firm"))


def test_a_mode_that_needs_other_keys_is_refused_by_their_names():
    with pytest.raises(ConfigError, match="needs their rates") as refusal:
        DEFAULT.with_values({"planner.mode": "fixed"})
    assert refusal.value.key == "planner.rates"
    with pytest.raises(ConfigError, match="in mode schedule decides itself") as refusal:
        CHANGED.with_values({"planner.mode": "schedule"})
    assert refusal.value.key == "planner.rates"
    assert CHANGED.with_values({"planner.mode": "schedule", "planner.rates": None}).planner == Planner(mode="schedule")


def test_rates_must_fit_the_economy_that_is_set_with_them():
    rates = {"planner.mode": "fixed", "planner.rates": [[0.0, 0.3], [0.3, 0.0]]}
    with pytest.raises(ConfigError, match="one for each of the 9 quarters") as refusal:
        DEFAULT.with_values(rates)
    assert refusal.value.key == "planner.rates"
    economy = {"economy.episode_length": 3, "economy.tax_choices": (0.0, 0.3)}
    assert DEFAULT.with_values(rates | economy).planner.rates == ((0.0, 0.3), (0.3, 0.0))


def test_a_planner_who_follows_fixed_taxes_cannot_deviate():
    with pytest.raises(ConfigError, match="fixed tax rates") as refusal:
        CHANGED.replace(deviation=Deviation(checkpoint="somewhere", deviator="planner"))
    assert refusal.value.key == "deviation.deviator"


@pytest.mark.parametrize(
    ("settings", "key", "rule"),
    [
        ({"deviators": ("each_firm", "firms")}, "deviator", "no such group or agent"),
        ({"deviators": ("planner",)}, "deviator", "fixed tax rates"),
        ({"deviators": ("firm",), "deviation_iterations": 0}, "deviation_iterations", "at least 1"),
    ],
)
def test_a_sweep_refuses_what_it_could_not_ask_when_all_is_trained(settings, key, rule):
    """CHANGED has fixed taxes, the other experiment a planner."""
    experiments = (DEFAULT.replace(name="learned"), CHANGED)
    assert Sweep(experiments, deviators=("firm", "each_consumer")).deviation_iterations == 40
    with pytest.raises(ConfigError, match=rule) as refusal:
        Sweep(experiments, **settings)
    assert refusal.value.key == key
