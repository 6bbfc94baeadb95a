"""The table of logits that is a planner's policy where it announces a plan."""

from itertools import product

import numpy
import pytest
import torch
from ray.rllib.core.columns import Columns
from torch.testing import assert_close

from rbc_rllib.curriculum import SETTLED
from rbc_rllib.economy import Planner
from rbc_rllib.experiment import ExperimentConfig
from rbc_rllib.play.distribution import FORBIDDEN
from rbc_rllib.play.modules import GroupModule, PlanModule, module_class, untrained_modules
from tests.play.networks import build_modules
from tests.play.seating import SMALL


@pytest.mark.parametrize(("mode", "pages"), [("constant", 1), ("schedule", 3)])
def test_a_new_table_is_uniform_and_of_the_calendars_size(mode, pages):
    experiment = ExperimentConfig(economy=SMALL, planner=Planner(mode=mode))
    modules = untrained_modules(experiment)
    assert type(modules["planner"]) is module_class(experiment, "planner") is PlanModule
    assert type(modules["firm"]) is module_class(experiment, "firm") is GroupModule
    table = modules["planner"]
    shapes = {name: tuple(parameter.shape) for name, parameter in table.named_parameters()}
    assert shapes == {"income": (pages, 6), "corporate": (pages, 6), "value": (1,)}
    seen = {Columns.OBS: {"private": torch.eye(pages)}}
    output = table.forward_train(seen)
    distribution = table.action_dist_cls.from_logits(output[Columns.ACTION_DIST_INPUTS])
    assert_close(distribution.entropy(), torch.full((pages,), float(numpy.log(36))))


@pytest.mark.parametrize("forward", ["forward_inference", "forward_exploration", "forward_train"])
@pytest.mark.parametrize("mode", ["constant", "schedule"])
def test_a_tables_logits_by_hand_in_rows_of_either_kind(mode, forward):
    """One row for each quarter of an economy, with an axis of one planner, as one row for each agent."""
    table = build_modules(SMALL, planner=Planner(mode=mode))["planner"]
    pages = len(table.income)
    flat = {"private": 1.5 * torch.eye(pages), "action_mask": torch.ones(pages, 36)}
    flat["action_mask"][:, [0, 7]] = 0.0
    inner = {"private": flat["private"][:, None], "action_mask": flat["action_mask"].bool()}
    logits = getattr(table, forward)({Columns.OBS: flat})[Columns.ACTION_DIST_INPUTS]
    assert logits.shape == (pages, 36)
    for page, choice in product(range(pages), range(36)):
        by_hand = 1.5 * (table.income[page, choice // 6] + table.corporate[page, choice % 6])
        expected = FORBIDDEN if choice in (0, 7) else by_hand.item()
        assert logits[page, choice].item() == pytest.approx(expected, rel=1e-5)
    assert_close(getattr(table, forward)({Columns.OBS: inner})[Columns.ACTION_DIST_INPUTS], logits[:, None])
    for observation, shape in ((flat, (pages,)), (inner, (pages, 1))):
        values = table.compute_values({Columns.OBS: observation})
        assert_close(values, table.value.expand(shape))
        embeddings = table.forward_train({Columns.OBS: observation})[Columns.EMBEDDINGS]
        assert torch.equal(table.compute_values({}, embeddings), values)


def test_a_settled_page_learns_nothing_and_keeps_its_logits():
    """Where all chance is gone, what is left of a gradient are rounding errors, which an optimizer would scale up."""
    table = build_modules(SMALL, planner=Planner(mode="schedule"))["planner"]
    for sharpness, learns in ((SETTLED / 2, True), (SETTLED, False)):
        table.zero_grad()
        seen = {Columns.OBS: {"private": torch.tensor([[1.0, 0.0, 0.0], [0.0, sharpness, 0.0]])}}
        logits = table.forward_train(seen)[Columns.ACTION_DIST_INPUTS]
        assert_close(logits[1], sharpness * (table.income[1][:, None] + table.corporate[1]).flatten())
        (logits[:, 3] * torch.tensor([1.0, 2.0])).sum().backward()
        for rates, entry in ((table.income, 0), (table.corporate, 3)):
            assert rates.grad[0, entry] == 1.0
            assert rates.grad[1, entry] == (2.0 * sharpness if learns else 0.0)


def test_every_entry_of_a_table_learns_from_its_own_page():
    table = build_modules(SMALL, planner=Planner(mode="schedule"))["planner"]
    output = table.forward_train({Columns.OBS: {"private": torch.eye(3)[[1]]}})
    distribution = table.action_dist_cls.from_logits(output[Columns.ACTION_DIST_INPUTS])
    values = table.compute_values({}, output[Columns.EMBEDDINGS])
    (distribution.logp(torch.tensor([8])).sum() + values.sum()).backward()
    for part, chosen in ((table.income, 1), (table.corporate, 2)):
        assert not part.grad[[0, 2]].any()
        assert part.grad[1].abs().min() > 0
        assert part.grad[1, chosen] > 0
        assert_close(part.grad[1].sum(), torch.tensor(0.0), rtol=0, atol=1e-6)
        assert part.grad[1].gt(0).sum() == 1
    assert table.value.grad.item() == 1
