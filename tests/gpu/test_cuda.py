"""What only a CUDA device can show; skipped where there is none.

python -m pytest tests/gpu -s          # at most eight minutes; what it prints is in docs/gpu.md
"""

import warnings
from collections import Counter
from pathlib import Path
from typing import Any

import numpy
import pytest
import torch

from benchmarks import devices
from rbc_rllib.arrays import array_library, to_numpy
from rbc_rllib.economy import EconomyParameters, step
from rbc_rllib.experiment import ExperimentConfig
from rbc_rllib.play import rollout
from rbc_rllib.play.modules import untrained_modules
from rbc_rllib.play.rollout import Rollout, play
from rbc_rllib.play.seats import seats_of
from rbc_rllib.play.vector_economy import VectorEconomy
from rbc_rllib.settings import ConfigError
from rbc_rllib.training.env_runner import BatchedEnvRunner
from tests.economy.test_golden import assert_golden, golden, parameters, transitions  # noqa: F401
from tests.small import build

try:
    cupy = array_library("cupy")
except ConfigError as error:
    pytest.skip(str(error), allow_module_level=True)

ROOT = Path(__file__).parents[2]
FULL_SIZE = ExperimentConfig(name="gpu").with_values(
    {"curriculum.staged_training": False, "resources.num_gpus_per_learner": 1}
)


def on_device(record: Any) -> Any:
    """A dataclass of NumPy arrays as one of CuPy arrays."""
    return type(record)(**{name: cupy.asarray(array) for name, array in vars(record).items()})


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_a_quarter_on_the_device_is_the_recorded_one(golden, dtype):  # noqa: F811
    before, actions, expected = transitions(golden, dtype)
    after, outcome = step(parameters(golden, dtype), on_device(before), on_device(actions))
    results = vars(after) | vars(outcome)
    assert {type(array) for array in results.values()} == {cupy.ndarray}
    assert_golden({name: to_numpy(array) for name, array in results.items()}, expected)


@pytest.mark.parametrize("mode", ["discretion", "schedule"])
def test_episodes_on_the_device_are_those_of_numpy_for_the_same_uniform_numbers(mode, monkeypatch):
    """In float64, and without digits, whose last ones are rounding errors: so no choice tips over."""
    economy = EconomyParameters(num_consumers=20, num_firms=5, dtype="float64")
    experiment = ExperimentConfig(name="twice", economy=economy).with_values(
        {"learning.observation_encodings": ["log"], "learning.hidden_sizes": [32, 32], "planner.mode": mode}
    )
    modules = untrained_modules(experiment, seed=0)
    uniform = torch.rand

    def drawn_on_the_host(shape: Any, generator: torch.Generator, device: torch.device) -> torch.Tensor:
        return uniform(shape, generator=generator).to(device)

    monkeypatch.setattr(rollout.torch, "rand", drawn_on_the_host)

    def played(library: Any, device: str) -> Rollout:
        economies = VectorEconomy(economy, 16, library, ("log",), experiment.planner)
        for module in modules.values():
            module.to(device)
        seats = seats_of(experiment, modules, economies)
        return play(economies, seats, torch.Generator().manual_seed(1), recorded=modules)

    ours, theirs = played(cupy, "cuda"), played(numpy, "cpu")
    for policy, experience in ours.experience.items():
        assert experience.actions.is_cuda
        assert torch.equal(experience.actions.cpu(), theirs.experience[policy].actions), policy
        torch.testing.assert_close(experience.action_logp.cpu(), theirs.experience[policy].action_logp)
    for mine, numpys in zip([*ours.states, *ours.outcomes], [*theirs.states, *theirs.outcomes], strict=True):
        for name, array in vars(mine).items():
            numpy.testing.assert_allclose(to_numpy(array), getattr(numpys, name), rtol=1e-9, atol=1e-6, err_msg=name)


@pytest.fixture
def algorithm(ray_on_this_machine):
    """Economies, networks and learner in one process, on the device, past the first iteration's preparations."""
    built = build(FULL_SIZE)
    assert type(built.env_runner.env.economy.state.prices) is cupy.ndarray
    built.training_step()
    yield built
    built.stop()


@pytest.fixture
def sync_mode():
    """Sets what torch does when the host waits for the device."""
    yield torch.cuda.set_sync_debug_mode
    torch.cuda.set_sync_debug_mode("default")


def test_sampling_never_waits_for_the_device(algorithm, sync_mode, monkeypatch):
    """From the weights to the learner's batch; only the indicators are brought over, once, in one transfer."""
    monkeypatch.setattr(BatchedEnvRunner, "_log", lambda *_: None)
    sync_mode("error")
    (batch,) = algorithm.env_runner.sample(env_steps=0)
    assert batch.env_steps() == FULL_SIZE.env_steps_per_update


def test_our_part_of_an_iteration_never_waits_for_the_device(algorithm, sync_mode, capsys):
    """RLlib's own learner and metrics may: what makes them wait is printed."""
    sync_mode("warn")
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        algorithm.training_step()
    sync_mode("default")
    places = Counter(f"{each.filename}:{each.lineno}" for each in caught if "synchroniz" in str(each.message))
    with capsys.disabled():
        print("\nwaits for the device in one iteration (12 gradient steps):")
        for place, times in places.most_common():
            print(f"{times:>5}  {place.rpartition('site-packages/')[2].removeprefix(f'{ROOT}/')}")
    ours = [place for place in places if place.startswith(str(ROOT)) and "/.venv/" not in place]
    assert [place for place in ours if "rbc_rllib/arrays.py" not in place] == []  # `pull_floats`: the one transfer
    assert all(torch.isfinite(p).all() for p in algorithm.learner_group._learner.module["firm"].parameters())


def test_speed_from_few_economies_to_many(ray_on_this_machine, capsys):
    """Agent-steps per second; what is measured is printed, not judged."""
    with capsys.disabled():
        print(f"\n{torch.cuda.get_device_name()}, torch {torch.__version__}, CuPy {cupy.__version__}\n{devices.HEAD}")
        for economies in devices.ECONOMIES:
            for row in devices.measure(economies, repeats=5):
                assert row["iteration"] > 0
                print(devices.line(row), flush=True)
