"""What a cluster can never do is refused at once, with what is there and what was asked."""

import pytest

from rbc_rllib.experiment import Sweep
from rbc_rllib.runs.launch import run
from rbc_rllib.runs.resources import check_address, check_cluster, check_feasible
from rbc_rllib.settings import ConfigError
from tests.runs.commands import finish, free_ports, start
from tests.small import SMALL

SMALL_NODE, GPU_NODE = {"CPU": 4.0, "memory": 1e9}, {"CPU": 8.0, "GPU": 1.0}


@pytest.mark.parametrize(
    ("bundles", "nodes"),
    [
        ([{"CPU": 1}], [SMALL_NODE]),
        ([{"CPU": 1}, {"CPU": 1, "GPU": 0.5}], [SMALL_NODE, GPU_NODE]),
        ([{"CPU": 4}] * 3, [SMALL_NODE, GPU_NODE]),
    ],
)
def test_what_fits_is_let_through(bundles, nodes):
    check_feasible(bundles, nodes)


@pytest.mark.parametrize(
    ("bundles", "nodes", "words"),
    [
        ([{"CPU": 1}] * 5, [SMALL_NODE], "5 CPU in 5 processes.*has 4 CPU on 1 node"),
        ([{"CPU": 1, "GPU": 1}], [SMALL_NODE], "1 CPU and 1 GPU.*has 4 CPU and 0 GPU"),
        ([{"CPU": 9}], [SMALL_NODE, GPU_NODE], "largest of which for 9 CPU.*has 12 CPU on 2 nodes"),
        ([{"CPU": 1}], [], "has 0 CPU on 0 nodes"),
    ],
)
def test_what_never_fits_is_refused_with_both_sides(bundles, nodes, words):
    with pytest.raises(ConfigError, match=words):
        check_feasible(bundles, nodes)


@pytest.mark.usefixtures("ray_on_this_machine")
def test_a_sweep_that_asks_for_more_than_this_machine_has_is_refused(tmp_path):
    check_cluster(Sweep((SMALL,)))
    with pytest.raises(ConfigError, match=r"resources = .*ask for fewer runners"):
        run(Sweep((SMALL.with_values({"resources.num_gpus_per_learner": 64}),)), tmp_path / "small")


def test_a_cluster_that_does_not_answer_is_refused_before_anything_is_written(tmp_path):
    (port,) = free_ports(1)
    address = f"127.0.0.1:{port}"
    sweep = start("rbc_rllib.sweep", "smoke", "--results", str(tmp_path), RAY_ADDRESS=address)
    sentence = finish(sweep)
    assert sweep.returncode == 2
    assert sentence.startswith(f"RAY_ADDRESS = '{address}' is refused: no cluster answers there (")
    assert sentence.count("\n") == 1
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("address", ["auto", "local", "ray://head:10001"])
def test_addresses_without_a_port_and_of_other_kinds_are_left_to_ray(address):
    check_address(address)
