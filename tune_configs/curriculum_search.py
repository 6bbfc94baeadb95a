"""Which part of the curriculum does the work? A random search over its switches and numbers.

Each draw says which parts are on and how slow they are, and is trained with every seed; a draw whose seeds together
are poor is stopped early.
"""

from ray import tune

from rbc_rllib.experiment import ExperimentConfig, Sweep
from rbc_rllib.search import Search

SEEDS = (0, 1, 2)

SWEEP = Sweep(
    experiments=tuple(ExperimentConfig(name="curriculum", seed=seed) for seed in SEEDS),
    search_space={
        "curriculum.staged_training": tune.choice([True, False]),
        "curriculum.annealed_ranges": tune.choice([True, False]),
        "curriculum.annealed_labor_disutility": tune.choice([True, False]),
        "curriculum.annealed_entropy": tune.choice([True, False]),
        "curriculum.firm_range_end": tune.uniform(0.02, 0.2),
        "curriculum.tax_range_start": tune.uniform(0.06, 0.16),
        "curriculum.tax_range_end": tune.uniform(0.16, 0.5),  # the planner starts to learn; the default is 0.2
        "curriculum.labor_disutility_time_constant": tune.loguniform(0.01, 0.2),
        "curriculum.entropy_time_constant": tune.loguniform(0.02, 0.2),
        "learning.learning_rate.planner": tune.loguniform(2e-4, 2e-3),
    },
    num_samples=12,
    # The curriculum itself depresses welfare for a while: nothing is stopped before its stages are over.
    search=Search(kind="asha", judged_from=0.7),
)
