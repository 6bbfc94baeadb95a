"""The way of whole economies through RLlib: runner, batch, learner, algorithm, checkpoints."""
