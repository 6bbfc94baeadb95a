"""Dotted keys, the command line's assignments, saved configs, and the numbers that follow from others."""

import json
import re
from itertools import permutations

import pytest

from rbc_rllib.curriculum import Curriculum
from rbc_rllib.economy import EconomyParameters, Planner
from rbc_rllib.experiment import ExperimentConfig, Learning, Resources
from rbc_rllib.runs.command_line import parse_assignments
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


def test_keys_that_change_something_in_each_other_are_refused_unless_they_can_both_hold():
    of_firms = ("curriculum.cooled_entropy_coeff.firm", 0.01)
    for pairs in permutations([("curriculum.cooled_entropy_coeff", None), of_firms]):
        with pytest.raises(ConfigError, match=r"cooled_entropy_coeff is set to None beside it") as refusal:
            DEFAULT.with_values(dict(pairs))
        assert refusal.value.key == "curriculum.cooled_entropy_coeff.firm"
    every = {"consumer": 0.03, "firm": 0.03, "planner": 0.03}
    values = {"curriculum.cooled_entropy_coeff": every, "curriculum.cooled_entropy_coeff.firm": 0.01}
    assert DEFAULT.with_values(values).curriculum.cooled_entropy_coeff.firm == 0.01
    assert every["firm"] == 0.03


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
        ("economy.crra", True, "switched on and off, and this is none"),
        ("curriculum.cooled_entropy_coeff.firm", False, "switched on and off, and this is none"),
        ("refinement.own_advantages_from", True, "switched on and off, and this is none"),
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


def test_defaults_follow_in_a_config_that_was_saved_too_and_what_was_given_stays(tmp_path):
    for name, budget in (("usual", {}), ("given", {"economy.initial_firm_budget": 5.0})):
        DEFAULT.with_values(budget).to_json(tmp_path / name)
    usual, given = (
        ExperimentConfig.from_json(tmp_path / name).with_values({"economy.num_firms": 3, "economy.num_consumers": 7})
        for name in ("usual", "given")
    )
    assert usual.economy == EconomyParameters(num_firms=3, num_consumers=7)
    assert given.economy == EconomyParameters(num_firms=3, num_consumers=7, initial_firm_budget=5.0)


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
        ("learning.learning_rate.firm", -2e-3, "0 or more"),
        ("curriculum.final_entropy_coeff.consumer", -0.01, "0 or more"),
        ("curriculum.cooled_entropy_coeff.firm", -0.01, "0 or more"),
        ("resources.num_gpus_per_env_runner", 1.0, "no runners to own a GPU"),
        ("seed", 2**31, "less than 2147483648"),  # NumPy takes 32 bits, and RLlib adds a runner's number
    ],
)
def test_scales_and_seeds_that_would_mislead_are_refused(key, value, rule):
    with pytest.raises(ConfigError, match=rule) as refusal:
        ExperimentConfig().with_values({key: value})
    assert refusal.value.key == key
