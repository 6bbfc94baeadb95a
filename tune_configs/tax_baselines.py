"""Learned taxes against none and against fixed rates, in the open economy with consumer welfare, three seeds each.

Fixed rates are the same for income and corporate tax: the paper's 20, 40, 60 and 80%. They are phased in by the same
ramp as a planner's choices; consumers and firms learn against them with the same budget. One seed after the other, so
that an interrupted sweep holds whole comparisons.
"""

from rbc_rllib.curriculum import Curriculum
from rbc_rllib.experiment import ExperimentConfig, Sweep

SEEDS = (0, 1, 2)
FIXED_RATES = (0.2, 0.4, 0.6, 0.8)


def fixed(rate: float) -> Curriculum:
    """The default curriculum with both tax rates fixed."""
    return Curriculum(fixed_income_tax_rate=rate, fixed_corporate_tax_rate=rate)


TAXES = {
    "learned_taxes": Curriculum(),
    "no_taxes": fixed(0.0),
    **{f"fixed_taxes_{round(100 * rate)}": fixed(rate) for rate in FIXED_RATES},
}

SWEEP = Sweep(
    experiments=tuple(
        ExperimentConfig(name=name, seed=seed, curriculum=curriculum)
        for seed in SEEDS
        for name, curriculum in TAXES.items()
    )
)
