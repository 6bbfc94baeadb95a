"""Long trainings do not grow."""

import json
import subprocess
import sys

import pytest

from tests.runs.commands import REPOSITORY, environment, joined

PROGRAM = """
import json
import resource
from tests.runs.trials import trial_of
from tests.small import SMALL

trial = trial_of(SMALL.with_values({"curriculum.total_env_steps": 64 * 800}))
peaks = []
for iterations in (200, 500):
    for _ in range(iterations):
        trial.train()
    peaks.append(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
trial.stop()
print(json.dumps(peaks))
"""


@pytest.mark.slow
def test_memory_stays_flat_over_500_iterations(ray_on_this_machine):
    process = subprocess.run(
        [sys.executable, "-c", PROGRAM], cwd=REPOSITORY, env=environment(**joined()), capture_output=True, text=True
    )
    assert process.returncode == 0, process.stderr
    before, after = json.loads(process.stdout.splitlines()[-1])
    assert after < 1.05 * before
