"""Ctrl-C: every running trial saves a checkpoint after its present iteration, then the run ends and can be resumed."""

import signal
import threading
from typing import Any

from ray import tune
from ray.tune.result import SHOULD_CHECKPOINT

from rbc_rllib.training.rllib_internals import end_tune_gracefully, leave_interrupts_to_us


class Interruption(tune.Callback):
    """Catches Ctrl-C while it is entered, in the main thread."""

    def __init__(self) -> None:
        self.requested = self._told = False
        self._saved: set[str] = set()

    def __enter__(self) -> None:
        leave_interrupts_to_us()
        self._caught = threading.current_thread() is threading.main_thread()  # no other may: there Ctrl-C ends all
        if self._caught:
            self._previous = signal.signal(signal.SIGINT, self._request)

    def __exit__(self, *_: Any) -> None:
        if self._caught:
            signal.signal(signal.SIGINT, self._previous)

    def _request(self, *_: Any) -> None:
        if self.requested:
            raise KeyboardInterrupt
        self.requested = True  # and not a word: Python forbids a handler to print where it interrupts a print

    def on_trial_result(self, iteration: int, trials: list[Any], trial: Any, result: dict, **_: Any) -> None:
        """Ask for a checkpoint, beside those that the trial itself asks for."""
        result[SHOULD_CHECKPOINT] = result[SHOULD_CHECKPOINT] or self.requested

    def on_trial_save(self, iteration: int, trials: list[Any], trial: Any, **_: Any) -> None:
        """Count the checkpoints that were asked for."""
        if self.requested:
            self._saved.add(trial.trial_id)

    def on_step_end(self, iteration: int, trials: list[Any], **_: Any) -> None:
        """Say that it was asked for, and end the run when all running trials are saved."""
        if not self.requested:
            return
        if not self._told:
            print(
                "\nInterrupted: saving a checkpoint of every running trial (Ctrl-C again stops at once) ...", flush=True
            )
            self._told = True
        running = {trial.trial_id for trial in trials if trial.status == "RUNNING"}
        if running <= self._saved:
            end_tune_gracefully()
