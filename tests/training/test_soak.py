"""Long trainings do not grow."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parents[2]

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
def test_memory_stays_flat_over_500_iterations():
    done = subprocess.run([sys.executable, "-c", PROGRAM], cwd=REPOSITORY, capture_output=True, text=True, check=True)
    before, after = json.loads(done.stdout.splitlines()[-1])
    assert after < 1.05 * before
