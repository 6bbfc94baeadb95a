"""E economies stepped at once: the state, the annealed settings and the allowed actions of a batch of economies."""

from typing import Any

import numpy

from rbc_rllib.arrays import Array, device, namespace
from rbc_rllib.economy import ActionRanges, Actions, EconomyParameters, Outcome, Planner, State, initial_state, step
from rbc_rllib.economy.actions import allowed_actions, decode, tax_choice
from rbc_rllib.economy.constants import Constants
from rbc_rllib.economy.observations import ENCODINGS, Encoding, calendar_page, observe
from rbc_rllib.economy.planner import plan_of_choices


class VectorEconomy:
    """`num_envs` equal economies of `params`, as arrays of library `xp`, with a planner of one mode.

    What a curriculum changes is set between episodes: `restrict` the actions, `anneal` the penalties. The allowed
    actions are masks for whoever acts; `step` itself accepts any action of the menus.
    """

    def __init__(
        self,
        params: EconomyParameters,
        num_envs: int,
        xp: Any = numpy,
        encodings: tuple[Encoding, ...] = ENCODINGS,
        planner: Planner = Planner(),
    ):
        self.params = params
        self.num_envs = num_envs
        self.xp = namespace(xp.zeros(1))
        self.constants = Constants.like(self.xp.zeros(1), params)
        self.encodings = encodings
        self.planner = planner
        self.pages = planner.num_pages(params)
        self.labor_disutility_scale = 1.0
        self.penalty_increase = 0.0
        self.restrict(ActionRanges())
        self.reset()

    def restrict(self, ranges: ActionRanges, plan_sharpness: float = 1.0) -> None:
        """Allow firms and planner only the choices in `ranges`: bool masks `[actions]` in `action_masks`.

        `plan_sharpness` says how closely a planner who learns a plan keeps to its most likely choices.
        """
        self.ranges = ranges
        self.plan_sharpness = plan_sharpness
        self.action_masks: dict[str, Array] = {
            group: self.xp.asarray(mask) for group, mask in allowed_actions(self.params, ranges).items()
        }
        given = self.planner.rates if isinstance(self.planner.rates, tuple) else ((0.0, 0.0),)
        choices = self.xp.asarray([[tax_choice(self.params, pair, ranges) for pair in given]])
        self._given_plan = self.xp.broadcast_to(choices, (self.num_envs, len(given)))

    def anneal(self, labor_disutility_scale: float, penalty_increase: float) -> None:
        """Set the scale of the labor disutility and what is added to the no-Ponzi penalty, from the next episode on."""
        self.labor_disutility_scale = labor_disutility_scale
        self.penalty_increase = penalty_increase

    def calendar(self, page: int) -> Array:
        """`[E, 1, pages]` What the planner sees when it makes one of the choices of its plan: which one it is."""
        return calendar_page(self.pages, page, self.plan_sharpness, self.state.prices)

    def reset(self, plan: Array | None = None) -> dict[str, Array]:
        """Start all economies anew; returns their observations.

        Where a plan is announced, it is made of `plan`, choices `[E, pages]` into `planner_menu`. Without it, it has
        the planner's given rates, as high as the ranges allow, or none.
        """
        params = self.params
        self._annealed = params.annealed(
            labor_disutility=params.labor_disutility * self.labor_disutility_scale,
            penalty_coefficient=params.penalty_coefficient + self.penalty_increase,
        )
        tax_plan = None
        if self.planner.announces:
            tax_plan = plan_of_choices(params, self._given_plan if plan is None else plan, self.constants)
        self.state: State = initial_state(self._annealed, self.num_envs, self.xp, tax_plan=tax_plan)
        self.quarter = 0
        return self.observe()

    def observe(self) -> dict[str, Array]:
        """The observations of all agents (`economy.observations.observe`)."""
        return observe(self.params, self.state, self.encodings, self.constants)

    def decode(self, indices: dict[str, Array]) -> Actions:
        """`Actions` from the groups' index arrays (`economy.actions.decode`)."""
        return decode(indices, self.constants.demand)

    def step(self, actions: Actions) -> Outcome:
        """One quarter of every economy."""
        self.state, outcome = step(self._annealed, self.state, actions, self.constants)
        self.quarter += 1
        return outcome

    @property
    def done(self) -> bool:
        """Whether the last quarter is over."""
        return self.quarter >= self.params.episode_length

    @property
    def device(self) -> Any:
        """Where the arrays lie."""
        return device(self.state.prices)
