"""Processes and nodes that die, a full disk, NaN: the sweep ends with the numbers of an undisturbed one.

On a cluster of two raylets, which only this file knows; what is killed is killed with SIGKILL.
"""

import json
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import ray  # noqa: F401 (it brings psutil)

# isort: split
import psutil

from rbc_rllib.experiment import ExperimentConfig, Sweep
from rbc_rllib.runs import launch
from rbc_rllib.runs.snapshots import is_whole
from rbc_rllib.runs.trials_table import FILE, read_table
from rbc_rllib.settings import ConfigError
from rbc_rllib.training.checkpoints import load_networks, newest_checkpoint, weights_hash
from tests.runs.commands import environment, finish, free_ports, rows, start, trials_in
from tests.small import SMALL

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1800)]  # fixtures and several sweeps, on slow cores

SECRET = "a-key-that-nobody-may-see"


@dataclass(frozen=True)
class Raylets:
    """A cluster on this machine, without tokens: not every machine that runs tests has one."""

    address: str
    processes: list[subprocess.Popen]  # `ray start --block`, the head's first

    def sweep(
        self, name: str, results: Path, *arguments: str, faults: dict | None = None, judged: bool = True
    ) -> tuple[int, str]:
        """Exit status and output of `tests.runs.faulty_sweep`; `judged`: trials are evaluated and reported, too."""
        raylets = [child.pid for process in self.processes for child in raylets_of(process)]
        process = start(
            *("tests.runs.faulty_sweep", name, "--results", str(results), *arguments),
            RAY_ADDRESS=self.address,
            RAY_AUTH_MODE="disabled",
            RAYLETS=",".join(map(str, raylets)),
            FAULTS=json.dumps(faults or {}),
            JUDGED=str(judged),
            WANDB_API_KEY=SECRET,
            TUNE_GLOBAL_CHECKPOINT_S="0",  # short sweeps would end, or be killed, before their second snapshot
        )
        output = finish(process, seconds=500)
        return process.returncode, output


def raylets_of(process: subprocess.Popen) -> list[psutil.Process]:
    return [child for child in psutil.Process(process.pid).children() if child.name() == "raylet"]


def start_raylet(log: Path, *arguments: str) -> subprocess.Popen:
    """`ray start`, when it is up. Its agents get their ports: it waits no longer than 15 s for those that choose."""
    names = ("dashboard-agent-grpc-port", "dashboard-agent-listen-port", "runtime-env-agent-port")
    ports = [f"--{name}={port}" for name, port in zip(names, free_ports(3), strict=True)]
    command = [Path(sys.executable).parent / "ray", "start", "--block", "--disable-usage-stats"]
    with log.open("w") as output:
        process = subprocess.Popen(
            [*command, "--object-store-memory=100000000", "--include-log-monitor=false", *ports, *arguments],
            env=environment(RAY_AUTH_MODE="disabled", RAY_worker_niceness="0"),  # workers wait for nobody else
            stdout=output,
            stderr=subprocess.STDOUT,
        )
    until = time.monotonic() + 120
    while "Ray runtime started" not in log.read_text():
        assert process.poll() is None, log.read_text()
        assert time.monotonic() < until, log.read_text()
        time.sleep(0.2)
    return process


@pytest.fixture(scope="module")
def raylets() -> Iterator[Raylets]:
    """A head with room for one trial, and a node with room for two. Their sockets want a short path."""
    place = Path(tempfile.mkdtemp(prefix="ray", dir="/tmp"))
    (port,) = free_ports(1)
    head = ["--head", f"--port={port}", f"--temp-dir={place}", "--include-dashboard=false", "--num-cpus=1"]
    processes = []
    try:
        processes.append(start_raylet(place / "head.log", *head))
        address = (place / "ray_current_cluster").read_text().strip()
        processes.append(start_raylet(place / "node.log", f"--address={address}", "--num-cpus=2"))
        yield Raylets(address, processes)
    finally:
        for process in reversed(processes):
            process.terminate()
            process.wait(60)
        shutil.rmtree(place, ignore_errors=True)


@pytest.fixture(scope="module")
def undisturbed(raylets, tmp_path_factory) -> Path:
    """A sweep's folder, after the only run in which nothing was killed."""
    results = tmp_path_factory.mktemp("undisturbed")
    status, output = raylets.sweep("undisturbed", results)
    assert status == 0, output
    return results / "undisturbed"


@pytest.fixture(scope="module")
def disturbed(raylets, tmp_path_factory) -> tuple[Path, str]:
    """A sweep's folder, and what was printed: three trials lost a process each, and one meets NaN."""
    results = tmp_path_factory.mktemp("disturbed")
    kills = {"alone_seed0": ["trial", 5], "runners_seed0": ["runner", 5], "learners_seed0": ["learner", 5]}
    status, output = raylets.sweep("deaths", results, faults=kills)
    assert status == 1, output
    return results / "deaths", output


def numbers(trial: Path) -> list[dict[str, str]]:
    """What a trial has reported that no clock has a say in."""
    kinds = ("training_iteration", "env_steps", "economy", "curriculum", "learning")
    return [{name: row[name] for name in row if name.split("/")[0] in kinds} for row in rows(trial)]


def networks(trial: Path) -> dict[str, str]:
    """Hashes of the last ones."""
    loaded = load_networks(newest_checkpoint(trial), ExperimentConfig.of_trial(trial))
    return {policy: weights_hash(network.get_state()) for policy, network in loaded.items()}


def table(sweep: Path) -> dict[str, dict]:
    """`trials.parquet` by trial."""
    return {row["trial"]: row for row in read_table(sweep / FILE).to_pylist()}


def check_same_results(sweep: Path, undisturbed: Path, trials: list[str]) -> None:
    """Every iteration once, and the same numbers, networks and row."""
    for name in trials:
        assert [row["training_iteration"] for row in rows(sweep / name)] == [str(n) for n in range(1, 11)]
        assert numbers(sweep / name) == numbers(undisturbed / name)
        assert networks(sweep / name) == networks(undisturbed / name)
        mine, theirs = table(sweep)[name], table(undisturbed)[name]
        assert (mine["status"], mine["error"]) == ("TERMINATED", None)
        for column in set(theirs) - {"seconds", "failures", "commit"}:
            assert mine[column] == theirs[column], column


DEATHS = {
    "alone_seed0": "the trial's process died: ",
    "runners_seed0": "an env runner died: ",
    "learners_seed0": "a learner died: ",
}


@pytest.mark.parametrize("trial", DEATHS)
def test_a_trial_that_loses_a_process_ends_with_the_numbers_of_one_that_does_not(trial, disturbed, undisturbed):
    sweep, output = disturbed
    check_same_results(sweep, undisturbed, [trial])
    assert table(sweep)[trial]["failures"] == 1
    told = re.findall(rf"{trial} failed and goes on from .*", output)  # Ray may print into the line before it
    assert len(told) == 1, output
    assert told[0].startswith(f"{trial} failed and goes on from checkpoint_000000 (2 more retries): {DEATHS[trial]}")


def test_a_trial_that_meets_nan_is_tried_three_times_more_and_the_others_go_on(disturbed):
    sweep, output = disturbed
    row = table(sweep)["broken_seed0"]
    assert (row["status"], row["failures"], row["env_steps"]) == ("ERROR", 4, 0)
    assert row["error"].startswith("NumericsError: ")
    assert "is not finite (quarter" in row["error"]
    assert f"Failed: broken_seed0, 4 times: {row['error']}" in output
    assert "Failed trials go on from their last checkpoint with: " in output


def test_a_sweep_whose_driver_is_killed_resumes_to_the_same_table(raylets, undisturbed, tmp_path):
    status, output = raylets.sweep("pair", tmp_path, faults={"alone_seed1": ["driver", 8]})
    assert status == -9, output
    status, output = raylets.sweep("pair", tmp_path, "--resume", judged=False)
    assert status == 0, output
    check_same_results(tmp_path / "pair", undisturbed, ["alone_seed0", "alone_seed1"])


def killed_and_resumed(raylets: Raylets, name: str, results: Path, trial: str, iteration: int) -> list:
    """The trials of a sweep whose driver was killed when `trial` reported `iteration`; what had ended by then is not
    trained again."""
    status, output = raylets.sweep(name, results, faults={trial: ["driver", iteration]})
    assert status == -9, output
    ended = {path: (results / name / path / "progress.csv").read_bytes() for path in table(results / name)}
    status, output = raylets.sweep(name, results, "--resume")
    assert status == 0, output
    assert ended == {path: (results / name / path / "progress.csv").read_bytes() for path in ended}
    return sorted(trials_in(results / name), key=lambda trial: trial.number)


def test_the_seeds_of_a_configuration_stop_together_though_the_driver_is_killed(raylets, tmp_path):
    """Work is the harder the more; the configuration that comes later and is worse than the median is stopped.

    When its second seed comes to the milestone the driver is killed: the first seed waits there, and the better
    configuration is judged.
    """
    trials = killed_and_resumed(raylets, "stopped", tmp_path, "searched_seed1_00003", 2)
    first, second = trials[:2], trials[2:]
    assert {trial.config.seed for trial in first} == {trial.config.seed for trial in second} == {0, 1}
    welfare = [[float(trial.reports[1]["economy/social_welfare"]) for trial in each] for each in (first, second)]
    assert sum(welfare[0]) > sum(welfare[1])
    assert [len(trial.reports) for trial in (*first, *second)] == [4, 4, 2, 2]
    judged = [path.parent.name for path in sorted((tmp_path / "stopped").glob("*/evaluation.json"))]
    assert judged == sorted(trial.name for trial in first)  # what was stopped is not judged


def test_a_population_learns_by_the_values_of_its_best_though_the_driver_is_killed(raylets, tmp_path):
    """Halfway the worse of two members goes on from the better one's policies, with values near that one's; then the
    driver is killed. The rates that learners report are those of each member's config.json, also where that has
    changed."""
    members, rates = killed_and_resumed(raylets, "bred", tmp_path, "searched_seed0_00001", 3), []
    for member in members:
        assert [int(report["env_steps"]) for report in member.reports] == [64, 128, 192, 256]
        own = []
        for report in member.reports:
            progress = (int(report["env_steps"]) - 16) / 256  # two updates of 32 env steps, reported by their mean
            own.append(float(report["learning/firm/learning_rate"]) / (1 - 0.95 * progress))
        assert own[:2] == pytest.approx([own[0]] * 2)
        assert own[2:] == pytest.approx([member.config.learning.learning_rate.firm] * 2)
        assert 0.1 <= member.config.learning.clip_param <= 0.3
        rates.append((own[0], own[-1]))
    halfway = [float(member.reports[1]["economy/social_welfare"]) for member in members]
    best = halfway.index(max(halfway))
    assert rates[best][1] == pytest.approx(rates[best][0])
    assert rates[1 - best][1] != pytest.approx(rates[1 - best][0])
    assert len(list((tmp_path / "bred-anew").glob("*/evaluation.json"))) == 1


def test_a_full_disk_ends_a_sweep_in_one_sentence_and_with_room_it_goes_on(raylets, undisturbed, tmp_path):
    size = sum(path.stat().st_size for path in (undisturbed / "alone_seed0").glob("checkpoint_000000/**/*"))
    mount = ["mount", "-t", "tmpfs", "-o", f"size={2 * size}", "none", str(tmp_path)]
    if subprocess.run(mount, capture_output=True).returncode:
        pytest.skip("nobody may mount a small disk here")
    try:
        status, output = raylets.sweep("one", tmp_path)
        assert status != 0, output
        assert "No space left on device" in output
        subprocess.run(["mount", "-o", "remount,size=1g", str(tmp_path)], check=True)
        status, output = raylets.sweep("one", tmp_path, "--resume", judged=False)
        assert status == 0, output
        assert is_whole(tmp_path / "one")
        check_same_results(tmp_path / "one", undisturbed, ["alone_seed0"])
    finally:
        subprocess.run(["umount", str(tmp_path)], check=True)


def test_a_sweep_that_loses_a_node_half_way_ends_with_the_same_table(raylets, undisturbed, tmp_path):
    """The last test here: the node does not come back. The head has room for one trial: one at least lives there."""
    faults = {"alone_seed0": ["node", 5], "alone_seed1": ["node", 5]}
    status, output = raylets.sweep("pair", tmp_path, faults=faults, judged=False)
    assert status == 0, output
    check_same_results(tmp_path / "pair", undisturbed, ["alone_seed0", "alone_seed1"])
    assert sum(row["failures"] for row in table(tmp_path / "pair").values()) >= 1
    assert re.search(r"^alone_seed\d failed and goes on from .* \(2 more", output, re.MULTILINE)


# Without processes


def test_no_file_of_a_sweep_holds_a_secret_of_its_environment(undisturbed):
    files = [path for path in undisturbed.rglob("*") if path.is_file()]
    assert {path.name for path in files} >= {"config.json", "sweep.json", FILE, "tuner.pkl", "params.json"}
    assert [path for path in files if SECRET.encode() in path.read_bytes()] == []


def test_results_that_cannot_be_written_are_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(launch, "_start_ray", lambda: None)
    monkeypatch.setattr(launch, "check_cluster", lambda sweep: None)
    (tmp_path / "file").touch()
    with pytest.raises(ConfigError, match=r"--results = .* cannot be written \(\[Errno 20\] Not a directory: .*; make"):
        launch.run(Sweep((SMALL,)), tmp_path / "file" / "small")


def test_retries_are_no_fewer_than_none(tmp_path):
    with pytest.raises(ConfigError, match="--retries = -1 is refused: it must be 0 or more; the default is 3"):
        launch.run(Sweep((SMALL,)), tmp_path / "small", options=launch.RunOptions(retries=-1))
