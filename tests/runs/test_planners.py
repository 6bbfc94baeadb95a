"""Trials of every way to decide taxes: trained, saved, loaded, played and judged."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from rbc_rllib import VectorEconomy, evaluate, load_policies
from rbc_rllib.economy import AnnouncedState
from rbc_rllib.evaluate import evaluate_trial
from rbc_rllib.experiment import ExperimentConfig
from rbc_rllib.play.modules import PlanModule
from rbc_rllib.policies import Policies
from rbc_rllib.training.checkpoints import load_networks, newest_checkpoint
from tests.runs.trials import trained
from tests.small import SMALL

CONSUMERS, FIRMS, QUARTERS = 6, 3, 4
PLANNERS: dict[str, dict[str, Any]] = {
    "discretion": {},
    "constant": {"planner.mode": "constant"},
    "schedule": {"planner.mode": "schedule"},
    "fixed": {"planner.mode": "fixed", "planner.rates": (0.2, 0.8)},
    "fixed_by_quarter": {"planner.mode": "fixed", "planner.rates": [[0.0, 1.0], [0.2, 0.4], [0.6, 0.0]]},
    "drawn": {"planner.mode": "fixed", "planner.rates": "drawn"},
}
TINY = SMALL.replace(evaluation_episodes=12, seed=3).with_values(
    {"curriculum.total_env_steps": 128, "learning.plan_learning_rate": 0.05}
)
"""Two iterations; in the second one all learn."""


@dataclass(frozen=True)
class Run:
    experiment: ExperimentConfig
    folder: Path

    @property
    def policies(self) -> Policies:
        return load_policies(self.folder)


@pytest.fixture(scope="module", params=PLANNERS)
def run(request, tmp_path_factory, ray_on_this_machine) -> Run:
    """A trial of that planner, trained to its end."""
    experiment = TINY.replace(name=request.param).with_values(PLANNERS[request.param])
    return Run(experiment, trained(experiment, tmp_path_factory.mktemp("planners") / request.param))


def each_quarter(plan: tuple[tuple[float, float], ...]) -> list[list[float]]:
    """The rates in force in every quarter, of one pair for all after the first or one for each."""
    return [[0.0, 0.0], *(list(plan[min(quarter, len(plan) - 1)]) for quarter in range(QUARTERS - 1))]


def test_the_networks_that_were_trained_come_back(run):
    networks = load_networks(newest_checkpoint(run.folder), run.experiment)
    assert tuple(networks) == tuple(run.experiment.policies)
    assert ("planner" in networks) == run.experiment.planner.learns
    if isinstance(table := networks.get("planner"), PlanModule):
        assert run.experiment.planner.announces
        assert table.income.abs().min() > 0  # every entry has moved
        assert table.corporate.abs().min() > 0
    else:
        assert not (run.experiment.planner.announces and run.experiment.planner.learns)


@pytest.mark.parametrize("greedy", [False, True])
def test_policies_play_a_whole_episode_and_announce_their_plan_first(run, greedy):
    policies = run.policies
    env = policies.parallel_env()
    seen, _ = env.reset(seed=0)
    pages = env.economy.pages if run.experiment.planner.learns else 0
    rewards = []
    for number in range(pages + QUARTERS):
        assert (list(seen) == ["planner"]) == (number < pages)
        chosen = policies.act(seen, seed=number, greedy=greedy)
        assert list(chosen) == list(seen) == env.agents
        for agent, action in chosen.items():
            assert env.action_space(agent).contains(action), agent
            if "action_mask" in seen[agent]:
                assert seen[agent]["action_mask"][action]
        seen, got, *_ = env.step(chosen)
        rewards.append(got)
    assert env.agents == []
    assert any(reward for got in rewards for reward in got.values())

    state, planner = env.economy.state, run.experiment.planner
    assert isinstance(state, AnnouncedState) == planner.announces
    assert (policies.tax_plan is None) == (run.experiment.name in ("discretion", "drawn"))
    if policies.tax_plan:
        np.testing.assert_allclose(state.tax_plan[0], each_quarter(policies.tax_plan), rtol=1e-6)
    if planner.rates not in (None, "drawn"):
        assert policies.tax_plan == planner.rates


def test_policies_play_many_economies_that_were_given_a_plan(run, rng):
    planner, policies = run.experiment.planner, run.policies
    economy = VectorEconomy(run.experiment.economy, 5, planner=planner)
    plan = rng.integers(36, size=(5, economy.pages)) if economy.pages else None
    observations = economy.reset(plan)
    for quarter in range(QUARTERS):
        chosen = policies.act(observations, seed=quarter)
        assert {group: array.shape for group, array in chosen.items()} == {
            "consumer": (5, CONSUMERS, FIRMS + 2),
            "firm": (5, FIRMS),
            "planner": (5, 1),
        }
        assert not planner.announces or not chosen["planner"].any()
        economy.step(economy.decode(chosen))
        observations = economy.observe()
    assert economy.done


def test_an_evaluation_plays_the_plan_that_is_announced(run):
    evaluation, plan = evaluate(run.folder), run.policies.tax_plan
    rollout = evaluation.rollout  # [T, E, ...]
    in_force = np.stack([rollout["state/income_tax_rate"], rollout["state/corporate_tax_rate"]], axis=-1)
    assert not in_force[0].any()
    if run.experiment.name == "drawn":  # one pair an episode
        np.testing.assert_array_equal(in_force[1:], in_force[1:2].repeat(3, 0))
    taxed = evaluation.indicators["corporate_tax_rate"]
    if plan:
        np.testing.assert_allclose(in_force, np.array(each_quarter(plan))[:, None].repeat(8, 1), rtol=1e-6)
        np.testing.assert_allclose(taxed, taxed[0], rtol=1e-6)
    else:
        assert len(np.unique(taxed)) > 2
    assert evaluation.rewards["planner"].shape == (12, 1)


@pytest.mark.parametrize("run", ["schedule", "drawn"], indirect=True)
def test_a_trial_is_judged_and_its_files_are_written(run):
    assert "corporate tax" in evaluate_trial(run.folder)
    record = json.loads((run.folder / "evaluation.json").read_text(), parse_constant=pytest.fail)
    assert record["episodes"] == 12
    plan = run.policies.tax_plan
    assert record["tax_plan"] == (plan and [list(pair) for pair in plan])
    table = pd.read_parquet(run.folder / "rollout.parquet")
    rates = table[table.quantity == "corporate_tax_rate"].pivot_table("value", "quarter", "episode").to_numpy()
    with np.load(run.folder / "rollout.npz") as file:
        np.testing.assert_array_equal(rates, file["state/corporate_tax_rate"])
    assert (run.folder / "rollout.png").stat().st_size > 0
