"""The commands as a user types them: what they write and print, and a Ray job."""

import importlib
import json
import os
import secrets
import shlex
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest

from rbc_rllib.runs.command_line import conclude
from rbc_rllib.runs.launch import Run
from tests.runs.commands import REPOSITORY, finish, free_ports, joined, listens, rows, start

SHORT = ["--set", "curriculum.total_env_steps=2000"]
TRIAL_FILES = {"config.json", "progress.csv", "evaluation.json", "rollout.npz", "rollout.parquet", "rollout.png"}


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
    assert last["curriculum_stage"] == "everyone learns"
    assert float(last["agent_steps_per_second"]) > 0


def test_a_sweep_prints_where_it_stands_and_what_happened(finished):
    _, output = finished
    assert "smoke_seed0" in output
    for word in ("welfare", "hours", "price", "wage", "taxes", "agent-steps/s", "left", "trivial"):
        assert word in output, output
    assert "Traceback" not in output
    assert "WARNING" not in output


def test_results_are_never_overwritten_and_a_finished_run_resumes_to_itself(finished, ray_on_this_machine):
    results, _ = finished
    before = (results / "smoke" / "smoke_seed0" / "progress.csv").read_bytes()
    process = start("rbc_rllib.sweep", "smoke", *SHORT, "--results", str(results))
    output = finish(process)
    assert process.returncode == 2
    assert "holds an earlier run" in output
    assert "--resume" in output
    assert "Traceback" not in output
    process = start("rbc_rllib.sweep", "smoke", *SHORT, "--results", str(results), "--resume", **joined())
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
    ("ended", "status", "words"),
    [
        (Run(Path("results"), [], [], interrupted=True), 130, "Interrupted. Every running trial has saved"),
        (Run(Path("results"), [], ["ValueError: 3"], interrupted=False), 1, "Failed: ValueError: 3"),
    ],
)
def test_the_command_to_go_on_with_can_be_pasted_into_a_shell(ended, status, words, capsys, monkeypatch):
    arguments = ["--set", "economy.price_choices=[0, 500]", "--results", "my results"]
    monkeypatch.setattr(sys, "argv", ["somewhere/rbc_rllib/sweep.py", "smoke", *arguments, "--resume"])
    with pytest.raises(SystemExit) as ending:
        conclude(ended, lambda folder, finished: "")
    assert ending.value.code == status
    printed = capsys.readouterr()
    assert words in printed.out + printed.err
    last = (printed.out + printed.err).splitlines()[-1]
    command = last[last.index("python -m") :]
    assert shlex.split(command) == ["python", "-m", "rbc_rllib.sweep", "smoke", *arguments, "--resume"]


def test_a_ctrl_c_while_trials_are_judged_says_how_to_go_on(capsys, tmp_path):
    def judge(folder: Path, finished: list[Path]) -> str:
        raise KeyboardInterrupt

    (tmp_path / "trial").mkdir()
    (tmp_path / "trial" / "config.json").touch()
    with pytest.raises(SystemExit) as ending:
        conclude(Run(tmp_path, [], [], interrupted=False), judge)
    assert ending.value.code == 130
    assert "go on with: python -m " in capsys.readouterr().out


@pytest.mark.parametrize("name", ["train", "sweep", "evaluate", "best_response"])
def test_help_has_examples(name, capsys):
    name = f"rbc_rllib.{name}"
    with pytest.raises(SystemExit) as ending:
        importlib.import_module(name).main(["--help"])
    assert ending.value.code == 0
    usage, examples = capsys.readouterr().out.split("\n\n", 1)
    assert usage.startswith(f"usage: python -m {name}")
    assert examples.count(f"python -m {name}") >= 2


@pytest.mark.slow
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
        while not listens(dashboard) and time.monotonic() < give_up:
            time.sleep(0.5)
        while True:  # the head takes some seconds more until it accepts a job
            job = subprocess.run(
                [
                    *(ray, "job", "submit", "--working-dir", ".", "--"),
                    *(sys.executable, "-m", "rbc_rllib.sweep", "smoke", *SHORT, "--results", str(tmp_path / "results")),
                ],
                cwd=REPOSITORY,
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
        head.terminate()  # it ends its processes, in seconds; all of them told at once take half a minute
        head.wait(timeout=60)
        with suppress(ProcessLookupError):
            os.killpg(head.pid, signal.SIGKILL)  # what it has left
        shutil.rmtree(temporary, ignore_errors=True)
