"""Who acts by a policy of their own, not by that of their group: deviators, and members of a pool."""

from collections import defaultdict
from pathlib import Path
from typing import NamedTuple

import numpy as np
from pydantic import field_validator

from rbc_rllib.economy import GROUPS, EconomyParameters
from rbc_rllib.economy.actions import group_sizes
from rbc_rllib.settings import ConfigError, Folder, Settings

DEVIATOR = "deviator"
"""Name of the policy of agents that have left that of their group; with the group's name where others left theirs."""

EACH = "each_"
"""Begins the name of a deviator that is every agent of a group, each alone."""

FROZEN, SCRATCH = "frozen", "scratch"
"""Where a deviator starts: from the policy that it leaves, or from an untrained one."""


def taken(gains: np.ndarray, expected: np.ndarray) -> np.ndarray:
    """`gains` of leaving as far as they are taken: who did not gain on validation episodes, as `expected` says, stays
    and gains 0."""
    return np.where(expected > 0, gains, 0.0)


class Part(NamedTuple):
    """Those of one group who leave its policy."""

    group: str
    agents: tuple[int, ...] | None  # indices of those that do so in every economy; None: all of it, or each alone


class Leaving(Settings):
    """Agents who act by a policy of their own, not by that of their group."""

    # A group; agents that deviate together, each rewarded with their mean; or every agent of a group alone, a few in
    # each economy: such as firm, firm_3, firm_0+firm_5, consumer_7+firm_3, each_firm.
    deviator: str

    @property
    def each(self) -> bool:
        """Whether every agent of the group deviates alone, by one policy that sees who it is."""
        return self.deviator.startswith(EACH)

    @property
    def apart(self) -> bool:
        """Whether they act by policies of their own, beside that of their group."""
        return self.deviator not in GROUPS

    @property
    def parts(self) -> dict[str, Part]:
        """Those who leave of each group, by the policy by which they act."""
        if not self.apart:
            return {self.deviator: Part(self.deviator, None)}
        if self.each:
            return {DEVIATOR: Part(self.deviator.removeprefix(EACH), None)}
        members = defaultdict[str, list[int]](list)
        for group, _, index in (name.partition("_") for name in self.deviator.split("+")):
            members[group].append(int(index))
        return {
            DEVIATOR if len(members) == 1 else f"{DEVIATOR}_{group}": Part(group, tuple(sorted(members[group])))
            for group in sorted(members)
        }

    @property
    def groups(self) -> tuple[str, ...]:
        """The groups that they belong to."""
        return tuple(part.group for part in self.parts.values())

    # Of those who leave one group; ValueError where they leave several.

    @property
    def policy(self) -> str:
        """Name of the policy by which they act."""
        (policy,) = self.parts
        return policy

    @property
    def group(self) -> str:
        """The group that they belong to."""
        return self.parts[self.policy].group

    @property
    def agents(self) -> tuple[int, ...] | None:
        """As in `Part`."""
        return self.parts[self.policy].agents

    def worth(self, params: EconomyParameters) -> dict[str, float]:
        """What a unit of the reward of each group counts where those of all who leave are added up: where consumers
        leave with firms, as in total welfare, whose unit is utility."""
        if len(self.groups) == 1:
            return dict.fromkeys(self.groups, 1.0)
        return {"consumer": 1.0, "firm": params.firm_welfare_weight}

    def fits(self, params: EconomyParameters) -> None:
        """Raise `ConfigError` where nobody in the economy has that name, or somebody is named twice, or rewards of all
        cannot be added up."""
        sizes = group_sizes(params)
        names = self.deviator.split("+")
        known = [f"{group}_{index}" for group in ("consumer", "firm") for index in range(sizes[group])]
        if self.deviator in (*GROUPS, f"{EACH}consumer", f"{EACH}firm"):
            return
        if not {*names} <= {*known}:
            rule = "this economy has no such group or agent"
            agents = [f"{group}_0 to {group}_{sizes[group] - 1}" for group in ("consumer", "firm")]
            others = "" if "+" in self.deviator else f"{', '.join(GROUPS)}, each_consumer, each_firm, "
            fix = f"take {others}{' or '.join(agents)}"
            raise ConfigError("deviator", self.deviator, rule, fix)
        if len({*names}) < len(names):
            rule = "agents that deviate together are different ones"
            raise ConfigError("deviator", self.deviator, rule, "write e.g. firm_0+firm_5")
        if not all(self.worth(params).values()):
            rule = "money of firms counts as utility by economy.firm_welfare_weight, which is 0 here"
            raise ConfigError("deviator", self.deviator, rule, "name consumers alone, or firms alone")


class Deviation(Leaving):
    """Who learns while everybody else plays the policies of a checkpoint for ever; set by `best_response`."""

    checkpoint: Folder  # of the run that is left
    start: str = FROZEN  # or scratch, or the folder of another run's checkpoint, whose policy the deviator starts with

    @field_validator("start")
    @classmethod
    def _from_its_root(cls, start: str) -> str:
        return start if start in (FROZEN, SCRATCH) else str(Path(start).absolute())

    @property
    def start_name(self) -> str:
        """`frozen`, `scratch`, or the other run's name, with that of its experiment."""
        return self.start if self.start in (FROZEN, SCRATCH) else "-".join(Path(self.start).parts[-3:-1])

    def start_of(self, policy: str) -> str | None:
        """The checkpoint with whose weights `policy` starts; None: untrained."""
        if policy not in self.parts or self.start == FROZEN:
            return self.checkpoint
        return None if self.start == SCRATCH else self.start


class PoolMember(Leaving):
    """Somebody for others to meet: a deviator with what it has learned, or one whose hand trembles."""

    checkpoint: Folder | None = None  # of the deviation, in which it learned; None: it takes any choice, all alike

    def fits(self, params: EconomyParameters) -> None:
        """Raise `ConfigError` where nobody in the economy has that name, or it is that of agents of several groups."""
        super().fits(params)
        if len(self.parts) > 1:
            rule = "a member of a pool acts by one policy, for agents of one group"
            raise ConfigError("deviator", self.deviator, rule, "name consumers alone, or firms alone")
