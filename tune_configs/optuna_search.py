"""How much should agents explore, and how fast should they learn? Suggestions by Optuna, for much welfare, little that
a single firm gains by leaving, and few dead seeds.

Each suggestion is trained with every seed for a third of the steps; the next one follows from means over seeds. The
entropy bonus that is searched is that of the first half: in the second it falls as usual, where it is not lower anyway.
"""

from ray import tune

from rbc_rllib.experiment import ExperimentConfig, Sweep
from rbc_rllib.search import Search

SEEDS = (0, 1, 2)
ENV_STEPS = 160_000
BASE = ExperimentConfig(name="suggested").with_values({"curriculum.total_env_steps": ENV_STEPS})

SWEEP = Sweep(
    experiments=tuple(BASE.replace(seed=seed) for seed in SEEDS),
    search_space={
        "curriculum.final_entropy_coeff.consumer": tune.loguniform(0.01, 0.2),
        "curriculum.final_entropy_coeff.firm": tune.loguniform(0.01, 0.2),
        "curriculum.entropy_time_constant": tune.loguniform(0.02, 0.2),
        "learning.learning_rate.consumer": tune.loguniform(5e-4, 5e-3),
        "learning.learning_rate.firm": tune.loguniform(5e-4, 5e-3),
        "learning.learning_rate.planner": tune.loguniform(2e-4, 2e-3),
    },
    num_samples=24,
    search=Search(kind="optuna", objectives=("welfare", "gain", "dead_share")),
)
