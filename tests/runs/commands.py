"""The commands as a user types them, in processes of their own."""

import csv
import os
import secrets
import signal
import socket
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from rbc_rllib.experiment import ExperimentConfig

REPOSITORY = Path(__file__).parents[2]


def environment(**variables: str) -> dict[str, str]:
    """This one, in which our packages are found, without the Ray of the tests."""
    inherited = {key: value for key, value in os.environ.items() if not key.startswith("RAY_")}
    return inherited | {"PYTHONPATH": str(REPOSITORY)} | variables


def joined() -> dict[str, str]:
    """What tells a command to join the Ray of the tests, which must run, where its own would tell no more."""
    import ray

    own = {key: value for key, value in os.environ.items() if key.startswith("RAY_AUTH")}
    return own | {"RAY_ADDRESS": ray.get_runtime_context().gcs_address}


def free_ports(number: int) -> set[int]:
    """None of those that the system gives to whoever asks for any: nobody else takes them before we do."""
    ports: set[int] = set()
    while len(ports) < number:
        port = 20_000 + secrets.randbelow(12_000)
        if not listens(port):
            ports.add(port)
    return ports


def listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def start(*arguments: str, **variables: str) -> subprocess.Popen:
    """`python -m` with these arguments, without the Ray of the tests."""
    return subprocess.Popen(
        [sys.executable, "-m", *arguments],
        cwd=REPOSITORY,
        env=environment(**variables),
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )


def finish(process: subprocess.Popen, seconds: float = 240) -> str:
    """Everything that it prints; one that takes longer is killed, so that nothing of it slows other tests."""
    try:
        output, _ = process.communicate(timeout=seconds)
    except subprocess.TimeoutExpired:
        process.kill()
        pytest.fail(f"not over after {seconds} s: {process.communicate()[0]}")
    return output


def interrupt(*arguments: str, after: str, **variables: str) -> None:
    """Start a command, press Ctrl-C when its first line says `after`, and see that it says how to go on."""
    process = start(*arguments, **variables)
    first = process.stdout.readline()
    if after not in first:
        process.kill()
    assert after in first
    process.send_signal(signal.SIGINT)
    output = finish(process)
    assert process.returncode == 130, output
    assert "--resume" in output


def rows(trial: Path) -> list[dict[str, str]]:
    """What a trial has reported."""
    with (trial / "progress.csv").open() as file:
        return list(csv.DictReader(file))


def trials_in(folder: Path) -> list[SimpleNamespace]:
    """Config, reports and number of each trial."""
    found = []
    for path in sorted(folder.glob("*/config.json")):
        reports = rows(path.parent)
        config = ExperimentConfig.from_json(path)
        number = path.parent.name.rpartition("_")[2]
        found.append(SimpleNamespace(name=path.parent.name, number=number, config=config, reports=reports))
    return found
