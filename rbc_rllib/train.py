"""Train one experiment: the first one of a sweep.

    python -m rbc_rllib.train                                  # the full curriculum at full size
    python -m rbc_rllib.train --config closed_economy --set seed=3
    python -m rbc_rllib.train --set economy.planner_welfare=total --set curriculum.total_env_steps=960000
    python -m rbc_rllib.train --resume                         # go on after Ctrl-C

Prints a progress line now and then, and in the end what happened. Everything is in `results/train-<config>/<trial>/`.
"""

from pathlib import Path

from rbc_rllib.commands import find_sweep, parser, refused
from rbc_rllib.experiment import parse_assignments
from rbc_rllib.launch import Sweep, run


def main(arguments: list[str] | None = None) -> None:
    """The command line."""
    command = parser("train", __doc__ or "")
    command.add_argument("--config", default="quickstart", help="a module of tune_configs/ (default: quickstart)")
    options = command.parse_args(arguments)
    with refused(command):
        sweep = find_sweep(options.config)
        single = Sweep(sweep.experiments[:1]).with_values(parse_assignments(options.set))
        run(single, f"train-{options.config}", Path(options.results), options.resume)


if __name__ == "__main__":
    main()
