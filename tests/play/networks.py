"""Networks to play with, and who sits where."""

import torch
from ray.rllib.core.rl_module.rl_module import RLModuleSpec
from torch import Tensor

from rbc_rllib.economy import EconomyParameters, Planner
from rbc_rllib.economy.observations import ENCODINGS
from rbc_rllib.play.modules import GroupModule, PlanModule
from rbc_rllib.play.seats import Network, Seat
from rbc_rllib.play.spaces import group_spaces


def build_modules(
    params: EconomyParameters,
    encodings: tuple[str, ...] = ENCODINGS,
    hidden_sizes: tuple[int, int] = (9, 8),
    planner: Planner = Planner(),
) -> dict[str, GroupModule]:
    """The three groups' networks as RLlib builds them; policies far from uniform, the same ones in every call.

    A planner who learns a plan has a table instead, and one with fixed taxes nothing.
    """
    modules: dict[str, GroupModule] = {}
    generator = torch.Generator().manual_seed(11)
    for group, (observations, actions) in group_spaces(params, encodings, planner).items():
        if group == "planner" and not planner.learns:
            continue
        module = RLModuleSpec(
            module_class=PlanModule if group == "planner" and planner.announces else GroupModule,
            observation_space=observations,
            action_space=actions,
            model_config={"hidden_sizes": list(hidden_sizes)},
        ).build()
        with torch.no_grad():
            for parameter in module.parameters():
                parameter.copy_(torch.randn(parameter.shape, generator=generator) * 0.5)
        modules[group] = module
    return modules


def group_seats(modules: dict[str, GroupModule], greedy: bool = False) -> list[Seat]:
    """Every group acts by its own network."""
    return [Seat(group, group, Network(module, greedy)) for group, module in modules.items()]


def normal(*shape: int, generator: torch.Generator, scale: float = 1.0) -> Tensor:
    return scale * torch.randn(shape, generator=generator, dtype=torch.float64)
