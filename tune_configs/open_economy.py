"""The open economy under both definitions of social welfare, three seeds each."""

from rbc_rllib.economy import EconomyParameters
from rbc_rllib.experiment import ExperimentConfig, Sweep

SEEDS = (0, 1, 2)

SWEEP = Sweep(
    experiments=tuple(
        ExperimentConfig(name=f"open_{welfare}", seed=seed, economy=EconomyParameters(planner_welfare=welfare))
        for welfare in ("consumer", "total")
        for seed in SEEDS
    )
)
