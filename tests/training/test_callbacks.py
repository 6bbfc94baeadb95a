"""The curriculum's way to environments, learners and checkpoints, through our algorithm and through RLlib's own."""

import math

import pytest

from callbacks import PenaltyAnnealing, curriculum_callbacks
from rbc_rllib.curriculum import SETTLED
from rbc_rllib.economy import GROUPS
from rbc_rllib.runs.trial import Trial
from rbc_rllib.training.algorithm import lifetime_env_steps
from rbc_rllib.training.config import algorithm_config, stock_config
from rbc_rllib.training.env_runner import BatchedEnvRunner
from rbc_rllib.training.rllib_internals import economies_of
from tests.small import SMALL, build, changed, weights

pytestmark = pytest.mark.usefixtures("ray_on_this_machine")

STOCK = SMALL.with_values({"economy.num_consumers": 2, "learning.economies_per_update": 2})
"""8 env steps an iteration of RLlib's own PPO."""


def build_stock():
    return stock_config(STOCK, curriculum_callbacks(STOCK)).build_algo()


def coefficients_in_the_loss(algorithm) -> dict[str, float]:
    schedulers = algorithm.learner_group._learner.entropy_coeff_schedulers_per_module
    return {group: schedulers[group].get_current_value() for group in GROUPS}


SETTLING = {"planner.mode": "schedule", "curriculum.plan_settling_start": 0.0, "curriculum.plan_settling_end": 0.5}


def sharpness_of(algorithm) -> list[float]:
    """Of all economies."""
    found = algorithm.env_runner_group.foreach_env_runner(lambda r: [e.plan_sharpness for e in economies_of(r)])
    return [each for runner in found for each in runner]


@pytest.mark.parametrize("stock", [False, True], ids=["ours", "stock"])
def test_the_sharpness_of_plans_reaches_all_economies_and_evaluations_see_settled_ones(stock):
    if stock:
        experiment = STOCK.with_values(
            SETTLING | {"curriculum.total_env_steps": 560, "learning.economies_per_update": 14}
        )
        algorithm = stock_config(experiment, curriculum_callbacks(experiment)).build_algo()
    else:
        experiment = SMALL.with_values(SETTLING | {"resources.num_env_runners": 2})
        algorithm = build(experiment)
    seen = []
    for _ in range(3):
        stage = experiment.curriculum.at(lifetime_env_steps(algorithm))
        sharpness = sharpness_of(algorithm)
        assert sharpness
        assert sharpness == [stage.plan_sharpness] * len(sharpness)
        seen.append(stage.plan_sharpness)
        algorithm.train()
    assert seen[0] == 1
    assert seen[0] < seen[1] < seen[2] < SETTLED
    for callback in algorithm.callbacks:
        callback.on_evaluate_start(algorithm=algorithm)
    assert set(sharpness_of(algorithm)) == {SETTLED}
    for callback in algorithm.callbacks:
        callback.on_evaluate_end(algorithm=algorithm)
    present = experiment.curriculum.at(lifetime_env_steps(algorithm)).plan_sharpness
    assert set(sharpness_of(algorithm)) == {present}
    algorithm.stop()


def test_a_restored_run_goes_on_with_the_sharpness_that_it_had(tmp_path):
    experiment = SMALL.with_values(SETTLING)
    first, second = (Trial({"experiment": experiment.model_dump(), "values": {}}) for _ in range(2))
    for _ in range(3):
        first.train()
    first.save_checkpoint(str(tmp_path))
    assert sharpness_of(second) == [1.0]
    second.load_checkpoint(str(tmp_path))
    assert sharpness_of(second) == sharpness_of(first) == [pytest.approx(2.5)]  # 1 / (1 - 192 / 320)
    first.stop()
    second.stop()


@pytest.mark.parametrize(("make", "experiment"), [(build, SMALL), (build_stock, STOCK)], ids=["ours", "stock"])
def test_the_stage_of_the_lifetime_env_steps_reaches_economies_and_learners(make, experiment):
    algorithm = make()
    seen = set()
    for iteration in range(5):
        stage = experiment.curriculum.at(lifetime_env_steps(algorithm))
        (economies,) = algorithm.env_runner_group.foreach_env_runner(lambda runner: list(economies_of(runner)))
        assert economies
        for economy in economies:
            assert economy.ranges == stage.ranges
            assert economy.labor_disutility_scale == stage.labor_disutility_scale
        learner = algorithm.learner_group._learner
        assert learner.entropy_coefficients == stage.entropy_coeff
        assert tuple(learner.trained_policies) == stage.trainable_groups
        before = weights(algorithm)
        algorithm.train()
        assert coefficients_in_the_loss(algorithm) == pytest.approx(stage.entropy_coeff)
        assert changed(before, weights(algorithm)) == set(stage.trainable_groups), iteration
        seen.add(stage.ranges.price)
    assert lifetime_env_steps(algorithm) > 0
    assert len(seen) > 1
    algorithm.stop()


def test_evaluation_sees_the_economy_itself_and_training_goes_on_as_before():
    algorithm = build()
    seen = []
    runner = algorithm.env_runner
    play = runner.sample
    runner.sample = lambda **kwargs: (
        seen.append((runner.env.economy.ranges, runner.env.economy.labor_disutility_scale)),
        play(**kwargs),
    )[1]
    algorithm.train()
    training = (runner.env.economy.ranges, runner.env.economy.labor_disutility_scale)
    del seen[:]
    for callback in algorithm.callbacks:
        callback.on_evaluate_start(algorithm=algorithm)
    runner.sample(num_episodes=8)
    for callback in algorithm.callbacks:
        callback.on_evaluate_end(algorithm=algorithm)
    final = SMALL.curriculum.final()
    assert seen == [(final.ranges, final.labor_disutility_scale)]
    assert (runner.env.economy.ranges, runner.env.economy.labor_disutility_scale) == training
    assert final.ranges != training[0]
    algorithm.stop()


def test_rllibs_own_evaluations_have_a_stream_for_each_seed_and_runner():
    """They do not say after how many env steps they are."""

    def stream_of(seed: int, index: int) -> int:
        runner = BatchedEnvRunner(config=algorithm_config(SMALL.replace(seed=seed)), worker_index=index)
        return runner._generator.initial_seed()

    streams = [stream_of(seed, index) for seed in (0, 1) for index in (0, 1, 2)]
    assert len(set(streams)) == len(streams)
    assert stream_of(1, 2) == streams[-1]


def test_rllibs_own_evaluation_works_with_the_batched_runner():
    config = algorithm_config(SMALL, curriculum_callbacks(SMALL))
    config.evaluation(evaluation_interval=1, evaluation_duration=8, evaluation_duration_unit="episodes")
    algorithm = config.build_algo()
    result = algorithm.train()
    assert result["evaluation"]["env_runners"]["num_episodes"] == 8
    assert math.isfinite(result["evaluation"]["env_runners"]["economy"]["social_welfare"])
    algorithm.stop()


def test_dual_ascent_raises_the_penalty_while_firms_are_in_debt_and_only_then():
    values = {"economy.initial_firm_budget": 0.0, "curriculum.debt_penalty_step": 1e-3}
    indebted = Trial({"experiment": SMALL.model_dump(), "values": values})
    expected = 0.0
    for _ in range(3):
        (economy,) = economies_of(indebted.env_runner)
        assert economy.penalty_increase == pytest.approx(expected)
        result = indebted.train()
        assert result["economy"]["firm_debt"] > 0
        expected += 1e-3 * result["economy"]["firm_debt"]
    indebted.stop()
    free = Trial({"experiment": SMALL.model_dump(), "values": values | {"curriculum.annealed_debt_penalty": False}})
    assert free.train()["economy"]["firm_debt"] > 0
    assert PenaltyAnnealing.penalty_increase(free) == 0
    free.stop()
    solvent = Trial({"experiment": SMALL.model_dump(), "values": {}})
    assert [solvent.train()["curriculum"]["penalty_coefficient"] for _ in range(2)] == [0.0, 0.0]
    solvent.stop()
