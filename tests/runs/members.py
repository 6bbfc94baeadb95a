"""Members of a population for Tune alone: their processes import neither torch nor RLlib."""

import time

from ray import tune


class Bred(tune.Trainable):
    """Four steps. The one of less welfare is faster, and takes longer to save than the other to come where it is."""

    def setup(self, config: dict) -> None:
        self.worse = config["values"]["worse"]

    def step(self) -> dict:
        time.sleep(0.0 if self.worse else 0.3)
        steps = 64 * (self.iteration + 1)
        return {"env_steps": steps, "economy": {"social_welfare": -float(self.worse)}, "done": steps == 256}

    def save_checkpoint(self, folder: str) -> None:
        time.sleep(2.0 if self.worse else 0.0)

    def load_checkpoint(self, folder: str) -> None:
        """There is nothing in it."""


class Failing(tune.Trainable):
    """Six steps, of which the members with `fails` do not come to the second."""

    def setup(self, config: dict) -> None:
        self.values = config["values"]

    def step(self) -> dict:
        if self.values["fails"] and self.iteration == 1:
            raise RuntimeError("it fails")
        steps = 64 * (self.iteration + 1)
        return {"env_steps": steps, "economy": {"social_welfare": self.values["rate"]}, "done": steps == 384}

    def save_checkpoint(self, folder: str) -> None:
        """There is nothing to save."""

    def load_checkpoint(self, folder: str) -> None:
        """There is nothing in it."""
