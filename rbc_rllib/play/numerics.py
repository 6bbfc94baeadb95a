"""NaN and infinity end a trial, with a message that names the group, the step and the quantity."""

from typing import Any

from rbc_rllib.arrays import Array, namespace, pull_floats, to_numpy

OWNERS = {"consumer_budget": "consumer", "consumer_reward": "consumer", "planner_reward": "planner"}
CHECKED_STATE = ("consumer_budget", "firm_budget", "capital", "inventories")
CHECKED_OUTCOME = ("consumer_reward", "firm_reward", "planner_reward")


class NumericsError(FloatingPointError):
    """A quantity that is no longer a finite number."""

    def __init__(self, group: str, env_steps: int, quantity: str, where: str):
        self.arguments = (group, env_steps, quantity, where)
        super().__init__(f"{group}: {quantity} is not finite ({where}) after {env_steps:,} env steps; the trial stops.")

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), self.arguments


def check_trajectory(states: dict[str, Array], outcomes: dict[str, Array], env_steps: int) -> None:
    """Raise `NumericsError` where a trajectory `[T, E, ...]` holds NaN or infinity; one transfer from a GPU."""
    series = {name: states[name] for name in CHECKED_STATE} | {name: outcomes[name] for name in CHECKED_OUTCOME}
    xp = namespace(states["prices"])
    finite = pull_floats({name: xp.all(xp.isfinite(values)) for name, values in series.items()})
    for name, is_finite in finite.items():
        if not is_finite:
            bad = ~to_numpy(xp.isfinite(series[name]))
            quarter = int(bad.reshape(bad.shape[0], -1).any(axis=1).argmax())
            raise NumericsError(OWNERS.get(name, "firm"), env_steps, name, f"quarter {quarter} of an episode")
