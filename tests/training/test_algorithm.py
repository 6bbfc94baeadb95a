"""`EconomyPPO`: weights reach every runner, a seed gives the same numbers, a restored run goes on, NaN ends it."""

import copy
import math
import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import ray
import torch
import tree
from ray.exceptions import RayActorError
from ray.rllib.core.columns import Columns
from torch.utils._python_dispatch import TorchDispatchMode

from rbc_rllib import arrays
from rbc_rllib.economy import GROUPS
from rbc_rllib.experiment import ExperimentConfig
from rbc_rllib.play.numerics import NumericsError
from rbc_rllib.runs.trial import Trial
from rbc_rllib.training import batch as batches
from rbc_rllib.training import env_runner
from rbc_rllib.training.checkpoints import weights_hash
from rbc_rllib.training.config import algorithm_config
from rbc_rllib.training.rllib_internals import (
    MultiAgentBatch,
    Postprocessing,
    SampleBatch,
    set_entropy_coefficient,
)
from tests.small import SMALL, build, changed, weights

pytestmark = pytest.mark.usefixtures("ray_on_this_machine")

REPOSITORY = Path(__file__).parents[2]
NOT_REPRODUCIBLE = ("time", "date", "timestamp", "pid", "agent_steps_per_second", "seconds_left", "iterations_since")


def reported(result: dict, prefix: str = "") -> dict:
    """The flat part of a trial's report that a seed determines."""
    flat = {}
    for key, value in result.items():
        if isinstance(value, dict):
            flat |= reported(value, f"{prefix}{key}/")
        elif not any(word in key for word in NOT_REPRODUCIBLE):
            flat[prefix + key] = None if value != value else value  # NaN where a group does not learn yet
    return flat


def trial(values: dict | None = None) -> Trial:
    return Trial({"experiment": SMALL.model_dump(mode="json"), "values": values or {}})


def hashes_of(weights) -> dict[str, str]:
    return {policy: weights_hash(state) for policy, state in weights.items()}


def single_updates(runners: int, learners: int) -> ExperimentConfig:
    """So many processes, and an update in each iteration."""
    resources = {"resources.num_env_runners": runners, "resources.num_learners": learners}
    return SMALL.with_values(resources | {"learning.updates_per_iteration": 1})


@pytest.mark.parametrize(("runners", "learners"), [(0, 0), (1, 1), (2, 2)])
def test_new_weights_reach_every_runner_in_each_iteration(runners, learners, request):
    if shared := (runners, learners) == (2, 2):
        algorithm = request.getfixturevalue("distributed")
    else:
        algorithm = build(single_updates(runners, learners))
    hashes, begun = [], algorithm.env_steps
    for _ in range(3):
        acting_next = hashes_of(algorithm.learner_group.get_weights())
        result = algorithm.train()
        acted = algorithm.env_runner_group.foreach_env_runner(
            lambda runner: runner.weights_hashes(), local_env_runner=runners == 0
        )
        assert acted == [acting_next] * max(1, runners)
        hashes.append(acting_next)
        assert math.isfinite(result["learners"]["consumer"]["total_loss"])
        sampled = result["num_env_steps_sampled_lifetime"] - begun
        assert sampled == len(hashes) * single_updates(runners, learners).env_steps_per_update
    assert len({each["consumer"] for each in hashes}) == 3
    if learners == 2:
        answers = algorithm.learner_group.foreach_learner(lambda learner: hashes_of(learner.module.get_state()))
        one, other = (answer.get() for answer in answers)
        assert one == other
    if not shared:
        algorithm.stop()


WAITING = {f"aten::{name}" for name in ("_local_scalar_dense", "is_nonzero", "nonzero", "index", "equal")}


class NoWaiting(TorchDispatchMode):
    """Forbids what would make a GPU wait for the host: scalars that are read, shapes that depend on values."""

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        name = function._schema.name
        assert name not in WAITING, name
        return function(*args, **(kwargs or {}))


@pytest.mark.parametrize("read", [lambda x: x.item(), lambda x: bool(x.any()), lambda x: x[x > 0], torch.nonzero])
def test_waiting_would_be_noticed(read):
    with NoWaiting(), pytest.raises(AssertionError, match="aten::"):
        read(torch.ones(1))


def test_nothing_passes_through_the_host_between_economy_and_learner(monkeypatch):
    """All that lies between, with the learner in the runner's process: bridge, networks, advantages, batch."""
    algorithm = build()
    runner = algorithm.env_runner

    def forbidden(*_):
        pytest.fail("an array was brought to the host")

    for module in (batches, arrays):
        monkeypatch.setattr(module, "to_numpy", forbidden)
    for method in ("numpy", "cpu", "tolist", "__array__"):
        monkeypatch.setattr(torch.Tensor, method, forbidden)
    monkeypatch.setattr(runner, "_log", lambda *_: None)  # the indicators, which are brought there in one transfer
    with NoWaiting():
        (batch,) = runner.sample(env_steps=0)
    monkeypatch.undo()
    leaves = tree.flatten({group: dict(columns) for group, columns in batch.policy_batches.items()})
    assert leaves
    assert all(isinstance(leaf, torch.Tensor) for leaf in leaves)
    algorithm.stop()


@pytest.mark.parametrize(
    ("resources", "expected"),
    [
        ({"num_gpus_per_learner": 1}, [1]),  # one process, one GPU: economy, runner and learner share it
        ({"num_gpus_per_learner": 1, "num_learners": 1}, [0]),
        ({"num_gpus_per_env_runner": 0.5, "num_env_runners": 2, "num_gpus_per_learner": 1}, [0, 0.5]),
    ],
)
def test_runners_get_the_gpus_that_are_meant_for_them(resources, expected, monkeypatch):
    asked = []
    monkeypatch.setattr(env_runner, "get_device", lambda config, gpus: asked.append(gpus) or torch.device("cpu"))
    config = algorithm_config(SMALL.with_values({f"resources.{key}": value for key, value in resources.items()}))
    for index in range(len(expected)):
        env_runner.BatchedEnvRunner(config=config, worker_index=index)
    assert asked == expected


@pytest.fixture(scope="module")
def distributed():
    """An algorithm with two remote runners and two remote learners, of which the tests here leave less and less."""
    algorithm = build(single_updates(2, 2))
    algorithm.train()
    yield algorithm
    algorithm.stop()


def test_what_a_remote_runner_raises_is_raised(distributed):
    """RLlib would end its process and tell of that alone."""

    def spoil(runner):
        runner.real_load, runner._load = runner._load, fail

    def mend(runner):
        runner._load = runner.real_load

    runners = distributed.env_runner_group
    runners.foreach_env_runner(spoil, remote_worker_ids=[1], local_env_runner=False)
    with pytest.raises(FloatingPointError, match="as planned"):
        distributed.train()
    runners.foreach_env_runner(mend, remote_worker_ids=[1], local_env_runner=False)
    distributed.train()


def test_training_does_not_go_on_without_a_runner_that_died(distributed):
    """The other would play on, and a new one would come later: the numbers would be others, in silence."""
    (victim,) = distributed.env_runner_group.foreach_env_runner(pid, remote_worker_ids=[1], local_env_runner=False)
    steps = distributed.env_steps
    os.kill(victim, signal.SIGKILL)
    with pytest.raises(RayActorError, match="class_name: BatchedEnvRunner"):
        distributed.train()
    assert distributed.env_steps == steps


def test_no_update_is_made_without_a_learner_that_died(distributed):
    """Even where it died between two updates and RLlib has taken note of it in silence."""
    (victim,) = [answer.get() for answer in distributed.learner_group.foreach_learner(pid, remote_actor_ids=[1])]
    os.kill(victim, signal.SIGKILL)
    distributed.learner_group.foreach_learner(pid)
    for _ in range(2):
        with pytest.raises(RayActorError, match=r"class_name: (?!BatchedEnvRunner)"):
            distributed.train()


def pid(_) -> int:
    return os.getpid()


def fail(_) -> None:
    raise FloatingPointError("as planned")


def test_a_seed_reproduces_every_metric_and_another_seed_does_not():
    results = []
    for seed in (3, 3, 4):
        one = trial({"seed": seed})
        results.append([reported(one.train()) for _ in range(3)])
        one.stop()
    assert results[0] == results[1]
    assert results[0] != results[2]


def test_a_seed_gives_the_same_weights_in_every_process():
    """Whatever order Python's hash seed gives to sets of strings; all in the Ray of the tests."""
    program = (
        "from tests.small import build, weights; from rbc_rllib.training.checkpoints import weights_hash;"
        "print(*(weights_hash(state) for state in weights(build()).values()))"
    )
    hashes = {
        subprocess.run(
            [sys.executable, "-c", program],
            env=os.environ | {"PYTHONHASHSEED": seed, "RAY_ADDRESS": ray.get_runtime_context().gcs_address},
            cwd=REPOSITORY,
            capture_output=True,
            text=True,
            check=True,
        ).stdout.splitlines()[-1]
        for seed in ("1", "2")
    }
    assert len(hashes) == 1


MAGNET = {"refinement.magnet_coeff": 0.3}
SETTLING = {"planner.mode": "schedule", "curriculum.plan_settling_start": 0.3, "curriculum.plan_settling_end": 0.9}


@pytest.mark.parametrize(("split", "own"), [(3, {}), (7, MAGNET), (5, SETTLING)], ids=["3", "7, magnet", "5, schedule"])
def test_a_restored_run_equals_one_in_one_go(tmp_path, split, own):
    """Over stages' boundaries, with firms in debt, so that the penalty moves; while a plan settles; with magnets."""
    values = {"economy.initial_firm_budget": 0.0, "curriculum.debt_penalty_step": 1e-3} | own
    whole = trial(values)
    expected = [reported(whole.train()) for _ in range(10)]
    expected_weights = weights(whole)
    expected_optimizers = copy.deepcopy(whole.learner_group._learner._get_optimizer_state())
    whole.stop()

    first = trial(values)
    halves = [reported(first.train()) for _ in range(split)]
    first.save_checkpoint(str(tmp_path))
    first.stop()
    second = trial(values)
    second.load_checkpoint(str(tmp_path))
    halves += [reported(second.train()) for _ in range(10 - split)]

    assert halves == expected
    assert expected[-1]["curriculum/penalty_coefficient"] > 0
    assert len({report["curriculum_stage"] for report in expected}) >= 3
    assert changed(expected_weights, weights(second)) == set()
    optimizers = second.learner_group._learner._get_optimizer_state()
    tree.map_structure(np.testing.assert_array_equal, optimizers, expected_optimizers)
    second.stop()


def test_frozen_groups_stay_bitwise_the_same_until_their_stage():
    algorithm = build()
    trained = []
    for _ in range(10):
        before = weights(algorithm)
        groups = set(SMALL.curriculum.at(algorithm.env_steps).trainable_groups)
        algorithm.train()
        assert changed(before, weights(algorithm)) == groups
        trained.append(groups)
    assert trained[0] == {"consumer"}
    assert trained[-1] == set(GROUPS)
    algorithm.stop()


def batch_and_loss_inputs(algorithm):
    (batch,) = algorithm.env_runner.sample(env_steps=0)
    return batch


def test_rows_with_an_inner_agent_axis_give_the_gradient_of_rows_of_single_agents():
    """The stock learner's loss is elementwise: it does not care what a row is."""
    inner, flat = build(), build()
    batch = batch_and_loss_inputs(inner)
    rows = {}
    for group, columns in batch.policy_batches.items():
        agents = columns[Postprocessing.ADVANTAGES].shape[1]
        observation = columns[Columns.OBS]
        spread = {"shared": observation["shared"].repeat_interleave(agents, 0)}
        if group != "planner":
            spread["private"] = observation["private"].flatten(0, 1)
        if "action_mask" in observation:
            spread["action_mask"] = observation["action_mask"].repeat_interleave(agents, 0)
        others = {name: value.flatten(0, 1) for name, value in columns.items() if name != Columns.OBS}
        rows[group] = SampleBatch({Columns.OBS: spread, **others})
    for algorithm, one_batch in ((inner, batch), (flat, MultiAgentBatch(rows, env_steps=batch.env_steps()))):
        learner = algorithm.learner_group._learner
        learner.trained_policies = GROUPS
        forward = learner.module.forward_train(one_batch.policy_batches)
        losses = learner.compute_losses(fwd_out=forward, batch=one_batch.policy_batches)
        learner.compute_gradients(losses)
    pairs = zip(
        inner.learner_group._learner._params.values(), flat.learner_group._learner._params.values(), strict=True
    )
    for one, other in pairs:
        torch.testing.assert_close(one.grad, other.grad, rtol=1e-4, atol=1e-6)
    inner.stop()
    flat.stop()


def test_policy_gradient_is_one_unclipped_pass_over_the_batch():
    """Its first step is the gradient of -mean(advantage * logp), not clipped, whatever the clip parameter."""
    algorithm = build(SMALL.with_values({"learning.algorithm": "policy_gradient", "learning.value_loss_coeff": 0.0}))
    config = algorithm.config
    assert (config.num_epochs, config.minibatch_size) == (1, None)
    assert config.experiment.learning.passes == 1 < config.experiment.learning.num_epochs
    learner = algorithm.learner_group._learner
    set_entropy_coefficient(learner, "consumer", 0.0)
    batch = batch_and_loss_inputs(algorithm).policy_batches
    consumers = {"consumer": batch["consumer"]}
    learner.compute_gradients(learner.compute_losses(fwd_out=learner.module.forward_train(consumers), batch=consumers))
    module = learner.module["consumer"].unwrapped()
    got = {name: p.grad.clone() for name, p in module.named_parameters() if p.grad is not None}
    module.zero_grad()
    forward = module.forward_train(batch["consumer"])
    distribution = module.get_train_action_dist_cls().from_logits(forward[Columns.ACTION_DIST_INPUTS])
    logp = distribution.logp(batch["consumer"][Columns.ACTIONS])
    (-(batch["consumer"][Postprocessing.ADVANTAGES] * logp).mean()).backward()
    wanted = {name: p.grad for name, p in module.named_parameters() if p.grad is not None}
    for name in wanted:
        torch.testing.assert_close(got[name], wanted[name], rtol=1e-4, atol=1e-7)
    before = weights(algorithm)
    algorithm.train()
    assert "consumer" in changed(before, weights(algorithm))
    algorithm.stop()


@pytest.mark.parametrize("group", GROUPS)
def test_nan_in_a_group_stops_training_and_is_named(group):
    algorithm = build(SMALL.with_values({"curriculum.staged_training": False}))
    algorithm.train()

    def spoil(learner):
        with torch.no_grad():
            learner.module[group].unwrapped().value_head.weight[0, 0] = float("nan")

    algorithm.learner_group.foreach_learner(spoil)
    with pytest.raises(NumericsError, match=rf"^{group}: .* is not finite .* after 96 env steps"):
        algorithm.train()
    algorithm.stop()


@pytest.mark.parametrize("where", ["loss", "gradient"])
def test_nan_in_the_last_update_of_an_iteration_stops_training(where, monkeypatch):
    """RLlib leaves it out of the iteration's means, and of the norm of the gradient."""
    once = {"learning.num_epochs": 1, "learning.num_minibatches": 1}  # no loss follows the last gradient
    algorithm = build(SMALL.with_values({"curriculum.staged_training": False, **once}))
    algorithm.train()
    sample, layer = algorithm._sample, algorithm.learner_group._learner.module["firm"].unwrapped().value_head

    def spoiled(env_steps):
        batch = sample(env_steps)
        if env_steps == 96:
            with torch.no_grad():
                if where == "loss":
                    layer.weight[0, 0] = float("nan")
                else:
                    layer.weight.register_hook(lambda gradient: gradient * float("nan"))
        return batch

    monkeypatch.setattr(algorithm, "_sample", spoiled)
    name = {"loss": "total_loss", "gradient": r"value_head\.weight"}[where]
    with pytest.raises(NumericsError, match=rf"^firm: {name} is not finite .* after 128 env steps"):
        algorithm.train()
    algorithm.stop()


def test_an_economy_that_leaves_the_finite_numbers_stops_training():
    with np.errstate(all="ignore"):
        exploding = SMALL.with_values({"economy.total_factor_productivity": 1e38, "economy.num_firms": 2})
        algorithm = build(exploding)
        with pytest.raises(NumericsError, match=r"^(consumer|firm|planner): \w+ is not finite \(quarter \d"):
            algorithm.train()
    algorithm.stop()


def test_consumers_in_a_batch_are_as_many_as_asked_for():
    for wanted, kept in ((2, 2), (None, 6), (50, 6)):
        algorithm = build(SMALL.with_values({"learning.trained_consumers": wanted}))
        (batch,) = algorithm.env_runner.sample(env_steps=0)
        assert batch.policy_batches["consumer"][Postprocessing.ADVANTAGES].shape == (32, kept)
        assert batch.policy_batches["firm"][Postprocessing.ADVANTAGES].shape == (32, 3)
        assert batch.policy_batches["planner"][Postprocessing.ADVANTAGES].shape == (32, 1)
        assert batch.env_steps() == 32
        algorithm.stop()
