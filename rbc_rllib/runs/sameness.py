"""Whether the sweep that is to be resumed is the one that was started: what is not the same is named."""

import json
import math
from typing import Any

from rbc_rllib.experiment import Sweep
from rbc_rllib.settings import ConfigError

NOTHING = "nothing"
SAME_OR_NEW = "give the same settings, or another --results for a new run"


def describe_sweep(sweep: Sweep) -> dict[str, Any]:
    """A sweep as JSON that is the same for equal sweeps: experiments by name and seed, domains and Tune's settings."""
    experiments = {f"{each.name}_seed{each.seed}": each.model_dump(mode="json") for each in sweep.experiments}
    settings = {"num_samples": sweep.num_samples, **sweep.tune_config}
    described: dict[str, Any] = {
        "experiments": experiments,
        "search_space": {key: _plain(domain) for key, domain in sweep.search_space.items()},
        "tune": {key: _plain(value) for key, value in settings.items()},
    }
    if sweep.search:
        described["search"] = sweep.search.model_dump(mode="json")
    return json.loads(json.dumps(described))


def check_same(started: dict[str, Any], sweep: Sweep) -> None:
    """Raise `ConfigError` naming the first setting in which `sweep` differs from the one that was `started`."""
    described = describe_sweep(sweep)
    old_names, new_names = ([*each["experiments"]] for each in (started, described))
    if not {*old_names} & {*new_names}:
        rule = f"the run that is to be resumed has others, such as {old_names[0]}"
        raise ConfigError("experiments", new_names, rule, SAME_OR_NEW)
    before, now = _flat(started), _flat(described)
    for key in [*before, *(key for key in now if key not in before)]:
        old, new = before.get(key, NOTHING), now.get(key, NOTHING)
        if old != new:
            number = sum(before.get(k, NOTHING) != now.get(k, NOTHING) for k in {*before, *now})
            more = f" ({number - 1} more settings differ)" if number > 1 else ""
            name = key.removeprefix("experiments.")
            rule = f"the run that is to be resumed was started with {old!r}{more}"
            raise ConfigError(name, new, rule, SAME_OR_NEW)


def _plain(value: Any) -> Any:
    """Tune's domains and schedulers in words: their kinds and all that they are made of; of other objects the kind."""
    if value is None or isinstance(value, str | int):
        return value
    if isinstance(value, float):
        return value if math.isfinite(value) else str(value)
    if isinstance(value, dict):
        return {str(key): _plain(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(inner) for inner in value]
    if hasattr(value, "__qualname__"):  # functions and classes
        return f"{value.__module__}.{value.__qualname__}"
    parts = vars(value) if type(value).__module__.startswith(("ray.tune.search.sample", "ray.tune.schedulers")) else {}
    return {"kind": type(value).__name__, **{key: _plain(inner) for key, inner in parts.items()}}


def _flat(value: Any, key: str = "") -> dict[str, Any]:
    """What is nested, by dotted keys; a list of plain values is one of them."""
    if isinstance(value, list) and any(isinstance(inner, list | dict) for inner in value):
        value = {str(number): inner for number, inner in enumerate(value)}
    if not isinstance(value, dict):
        return {key: value}
    return {k: v for name, inner in value.items() for k, v in _flat(inner, f"{key}.{name}" if key else name).items()}
