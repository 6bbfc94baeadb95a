"""What starts clusters: checked as far as that goes without one."""

import json
import re
import subprocess
from pathlib import Path

import jsonschema
import pytest
import ray
import yaml

ROOT = Path(__file__).parent.parent
FOLDER = ROOT / "cluster"


def test_the_ray_up_config_fits_rays_own_schema():
    config = yaml.safe_load((FOLDER / "ray-up.yaml").read_text())
    schema = json.loads((Path(ray.__file__).parent / "autoscaler" / "ray-schema.json").read_text())
    jsonschema.validate(config, schema)
    assert config["provider"]["head_ip"] not in config["provider"]["worker_ips"]
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(config | {"maximum_workers": 3}, schema)


def test_the_rayjob_has_one_image_one_version_and_shares_its_results():
    job = yaml.safe_load((FOLDER / "rayjob.yaml").read_text())
    assert (job["apiVersion"], job["kind"]) == ("ray.io/v1", "RayJob")
    cluster = job["spec"]["rayClusterSpec"]
    pinned = re.search(r"^ray\[.*\]==(.*)$", (ROOT / "requirements.txt").read_text(), re.MULTILINE)
    assert cluster["rayVersion"] == pinned.group(1)
    pods = [group["template"]["spec"] for group in (cluster["headGroupSpec"], *cluster["workerGroupSpecs"])]
    containers = [container for pod in pods for container in pod["containers"]]
    assert len({container["image"] for container in containers}) == 1
    results = re.search(r"--results (\S+)", job["spec"]["entrypoint"]).group(1)
    for pod, container in zip(pods, containers, strict=True):
        (mount,) = container["volumeMounts"]
        assert results.startswith(mount["mountPath"])
        assert mount["name"] in {volume["name"] for volume in pod["volumes"]}
        assert container["resources"]["limits"] == container["resources"]["requests"]


@pytest.fixture
def slurm(tmp_path):
    """Runs the script where SLURM's and Ray's commands write down how they were called."""
    programs = tmp_path / "bin"
    programs.mkdir()
    said = tmp_path / "said"
    for name, text in {
        "scontrol": "printf 'node7\\nnode8\\n'",
        "srun": f'printf "%s " "$@" > {said}; printf "%s" "$RAY_ADDRESS $RAY_AUTH_MODE" >> {said}',
        "ray": 'mkdir -p "$(dirname "$RAY_AUTH_TOKEN_PATH")" && echo secret > "$RAY_AUTH_TOKEN_PATH"',
    }.items():
        (programs / name).write_text(f"#!/bin/sh\n{text}\n")
        (programs / name).chmod(0o755)
    (tmp_path / ".venv" / "bin").mkdir(parents=True)
    (tmp_path / ".venv" / "bin" / "activate").touch()

    def run(*arguments):
        environment = {
            "PATH": f"{programs}:/usr/bin:/bin",
            "HOME": str(tmp_path),
            "SLURM_SUBMIT_DIR": str(tmp_path),
            "SLURM_JOB_NODELIST": "node[7-8]",
            "SLURM_JOB_NUM_NODES": "2",
            "SLURM_CPUS_PER_TASK": "16",
        }
        command = ["bash", str(FOLDER / "slurm.sh"), *arguments]
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
        return done, said.read_text() if said.exists() else ""

    return run


def test_the_slurm_script_starts_ray_on_all_nodes_and_the_sweep_on_the_first(slurm, tmp_path):
    done, said = slurm("tax_baselines", "--resume")
    assert done.returncode == 0, done.stderr
    assert said == (
        "ray symmetric-run --address node7:6379 --min-nodes 2 --num-cpus 16 --"
        " python -m rbc_rllib.sweep tax_baselines --results results --resume node7:6379 token"
    )
    assert (tmp_path / ".ray" / "auth_token").read_text() == "secret\n"


def test_the_slurm_script_says_how_it_is_called(slurm):
    done, said = slurm()
    assert done.returncode != 0
    assert "usage: sbatch cluster/slurm.sh SWEEP" in done.stderr
    assert said == ""


@pytest.mark.parametrize("script", [FOLDER / "slurm.sh", FOLDER.parent / "docs" / "example" / "make.sh"])
def test_a_script_passes_shellcheck(script):
    done = subprocess.run(["shellcheck", script], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout
