"""Is a structured curriculum needed, and is it enough, where taxes are announced? Ten seeds, a third of the env steps.

That is enough to see who dies where actions stay noisy, but not amid little noise, nor without stages; in four to nine
hours `--set curriculum.total_env_steps=480000` trains to full length (docs/results.md).

The whole curriculum, each part of it left out, and none of it; with little entropy in the end, or from the first step,
the whole against none; and the whole against none in economies that are harder to bring to life. Plans settle in all of
them. `curriculum_ablation_discretion` asks the same where the planner chooses as it goes. One seed after the other with
`--at-once 2`, so that an interrupted sweep holds whole comparisons; `python -m analysis.solutions` tabulates it.
"""

from typing import Any

from rbc_rllib.economy import GROUPS, Planner
from rbc_rllib.experiment import ExperimentConfig, Sweep

SEEDS = tuple(range(10))
ENV_STEPS = 160_000
WITHOUT: dict[str, dict[str, Any]] = {
    "staged_training": {"curriculum.staged_training": False},
    "annealed_ranges": {"curriculum.annealed_ranges": False},
    "annealed_labor_disutility": {"curriculum.annealed_labor_disutility": False},
    "annealed_entropy": {"curriculum.annealed_entropy": False},
    "annealed_debt_penalty": {"curriculum.annealed_debt_penalty": False},
    "cooled_entropy": {"curriculum.cooled_entropy_coeff": None},
}
"""Each part of the curriculum, and the settings that leave it out."""

LOW_ENTROPY: dict[str, Any] = {
    "curriculum.final_entropy_coeff": dict.fromkeys(GROUPS, 0.01),
    "curriculum.cooled_entropy_coeff": None,
}
NOTHING = {key: value for settings in WITHOUT.values() for key, value in settings.items()}
CURRICULA: dict[str, dict[str, Any]] = {
    "full": {},
    **{f"without_{part}": settings for part, settings in WITHOUT.items()},
    "nothing": NOTHING,
    "full_low_entropy": LOW_ENTROPY,
    "constant_low_entropy": {**LOW_ENTROPY, **WITHOUT["annealed_entropy"]},
    "nothing_low_entropy": {**NOTHING, **LOW_ENTROPY},
}

SCHEDULE = {"planner": Planner(mode="schedule").model_dump()}
HARDER: dict[str, dict[str, Any]] = {
    "high_taxes": {"planner": Planner(mode="fixed", rates=((0.6, 0.6),)).model_dump()},
    "closed": {**SCHEDULE, "economy.export_market": False},
    "hard_work": {**SCHEDULE, "economy.labor_disutility": 0.02},
}
"""Economies in which plain learning may fail: by whom taxes are decided, and what else is different."""

CELLS = {f"schedule_{name}": {**SCHEDULE, **settings} for name, settings in CURRICULA.items()} | {
    f"{economy}_{name}": {**setting, **CURRICULA[name]}
    for economy, setting in HARDER.items()
    for name in ("full", "nothing")
}

SWEEP = Sweep(
    experiments=tuple(
        ExperimentConfig(name=name, seed=seed).with_values({"curriculum.total_env_steps": ENV_STEPS, **settings})
        for seed in SEEDS
        for name, settings in CELLS.items()
    )
)
