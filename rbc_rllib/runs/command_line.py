"""What the commands that train have in common."""

import argparse
import importlib
import json
import pkgutil
import shlex
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

from rbc_rllib.experiment import Sweep
from rbc_rllib.runs.faults import RETRIES
from rbc_rllib.runs.launch import Run, RunOptions
from rbc_rllib.runs.remote import Remote
from rbc_rllib.runs.tracking import Trackers
from rbc_rllib.settings import ConfigError, command_parser

RESULTS_HELP = "where results go (default: results/); sweep and train also take s3://BUCKET/PREFIX (docs/cluster.md)"


def parse_assignments(assignments: list[str]) -> dict[str, Any]:
    """`["seed=3", "learning.clip_param=0.2"]` as a dict; values are JSON, or text where they are not JSON."""
    values: dict[str, Any] = {}
    for assignment in assignments:
        key, separator, text = assignment.partition("=")
        if not separator:
            raise ConfigError("--set", assignment, "it must have the form key=value", "write e.g. --set seed=3")
        try:
            values[key.strip()] = json.loads(text)
        except json.JSONDecodeError:
            values[key.strip()] = {"True": True, "False": False, "None": None}.get(text, text)
    return values


def output_parser(name: str, description: str, of_run: bool = False) -> argparse.ArgumentParser:
    """A parser with the options of everything that trains, and with the RUN that is asked about, if one is."""
    command = command_parser(f"rbc_rllib.{name}", description)
    if of_run:
        command.add_argument("run", metavar="RUN", type=Path, help="a trial's folder, results/<experiment>/<trial>")
        command.add_argument("--results", metavar="DIR", help="where results go (default: where RUN's experiment is)")
    else:
        command.add_argument("--results", default="results", metavar="DIR", help=RESULTS_HELP)
    command.add_argument("--resume", action="store_true", help="go on with an interrupted or failed run")
    command.add_argument("--trust", action="store_true", help="--resume also what others may have written")
    command.add_argument(
        "--retries",
        type=int,
        default=RETRIES,
        metavar="N",
        help=f"how often a trial that fails is tried again from its last checkpoint (default: {RETRIES})",
    )
    command.add_argument("--wandb", metavar="PROJECT", help="tell this project of Weights & Biases of the run")
    command.add_argument("--mlflow", metavar="URI", help="tell this MLflow server or store of the run")
    return command


def parser(name: str, description: str, of_run: bool = False) -> argparse.ArgumentParser:
    """The same with `--set`."""
    command = output_parser(name, description, of_run)
    command.add_argument(
        "--set",
        metavar="KEY=VALUE",
        action="append",
        default=[],
        help="a setting by its dotted key, e.g. curriculum.firm_range_end=0.3; may be repeated",
    )
    return command


def run_options(options: argparse.Namespace) -> RunOptions:
    """What a command was told of how its run is kept going and who is told of it."""
    return RunOptions(options.retries, options.trust, Trackers(options.wandb, options.mlflow))


def local_results(place: str | Path) -> Path:
    """The results folder of what works in none but a local one; raises `ConfigError` for an object store."""
    if "://" in _named(place):
        rule = "only the commands sweep and train write into an object store"
        raise ConfigError("--results", str(place), rule, "name a folder that all nodes mount")
    return Path(place)


def results_of_run(options: argparse.Namespace) -> Path | None:
    """The results folder of a command that is asked about a RUN; None: the one that holds it."""
    return None if options.results is None else local_results(options.results)


def results_and_options(options: argparse.Namespace) -> tuple[Path, RunOptions]:
    """The results folder of a command, or the one in which those of its object store are copied, and how it runs."""
    how = run_options(options)
    if "://" not in _named(options.results):
        return Path(options.results), how
    remote = Remote.at(options.results)
    return remote.copies, replace(how, remote=remote)


def _named(place: str | Path) -> str:
    if not str(place):
        raise ConfigError("--results", "", "it must name a folder", "leave it out to get the default")
    return str(place)


def find_sweep(name: str) -> Sweep:
    """The sweep that module `tune_configs.<name>` defines; raises `ConfigError` where there is no such module."""
    folder = importlib.import_module("tune_configs").__path__
    names = sorted(module.name for module in pkgutil.iter_modules(folder))
    if name not in names:
        raise ConfigError("config", name, "there is no such module in tune_configs/", f"take one of {', '.join(names)}")
    return importlib.import_module(f"tune_configs.{name}").SWEEP


def conclude(run: Run, judge: Callable[[Path, list[Path]], str]) -> None:
    """`tell`, and exit with status 1 where trials failed."""
    if not tell(run, judge):
        sys.exit(1)


def tell(run: Run, judge: Callable[[Path, list[Path]], str]) -> bool:
    """Print what `judge` says of the run's folder and of the trials that are finished in it, and where trials failed
    why, and how to go on. Whether none did.

    Exits with status 130 where the run was interrupted, or `judge` is.
    """
    interrupted = run.interrupted
    if any(run.folder.glob("*/config.json")):
        try:
            print(f"\n{judge(run.folder, run.finished)}\n\nResults: {run.folder}")
        except KeyboardInterrupt:
            interrupted = True
        if run.remote:
            run.remote.send(run.folder)
            print(f"They are kept in {run.remote.uri_of(run.folder)}")
    to_resume = ["--resume", "--trust"] if run.remote else ["--resume"]
    arguments = [argument for argument in sys.argv[1:] if argument not in to_resume]
    how_to_resume = shlex.join(["python", "-m", f"rbc_rllib.{Path(sys.argv[0]).stem}", *arguments, *to_resume])
    if interrupted:
        print(f"Interrupted. Every running trial has saved a checkpoint; go on with: {how_to_resume}")
        sys.exit(130)
    if run.errors:
        for error in run.errors:
            print(f"Failed: {error}", file=sys.stderr)
        print(f"Failed trials go on from their last checkpoint with: {how_to_resume}", file=sys.stderr)
    return not run.errors
