"""One network for both layouts of a group's rows."""

import math
from typing import Any

import numpy
import pytest
import torch
from ray.rllib.core.columns import Columns
from ray.rllib.core.rl_module.rl_module import RLModuleSpec
from torch import Tensor
from torch.testing import assert_close

from rbc_rllib.economy import GROUPS, EconomyParameters, Planner
from rbc_rllib.experiment import ExperimentConfig
from rbc_rllib.leaving import DEVIATOR
from rbc_rllib.play.distribution import FORBIDDEN, head_sizes_of
from rbc_rllib.play.modules import GroupModule, cooled, untrained_modules
from rbc_rllib.play.spaces import group_spaces
from tests.play.networks import build_modules, normal

SMALL = EconomyParameters(num_consumers=4, num_firms=3)
ROWS = 6


def rows_of(group: str, generator: torch.Generator) -> tuple[dict[str, Tensor], dict[str, Tensor], int]:
    """The same random observations as rows with an inner agent axis, and as one row for each agent; and K."""
    parts = group_spaces(SMALL)[group][0].spaces
    agents = {"consumer": SMALL.num_consumers, "firm": SMALL.num_firms, "planner": 1}[group]
    private = parts["private"].shape[0] if "private" in parts else 0
    inner = {
        "shared": normal(ROWS, parts["shared"].shape[0], generator=generator),
        "private": normal(ROWS, agents, private, generator=generator),
    }
    flat = {"shared": inner["shared"].repeat_interleave(agents, 0)}
    if private:
        flat["private"] = inner["private"].flatten(0, 1)
    if "action_mask" in parts:
        mask = torch.rand(ROWS, parts["action_mask"].shape[0], generator=generator) < 0.5
        mask[:, 0] |= ~mask.any(-1)
        inner["action_mask"] = mask
        flat["action_mask"] = mask.to(torch.uint8).repeat_interleave(agents, 0)
    return inner, flat, agents


FORWARDS = ("forward_inference", "forward_exploration", "forward_train")


@pytest.mark.parametrize("forward", FORWARDS)
@pytest.mark.parametrize("group", GROUPS)
def test_rows_with_an_agent_axis_give_what_one_row_an_agent_gives(group, forward, torch_rng):
    """The planner has no private observation: [N, 1, 0] in one layout, absent in the other."""
    module = build_modules(SMALL)[group].double()
    inner, flat, agents = rows_of(group, torch_rng)
    options = sum(module.head_sizes)
    a, b = (getattr(module, forward)({Columns.OBS: obs}) for obs in (inner, flat))
    assert a[Columns.ACTION_DIST_INPUTS].shape == (ROWS, agents, options)
    assert b[Columns.ACTION_DIST_INPUTS].shape == (ROWS * agents, options)
    assert_close(a[Columns.ACTION_DIST_INPUTS].flatten(0, 1), b[Columns.ACTION_DIST_INPUTS], rtol=1e-12, atol=1e-12)
    values, flat_values = (module.compute_values({Columns.OBS: obs}) for obs in (inner, flat))
    assert values.shape == (ROWS, agents)
    assert_close(values.flatten(), flat_values, rtol=1e-12, atol=1e-12)
    assert values.std() > 0.01


@pytest.mark.parametrize("group", GROUPS)
def test_values_from_the_trunk_of_the_forward_pass_are_the_same(group, torch_rng):
    module = build_modules(SMALL)[group].double()
    inner, _, _ = rows_of(group, torch_rng)
    batch = {Columns.OBS: inner}
    embeddings = module.forward_train(batch)[Columns.EMBEDDINGS]
    assert torch.equal(module.compute_values(batch, embeddings), module.compute_values(batch))


@pytest.mark.parametrize("group", ["consumer", "firm"])
def test_the_split_first_layer_is_a_dense_layer_on_both_observations(group, torch_rng):
    module = build_modules(SMALL)[group].double()
    _, flat, _ = rows_of(group, torch_rng)
    flat.pop("action_mask", None)
    weight = torch.cat([module.shared_layer.weight, module.private_layer.weight], dim=1)
    x = torch.cat([flat["shared"], flat["private"]], dim=1)
    for layer in ((weight, module.shared_layer.bias), (module.hidden_layer.weight, module.hidden_layer.bias)):
        x = torch.clamp(torch.nn.functional.linear(x, *layer), min=0)
    batch = {Columns.OBS: flat}
    assert_close(module.forward_train(batch)[Columns.ACTION_DIST_INPUTS], module.policy_head(x), rtol=1e-12, atol=1e-12)
    assert_close(module.compute_values(batch), module.value_head(x)[:, 0], rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("group", ["firm", "planner"])
def test_masks_forbid_their_options_and_change_nothing_else(group, torch_rng):
    module = build_modules(SMALL)[group].double()
    inner, flat, agents = rows_of(group, torch_rng)
    for observation, allowed in (
        (inner, inner["action_mask"].unsqueeze(1).expand(-1, agents, -1)),
        (flat, flat["action_mask"].bool()),
    ):
        unmasked = {name: values for name, values in observation.items() if name != "action_mask"}
        logits, free = (
            module.forward_train({Columns.OBS: obs})[Columns.ACTION_DIST_INPUTS] for obs in (observation, unmasked)
        )
        assert 0 < allowed.double().mean() < 1
        assert (logits[~allowed] == FORBIDDEN).all()
        assert torch.equal(logits[allowed], free[allowed])


@pytest.mark.parametrize("group", ["consumer", "firm"])
def test_the_shared_observation_is_multiplied_once_an_economy(group, torch_rng):
    module = build_modules(SMALL)[group].double()
    inner, _, agents = rows_of(group, torch_rng)
    seen: dict[str, int] = {"shared": 0, "private": 0}

    def count(name: str) -> Any:
        def hook(layer: Any, inputs: tuple[Tensor], output: Tensor) -> None:
            seen[name] += math.prod(inputs[0].shape[:-1])

        return hook

    module.shared_layer.register_forward_hook(count("shared"))
    module.private_layer.register_forward_hook(count("private"))
    batch = {Columns.OBS: inner}
    output = module.forward_train(batch)
    module.compute_values(batch, output[Columns.EMBEDDINGS])
    assert seen == {"shared": ROWS, "private": ROWS * agents}


@pytest.mark.parametrize("group", GROUPS)
def test_every_weight_learns_from_policy_and_value(group, torch_rng):
    module = build_modules(SMALL)[group].double()
    inner, _, _ = rows_of(group, torch_rng)
    inner.pop("action_mask", None)
    output = module.forward_train({Columns.OBS: inner})
    distribution = module.action_dist_cls.from_logits(output[Columns.ACTION_DIST_INPUTS])
    values = module.compute_values({}, output[Columns.EMBEDDINGS])
    (distribution.logp(distribution.sample(generator=torch_rng)).sum() + values.sum()).backward()
    for name, parameter in module.named_parameters():
        assert parameter.grad is not None, name
        assert torch.isfinite(parameter.grad).all(), name
        assert parameter.grad.abs().sum() > 0, name


@pytest.mark.parametrize("group", GROUPS)
def test_a_new_policy_is_nearly_uniform(group, torch_rng):
    """Small logits at the start: agents explore their whole menus."""
    observations, actions = group_spaces(SMALL)[group]
    module = RLModuleSpec(
        module_class=GroupModule,
        observation_space=observations,
        action_space=actions,
        model_config={"hidden_sizes": [32, 32]},
    ).build()
    inner, _, _ = rows_of(group, torch_rng)
    inner.pop("action_mask", None)
    batch = {Columns.OBS: {name: values.float() for name, values in inner.items()}}
    distribution = module.action_dist_cls.from_logits(module.forward_train(batch)[Columns.ACTION_DIST_INPUTS])
    uniform = float(numpy.log(head_sizes_of(actions)).sum())
    assert_close(distribution.entropy(), torch.full(distribution.entropy().shape, uniform), rtol=1e-2, atol=0)


# The networks of an experiment

EXPERIMENT = ExperimentConfig(economy=SMALL)
FIXED = {"planner": Planner(mode="fixed", rates=((0.0, 0.8),)).model_dump()}
DEVIATION = {"deviation": {"checkpoint": "somewhere", "deviator": "firm_0+firm_2"}}


@pytest.mark.parametrize(
    ("values", "policies"),
    [
        ({}, {"consumer": 5, "firm": 1, "planner": 1}),
        (FIXED, {"consumer": 5, "firm": 1}),
        (DEVIATION, {"consumer": 5, "firm": 1, "planner": 1, DEVIATOR: 1}),
        ({**FIXED, **DEVIATION}, {"consumer": 5, "firm": 1, DEVIATOR: 1}),
    ],
    ids=["all learn", "fixed taxes", "deviation", "deviation under fixed taxes"],
)
def test_every_policy_has_a_network_of_its_group(values, policies):
    """With as many heads as an agent of the group has choices; where taxes are fixed, the planner has none."""
    modules = untrained_modules(EXPERIMENT.with_values(values))
    assert {policy: len(module.head_sizes) for policy, module in modules.items()} == policies


def test_networks_are_those_of_their_seed_and_torchs_own_numbers_stay():
    before = torch.get_rng_state()
    one, same, other = (untrained_modules(EXPERIMENT, seed=seed) for seed in (1, 1, 2))
    assert torch.equal(torch.get_rng_state(), before)
    for policy, module in one.items():
        for name, weights in module.state_dict().items():
            assert torch.equal(weights, same[policy].state_dict()[name])
        assert not torch.equal(module.hidden_layer.weight, other[policy].hidden_layer.weight)


def test_without_a_seed_networks_are_torchs_next_ones():
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(1)
        one, other = (untrained_modules(EXPERIMENT) for _ in range(2))
    assert torch.equal(one["firm"].hidden_layer.weight, untrained_modules(EXPERIMENT, 1)["firm"].hidden_layer.weight)
    assert not torch.equal(one["firm"].hidden_layer.weight, other["firm"].hidden_layer.weight)


@pytest.mark.parametrize("temperature", [0.25, 2.0, 1e-4])
def test_a_cooled_network_has_the_same_logits_divided_by_the_temperature(temperature, torch_rng):
    module = build_modules(SMALL)["consumer"].double()
    torch.nn.init.normal_(module.policy_head.weight, generator=torch_rng)
    before = module.policy_head.weight.clone()
    seen = {Columns.OBS: rows_of("consumer", torch_rng)[0]}
    colder = cooled(module, temperature)
    assert_close(
        colder.forward_train(seen)[Columns.ACTION_DIST_INPUTS],
        module.forward_train(seen)[Columns.ACTION_DIST_INPUTS] / temperature,
        rtol=1e-9,
        atol=1e-9,
    )
    assert torch.equal(colder.compute_values(seen), module.compute_values(seen))
    assert torch.equal(module.policy_head.weight, before)
