"""Learning rates, clipping and entropy that change while agents learn: population-based training of eight members.

The entropy bonus that is searched falls in the second half, as usual, where it is not lower anyway. Members have one
seed. The values with which the best one ends are then trained anew with all three.
"""

from ray import tune

from rbc_rllib.experiment import ExperimentConfig, Sweep
from rbc_rllib.search import Search

SEEDS = (0, 1, 2)

SWEEP = Sweep(
    experiments=tuple(ExperimentConfig(name="member", seed=seed) for seed in SEEDS),
    search_space={
        "curriculum.final_entropy_coeff.consumer": tune.loguniform(0.01, 0.2),
        "curriculum.final_entropy_coeff.firm": tune.loguniform(0.01, 0.2),
        "learning.learning_rate.consumer": tune.loguniform(5e-4, 5e-3),
        "learning.learning_rate.firm": tune.loguniform(5e-4, 5e-3),
        "learning.learning_rate.planner": tune.loguniform(2e-4, 2e-3),
        "learning.clip_param": tune.uniform(0.05, 0.3),
    },
    num_samples=8,
    # Not before the planner learns: until then the curriculum itself moves welfare.
    search=Search(kind="population", interval=0.25),
)
