"""Full curriculum against plain independent PPO on the open economy with consumer welfare, at full size.

Plain PPO trains all groups from the first step with whole menus, full labor disutility and a constant entropy bonus.
At most 10 minutes on two cores.
"""

from rbc_rllib.curriculum import Curriculum
from rbc_rllib.experiment import ExperimentConfig, Sweep

PLAIN = Curriculum(
    staged_training=False,
    annealed_ranges=False,
    annealed_labor_disutility=False,
    annealed_entropy=False,
    annealed_debt_penalty=False,
)

SWEEP = Sweep(
    experiments=(
        ExperimentConfig(name="full_curriculum"),
        ExperimentConfig(name="independent_ppo", curriculum=PLAIN),
    )
)
