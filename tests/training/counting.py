"""A trainable for Tune alone: its processes import neither torch nor RLlib."""

from pathlib import Path

from ray import tune


class Counting(tune.Trainable):
    """Counts to 4."""

    def setup(self, config):
        self.count = 0

    def step(self):
        self.count += 1
        return {"count": self.count, "done": self.count == 4, "should_checkpoint": True}

    def save_checkpoint(self, folder):
        (Path(folder) / "count").write_text(str(self.count))

    def load_checkpoint(self, folder):
        self.count = int((Path(folder) / "count").read_text())
