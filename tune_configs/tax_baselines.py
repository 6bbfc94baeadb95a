"""Learned taxes against fixed ones, in the open economy with consumer welfare, five seeds each.

A planner with discretion, one who announces a constant pair of rates, one who announces a schedule; fixed pairs of an
income and a corporate rate: income untaxed (the best ones), and the paper's, which tax both alike. All are announced
but discretion, and phased in by the same ramp; consumers and firms learn against them with the same budget. One seed
after the other with `--at-once 2`, so that an interrupted sweep holds whole comparisons: first of the main treatments,
then of the others.
"""

from rbc_rllib.economy import Planner
from rbc_rllib.experiment import ExperimentConfig, Sweep

SEEDS = (0, 1, 2, 3, 4)
MAIN_PAIRS = ((0.0, 0.6), (0.0, 0.8))
OTHER_PAIRS = ((0.0, 0.0), (0.0, 0.4), (0.0, 1.0), (0.2, 0.2), (0.2, 0.8), (0.4, 0.4), (0.6, 0.6), (0.8, 0.8))


def fixed(*pairs: tuple[float, float]) -> dict[str, Planner]:
    """A planner for each pair, such as `fixed_0_80`."""
    return {f"fixed_{100 * i:.0f}_{100 * c:.0f}": Planner(mode="fixed", rates=((i, c),)) for i, c in pairs}


MAIN = {
    "schedule": Planner(mode="schedule"),
    "constant": Planner(mode="constant"),
    "discretion": Planner(),
    **fixed(*MAIN_PAIRS),
}
OTHERS = fixed(*OTHER_PAIRS)

SWEEP = Sweep(
    experiments=tuple(
        ExperimentConfig(name=name, seed=seed, planner=planner)
        for treatments in (MAIN, OTHERS)
        for seed in SEEDS
        for name, planner in treatments.items()
    )
)
