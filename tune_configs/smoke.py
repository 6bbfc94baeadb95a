"""A small economy, trained for some seconds: does everything work here?"""

from rbc_rllib.curriculum import Curriculum
from rbc_rllib.economy import EconomyParameters
from rbc_rllib.experiment import ExperimentConfig, Learning, Sweep

SWEEP = Sweep(
    experiments=(
        ExperimentConfig(
            name="smoke",
            economy=EconomyParameters(num_consumers=10, num_firms=3),
            curriculum=Curriculum(total_env_steps=8_000),
            learning=Learning(economies_per_update=8, updates_per_iteration=5, trained_consumers=5),
            evaluation_episodes=16,
            iterations_per_checkpoint=10,
        ),
    )
)
