"""`Population`: Tune's population-based training, within the search space and across interruptions."""

from functools import partial
from typing import Any

from ray.tune.schedulers import PopulationBasedTraining
from ray.tune.search.sample import Categorical, Domain, Integer

from rbc_rllib.runs.seeds_together import ENV_STEPS, WELFARE

KEPT = ("last_score", "last_train_time", "last_perturbation_time")


class Population(PopulationBasedTraining):
    """Perturbs the sampled values of trials, the members, every `interval` env steps, when all have come there or have
    failed.

    Tune starts a member that goes on from another's checkpoint anew, with a changed config: so its config.json, its
    learners and its curriculum follow by themselves.
    """

    def __init__(self, space: dict[str, Any], interval: int) -> None:
        domains = {key: domain for key, domain in space.items() if isinstance(domain, Domain)}
        # Of a choice the next one before or after is taken, of a number 0.8 or 1.2 times it, or either is drawn anew.
        mutations = {key: list(d.categories) if isinstance(d, Categorical) else d for key, d in domains.items()}
        super().__init__(
            ENV_STEPS,
            WELFARE,
            "max",
            perturbation_interval=interval,
            hyperparam_mutations={"values": mutations},
            custom_explore_fn=partial(within, bounds={key: _bounds(domain) for key, domain in domains.items()}),
            log_config=False,
            require_attrs=False,
            synch=True,
        )
        self._restored: dict[str, dict[str, Any]] = {}

    def on_trial_add(self, tune_controller: Any, trial: Any) -> None:
        """A member of a restored run stands where it stood, and waits if it waited: Tune would start all of them. One
        that is tried again comes to the same comparison as if it had not failed."""
        before = self._trial_state.get(trial)
        super().on_trial_add(tune_controller, trial)
        state, restored = self._trial_state[trial], self._restored.pop(trial.trial_id, {})
        vars(state).update(restored)
        if before:
            state.last_perturbation_time = before.last_perturbation_time
        if saved := trial.latest_checkpoint_result:  # what others may go on from
            state.last_result = saved.metrics
        if restored and trial.status != "TERMINATED" and self._has_come(trial):
            trial.set_status("PAUSED")

    def on_trial_error(self, tune_controller: Any, trial: Any) -> None:
        """Nobody waits for a member that has failed for good, which Tune counts among those that live."""
        tune_controller.get_live_trials().discard(trial)

    def on_trial_result(self, tune_controller: Any, trial: Any, result: dict[str, Any]) -> str:
        """Compare the members where this is the last one that has come to the interval's end.

        Tune pauses a member that goes on from another's policies while its own are still being saved as if it were to
        stop, and then stops it when it is saved next. To pause it once more is to forget that.
        """
        decision = super().on_trial_result(tune_controller, trial, result)
        for member in self._trial_state:
            if member.status == "PAUSED":
                tune_controller.pause_trial(member, should_checkpoint=False)
        return decision

    def choose_trial_to_run(self, tune_controller: Any) -> Any:
        """The one that is furthest behind of those that wait for nobody.

        Where all wait they go on: the last one to come has failed, or all stand where Tune would compare them next, as
        they come there an iteration's length late each time.
        """
        live = tune_controller.get_live_trials()
        if live and all(trial.status == "PAUSED" and self._has_come(trial) for trial in live):
            self._next_perturbation_sync = 1 + max(self._trial_state[trial].last_train_time for trial in live)
        return super().choose_trial_to_run(tune_controller)

    def _has_come(self, trial: Any) -> bool:
        return bool(self._trial_state[trial].last_train_time >= self._next_perturbation_sync)

    def get_state(self) -> dict[str, Any]:
        """Where every member stands, and when all are compared next."""
        members = {
            trial.trial_id: {name: getattr(state, name) for name in KEPT} for trial, state in self._trial_state.items()
        }
        return {"members": members, "next": self._next_perturbation_sync}

    def set_state(self, state: dict[str, Any]) -> None:
        """Go on from there."""
        self._restored, self._next_perturbation_sync = dict(state["members"]), state["next"]


def within(config: dict[str, Any], bounds: dict[str, tuple[float, float] | None]) -> dict[str, Any]:
    """The config of a trial whose values are moved into their bounds."""
    values = dict(config["values"])
    for key, limits in bounds.items():
        if limits is not None:
            low, high = limits
            values[key] = min(max(values[key], low), high)
    return {**config, "values": values}


def _bounds(domain: Any) -> tuple[float, float] | None:
    if not hasattr(domain, "lower"):
        return None
    return domain.lower, domain.upper - 1 if isinstance(domain, Integer) else domain.upper
