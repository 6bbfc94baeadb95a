"""MLflow as Tune has it, but for what a run over a network needs: few requests, and none that training waits for."""

import logging
from typing import Any

from ray.air.integrations.mlflow import MLflowLoggerCallback

PARAMS_AT_ONCE = 100  # MLflow takes no more


class MLflowTracker(MLflowLoggerCallback):
    """Sends a report whole and from a thread of MLflow's, where Tune sends each number and waits for the answer.

    A trial that goes on does so in the MLflow run that it has had.
    """

    def setup(self, *_: Any, **__: Any) -> None:
        """Find or make the experiment."""
        for library in ("mlflow", "alembic"):
            logging.getLogger(library).setLevel(logging.ERROR)
        super().setup()

    def log_trial_start(self, trial: Any) -> None:
        """Find or make the trial's run, with its config."""
        import mlflow

        tags = {"trial_id": trial.trial_id, "trial_name": str(trial)}
        experiment, same = self.mlflow_util.experiment_id, f"tags.trial_id = '{trial.trial_id}'"
        earlier = mlflow.search_runs([experiment], same, output_format="list", max_results=1)
        run = earlier[0] if earlier else self.mlflow_util.start_run(run_name=str(trial), tags=tags)
        self._trial_runs[trial] = run.info.run_id
        settings = list(trial.config.items())
        for first in range(0, len(settings), PARAMS_AT_ONCE):
            some = dict(settings[first : first + PARAMS_AT_ONCE])
            mlflow.log_params(some, synchronous=False, run_id=run.info.run_id)

    def log_trial_result(self, iteration: int, trial: Any, result: dict[str, float]) -> None:
        """Send a report."""
        import mlflow

        steps = int(result["run/env_steps"])
        mlflow.log_metrics(result, step=steps, synchronous=False, run_id=self._trial_runs[trial])

    def on_experiment_end(self, trials: list[Any], **_: Any) -> None:
        """Wait for what is being sent."""
        import mlflow

        mlflow.flush_async_logging()
