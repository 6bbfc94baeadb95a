"""From an experiment to a results folder: trials under Ray Tune, their progress, interruption and resumption."""
