"""Dotted keys, the command line's assignments, saved configs, and the numbers that follow from others."""

import json
import re

import pytest

from rbc_rllib.curriculum import Curriculum
from rbc_rllib.economy import EconomyParameters, Planner
from rbc_rllib.experiment import ExperimentConfig, Learning, Resources, Sweep, parse_assignments
from rbc_rllib.leaving import DEVIATOR, Deviation
from rbc_rllib.settings import ConfigError, PerGroup

DEFAULT = ExperimentConfig()
CHANGED = ExperimentConfig(
    name="changed-1.0_a",
    seed=3,
    economy=EconomyParameters(num_firms=3, crra=1, planner_welfare="total"),
    planner=Planner(mode="fixed", rates=((0.0, 0.8),)),
    curriculum=Curriculum(annealed_entropy=False),
    learning=Learning(trained_consumers=None, learning_rate=PerGroup(consumer=1e-4, firm=1 / 3, planner=3e-5)),
    resources=Resources(num_env_runners=2, num_gpus_per_learner=0.5),
)


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("name", "other"),
        ("seed", 5),
        ("economy.crra", 2.0),
        ("economy.planner_welfare", "total"),
        ("curriculum.firm_range_end", 0.15),
        ("curriculum.staged_training", False),
        ("curriculum.final_entropy_coeff.planner", 0.2),
        ("curriculum.cooled_entropy_coeff.consumer", 0.001),
        ("learning.learning_rate.planner", 1e-5),
        ("learning.reward_scale.firm", 3.0),
        ("learning.trained_consumers", None),
        ("resources.num_env_runners", 4),
    ],
)
@pytest.mark.parametrize("base", [DEFAULT, CHANGED], ids=["default", "changed"])
def test_a_dotted_key_changes_its_value_and_nothing_else(base, key, value):
    before = base.model_dump()
    changed = base.with_values({key: value})
    expected = base.model_dump()
    *path, last = key.split(".")
    inner = expected
    for part in path:
        inner = inner[part]
    inner[last] = value
    assert changed.model_dump() == expected
    assert base.model_dump() == before


def test_several_keys_change_together():
    """Keys whose values fit only together, in any order, and after the group that holds them."""
    values = {
        "planner.rates": [0.2, 0.8],
        "planner.mode": "fixed",
        "learning.learning_rate": {"consumer": 1.0, "firm": 2.0, "planner": 3.0},
        "learning.learning_rate.firm": 5.0,
    }
    changed = DEFAULT.with_values(values)
    assert changed.planner == Planner(mode="fixed", rates=((0.2, 0.8),))
    assert changed.learning.learning_rate == PerGroup(consumer=1.0, firm=5.0, planner=3.0)
    assert DEFAULT.with_values({}) == DEFAULT


@pytest.mark.parametrize(
    ("key", "named", "rule", "fix"),
    [
        ("sed", "sed", "no such key", "seed"),
        ("", "", "no such key", "seed"),
        ("econmy.crra", "econmy", "no such key", "economy"),
        ("economy.cra", "economy.cra", "no such key", "crra"),
        ("learning.learning_rat.planner", "learning.learning_rat", "no such key", "learning_rate"),
        ("learning.learning_rate.government", "learning.learning_rate.government", "no such key", "consumer, firm, pl"),
        ("learning.learning_rate.planner.x", "learning.learning_rate.planner.x", "holds no keys", "planner=..."),
        ("seed.x", "seed.x", "seed is a value and holds no keys", "write seed=..."),
        ("learning.trained_consumers.x", "learning.trained_consumers.x", "holds no keys", "trained_consumers=..."),
        ("deviation.group", "deviation.group", "holds no keys", "deviation=..."),
        ("learning.hidden_sizes.0", "learning.hidden_sizes.0", "holds no keys", "hidden_sizes=..."),
    ],
)
def test_an_unknown_key_is_refused_at_every_depth(key, named, rule, fix):
    with pytest.raises(ConfigError, match=rule) as refusal:
        DEFAULT.with_values({key: 1})
    assert refusal.value.key == named
    assert fix in refusal.value.fix
    assert str(refusal.value).startswith(f"{named} = 1 is refused: ")
    assert not re.search(r"\. [A-Z]", str(refusal.value))


@pytest.mark.parametrize(
    ("key", "value", "rule"),
    [
        ("seed", -1, "greater than or equal to 0"),
        ("name", "two words", "match pattern"),
        ("economy.num_firms", 0, "greater than 0"),
        ("economy", 3, "valid dictionary"),
        ("learning.clip_param", "wide", "valid number"),
        ("learning.learning_rate.planner", None, "valid number"),
        ("learning.algorithm", "sac", "'ppo' or 'policy_gradient'"),
        ("curriculum.firm_range_start", 0.5, "firm_range_end"),
        ("resources.array_library", "jax", "'auto', 'numpy' or 'cupy'"),
    ],
)
def test_a_refused_value_is_named_by_its_whole_key(key, value, rule):
    with pytest.raises(ConfigError, match=rule) as refusal:
        DEFAULT.with_values({key: value})
    assert refusal.value.key == key
    assert refusal.value.value == value


def test_defaults_that_depend_on_the_numbers_of_agents_follow_them():
    economy = DEFAULT.with_values({"economy.num_firms": 3, "economy.num_consumers": 7}).economy
    assert economy.initial_capital == (5000, 10_000, 10_000)
    assert economy.labor_elasticities == (0.2, 0.3, 0.4)
    assert economy.initial_firm_budget == 22_000 * 7
    again = CHANGED.with_values({"economy.num_firms": 2}).economy
    assert again.initial_capital == (5000, 10_000)
    assert again.planner_welfare == "total"


def test_a_default_that_was_given_stays():
    base = DEFAULT.with_values({"economy.initial_firm_budget": 5.0})
    assert base.with_values({"economy.num_consumers": 7}).economy.initial_firm_budget == 5.0


@pytest.mark.parametrize("config", [DEFAULT, CHANGED], ids=["default", "changed"])
def test_a_saved_config_is_complete_and_comes_back_equal(config, tmp_path):
    path = tmp_path / "config.json"
    config.to_json(path)
    assert ExperimentConfig.from_json(path) == config
    saved = json.loads(path.read_text())
    assert saved["economy"]["initial_capital"] == list(config.economy.initial_capital)
    for part in ("economy", "planner", "curriculum", "learning", "resources"):
        assert set(saved[part]) == set(type(getattr(config, part)).model_fields)


def test_a_saved_config_with_an_unknown_key_is_refused(tmp_path):
    path = tmp_path / "config.json"
    path.write_text(json.dumps({"learning": {"clip_params": 0.1}}))
    with pytest.raises(ConfigError, match="write clip_param") as refusal:
        ExperimentConfig.from_json(path)
    assert refusal.value.key == "learning.clip_params"


@pytest.mark.parametrize(
    ("text", "key", "value"),
    [
        ("seed=3", "seed", 3),
        ("learning.clip_param=0.2", "learning.clip_param", 0.2),
        ("curriculum.total_env_steps=1e3", "curriculum.total_env_steps", 1000.0),
        ("name=full_curriculum", "name", "full_curriculum"),
        ('name="3"', "name", "3"),
        ("a=true", "a", True),
        ("a=False", "a", False),
        ("a=null", "a", None),
        ("a=None", "a", None),
        ("a=[0, 2.5]", "a", [0, 2.5]),
        ('a={"consumer": 1}', "a", {"consumer": 1}),
        ("a=b=c", "a", "b=c"),
        ("a=", "a", ""),
        (" a =1", "a", 1),
    ],
)
def test_assignments_are_json_or_text(text, key, value):
    parsed = parse_assignments([text])
    assert parsed == {key: value}
    assert type(parsed[key]) is type(value)


def test_assignments_make_a_config():
    texts = [
        "learning.hidden_sizes=[8, 9]",
        "economy.num_firms=2",
        "learning.trained_consumers=None",
        "seed=1",
        "seed=2",
    ]
    config = DEFAULT.with_values(parse_assignments(texts))
    assert config.learning.hidden_sizes == (8, 9)
    assert config.economy.num_firms == 2
    assert config.learning.trained_consumers is None
    assert config.seed == 2
    assert parse_assignments([]) == {}


@pytest.mark.parametrize("text", ["seed", "", "--seed 3"])
def test_an_assignment_without_an_equals_sign_is_refused(text):
    with pytest.raises(ConfigError, match="key=value") as refusal:
        parse_assignments(["seed=3", text])
    assert (refusal.value.key, refusal.value.value) == ("--set", text)
    assert refusal.value.fix == "write e.g. --set seed=3"


@pytest.mark.parametrize(
    ("economies", "runners", "learners", "minibatches", "named"),
    [
        (16, 0, 0, 2, None),
        (16, 4, 2, 8, None),
        (6, 3, 0, 2, None),
        (1, 1, 1, 1, None),
        (16, 3, 0, 2, "num_env_runners = 3"),
        (7, 0, 0, 2, "num_learners * num_minibatches = 2"),
        (8, 0, 3, 2, "num_learners * num_minibatches = 6"),
        (4, 2, 4, 2, "num_learners * num_minibatches = 8"),
    ],
)
def test_runners_and_minibatches_share_the_economies_of_an_update_evenly(
    economies, runners, learners, minibatches, named
):
    values = {
        "learning.economies_per_update": economies,
        "learning.num_minibatches": minibatches,
        "resources.num_env_runners": runners,
        "resources.num_learners": learners,
    }
    if named is None:
        assert DEFAULT.with_values(values).learning.economies_per_update == economies
        return
    with pytest.raises(ConfigError, match=re.escape(f"multiple of {named}")) as refusal:
        DEFAULT.with_values(values)
    assert (refusal.value.key, refusal.value.value) == ("learning.economies_per_update", economies)
    suggested = int(re.search(r"take (\d+)", refusal.value.fix)[1])
    assert DEFAULT.with_values(values | {"learning.economies_per_update": suggested})


@pytest.mark.parametrize(
    ("total", "economies", "length", "updates", "iterations"),
    [
        (480_000, 16, 10, 10, 300),
        (1600, 16, 10, 10, 1),
        (1601, 16, 10, 10, 2),
        (1599, 16, 10, 10, 1),
        (1, 16, 10, 10, 1),
        (640, 8, 4, 2, 10),
        (700, 8, 7, 3, 5),  # 168 env steps an iteration
    ],
)
def test_iterations_cover_the_whole_curriculum(total, economies, length, updates, iterations):
    config = DEFAULT.with_values(
        {
            "curriculum.total_env_steps": total,
            "learning.economies_per_update": economies,
            "learning.updates_per_iteration": updates,
            "economy.episode_length": length,
        }
    )
    assert config.env_steps_per_update == economies * length
    assert config.num_iterations == iterations


# Whose policies there are, and who deviates

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
        ("firm_0+firm_0", "different ones of one group", "firm_0+firm_5"),
        ("firm_0+consumer_1", "different ones of one group", "firm_0+firm_5"),
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


def test_the_experiment_of_a_trial_is_read_from_its_folder(tmp_path):
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        CHANGED.to_json(tmp_path / name / "config.json")
    assert ExperimentConfig.of_trial(tmp_path / "two") == CHANGED
    with pytest.raises(ConfigError, match=r"no trial's folder") as refusal:
        ExperimentConfig.of_trial(tmp_path)
    assert refusal.value.fix.endswith("one, two")
    with pytest.raises(ConfigError, match=r"no trial's folder"):
        ExperimentConfig.of_trial(tmp_path / "nowhere")


@pytest.mark.parametrize(
    ("key", "value", "rule"),
    [
        ("learning.reward_scale.firm", 0.0, "greater than 0"),
        ("learning.reward_scale.planner", -1.0, "greater than 0"),
        ("seed", 2**31, "less than 2147483648"),  # NumPy takes 32 bits, and RLlib adds a runner's number
    ],
)
def test_scales_and_seeds_that_would_mislead_are_refused(key, value, rule):
    with pytest.raises(ConfigError, match=rule) as refusal:
        ExperimentConfig().with_values({key: value})
    assert refusal.value.key == key
