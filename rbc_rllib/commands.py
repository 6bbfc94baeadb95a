"""What the entry points that train have in common on the command line."""

import argparse
import importlib
import pkgutil
from collections.abc import Iterator
from contextlib import contextmanager

import tune_configs
from rbc_rllib.launch import Sweep
from rbc_rllib.settings import ConfigError


def output_parser(name: str, description: str) -> argparse.ArgumentParser:
    """A parser with the options of everything that trains."""
    command = argparse.ArgumentParser(
        prog=f"python -m rbc_rllib.{name}",
        description=description,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    command.add_argument("--results", default="results", metavar="DIR", help="where results go (default: results/)")
    command.add_argument("--resume", action="store_true", help="go on with an interrupted or failed run")
    return command


def parser(name: str, description: str) -> argparse.ArgumentParser:
    """A parser with the options that both `train` and `sweep` take."""
    command = output_parser(name, description)
    command.add_argument(
        "--set",
        metavar="KEY=VALUE",
        action="append",
        default=[],
        help="a setting by its dotted key, e.g. curriculum.firm_range_end=0.3; may be repeated",
    )
    return command


def find_sweep(name: str) -> Sweep:
    """The sweep that module `tune_configs.<name>` defines; raises `ConfigError` where there is no such module."""
    names = sorted(module.name for module in pkgutil.iter_modules(tune_configs.__path__))
    if name not in names:
        raise ConfigError("config", name, "there is no such module in tune_configs/", f"take one of {', '.join(names)}")
    return importlib.import_module(f"tune_configs.{name}").SWEEP


@contextmanager
def refused(command: argparse.ArgumentParser) -> Iterator[None]:
    """Turn a refused setting into one line and exit status 2."""
    try:
        yield
    except ConfigError as error:
        command.exit(2, f"{error}\n")
