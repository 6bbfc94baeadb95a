"""Fixtures that every test may ask for."""

from pathlib import Path

import numpy
import pytest

REPOSITORY = Path(__file__).parent.parent


def pytest_xdist_auto_num_workers(config) -> int:
    """Two processes run the tests; none of its own does where everything that is printed is to be seen (`-s`)."""
    return 0 if config.getoption("capture") == "no" else 2


def pytest_collection_modifyitems(items) -> None:
    """Files with slow tests begin first, so that in the end no process waits long for the other."""
    slow = {item.path for item in items if item.get_closest_marker("slow")}
    items.sort(key=lambda item: item.path not in slow)


@pytest.fixture
def rng() -> numpy.random.Generator:
    """A generator with the same numbers in every run and in every test."""
    return numpy.random.default_rng(7)


@pytest.fixture(scope="session")
def ray_on_this_machine():
    """A local Ray without dashboard, whose logical CPUs are enough for two runners and two learners."""
    import ray

    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", str(REPOSITORY))  # of all workers, also those for commands that join this Ray
        ray.init(
            address="local",
            num_cpus=8,
            include_dashboard=False,
            log_to_driver=False,
            logging_level="ERROR",
        )
    yield
    ray.shutdown()
