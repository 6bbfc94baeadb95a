"""`Trial`: one training run as Tune sees it. Its config is an `ExperimentConfig` plus sampled values; its results are
in economic words. In the end it may measure what a single firm gains by leaving what was learned."""

import logging
import math
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from ray.rllib.utils.metrics import ENV_RUNNER_RESULTS, LEARNER_RESULTS
from ray.tune.result import SHOULD_CHECKPOINT

from callbacks import PenaltyAnnealing, curriculum_callbacks
from rbc_rllib.economy.actions import group_sizes
from rbc_rllib.economy.indicators import is_trivial
from rbc_rllib.experiment import ExperimentConfig, Resources
from rbc_rllib.leaving import Deviation
from rbc_rllib.play.numerics import NumericsError
from rbc_rllib.play.process import prepare_process
from rbc_rllib.search import ASKED
from rbc_rllib.settings import ConfigError
from rbc_rllib.training.algorithm import EconomyPPO
from rbc_rllib.training.checkpoints import (
    TrainingState,
    describe,
    initial_weights,
    load_networks,
    newest_whole,
    weights_hash,
)
from rbc_rllib.training.config import algorithm_config
from rbc_rllib.training.deviations import Asked, FrozenGame, deviators_game
from rbc_rllib.training.metric_keys import ECONOMY, LEARNING, PENALTY_INCREASE
from rbc_rllib.training.rllib_internals import follow_learning_rates

KEPT = ("training_iteration", "time_this_iter_s", "time_total_s", "done", "trial_id", "date", "timestamp", "pid")

GAIN_ITERATIONS = "gain_iterations"
"""In a trial's config: measure, in the end, what a single firm gains at least, by a best response of so many
iterations."""


def experiment_of(trial_config: dict[str, Any]) -> ExperimentConfig:
    """The experiment of a Tune trial: `{"experiment": {...}, "values": {dotted key: sampled value}}`."""
    return ExperimentConfig(**trial_config["experiment"]).with_values(trial_config.get("values", {}))


def is_refused(trial_config: dict[str, Any]) -> bool:
    """Whether the sampled values of a Tune trial are refused: it fails when it starts, and others go on."""
    try:
        experiment_of(trial_config)
    except ConfigError:
        return True
    return False


def known_of(trial_config: dict[str, Any]) -> ExperimentConfig:
    """The experiment of a Tune trial, without its sampled values where they are refused."""
    try:
        return experiment_of(trial_config)
    except ConfigError:
        return ExperimentConfig(**trial_config["experiment"])


class Trial(EconomyPPO):
    """Trains one `ExperimentConfig` with its curriculum until `curriculum.total_env_steps`.

    That it starts with the policies of a checkpoint where it should, bit by bit, on learners and runners, is checked
    before the first iteration, and that all but the deviator's stay so in a deviation after every one.
    """

    def __init__(self, config: dict[str, Any], **kwargs: Any):
        self.trial_config = config
        self.experiment = experiment_of(config)
        self._reported_env_steps = 0
        self._of_tune = kwargs
        prepare_process(self.experiment.resources.torch_threads)
        super().__init__(algorithm_config(self.experiment, curriculum_callbacks(self.experiment)), **kwargs)
        hashes = {policy: weights_hash(state) for policy, state in initial_weights(self.experiment).items()}
        self._check_weights(hashes)
        self._frozen = {policy: hashes[policy] for policy in self.experiment.frozen_policies}  # of weights that stay

    def __repr__(self) -> str:
        """What Ray's dashboard calls this process; Ray asks before it says that the experiment is refused, too."""
        experiment = known_of(self.trial_config)
        return f"Trial({experiment.name}, seed {experiment.seed})"

    @classmethod
    def default_resource_request(cls, config: Any) -> Any:
        """CPUs and GPUs for this process, its runners and its learners."""
        return EconomyPPO.default_resource_request(algorithm_config(known_of(config)))

    def get_ctor_args_and_kwargs(self) -> tuple[tuple, dict[str, Any]]:
        """What `from_checkpoint` builds a trial from."""
        return (self.trial_config,), {}

    def log_result(self, result: dict[str, Any]) -> None:
        """Run RLlib's callbacks on its own result, then put the report in its place."""
        super().log_result(result)
        self._check_weights(self._frozen)
        report = self._report(result)
        if iterations := self.trial_config.get(GAIN_ITERATIONS):
            # Unknown until the end, and where nobody has anything to gain, since nobody works.
            dead = is_trivial(report["economy"].get("trivial_share", 0.0))
            report["gain"] = {ASKED: math.nan if dead or not report["done"] else self._gain(iterations)}
        result.clear()
        result.update(report)

    def _check_weights(self, expected: dict[str, str]) -> None:
        """Raise `RuntimeError` where a learner or a runner holds other weights than `expected`, hashes by policy."""
        if not expected:
            return
        group = self.env_runner_group
        remote = group.num_remote_env_runners() > 0
        places = group.foreach_env_runner(lambda runner: runner.weights_hashes(), local_env_runner=not remote)
        places.append({name: weights_hash(state) for name, state in self.learner_group.get_weights().items()})
        for place in places:
            for name, value in expected.items():
                if place[name] != value:
                    start = self.experiment.start_of(name)
                    raise RuntimeError(f"the {name} policy that is played is not that of {start}")

    def _report(self, result: dict[str, Any]) -> dict[str, Any]:
        curriculum, economy, steps = self.experiment.curriculum, self.experiment.economy, self.env_steps
        # The callbacks set the stage between iterations: this one was played in the stage of its first step.
        stage, deviation = curriculum.at(self._reported_env_steps), self.experiment.deviation
        seconds = result["time_this_iter_s"]
        agents = sum(group_sizes(economy).values())
        steps_now = steps - self._reported_env_steps
        self._reported_env_steps = steps
        remaining = max(0, curriculum.total_env_steps - steps)
        learners = result.get(LEARNER_RESULTS, {})
        return {
            **{key: result[key] for key in KEPT if key in result},
            "done": steps >= curriculum.total_env_steps,
            SHOULD_CHECKPOINT: result["training_iteration"] % self.experiment.iterations_per_checkpoint == 0,
            "env_steps": steps,
            "curriculum_stage": f"{deviation.deviator} deviates" if deviation else stage.name,
            "economy": _floats(result.get(ENV_RUNNER_RESULTS, {}).get(ECONOMY, {})),
            "curriculum": {
                "labor_disutility_scale": stage.labor_disutility_scale,
                "price_high": min(stage.ranges.price[1], economy.price_choices[-1]),
                "wage_high": min(stage.ranges.wage[1], economy.wage_choices[-1]),
                "income_tax_high": stage.ranges.income_tax_rate[1],
                "corporate_tax_high": stage.ranges.corporate_tax_rate[1],
                "penalty_coefficient": economy.penalty_coefficient + float(result.get(PENALTY_INCREASE, 0.0)),
                "entropy_coeff": dict(stage.entropy_coeff),
            },
            "learning": {
                group: {
                    # A group that does not learn yet has its columns all the same: a CSV file never gets new ones.
                    word: float(learners.get(group, {}).get(key, math.nan))
                    for key, word in LEARNING.items()
                }
                for group in self.experiment.policies
            },
            "agent_steps_per_second": steps_now * agents / seconds,
            "seconds_left": remaining / steps_now * seconds if steps_now else math.nan,
        }

    def _gain(self, iterations: int) -> float:
        """What a single firm gains at least by leaving the policies as they are, in percent; NaN where the training of
        its deviator ended in a `NumericsError`.

        As `best_response --everyone firm` finds it with one seed and one checkpoint. The deviator is trained by a trial
        of its own in this process, on its CPU where this trial has other processes.
        """
        own = self.experiment.resources
        others = own.num_env_runners or own.num_learners
        with TemporaryDirectory() as folder:
            left, learned = Path(folder, "left"), Path(folder, "learned")
            self._describe(left)
            deviation = Deviation(checkpoint=str(left), deviator=ASKED)
            deviating = deviators_game(self.experiment, deviation, iterations).replace(
                resources=Resources(torch_threads=own.torch_threads) if others else own,
            )
            deviator = Trial({"experiment": deviating.model_dump(mode="json")}, **self._of_tune)
            try:
                while not deviator.train()["done"]:
                    pass
                deviator._describe(learned)
            except NumericsError as error:  # what was learned before stays
                logging.getLogger(__name__).warning("What a single firm gains is not known. %s", error)
                return math.nan
            finally:
                deviator.stop()
            asked = Asked(FrozenGame.of(left, deviating, self.experiment.seed), deviating)
            response = asked.response("learned", load_networks(learned, deviating))
            return asked.percent_gained(asked.best_of([response, *asked.cooled()]))

    def save_checkpoint(self, checkpoint_dir: str) -> None:
        """RLlib's files, and then what `training.checkpoints` says of them."""
        self.check_learners()
        super().save_checkpoint(checkpoint_dir)
        self._describe(Path(checkpoint_dir))

    def _describe(self, checkpoint: Path) -> None:
        averages = self.learner_group.foreach_learner(lambda learner: learner.kept_weights()).result_or_errors[0].get()
        state = TrainingState(self.env_steps, PenaltyAnnealing.penalty_increase(self))
        describe(checkpoint, state, averages or self.learner_group.get_weights())

    def restore(self, checkpoint_path: Any) -> None:
        """Go on, as Tune asks, from a checkpoint, or from the newest whole one before it if that is damaged or gone.

        Without one the trial begins anew, which takes longer and gives the same numbers.
        """
        asked = getattr(checkpoint_path, "checkpoint", checkpoint_path)
        found = newest_whole(asked)
        if found is not None:
            super().restore(checkpoint_path if found.path == asked.path else found)

    def load_checkpoint(self, checkpoint_dir: str) -> None:
        """Go on where the checkpoint was written, which may be another trial's, by this trial's own settings."""
        super().load_checkpoint(checkpoint_dir)
        self._reported_env_steps = self.env_steps
        self.learner_group.foreach_learner(partial(follow_learning_rates, env_steps=self.env_steps))


def _floats(values: dict[str, Any]) -> dict[str, float]:
    return {name: float(value) for name, value in sorted(values.items())}
