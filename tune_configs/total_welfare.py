"""Total welfare, of consumers and firms, in the open economy: the learned planners of `tax_baselines`, five seeds each.

Fixed pairs of rates are the same whatever a planner wants, so those of `tax_baselines` are what these compare with:
`python -m analysis.welfare results/total_welfare results/tax_baselines`. One seed after the other with `--at-once 2`.
"""

from rbc_rllib.economy import EconomyParameters
from rbc_rllib.experiment import ExperimentConfig, Sweep
from tune_configs.tax_baselines import MAIN, SEEDS

SWEEP = Sweep(
    experiments=tuple(
        ExperimentConfig(
            name=f"{name}_total", seed=seed, economy=EconomyParameters(planner_welfare="total"), planner=planner
        )
        for seed in SEEDS
        for name, planner in MAIN.items()
        if planner.learns
    )
)
