"""The closed economy, without an export market: discretion, and announced constant and scheduled taxes, five seeds.

Consumer welfare; one seed after the other with `--at-once 2`, so that an interrupted sweep holds whole comparisons.
"""

from rbc_rllib.economy import EconomyParameters, Planner
from rbc_rllib.experiment import ExperimentConfig, Sweep

SEEDS = (0, 1, 2, 3, 4)

SWEEP = Sweep(
    experiments=tuple(
        ExperimentConfig(
            name=f"closed_{mode}", seed=seed, economy=EconomyParameters(export_market=False), planner=Planner(mode=mode)
        )
        for seed in SEEDS
        for mode in ("schedule", "constant", "discretion")
    )
)
