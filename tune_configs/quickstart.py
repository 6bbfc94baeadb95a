"""A planner who announces a tax schedule against one with discretion, in the open economy with consumer welfare, at
full size; then what single firms and consumers would gain by leaving. At most 10 minutes on two cores.
"""

from rbc_rllib.economy import Planner
from rbc_rllib.experiment import ExperimentConfig, Sweep

SWEEP = Sweep(
    experiments=(
        ExperimentConfig(name="commitment", planner=Planner(mode="schedule")),
        ExperimentConfig(name="discretion", planner=Planner(mode="discretion")),
    ),
    deviators=("each_firm", "each_consumer"),
)
