"""The commands as a user types them: what they write, print and refuse; interruption and resumption; a Ray job."""

import csv
import json
import os
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import pytest

from rbc_rllib import evaluate, sweep, train
from rbc_rllib.runs.launch import Interruption

ROOT = Path(__file__).parent.parent
SHORT = ["--set", "curriculum.total_env_steps=2000"]
TRIAL_FILES = {"config.json", "progress.csv", "evaluation.json", "rollout.npz", "rollout.parquet", "rollout.png"}


def start(*arguments: str, **variables: str) -> subprocess.Popen:
    environment = {key: value for key, value in os.environ.items() if not key.startswith("RAY_")} | variables
    return subprocess.Popen(
        [sys.executable, "-m", *arguments],
        cwd=ROOT,
        env=environment,
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )


def finish(process: subprocess.Popen, seconds: float = 240) -> str:
    output, _ = process.communicate(timeout=seconds)
    return output


def interrupt(*arguments: str, after: str) -> None:
    """Start a command, press Ctrl-C when its first line says `after`, and see that it says how to go on."""
    process = start(*arguments)
    assert after in process.stdout.readline()
    process.send_signal(signal.SIGINT)
    output = finish(process)
    assert process.returncode == 130, output
    assert "--resume" in output


def rows(trial: Path) -> list[dict[str, str]]:
    with (trial / "progress.csv").open() as file:
        return list(csv.DictReader(file))


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """The output and the results of one short sweep."""
    results = tmp_path_factory.mktemp("results")
    process = start("rbc_rllib.sweep", "smoke", *SHORT, "--results", str(results))
    output = finish(process)
    assert process.returncode == 0, output
    return results, output


def test_a_sweep_leaves_everything_about_a_trial_in_its_folder(finished):
    results, _ = finished
    trial = results / "smoke" / "smoke_seed0"
    names = {path.name for path in trial.iterdir()}
    assert names >= TRIAL_FILES
    assert any(name.startswith("events.out.tfevents") for name in names)
    assert any(name.startswith("checkpoint_") for name in names)
    config = json.loads((trial / "config.json").read_text())
    assert config["curriculum"]["total_env_steps"] == 2000
    assert config["economy"]["labor_elasticities"] == [0.2, 0.3, 0.4]
    assert (trial / "rollout.png").read_bytes()[:4] == b"\x89PNG"
    rollout = np.load(trial / "rollout.npz")
    assert rollout["state/prices"].shape == (10, 8, 3)
    assert rollout["outcome/consumption"].shape == (10, 8, 10, 3)


def test_progress_is_in_economic_words(finished):
    results, _ = finished
    last = rows(results / "smoke" / "smoke_seed0")[-1]
    assert int(last["env_steps"]) == 2000
    words = [
        *("social_welfare", "consumer_reward", "firm_reward", "hours", "output", "consumption", "exports"),
        *("price", "wage", "income_tax_rate", "corporate_tax_rate", "tax_revenue", "gini_consumption", "trivial_share"),
    ]
    for word in words:
        assert np.isfinite(float(last[f"economy/{word}"])), word
    assert last["curriculum_stage"] == "planner learns"
    assert float(last["agent_steps_per_second"]) > 0


def test_a_sweep_prints_where_it_stands_and_what_happened(finished):
    _, output = finished
    assert "smoke_seed0" in output
    for word in ("welfare", "hours", "price", "wage", "taxes", "agent-steps/s", "left", "trivial"):
        assert word in output, output
    assert "Traceback" not in output
    assert "WARNING" not in output


def test_results_are_never_overwritten_and_a_finished_run_resumes_to_itself(finished):
    results, _ = finished
    before = (results / "smoke" / "smoke_seed0" / "progress.csv").read_bytes()
    process = start("rbc_rllib.sweep", "smoke", *SHORT, "--results", str(results))
    output = finish(process)
    assert process.returncode == 2
    assert "holds an earlier run" in output
    assert "--resume" in output
    assert "Traceback" not in output
    process = start("rbc_rllib.sweep", "smoke", *SHORT, "--results", str(results), "--resume")
    output = finish(process)
    assert process.returncode == 0, output
    assert (results / "smoke" / "smoke_seed0" / "progress.csv").read_bytes() == before


def test_evaluation_repeats_that_of_the_sweep(finished):
    """In a process of its own the same policies, episodes and seed give the same bytes."""
    trial = finished[0] / "smoke" / "smoke_seed0"
    names = ("evaluation.json", "rollout.npz", "rollout.parquet")
    before = [(trial / name).read_bytes() for name in names]
    process = start("rbc_rllib.evaluate", str(trial))
    output = finish(process)
    assert process.returncode == 0, output
    assert [(trial / name).read_bytes() for name in names] == before
    assert output.strip().splitlines()[-1].startswith("The economy is ")
    assert "WARNING" not in output


@pytest.mark.parametrize(
    ("main", "arguments", "words"),
    [
        (sweep.main, ["nonsense"], ["nonsense", "quickstart"]),
        (sweep.main, ["smoke", "--set", "economy.num_frims=3"], ["economy.num_frims", "3", "num_firms"]),
        (sweep.main, ["smoke", "--set", "learning.clip_param=-1"], ["learning.clip_param", "-1", "greater"]),
        (train.main, ["--config", "smoke", "--set", "seed"], ["seed", "key=value"]),
        (train.main, ["--config", "smoke", "--resume"], ["--resume", "no run to resume"]),
        (evaluate.main, ["nowhere"], ["nowhere", "no trial"]),
    ],
)
def test_bad_input_gets_one_sentence_and_starts_nothing(main, arguments, words, capsys, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit) as ending:
        main(arguments)
    assert ending.value.code == 2
    printed = capsys.readouterr()
    assert printed.out == ""
    (sentence,) = printed.err.strip().splitlines()
    for word in words:
        assert word in sentence
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("module", [train, sweep, evaluate])
def test_help_has_examples(module, capsys):
    with pytest.raises(SystemExit) as ending:
        module.main(["--help"])
    assert ending.value.code == 0
    usage, examples = capsys.readouterr().out.split("\n\n", 1)
    assert usage.startswith(f"usage: python -m {module.__name__}")
    assert examples.count(f"python -m {module.__name__}") >= 2


def test_an_interrupted_run_saves_a_checkpoint_and_resumes_to_the_same_numbers(tmp_path):
    """The resumed training ends in the very numbers of one that was never interrupted."""
    arguments = ["rbc_rllib.train", "--config", "smoke", "--set", "curriculum.total_env_steps=24000"]
    whole = start(*arguments, "--results", str(tmp_path / "whole"))
    output = finish(whole)
    assert whole.returncode == 0, output

    interrupt(*arguments, "--results", str(tmp_path / "cut"), after="smoke_seed0")
    trial = tmp_path / "cut" / "train-smoke" / "smoke_seed0"
    assert list(trial.glob("checkpoint_*"))
    steps = int(rows(trial)[-1]["env_steps"])
    assert steps < 24000

    process = start(*arguments, "--results", str(tmp_path / "cut"), "--resume")
    output = finish(process)
    assert process.returncode == 0, output
    resumed = {row["env_steps"]: row for row in rows(trial)}
    straight = {row["env_steps"]: row for row in rows(tmp_path / "whole" / "train-smoke" / "smoke_seed0")}
    assert resumed.keys() == straight.keys()
    economic = [name for name in straight["24000"] if name.split("/")[0] in ("economy", "curriculum", "learning")]
    for step, row in straight.items():
        assert {name: resumed[step][name] for name in economic} == {name: row[name] for name in economic}, step


@pytest.mark.parametrize("requested", [False, True])
def test_every_row_says_whether_a_checkpoint_is_asked_for(requested):
    """A run that is interrupted in its first row and resumed would have one column less from then on."""
    interruption = Interruption()
    interruption.requested = requested
    result = {"env_steps": 400}
    interruption.on_trial_result(0, [], None, result)
    assert result["should_checkpoint"] is requested


def free_ports(count: int) -> list[int]:
    sockets = [socket.socket() for _ in range(count)]
    for each in sockets:
        each.bind(("127.0.0.1", 0))
    ports = [each.getsockname()[1] for each in sockets]
    for each in sockets:
        each.close()
    return ports


def test_a_ray_job_runs_the_sweep_on_a_cluster(tmp_path):
    """A head with its dashboard on this machine; ended by its process, since `ray stop` would end others too."""
    port, dashboard, agent = free_ports(3)
    ray = str(Path(sys.executable).with_name("ray"))
    environment = {key: value for key, value in os.environ.items() if not key.startswith("RAY_")}
    environment["RAY_API_SERVER_ADDRESS"] = f"http://127.0.0.1:{dashboard}"
    # Ray asks for a token wherever it finds one; head, command line and job get the same.
    environment |= {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": secrets.token_hex(32)}
    temporary = tempfile.mkdtemp(prefix="ray")  # its sockets need a short path
    head = subprocess.Popen(
        [
            ray,
            "start",
            "--head",
            "--block",
            f"--port={port}",
            f"--dashboard-port={dashboard}",
            f"--dashboard-agent-listen-port={agent}",
            "--num-cpus=2",
            "--dashboard-host=127.0.0.1",
            f"--temp-dir={temporary}",
            "--include-dashboard=true",
        ],
        env=environment,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    try:
        give_up = time.monotonic() + 240
        while True:  # the head takes some seconds until it accepts a job
            job = subprocess.run(
                [
                    *(ray, "job", "submit", "--working-dir", ".", "--"),
                    *(sys.executable, "-m", "rbc_rllib.sweep", "smoke", *SHORT, "--results", str(tmp_path / "results")),
                ],
                cwd=ROOT,
                env=environment,
                capture_output=True,
                text=True,
                timeout=300,
            )
            accepted = "submitted successfully" in job.stdout
            if accepted or time.monotonic() > give_up:
                break
            time.sleep(1)
        assert job.returncode == 0, job.stdout + job.stderr
        assert "succeeded" in job.stdout.lower()
        trial = tmp_path / "results" / "smoke" / "smoke_seed0"
        assert {path.name for path in trial.iterdir()} >= TRIAL_FILES
    finally:
        os.killpg(head.pid, signal.SIGTERM)
        head.wait(timeout=60)
        shutil.rmtree(temporary, ignore_errors=True)
