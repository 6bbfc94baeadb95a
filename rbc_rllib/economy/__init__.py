"""The ground floor: the economy itself. No Ray, no torch, no gymnasium."""

from rbc_rllib.economy.actions import GROUPS, ActionRanges, Actions
from rbc_rllib.economy.parameters import EconomyParameters
from rbc_rllib.economy.planner import Planner
from rbc_rllib.economy.state import AnnouncedState, Outcome, State, initial_state
from rbc_rllib.economy.step import step

__all__ = [
    "GROUPS",
    "ActionRanges",
    "Actions",
    "AnnouncedState",
    "EconomyParameters",
    "Outcome",
    "Planner",
    "State",
    "initial_state",
    "step",
]
