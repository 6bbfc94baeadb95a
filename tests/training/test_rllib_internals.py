"""What `rllib_internals` relies on: each test fails when Ray changes what it is about."""

import inspect
import json
import math
import signal

import pytest
import torch
from ray import tune
from ray.rllib.algorithms.ppo.torch import ppo_torch_learner
from ray.rllib.core.columns import Columns
from ray.rllib.core.learner import learner as rllib_learner
from ray.rllib.core.learner import learner_group as rllib_learner_group
from ray.rllib.utils.metrics import ENV_RUNNER_RESULTS, LEARNER_RESULTS
from ray.tune.experimental.output import AirVerbosity, get_air_verbosity

from callbacks import curriculum_callbacks
from rbc_rllib.economy import GROUPS
from rbc_rllib.play.vector_economy import VectorEconomy
from rbc_rllib.training.config import stock_config
from rbc_rllib.training.learner import EconomyLearner
from rbc_rllib.training.metric_keys import ECONOMY, GRADIENT_NORM, LEARNING, PENALTY_INCREASE, TOTAL_LOSS
from rbc_rllib.training.rllib_internals import (
    MultiAgentBatch,
    Postprocessing,
    SampleBatch,
    concat_samples,
    economies_of,
    end_tune_gracefully,
    forget_statistics,
    give_callbacks,
    has_snapshot,
    leave_interrupts_to_us,
    quiet,
    set_entropy_coefficient,
    state_file,
)
from tests.small import SMALL, build
from tests.training.counting import Counting

EVERYONE_LEARNS = SMALL.with_values({"curriculum.staged_training": False, "curriculum.annealed_ranges": False})


@pytest.fixture
def algorithm(ray_on_this_machine):
    built = build(EVERYONE_LEARNS)
    yield built
    built.stop()


# Minibatches


def gradient_steps(algorithm) -> set[int]:
    """Of all parameters since the beginning."""
    learner = algorithm.learner_group._learner
    optimizers = [learner.get_optimizer(policy) for policy in GROUPS]
    return {int(state["step"]) for optimizer in optimizers for state in optimizer.state.values()}


def test_an_update_asks_us_for_its_minibatches(algorithm, monkeypatch):
    """Once, for the whole batch on the learner's device, with the numbers that `update` was given."""
    asked = []
    ours = EconomyLearner.minibatches

    def minibatches(self, batch, size, **numbers):
        asked.append((batch, size, numbers))
        return ours(self, batch, size, **numbers)

    monkeypatch.setattr(EconomyLearner, "minibatches", minibatches)
    (batch,) = algorithm.env_runner.sample(env_steps=0)
    algorithm.learner_group.update(
        batch=batch, minibatch_size=16, num_epochs=2, num_total_minibatches=3, shuffle_seed=7, timesteps={}
    )
    ((given, size, numbers),) = asked
    assert (size, numbers) == (16, {"num_epochs": 2, "count": 3, "seed": 7})
    assert given.env_steps() == 32
    assert gradient_steps(algorithm) == {3}
    for policy, columns in batch.policy_batches.items():
        torch.testing.assert_close(given[policy][Columns.ACTIONS], columns[Columns.ACTIONS], rtol=0, atol=0)
        torch.testing.assert_close(given[policy][Columns.OBS]["shared"], columns[Columns.OBS]["shared"])


def test_without_a_total_an_update_takes_the_minibatches_of_all_epochs(algorithm):
    (batch,) = algorithm.env_runner.sample(env_steps=0)
    algorithm.learner_group.update(batch=batch, minibatch_size=10, num_epochs=3, timesteps={})
    assert gradient_steps(algorithm) == {3 * math.ceil(32 / 10)}


def test_without_a_size_an_update_takes_the_whole_batch_once_an_epoch(algorithm, monkeypatch):
    monkeypatch.setattr(EconomyLearner, "minibatches", lambda *_, **__: pytest.fail("no minibatches were asked for"))
    (batch,) = algorithm.env_runner.sample(env_steps=0)
    algorithm.learner_group.update(batch=batch, minibatch_size=None, num_epochs=1, timesteps={})
    assert gradient_steps(algorithm) == {1}


def test_policies_that_do_not_learn_are_in_no_minibatch(algorithm, monkeypatch):
    asked = []
    ours = EconomyLearner.minibatches

    def minibatches(self, batch, size, **numbers):
        asked.append(set(batch.policy_batches))
        return ours(self, batch, size, **numbers)

    monkeypatch.setattr(EconomyLearner, "minibatches", minibatches)
    algorithm.learner_group._learner.trained_policies = ("firm",)
    (batch,) = algorithm.env_runner.sample(env_steps=0)
    algorithm.learner_group.update(batch=batch, minibatch_size=16, num_epochs=1, timesteps={})
    assert asked == [{"firm"}]


# Entropy


def test_the_entropy_coefficient_that_is_set_is_the_one_in_the_loss(algorithm):
    learner = algorithm.learner_group._learner
    (batch,) = algorithm.env_runner.sample(env_steps=0)
    forward = learner.module.forward_train(batch.policy_batches)

    def losses(coefficient: float) -> dict[str, float]:
        for policy in GROUPS:
            set_entropy_coefficient(learner, policy, coefficient)
        found = learner.compute_losses(fwd_out=forward, batch=batch.policy_batches)
        return {policy: loss.item() for policy, loss in found.items()}

    low, high = losses(0.1), losses(0.7)
    for policy in GROUPS:
        distributions = learner.module[policy].unwrapped().get_train_action_dist_cls()
        entropy = distributions.from_logits(forward[policy][Columns.ACTION_DIST_INPUTS]).entropy().mean().item()
        assert entropy > 1
        assert high[policy] - low[policy] == pytest.approx(-(0.7 - 0.1) * entropy, rel=1e-4)


# Environments


def test_economies_of_the_batched_runner_are_those_that_it_plays(algorithm):
    runner = algorithm.env_runner
    assert list(economies_of(runner)) == [runner.env.economy]
    runner.stop()
    assert list(economies_of(runner)) == []


def test_economies_of_rllibs_runner_are_those_that_it_plays(ray_on_this_machine):
    experiment = EVERYONE_LEARNS.with_values({"economy.num_consumers": 2, "learning.economies_per_update": 2})
    config = stock_config(experiment, curriculum_callbacks(experiment)).env_runners(num_envs_per_env_runner=2)
    algorithm = config.build_algo()
    runner = algorithm.env_runner
    economies = list(economies_of(runner))
    assert len(economies) == len({id(economy) for economy in economies}) == 2
    assert all(isinstance(economy, VectorEconomy) for economy in economies)
    assert [economy.quarter for economy in economies] == [0, 0]
    runner.sample(num_timesteps=2)
    assert [economy.quarter for economy in economies] == [1, 1]
    algorithm.stop()


# The old stack's batches


def test_the_learner_knows_our_batches():
    assert rllib_learner.MultiAgentBatch is rllib_learner_group.MultiAgentBatch is MultiAgentBatch
    assert "batch" in inspect.signature(rllib_learner.Learner.update).parameters
    assert "batch" in inspect.signature(rllib_learner_group.LearnerGroup.update).parameters


def test_the_loss_reads_our_columns():
    assert ppo_torch_learner.Postprocessing is Postprocessing
    source = inspect.getsource(ppo_torch_learner.PPOTorchLearner.compute_loss_for_module)
    for column in ("Postprocessing.ADVANTAGES", "Postprocessing.VALUE_TARGETS", "Columns.ACTION_LOGP"):
        assert column in source


def test_batches_are_joined_one_after_the_other():
    def batch(first: int, last: int) -> MultiAgentBatch:
        numbers = torch.arange(first, last)
        columns = {Columns.ACTIONS: numbers, Columns.OBS: {"private": numbers[:, None]}}
        return MultiAgentBatch({"firm": SampleBatch(columns)}, env_steps=last - first)

    joined = concat_samples([batch(0, 3), batch(3, 5)])
    assert joined.env_steps() == 5
    assert torch.as_tensor(joined["firm"][Columns.ACTIONS]).tolist() == [0, 1, 2, 3, 4]
    assert torch.as_tensor(joined["firm"][Columns.OBS]["private"]).tolist() == [[0], [1], [2], [3], [4]]


# Metrics


def test_the_metrics_that_reports_and_checks_read_are_there(algorithm):
    algorithm.train()
    result = algorithm.train()
    for policy in GROUPS:
        learner = result[LEARNER_RESULTS][policy]
        for key in (TOTAL_LOSS, GRADIENT_NORM, *LEARNING):
            assert math.isfinite(float(learner[key])), (policy, key)
    assert math.isfinite(result[ENV_RUNNER_RESULTS][ECONOMY]["social_welfare"])
    assert result[PENALTY_INCREASE] == 0  # no firm has debts yet


# Tune


class EndAfterTwo(tune.Callback):
    """Ends the run when 2 is saved, and notes who gets a Ctrl-C."""

    handlers = []  # noqa: RUF012 (a restored run has a copy)

    def on_trial_save(self, iteration, trials, trial, **_):
        if trial.last_result["count"] == 2:
            self.handlers.append(signal.getsignal(signal.SIGINT))
            end_tune_gracefully()


class Heard(tune.Callback):
    """Notes what is reported."""

    def __init__(self):
        self.counts = []

    def on_trial_result(self, iteration, trials, trial, result, **_):
        self.counts.append(result["count"])


class StopAtTwo(tune.Stopper):
    def __call__(self, trial_id, result):
        return result["count"] >= 2

    def stop_all(self):
        return False


@pytest.fixture
def tuner(ray_on_this_machine, tmp_path, monkeypatch):
    """Makes a Tune run of one counting trial, or restores it."""
    monkeypatch.setenv("TUNE_DISABLE_SIGINT_HANDLER", "0")
    monkeypatch.setenv("RAY_AIR_NEW_OUTPUT", "0")
    folder = tmp_path / "counting"
    previous = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGUSR1)}

    def make(**settings) -> tune.Tuner:
        if not settings:
            return tune.Tuner.restore(str(folder), Counting, resume_unfinished=True)
        config = tune.RunConfig(name=folder.name, storage_path=str(tmp_path), verbose=0, **settings)
        return tune.Tuner(Counting, run_config=config)

    yield make, folder
    for number, handler in previous.items():
        signal.signal(number, handler)


def test_a_run_that_we_end_can_be_resumed_and_a_ctrl_c_is_ours(tuner):
    make, folder = tuner
    leave_interrupts_to_us()
    ours = lambda *_: None  # noqa: E731
    signal.signal(signal.SIGINT, ours)
    begun = make(callbacks=[EndAfterTwo()])
    assert tune.Tuner.can_restore(str(folder))
    assert not has_snapshot(folder)  # from what is there nothing can be restored
    (ended,) = begun.fit()
    assert ended.metrics["count"] == 2
    assert EndAfterTwo.handlers == [ours]
    assert has_snapshot(folder)
    restored, heard = make(), Heard()
    give_callbacks(restored, [heard])  # beside the one that was pickled
    (resumed,) = restored.fit()
    assert resumed.error is None
    assert heard.counts == [3, 4]


def test_a_run_that_a_stopper_ends_is_not_resumed(tuner):
    """Were it otherwise, no signal would be needed."""
    make, _ = tuner
    (stopped,) = make(stop=StopAtTwo()).fit()
    assert stopped.metrics["count"] == 2
    (resumed,) = make().fit()
    assert resumed.metrics["count"] == 2


class Forget(tune.Callback):
    """Forgets the statistics of what has ended, and notes those there were."""

    statistics = []  # noqa: RUF012 (a run has a copy)

    def on_trial_complete(self, iteration, trials, trial, **_):
        self.statistics.append((dict(trial.metric_analysis), dict(trial.metric_n_steps)))
        forget_statistics(trial)


def test_a_trial_that_has_ended_leaves_its_result_in_snapshots_and_no_statistics(tuner):
    make, folder = tuner
    (ended,) = make(callbacks=[Forget()]).fit()
    extremes, last = Forget.statistics.pop()
    assert extremes["count"]["max"] == 4
    assert list(last["count"]["5"]) == [1, 2, 3, 4]
    assert ended.metrics["count"] == 4
    (snapshot,) = folder.glob("experiment_state-*.json")
    ((_, kept),) = json.loads(snapshot.read_text())["trial_data"]
    assert json.loads(kept)["last_result"]["count"] == 4
    assert json.loads(kept)["metric_analysis"] == json.loads(kept)["metric_n_steps"] == {}


class LookAtState(tune.Callback):
    """Notes the run's state as the driver has it after each event, and how many reports there were."""

    seen = []  # noqa: RUF012 (a run has a copy)
    reports = 0

    def on_trial_result(self, **_):
        type(self).reports += 1

    def on_step_end(self, iteration, trials, **_):
        if trials:
            self.seen.append((state_file(trials[0]).read_text(), self.reports))


def test_the_state_of_a_run_is_whole_and_new_when_callbacks_are_called(tuner, monkeypatch):
    monkeypatch.setenv("TUNE_GLOBAL_CHECKPOINT_S", "0")  # after each event
    make, folder = tuner
    make(callbacks=[EndAfterTwo()]).fit()
    earlier, LookAtState.reports = state_names(folder), 2
    restored = make()
    give_callbacks(restored, [LookAtState()])
    restored.fit()
    assert {reports for _, reports in LookAtState.seen} == {2, 3, 4}
    for text, reports in LookAtState.seen:
        ((_, kept),) = json.loads(text)["trial_data"]
        assert json.loads(kept)["last_result"]["count"] == reports
    assert len(state_names(folder) - earlier) == 1  # each start has its own, the newest has the last name
    assert max(state_names(folder)) not in earlier


def state_names(folder) -> set[str]:
    return {path.name for path in folder.glob("experiment_state-*.json")}


def test_tunes_own_tables_are_off(monkeypatch):
    monkeypatch.setenv("RAY_AIR_NEW_OUTPUT", "1")
    assert get_air_verbosity(AirVerbosity.DEFAULT) is not None
    quiet()
    assert get_air_verbosity(AirVerbosity.DEFAULT) is None
