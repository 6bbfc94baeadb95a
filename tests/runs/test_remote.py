"""Results in an object store: the numbers of a local run whatever dies, all files there, and what is refused.

Against moto's server, which is no real S3, on this machine alone.
"""

import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from pyarrow.fs import FileSelector, FileSystem, copy_files

from rbc_rllib import train
from rbc_rllib.runs.launch import RunOptions, run
from rbc_rllib.runs.remote import Remote
from rbc_rllib.runs.trials_table import FILE
from rbc_rllib.settings import ConfigError
from tests.runs.commands import environment, free_ports
from tests.runs.faulty_sweep import SWEEPS
from tests.runs.test_faults import SECRET, Raylets, check_same_results, start_raylet

VARIABLES = {
    "AWS_ACCESS_KEY_ID": "somebody",
    "AWS_SECRET_ACCESS_KEY": SECRET,
    "AWS_EC2_METADATA_DISABLED": "true",
    "TUNE_GLOBAL_CHECKPOINT_S": "3",  # between snapshots, fewer than these sweeps take
}


@pytest.fixture(autouse=True)
def copies(tmp_path, monkeypatch):
    """Are gone when a test is."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))


@pytest.fixture(scope="module")
def place() -> Iterator[Path]:
    """A folder with a short path, as sockets want, for all that the processes here leave."""
    folder = Path(tempfile.mkdtemp(prefix="ray", dir="/tmp"))
    with pytest.MonkeyPatch.context() as patch:
        for name, value in {**VARIABLES, "TMPDIR": str(folder)}.items():
            patch.setenv(name, value)
        yield folder
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="module")
def bucket(place) -> Iterator[str]:
    """The URI of a folder in a bucket of an S3 server of its own."""
    (port,), log = free_ports(1), place / "server.log"
    command = [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)]
    with log.open("w") as output:
        server = subprocess.Popen(command, env=environment(), stdout=output, stderr=subprocess.STDOUT)
    try:
        until = time.monotonic() + 120
        while "Running on" not in log.read_text():
            assert server.poll() is None, log.read_text()
            assert time.monotonic() < until, log.read_text()
            time.sleep(0.1)
        address = f"?scheme=http&endpoint_override=127.0.0.1:{port}"
        files, path = FileSystem.from_uri(f"s3://bucket{address}&allow_bucket_creation=true")
        files.create_dir(path)
        yield f"s3://bucket/some/results{address}"
    finally:
        server.terminate()
        server.wait(60)


@pytest.fixture(scope="module")
def raylet(place, bucket) -> Iterator[Raylets]:
    """A cluster of one, whose processes know the keys of the bucket."""
    (port,) = free_ports(1)
    head = ["--head", f"--port={port}", f"--temp-dir={place}", "--include-dashboard=false", "--num-cpus=1"]
    process = start_raylet(place / "head.log", *head)
    try:
        yield Raylets((place / "ray_current_cluster").read_text().strip(), [process])
    finally:
        process.terminate()
        process.wait(60)


@dataclass(frozen=True)
class Resumed:
    """A sweep whose driver was killed while Tune sent a snapshot, and that was resumed and lost its trial's process."""

    results: str  # URI
    output: str
    folder: Path  # all that is in the bucket


@pytest.fixture(scope="module")
def resumed(raylet, bucket, tmp_path_factory) -> Resumed:
    status, output = raylet.sweep("one", bucket, faults={"alone_seed0": ["driver", 8]})
    assert status == -9, output
    cut_off_the_snapshot(*FileSystem.from_uri(bucket))
    status, output = raylet.sweep("one", bucket, "--resume", "--trust", faults={"alone_seed0": ["trial", 9]})
    assert status == 0, output
    (files, path), folder = FileSystem.from_uri(bucket), tmp_path_factory.mktemp("bucket")
    copy_files(path, str(folder), source_filesystem=files)
    return Resumed(bucket, output, folder / "one")


def cut_off_the_snapshot(files: FileSystem, results: str) -> None:
    """As Tune leaves it in a store: it sends what it is writing."""
    for info in files.get_file_info(FileSelector(f"{results}/one")):
        if info.base_name.startswith("experiment_state-"):
            with files.open_input_stream(info.path) as source:
                half = source.read(info.size // 2)
            with files.open_output_stream(info.path) as target:
                target.write(half)


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_a_sweep_that_is_killed_and_resumed_ends_as_one_with_local_results(raylet, resumed, tmp_path):
    status, output = raylet.sweep("one", tmp_path, judged=False)
    assert status == 0, output
    check_same_results(resumed.folder, tmp_path / "one", ["alone_seed0"])
    assert "alone_seed0 failed and goes on from checkpoint_00000" in resumed.output
    assert f"They are kept in {resumed.results.replace('?', '/one?')}" in resumed.output


@pytest.mark.slow
def test_all_of_a_run_is_in_the_store_and_no_credentials_are(resumed):
    names = {path.name for path in resumed.folder.iterdir()}
    assert names >= {"sweep.json", FILE, "report.html", "report", "alone_seed0", "tuner.pkl"}
    names = {path.name for path in (resumed.folder / "alone_seed0").iterdir()}
    assert names >= {"config.json", "progress.csv", "evaluation.json", "rollout.npz", "rollout.png"}
    files = [path for path in resumed.folder.rglob("*") if path.is_file()]
    assert [path for path in files if SECRET.encode() in path.read_bytes()] == []


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "resume", "trust", "words"),
    [
        ("one", False, False, r"--results = .* it holds an earlier run, which is never overwritten; go on with it by"),
        ("one", True, False, r"--resume = .* does not tell who wrote the pickles in it, .* add --trust if"),
        ("pair", True, True, r"alone_seed1.* the run that is to be resumed was started with 'nothing'"),
    ],
)
def test_a_run_in_a_store_is_neither_overwritten_nor_trusted_nor_changed(resumed, name, resume, trust, words):
    remote = Remote.at(resumed.results)
    with pytest.raises(ConfigError, match=words):
        run(SWEEPS[name], remote.copies / "one", resume, RunOptions(trust=trust, remote=remote))


# Without a server


def write(folder: Path, names: list[str], text: str = "") -> None:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)


def there(folder: Path) -> dict[str, str]:
    return {str(path.relative_to(folder)): path.read_text() for path in folder.rglob("*") if path.is_file()}


def test_a_copy_has_all_but_what_can_run_something_when_a_checkpoint_is_read(remote, tmp_path):
    wanted = ["sweep.json", "a/config.json", "a/checkpoint_000001/checkpoint.json"]
    wanted.append("a/checkpoint_000001/networks/firm.safetensors")
    pickles = ["a/checkpoint_000001/state.pkl", "a/checkpoint_000001/learner_group/learner/state.pkl"]
    write(tmp_path / "store" / "results" / "run", [*wanted, *pickles])
    write(tmp_path / "store" / "results" / "another", wanted)
    remote.fetch(remote.copies / "run")
    assert sorted(there(remote.copies)) == sorted(f"run/{name}" for name in wanted)
    assert remote.names(remote.copies / "run") == {"sweep.json", "a"}
    assert remote.names(remote.copies / "none") == set()


def test_only_what_has_changed_here_is_sent(remote, tmp_path):
    """Else what was fetched would take the place of what trials have written since."""
    kept, run = tmp_path / "store" / "results" / "run", remote.copies / "run"
    write(kept, ["state.json", "a/events", "a/gone"], "old")
    remote.fetch(run)
    write(kept, ["state.json"], "of a trial")
    write(run, ["a/events", "a/new"], "longer")
    (run / "a" / "gone").unlink()
    remote.send(run / "a")
    remote.send(run / "none")
    remote.send(run)
    assert there(kept) == {"state.json": "of a trial", "a/events": "longer", "a/new": "longer"}


def test_a_run_has_a_uri(remote):
    assert remote.uri_of(remote.copies / "run" / "a") == "s3://bucket/results/run/a?region=here"


@pytest.mark.parametrize(
    ("uri", "words"),
    [
        (
            "s3://key:secret@bucket/results",
            r"s3://\.\.\.@\.\.\.' is refused: it holds credentials, which .* environment",
        ),
        ("s3://bucket/results?colour=red", "cannot be opened .*Unexpected query parameter.* write e.g. s3://BUCKET"),
        ("nonsense://bucket/results", "cannot be opened .*Unrecognized filesystem"),
        ("s3://", "it names no bucket; write e.g. s3://BUCKET"),
    ],
)
def test_a_uri_that_cannot_be_used_is_refused(uri, words):
    with pytest.raises(ConfigError, match=words) as refusal:
        Remote.at(uri)
    assert "secret" not in str(refusal.value)


def test_a_store_that_does_not_answer_is_refused(monkeypatch):
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    remote = Remote.at("s3://bucket/results?scheme=http&endpoint_override=127.0.0.1:1")
    with pytest.raises(ConfigError, match=r"--results = .* it cannot be read .*; see to its address, the network and"):
        run(SWEEPS["one"], remote.copies / "one", options=RunOptions(remote=remote))


def test_what_does_not_write_into_a_store_says_so():
    with pytest.raises(ConfigError, match="only the commands sweep and train write into an object store; name"):
        train(SWEEPS["one"].experiments[0], "s3://bucket/results")
