"""What brings learned policies closer to an equilibrium, with announced plans and with discretion: five seeds.

Each treatment changes one thing of how agents learn, or a few; followers are asked in the end what leaving would gain
them. One seed after the other with `--at-once 2`, so that an interrupted sweep holds whole comparisons; `python -m
analysis.solutions` tabulates it.
"""

from typing import Any

from rbc_rllib.economy import GROUPS, Planner
from rbc_rllib.experiment import ExperimentConfig, Sweep

SEEDS = tuple(range(5))
MODES = ("schedule", "constant", "discretion")
COLD: dict[str, Any] = {"curriculum.cooled_entropy_coeff": dict.fromkeys(GROUPS, 0.005)}
AVERAGED: dict[str, Any] = {"refinement.weight_average": 0.99}
MAGNET: dict[str, Any] = {"refinement.magnet_coeff": 0.05}
OWN_ADVANTAGES: dict[str, Any] = {"refinement.own_advantages_from": 0.6}
LARGE_BATCHES: dict[str, Any] = {"refinement.batch_growth": 4}
TREMBLING: dict[str, Any] = {"refinement.pool": [{"deviator": "each_firm"}], "refinement.pool_from": 0.5}
TREATMENTS: dict[str, dict[str, Any]] = {
    "default": {},
    "not_cooled": {"curriculum.cooled_entropy_coeff": None},
    "cold": COLD,
    "cold_and_longer": {**COLD, "curriculum.total_env_steps": 720_000},
    "averaged": AVERAGED,
    "own_advantages": OWN_ADVANTAGES,
    "magnet": MAGNET,
    "large_batches": LARGE_BATCHES,
    "trembling": TREMBLING,
    "averaged_and_cooler_consumers": {**AVERAGED, "curriculum.cooled_entropy_coeff.consumer": 0.01},
    "averaged_and_cold": {**AVERAGED, **COLD},
    "averaged_magnet_and_cold": {**AVERAGED, **MAGNET, **COLD},
    "large_batches_and_cold": {**LARGE_BATCHES, **COLD},
    "trembling_and_cold": {**TREMBLING, **COLD},
    "trembling_own_advantages_and_cold": {**TREMBLING, **OWN_ADVANTAGES, **COLD},
}

SWEEP = Sweep(
    experiments=tuple(
        ExperimentConfig(name=f"{mode}_{name}", seed=seed, planner=Planner(mode=mode)).with_values(values)
        for seed in SEEDS
        for mode in MODES
        for name, values in TREATMENTS.items()
    ),
    deviators=("firm", "consumer", "each_firm", "each_consumer"),
    deviation_iterations=75,
)
