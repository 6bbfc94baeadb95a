"""Are structured curricula needed, and are they enough? Each part left out by itself, ten seeds, a third of the steps.

With discretion and with an announced schedule; then the whole curriculum against none of it in economies that are
harder to bring to life. One seed after the other, so that an interrupted sweep holds whole comparisons;
`python -m analysis.solutions` tabulates it.
"""

from typing import Any

from rbc_rllib.economy import GROUPS, Planner
from rbc_rllib.experiment import ExperimentConfig, Sweep

SEEDS = tuple(range(10))
ENV_STEPS = 160_000
PARTS = ("staged_training", "annealed_ranges", "annealed_labor_disutility", "annealed_entropy")
NOTHING: dict[str, Any] = {f"curriculum.{part}": False for part in PARTS}
LOW_ENTROPY = {"curriculum.final_entropy_coeff": dict.fromkeys(GROUPS, 0.01), "curriculum.cooled_entropy_coeff": None}
CURRICULA: dict[str, dict[str, Any]] = {
    "full": {},
    **{f"without_{part}": {f"curriculum.{part}": False} for part in PARTS},
    "nothing": NOTHING,
    "nothing_low_entropy": NOTHING | LOW_ENTROPY,
}
MODES = {"schedule": Planner(mode="schedule"), "discretion": Planner()}

HARDER: dict[str, dict[str, Any]] = {
    "high_taxes": {"planner": Planner(mode="fixed", rates=((0.6, 0.6),)).model_dump()},
    "closed": {"planner": Planner(mode="schedule").model_dump(), "economy.export_market": False},
    "hard_work": {"planner": Planner(mode="schedule").model_dump(), "economy.labor_disutility": 0.02},
}
"""Economies in which plain learning may fail: by whom taxes are decided, and what else is different."""

BASE = ExperimentConfig().with_values({"curriculum.total_env_steps": ENV_STEPS})

SWEEP = Sweep(
    experiments=tuple(
        BASE.replace(name=name, seed=seed).with_values(values)
        for seed in SEEDS
        for name, values in {
            **{
                f"{mode}_{curriculum}": {"planner": planner.model_dump(), **values}
                for mode, planner in MODES.items()
                for curriculum, values in CURRICULA.items()
            },
            **{
                f"{economy}_{curriculum}": {**setting, **CURRICULA[curriculum]}
                for economy, setting in HARDER.items()
                for curriculum in ("full", "nothing")
            },
        }.items()
    )
)
