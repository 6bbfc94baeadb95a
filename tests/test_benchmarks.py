"""The benchmarks compare equal work, count right and print what they measured. Nothing here depends on speed."""

import json
from contextlib import nullcontext

import numpy
import pytest
import torch

from benchmarks import replays, scaling, trials
from benchmarks.bare import BareLoop
from benchmarks.floor import operations
from benchmarks.launches import Count, CountedArray, CountTensors, count, count_arrays
from benchmarks.parts import PARTS, time_by_part
from benchmarks.scaling import points
from benchmarks.throughput import rates, speed, table
from benchmarks.timing import PartTimer
from rbc_rllib.economy import GROUPS
from rbc_rllib.experiment import ExperimentConfig
from rbc_rllib.play.randomness import stream_seed
from tests.small import SMALL, build, weights

EVERYONE_LEARNS = SMALL.with_values({"curriculum.staged_training": False, "curriculum.annealed_ranges": False})
ONE_STEP = EVERYONE_LEARNS.with_values(
    {"learning.num_epochs": 1, "learning.num_minibatches": 1, "learning.grad_clip": 0.05}
)


def pair(experiment):
    """`EconomyPPO` and the bare loop with its weights and random numbers."""
    algorithm, loop = build(experiment), BareLoop(experiment)
    for group, state in algorithm.learner_group.get_weights().items():
        loop.modules[group].set_state(state)
    loop.generator.manual_seed(stream_seed(experiment.seed, 0, 0))
    return algorithm, loop


@pytest.mark.usefixtures("ray_on_this_machine")
def test_the_bare_loop_samples_the_rows_that_the_learner_gets():
    algorithm, loop = pair(SMALL)
    theirs = algorithm._sample(env_steps=0)
    for group, columns in loop.sample().items():
        assert set(columns) == set(theirs[group]) - {"action_dist_inputs"}  # read by a KL loss only
        for name, values in columns.items():
            torch.testing.assert_close(values, theirs[group][name], rtol=0, atol=0)
    algorithm.stop()


@pytest.mark.usefixtures("ray_on_this_machine")
def test_the_bare_loop_takes_the_gradient_step_of_the_learner(monkeypatch):
    algorithm, loop = pair(ONE_STEP)
    before = weights(algorithm)
    batch = algorithm._sample(env_steps=0)
    for columns in batch.policy_batches.values():
        logp = columns["action_logp"]
        # As if policies had moved since: ratios from 0.6 to 1.6, so that some are clipped.
        logp += torch.linspace(-0.5, 0.5, logp.numel()).reshape(logp.shape)
    loop.learn(batch.policy_batches)
    monkeypatch.setattr(algorithm, "_sample", lambda env_steps: batch)
    algorithm.training_step()
    after = weights(algorithm)
    for group, module in loop.modules.items():
        theirs = dict(algorithm.learner_group._learner.module[group].unwrapped().named_parameters())
        ours = dict(module.named_parameters())
        norm = torch.cat([parameter.grad.flatten() for parameter in ours.values()]).norm()
        assert norm == pytest.approx(ONE_STEP.learning.grad_clip, rel=1e-4)  # it was clipped
        for name, parameter in ours.items():
            torch.testing.assert_close(parameter.grad, theirs[name].grad, rtol=1e-5, atol=1e-8)
            torch.testing.assert_close(parameter.data, torch.from_numpy(after[group][name]), rtol=0, atol=1e-5)
            assert (after[group][name] != before[group][name]).any()
    algorithm.stop()


@pytest.mark.usefixtures("ray_on_this_machine")
def test_the_bare_loop_takes_as_many_gradient_steps_as_the_learner():
    algorithm, loop = pair(EVERYONE_LEARNS)
    algorithm.training_step()
    loop.iteration()
    learner = algorithm.learner_group._learner
    for group in GROUPS:
        optimizers = [learner.get_optimizer(group), loop.optimizers[group]]
        steps = {int(state["step"]) for optimizer in optimizers for state in optimizer.state.values()}
        assert steps == {EVERYONE_LEARNS.learning.num_epochs * EVERYONE_LEARNS.learning.num_minibatches}
    algorithm.stop()


@pytest.mark.usefixtures("ray_on_this_machine")
def test_every_part_of_an_iteration_is_found_and_functions_are_put_back():
    algorithm = build(EVERYONE_LEARNS)
    before = [getattr(owner, function) for functions in PARTS.values() for owner, function in functions]
    shares = time_by_part(algorithm, iterations=1)
    after = [getattr(owner, function) for functions in PARTS.values() for owner, function in functions]
    assert before == after
    assert sum(shares.values()) == pytest.approx(1)
    assert all(share > 0 for share in shares.values())
    algorithm.stop()


def test_a_part_excludes_the_parts_within_it():
    now = iter([0.0, 1.0, 3.0, 6.0, 10.0, 11.0])
    timer = PartTimer(clock=lambda: next(now))
    with timer.part("outer"), timer.part("inner"):  # at 0 and 1
        pass  # ends at 3 and 6
    with timer.part("inner"):  # 10 to 11, after a pause that belongs to nobody
        pass
    assert timer.seconds == {"outer": 1.0 + 3.0, "inner": 2.0 + 1.0}


def test_operations_equal_a_count_by_hand():
    tiny = ExperimentConfig().with_values(
        {
            "economy.num_consumers": 2,
            "economy.num_firms": 1,
            "economy.episode_length": 1,
            "economy.demand_choices": (0, 1),
            "economy.hours_choices": (0, 260),
            "economy.price_choices": (500, 1000),
            "economy.wage_choices": (22,),
            "economy.tax_choices": (0, 1),
            "learning.economies_per_update": 2,
            "learning.num_epochs": 3,
            "learning.trained_consumers": 1,
            "learning.hidden_sizes": (2, 3),
            "learning.observation_encodings": ("log",),
        }
    )
    # 7 shared numbers; private 2, 4 and 0; options 2 + 2 + 1, 2 and 4. Weights: 7 x 2 shared, private x 2, 2 x 3
    # hidden, 3 x options, 3 x 1 value. Two consumers act, one is trained and valued.
    sampling = (14 + 2 * (4 + 6 + 15) + 3) + (14 + 8 + 6 + 6 + 3) + (14 + 0 + 6 + 12 + 3)
    forward = (14 + 4 + 6 + 15 + 3) + (14 + 8 + 6 + 6 + 3) + (14 + 0 + 6 + 12 + 3)
    to_inputs = (6 + 15 + 3) + (6 + 6 + 3) + (6 + 12 + 3)
    rows, multiply_and_add, epochs = 2, 2, 3
    assert operations(tiny) == {
        "sampling": rows * multiply_and_add * sampling,
        "learning": rows * multiply_and_add * epochs * (2 * forward + to_inputs),
    }


def test_a_ratio_is_the_median_over_rounds_and_a_rate_that_of_the_median_time():
    kinds = ("sampling", "learning", "iteration")
    seconds = {
        "fast": {kind: [1.0, 2.0, 5.0] for kind in kinds},
        "slow": {kind: [4.0, 6.0, 100.0] for kind in kinds},
    }
    assert speed(seconds, "iteration", "fast", "slow") == 4.0  # of 4, 3 and 20
    assert rates(seconds, steps=300)["slow"]["learning"] == 50.0


def test_tables_are_aligned():
    rows = {"stock RLlib": {"sampling": 12_345.6, "iteration": 5_000.0}, "ours": {"sampling": 2e6, "iteration": 1.4}}
    assert table("per second", rows) == (
        "per second     sampling   iteration\n"
        "stock RLlib      12,346       5,000\n"
        "ours          2,000,000           1\n"
    )
    assert table("share", {"part": {"": 0.256}}, ".1%") == "share            \npart        25.6%\n"


def test_scaling_covers_its_ranges():
    axes = points(quick=False)
    for axis, low, high in (("consumers", 100, 10_000), ("firms", 10, 100), ("economies", 1, 1024)):
        values = [point[axis] for point in axes[axis]]
        assert (min(values), max(values)) == (low, high)
    assert len(points(quick=True)["firms"]) == 2


@pytest.mark.usefixtures("ray_on_this_machine")
@pytest.mark.slow
def test_two_processes_are_compared_with_one_in_turn(monkeypatch):
    asked = []

    def in_proportion_to_economies(measured):
        def watch(algorithm):
            seconds = measured(algorithm)

            def of_one_or_two() -> float:
                assert seconds() > 0
                config = algorithm.config
                each = config.env_config["num_envs"]
                asked.append((config.num_env_runners, config.num_learners, each))
                return each * max(1, config.num_env_runners) / max(asked[-1][:2])

            return of_one_or_two

        return watch

    monkeypatch.setattr(scaling, "ray_of_our_own", nullcontext)
    monkeypatch.setattr(scaling, "BASE", scaling.BASE | {"consumers": 4, "firms": 2})
    monkeypatch.setattr(scaling, "ECONOMIES_OF_PROCESSES", 4)
    processes = {
        several: {name: in_proportion_to_economies(measured) for name, measured in works.items()}
        for several, works in scaling.PROCESSES.items()
    }
    monkeypatch.setattr(scaling, "PROCESSES", processes)
    assert scaling.measure_processes(repeats=2) == {
        "two_runners_sampling": 2.0,
        "two_runners_playing": 2.0,
        "two_runners_sampling_each": 2.0,
        "two_runners_playing_each": 2.0,
        "two_learners_learning": 2.0,
        "two_learners_learning_each": 2.0,
    }
    turns = [(1, 0, 4), (2, 0, 2)] * 4 + [(1, 0, 4), (2, 0, 4)] * 4  # of two works, in two rounds
    turns += [(0, 1, 4), (0, 2, 4)] * 2 + [(0, 1, 4), (0, 2, 8)] * 2
    assert asked == [turn for turn in turns for _ in range(2)]


def test_operations_on_arrays_and_their_bytes_are_counted_and_views_are_free():
    x = numpy.ones((2, 3), numpy.float32).view(CountedArray)
    with count_arrays() as counted:
        y = x * 2.0 + numpy.ones(3, numpy.float32)  # ones, product, sum
        numpy.sum(y.T[1:], axis=0)
        numpy.where(y > 0, y.astype(numpy.float64), 0.0)  # comparison, conversion, choice
    assert isinstance(y, CountedArray)
    ones, product, total = 12, 24 + 24, 24 + 12 + 24
    axis_sum = 16 + 8
    assert counted == Count(7, ones + product + total + axis_sum + (24 + 6) + (24 + 48) + (6 + 48 + 48))
    assert numpy.ones(1).nbytes == 8  # put back
    assert counted.launches == 7


def test_operations_on_tensors_are_counted_with_those_of_the_backward_pass():
    x = torch.ones(2, 3, requires_grad=True)
    with CountTensors() as counted:
        (x * x).T.sum(0)
    assert counted.count == Count(2, (24 + 24 + 24) + (24 + 8))
    forward = counted.count.launches
    with CountTensors() as counted:
        (x * x).T.sum(0).sum().backward()
    assert counted.count.launches > forward + 2
    y = torch.ones(4)
    with CountTensors() as counted:
        y.add_(1.0)
    assert counted.count.launches == 1


def test_launches_do_not_grow_with_the_economies_but_bytes_do(monkeypatch):
    monkeypatch.setattr("rbc_rllib.play.rollout.AGENTS_AT_ONCE", 1)  # on this CPU, but not on the GPU
    few, many = (count(EVERYONE_LEARNS.with_values({"learning.economies_per_update": n})) for n in (8, 16))
    for part in few:
        assert few[part].launches == many[part].launches > 0
        assert few[part].bytes < many[part].bytes < 2.1 * few[part].bytes


@pytest.mark.usefixtures("ray_on_this_machine")
def test_the_cost_of_trials_is_told_of_both_sides_and_of_every_callback(monkeypatch, capsys, tmp_path):
    monkeypatch.setattr(replays, "ray_of_our_own", nullcontext)
    monkeypatch.setattr(trials, "alone", lambda function, *arguments: function(*arguments))
    trials.main(["--trials", "2", "--reports", "3", "--json", str(tmp_path / "trials.json")])
    printed, record = capsys.readouterr().out, json.loads((tmp_path / "trials.json").read_text())
    assert "2 trials with 3 reports and a checkpoint each" in printed
    assert {*record["seconds"]} == {*record["megabytes"]} == {"bare", "ours"}
    ours = record["milliseconds"]
    assert {*trials.PARTS} < ours.keys()
    assert all(name in printed for name in ours)
    reporting = [name for name, row in ours.items() if row["a report"] > 0]
    assert {"ProgressFile", "TensorBoard", "Interruption"} < {*reporting}
    assert all(sum(row.values()) > 0 for row in ours.values())
    assert record["snapshot_kilobytes_a_trial"] > 0
