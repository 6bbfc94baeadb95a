"""Is a structured curriculum needed, and is it enough, where the planner chooses taxes as it goes? Ten seeds.

As `curriculum_ablation`, in trainings of full length, since a third is too short for discretion (docs/results.md):
three to six hours on two cores.
"""

from rbc_rllib.experiment import ExperimentConfig, Sweep
from tune_configs.curriculum_ablation import CURRICULA, SEEDS

SWEEP = Sweep(
    experiments=tuple(
        ExperimentConfig(name=f"discretion_{name}", seed=seed).with_values(settings)
        for seed in SEEDS
        for name, settings in CURRICULA.items()
    )
)
