"""Whether a cluster is there, and can ever run a trial: Ray waits in silence for one that is not or cannot.

An address at which nobody answers is tried for minutes, and a request that no node satisfies waits for ever.
"""

import re
import socket
from collections.abc import Mapping, Sequence

import ray

from rbc_rllib.experiment import Sweep
from rbc_rllib.runs.trial import Trial
from rbc_rllib.settings import ConfigError

Amounts = Mapping[str, float]


def check_address(address: str) -> None:
    """Raise `ConfigError` where `address` is a host and a port at which nobody answers within five seconds."""
    if not (parts := re.fullmatch(r"(\[.+\]|[^:]+):(\d+)", address)):
        return  # `auto`, or a kind of address that Ray knows
    try:
        socket.create_connection((parts[1].strip("[]"), int(parts[2])), timeout=5).close()
    except (OSError, OverflowError) as error:
        rule = f"no cluster answers there ({error})"
        fix = "start one with `ray start --head`, or unset it to use this machine alone"
        raise ConfigError("RAY_ADDRESS", address, rule, fix) from error


def check_cluster(sweep: Sweep) -> None:
    """Raise `ConfigError` where the nodes of the cluster, as they are now, cannot run one trial of `sweep`."""
    nodes = [node["Resources"] for node in ray.nodes() if node["Alive"]]
    for experiment in {experiment.resources: experiment for experiment in sweep.experiments}.values():
        config = {"experiment": experiment.model_dump(mode="json")}
        check_feasible(Trial.default_resource_request(config).bundles, nodes)


def check_feasible(bundles: Sequence[Amounts], nodes: Sequence[Amounts]) -> None:
    """Raise `ConfigError` unless each of the `bundles` (a process each) fits a node, and all of them the cluster."""
    there, asked = _total(nodes), _total(bundles)
    fits = all(any(_fits(bundle, node) for node in nodes) for bundle in bundles)
    if fits and _fits(asked, there):
        return
    largest = max(bundles, key=lambda bundle: sum(bundle.values()))
    have = _words({name: there.get(name, 0.0) for name in asked})
    rule = (
        f"a trial asks for {_words(asked)} in {len(bundles)} processes, the largest of which for {_words(largest)}, and"
        f" the cluster has {have} on {len(nodes)} node{'s' * (len(nodes) != 1)}"
    )
    raise ConfigError("resources", dict(asked), rule, "ask for fewer runners, learners or GPUs, or add nodes first")


def _fits(wanted: Amounts, there: Amounts) -> bool:
    return all(amount <= there.get(name, 0.0) + 1e-9 for name, amount in wanted.items())


def _total(parts: Sequence[Amounts]) -> dict[str, float]:
    return {name: sum(part.get(name, 0.0) for part in parts) for part in parts for name in part}


def _words(amounts: Amounts) -> str:
    return " and ".join(f"{amount:g} {name}" for name, amount in sorted(amounts.items())) or "nothing"
