"""Learned tax plans against exact ones: a small Stackelberg game that discretion spoils, solved by its whole tree."""

from dataclasses import dataclass
from functools import cache
from itertools import product

import numpy as np
import pytest
import torch
from torch.nn.functional import one_hot

from rbc_rllib.economy import GROUPS, initial_state, step
from rbc_rllib.experiment import ExperimentConfig
from rbc_rllib.play.held_out import play_held_out
from rbc_rllib.play.modules import GroupModule, settled_plan
from rbc_rllib.training.checkpoints import load_networks, newest_checkpoint
from tests.exact import Agent, actions_of, agents_of, exact_values, joint_choices
from tests.runs.trials import trained
from tests.stackelberg import all_plans, equilibrium, solve

HOLD_UP = ExperimentConfig(name="hold_up").with_values(
    {
        "economy.num_consumers": 1,
        "economy.num_firms": 1,
        "economy.episode_length": 4,
        "economy.demand_choices": (4.0,),
        "economy.hours_choices": (0.0, 1000.0),
        "economy.price_choices": (1000.0,),
        "economy.wage_choices": (0.0, 5.0),
        "economy.tax_choices": (0.0, 0.4, 1.0),
        "economy.labor_disutility": 0.004,
        "economy.labor_elasticities": (1.0,),
        "economy.total_factor_productivity": 0.008,
        "economy.investment_share": 0.0,
        "economy.export_quantity": 0.5,
        "economy.initial_consumer_budget": 0.0,
        "economy.budget_guard": 0.0,
        "economy.planner_welfare": "total",
        "economy.firm_welfare_weight": 1e-5,
        "economy.dtype": "float64",
        "curriculum.staged_training": False,
        "curriculum.annealed_ranges": False,
        "curriculum.annealed_labor_disutility": False,
        "curriculum.annealed_debt_penalty": False,
    }
)
"""One consumer, one firm; money in thousands below. Who works for the wage of 5 makes 8 units, in the shop a quarter
later at a price of 1: the consumer buys up to 4 a quarter, the foreign market half a unit.

Hired in the 2nd quarter, the consumer buys 4 units in the 3rd and 1 in the 4th; the firm earns -5 + 4.5 + 1.5 = 1. A
corporate tax of 40% in the 3rd quarter alone lets the consumer buy 2.8 in the 4th, and the firm still earns
-5 + 2.7 + 3.3 = 1. But once wages are paid a planner wants 100%, which lets the consumer buy 3.5; then the firm would
earn -5 + 0 + 3.5 and hires nobody. Nor does it under a constant 40%: -5 + 2.7 + 2.0. Hired in the 3rd quarter, the
consumer has only one quarter to spend the wage: -5 + 4.5. To work unpaid, for what the taxes on exports would bring,
pays never. Who is taxed how much on wages is all the same, as revenue goes back to the only consumer.
"""

SHORT = HOLD_UP.with_values(
    {"economy.episode_length": 3, "economy.initial_inventory": 8.0, "economy.initial_wage": 5.0}
)
"""The same with goods to sell and a wage from the first quarter on: a tree small enough for other ways through it."""


# The solver


def test_dominance_solves_a_prisoners_dilemma_and_refuses_a_game_of_coordination():
    dilemma = np.array([[[2.0, 2.0], [0.0, 3.0]], [[3.0, 0.0], [1.0, 1.0]]])
    coordination = np.array([[[2.0, 2.0], [0.0, 0.0]], [[0.0, 0.0], [1.0, 1.0]]])
    indifferent = np.ones((2, 2, 2))
    values, chosen = equilibrium(np.stack([dilemma, indifferent]))
    np.testing.assert_array_equal(values, np.ones((2, 2)))
    assert chosen[0] == 3
    with pytest.raises(ValueError, match="1 of 2 games"):
        equilibrium(np.stack([dilemma, coordination]))


def test_choices_fall_one_after_the_other():
    """The second agent's first choice is best only against what the first agent never does."""
    game = np.array([[[1.0, 5.0], [1.0, 0.0]], [[2.0, 0.0], [2.0, 1.0]]])
    values, chosen = equilibrium(game[None])
    assert values.tolist() == [[2.0, 1.0]]
    assert chosen.tolist() == [3]


def test_a_lone_follower_does_what_is_best_of_all_that_it_could_do():
    """The wage is always paid, so that a firm has nothing to choose: every sequence of hours, played one by one."""
    params = SHORT.economy.replace(wage_choices=(5.0,))
    plans = all_plans(params, pages=2)
    values, _ = solve(params, plans)
    agents = agents_of(params, planner_chooses=False)
    best = np.full(len(plans), -np.inf)
    for hours in product(range(2), repeat=params.episode_length):
        state, utility = initial_state(params, len(plans), tax_plan=plans), np.zeros(len(plans))
        for worked in hours:
            state, outcome = step(params, state, actions_of(params, agents, np.tile([worked, 0, 0], (len(plans), 1))))
            utility += outcome.consumer_reward[:, 0]
        best = np.maximum(best, utility)
    np.testing.assert_allclose(values[:, 0] * params.episode_length, best)
    assert len(np.unique(best.round(6))) > 2


class Scripted:
    """A network that takes, at each node of the tree, what the solver chose there for one agent."""

    def __init__(self, agents: list[Agent], agent: int, chosen: list[np.ndarray]):
        self.head_sizes = tuple(int(n) for n in agents[agent].choices.max(0) + 1)
        joint = joint_choices(agents)
        self.choices = {len(nodes): agents[agent].choices[joint[nodes, agent]] for nodes in chosen}

    def trunk(self, observation: dict[str, torch.Tensor]) -> torch.Tensor:
        return observation["shared"]

    def logits(self, observation: dict[str, torch.Tensor], embeddings: torch.Tensor) -> torch.Tensor:
        choices = torch.as_tensor(self.choices[len(embeddings)])
        return 50.0 * torch.cat([one_hot(choices[:, k], n) for k, n in enumerate(self.head_sizes)], dim=1)


def test_nobody_gains_by_leaving_an_equilibrium():
    """By the best responses of `tests.exact`, which know nothing of dominance."""
    values, chosen = solve(SHORT.economy)
    agents = agents_of(SHORT.economy)
    scripted = {group: Scripted(agents, k, chosen) for k, group in enumerate(GROUPS)}
    for group, value in zip(GROUPS, values[0], strict=True):
        reward, best = exact_values(SHORT, scripted, group)
        assert reward == pytest.approx(value, rel=1e-6)
        assert best == pytest.approx(value, rel=1e-6)
    assert values[0, 0] > 0


# The game, exactly


def welfare(plans: np.ndarray | None = None) -> np.ndarray:
    """`[plans]` Social welfare in the equilibrium of the whole game, under each plan or with discretion."""
    values, _ = solve(HOLD_UP.economy, plans)
    return values[:, -1] * HOLD_UP.economy.episode_length


@pytest.fixture(scope="module")
def best() -> dict[str, float]:
    """The highest welfare of all plans of a kind, and that of discretion, the same in all its equilibria."""
    schedules, constants = (all_plans(HOLD_UP.economy, pages) for pages in (3, 1))
    return {"schedule": welfare(schedules).max(), "constant": welfare(constants).max(), "discretion": welfare()[0]}


def utility(units: float) -> float:
    """Of the goods of one quarter."""
    return ((units + 1) ** 0.9 - 1) / 0.9


def test_who_can_bind_himself_to_more_gets_more(best):
    """Every number by hand, from the description of the game; discretion ends with an economy in which nobody works."""
    assert best["schedule"] == pytest.approx(utility(4) + utility(2.8) - 2 + 0.01)
    assert best["constant"] == pytest.approx(utility(4) + utility(1) - 2 + 0.01)
    assert best["discretion"] == pytest.approx(0, abs=1e-9)
    assert best["discretion"] < best["constant"] < best["schedule"]


# The game, learned

LEARNING = {
    # Everybody tries everything until the planner has found its plan, and is certain in the end.
    "curriculum.annealed_entropy": False,
    "curriculum.final_entropy_coeff": {"consumer": 0.3, "firm": 0.5, "planner": 0.1},
    "curriculum.cooled_entropy_coeff": dict.fromkeys(GROUPS, 0.0),
    "curriculum.cooling_start": 0.3,
    "curriculum.plan_settling_start": 0.6,
    "curriculum.total_env_steps": 160 * 256 * 4,
    "learning.hidden_sizes": (32, 32),
    "learning.observation_encodings": ("log",),
    "learning.economies_per_update": 256,
    "learning.updates_per_iteration": 40,
    "learning.clip_param": 0.2,
    "learning.learning_rate": dict.fromkeys(GROUPS, 5e-3),
    "learning.plan_learning_rate": 0.03,
    "learning.reward_scale": {"consumer": 3.0, "firm": 2e3, "planner": 3.0},
}


@dataclass(frozen=True)
class Learned:
    experiment: ExperimentConfig
    modules: dict[str, GroupModule]
    welfare: float  # of an episode, mean over held-out ones


@pytest.fixture(scope="module")
def learn(ray_on_this_machine, tmp_path_factory):
    """Trains in a mode of the planner, once."""

    @cache
    def in_mode(mode: str) -> Learned:
        experiment = HOLD_UP.with_values({**LEARNING, "planner.mode": mode})
        run = trained(experiment, tmp_path_factory.mktemp("commitment") / mode)
        modules = load_networks(newest_checkpoint(run), experiment)
        a_quarter = play_held_out(experiment, modules, episodes=512, seed=0).rewards["planner"].mean()
        return Learned(experiment, modules, a_quarter * experiment.economy.episode_length)

    return in_mode


@pytest.mark.parametrize("mode", ["constant", "schedule"])
def test_a_learned_plan_and_what_is_learned_under_it_reach_the_best_welfare(mode, best, learn):
    learned = learn(mode)
    rates = settled_plan(learned.experiment, learned.modules)
    quarters = [(0.0, 0.0), *rates, *rates[-1:] * (HOLD_UP.economy.episode_length - 1 - len(rates))]
    (answered_optimally,) = welfare(np.array([quarters]))
    assert answered_optimally >= 0.95 * best[mode]
    assert learned.welfare == pytest.approx(best[mode], rel=0.05)


def test_learned_discretion_ends_below_what_either_commitment_guarantees(best, learn):
    """And because of what the planner would do, not for want of learning: to hire would not pay the firm, which earns
    1000 where the planner commits."""
    learned = learn("discretion")
    assert learned.welfare == pytest.approx(best["discretion"], abs=0.05 * best["constant"])
    assert learned.welfare < min(learn("constant").welfare, learn("schedule").welfare)
    profit, highest = exact_values(learned.experiment, learned.modules, "firm")
    assert (highest - profit) * HOLD_UP.economy.episode_length < 0.05 * 1000
