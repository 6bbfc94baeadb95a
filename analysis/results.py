"""What a result folder holds: trials, each with its config, its training progress and its held-out evaluation."""

import reprlib
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas

from rbc_rllib.economy import EconomyParameters, Planner
from rbc_rllib.files import read_object
from rbc_rllib.settings import ConfigError

PROGRESS_COLUMNS = ("training_iteration", "env_steps", "curriculum_stage", "agent_steps_per_second", "time_total_s")
PROGRESS_PREFIXES = ("economy/", "curriculum/", "learning/", "gain/")
# Settings in which trials of one treatment may differ.
NOT_A_TREATMENT = ("name", "seed", "resources", "evaluation_episodes", "iterations_per_checkpoint")


@dataclass(frozen=True, eq=False)
class Trial:
    """One training run: one treatment with one seed."""

    path: Path
    config: dict[str, Any]  # the complete experiment config
    progress: pandas.DataFrame  # one row a training iteration; empty before the first
    evaluation: dict[str, Any] | None  # held-out episodes with frozen policies; None while unfinished
    error: str | None = None  # the last line of what it said when it failed, even if it was tried again since
    answers: Path | None = None  # what `best_response` wrote of it, where that can be read
    status: str | None = None  # of one that failed, when it last ended, by `trials.parquet`; None before

    @property
    def seed(self) -> int:
        return int(self.config["seed"])

    @property
    def label(self) -> str:
        """Such as `full_curriculum, seed 3`."""
        return f"{treatment(self)}, seed {self.seed}"

    @property
    def economy_parameters(self) -> EconomyParameters:
        return EconomyParameters(**self.config["economy"])

    @property
    def planner(self) -> Planner:
        """How taxes are decided."""
        return Planner(**self.config.get("planner", {}))

    @property
    def finished(self) -> bool:
        """Whether training has reached its end and the trained policies have been evaluated."""
        return self.evaluation is not None and self.trained

    @property
    def trained(self) -> bool:
        """Whether training has reached its end."""
        return self.env_steps >= self.total_env_steps

    @property
    def total_env_steps(self) -> int:
        """Economy-quarters of the whole training; 0 where its config does not tell."""
        return self.config.get("curriculum", {}).get("total_env_steps", 0)

    @property
    def env_steps(self) -> int:
        """Economy-quarters trained so far."""
        return 0 if self.progress.empty else int(self.progress["env_steps"].max())

    @property
    def rollout(self) -> Path | None:
        """The file of the held-out roll-out, where there is one."""
        path = self.path / "rollout.npz"
        return path if path.is_file() else None


def run_name(trial: Path) -> str:
    """Of a trial's folder: `<experiment>/<trial>`."""
    return "/".join(trial.absolute().parts[-2:])


def folder_beside(kind: str, trial: Path, results: Path | None = None) -> Path:
    """Where a command of that kind writes what it finds of a trial: `<kind>-<experiment>-<trial>`, by default in the
    results that hold the experiment."""
    return (results or trial.absolute().parents[1]) / f"{kind}-{run_name(trial).replace('/', '-')}"


def treatment(trial: Trial) -> str:
    """The experiment's name: trials of one treatment differ in nothing but the seed."""
    return str(trial.config["name"])


def rolled_out(trials: Sequence[Trial]) -> list[Trial]:
    """Those that are finished and have a held-out roll-out, one of each seed of a treatment."""
    groups = by_treatment([trial for trial in trials if trial.finished and trial.rollout])
    return [trial for members in groups.values() for trial in one_a_seed(members)]


def by_treatment(trials: Sequence[Trial]) -> dict[str, list[Trial]]:
    """The trials of each treatment, in the order of names and seeds.

    Trials of one name whose settings differ (a search over learning rates, say) are not seeds of one treatment:
    each combination of settings counts as a treatment of its own, called `name [setting=value]`.
    """
    named: dict[str, list[Trial]] = {}
    for trial in sorted(trials, key=lambda trial: (treatment(trial), trial.seed, str(trial.path))):
        named.setdefault(treatment(trial), []).append(trial)
    groups, titles = dict[str, list[Trial]](), Counter[str]()
    for name, members in named.items():
        settings = {trial: flat_settings(trial.config) for trial in members}
        differing = differing_settings(members)
        own: dict[tuple[str, ...], list[Trial]] = {}
        for trial in sorted(members, key=lambda trial: _order(settings[trial], differing)):
            own.setdefault(tuple(repr(settings[trial].get(key)) for key in differing), []).append(trial)
        for trials in own.values():
            values = ", ".join(f"{key}={_short(settings[trials[0]].get(key))}" for key in differing)
            title = f"{name} [{values}]" if differing else name
            titles[title] += 1  # more than one where they differ in what is not shown
            groups[title if titles[title] == 1 else f"{title} ({titles[title]})"] = trials
    return groups


def one_a_seed(members: Sequence[Trial]) -> list[Trial]:
    """Of several trials of a seed, which are not independent, the one that is finished, else that has come furthest.

    A killed run may leave several, and so may experiments that hold the same treatment.
    """
    furthest: dict[int, Trial] = {}
    for trial in members:
        other = furthest.get(trial.seed)
        if other is None or (trial.finished, trial.env_steps) > (other.finished, other.env_steps):
            furthest[trial.seed] = trial
    return list(furthest.values())


def differing_settings(trials: Sequence[Trial]) -> list[str]:
    """The dotted keys of the settings in which `trials` differ, beyond those in which seeds of one treatment may."""
    settings = [flat_settings(trial.config) for trial in trials]
    keys = {key: None for each in settings for key in each}
    return [key for key in keys if len({repr(each.get(key)) for each in settings}) > 1]


def load_trials(folder: str | Path) -> list[Trial]:
    """The trials in an experiment's folder, or the one trial whose folder it is; sorted by name and seed.

    Raises `ConfigError` where there is no trial or a file of one cannot be read.
    """
    folder = Path(folder)
    configs = [folder / "config.json"] if (folder / "config.json").is_file() else sorted(folder.glob("*/config.json"))
    if not configs:
        raise nothing_in(folder)
    trials = [load_trial(path.parent) for path in configs]
    return sorted(trials, key=lambda trial: (treatment(trial), trial.seed, str(trial.path)))


def nothing_in(folder: Path) -> ConfigError:
    """The refusal of a folder that holds no trial; it names what is there, and what was probably meant."""
    inside = sorted({path.parent.parent.name for path in folder.glob("*/*/config.json")})
    fix = f"name one of the experiments in it: {', '.join(inside)}" if inside else "give results/<experiment>"
    content = sorted(path.name for path in folder.iterdir()) if folder.is_dir() else None
    return ConfigError(str(folder), content, "it holds no trial, that is no folder with a config.json", fix)


def load_trial(folder: Path) -> Trial:
    """The trial in `folder`, finished or not."""
    config = read_json(folder / "config.json")
    for key in ("name", "seed", "economy"):
        if key not in config:
            rule = f"an experiment config holds {key}"
            raise ConfigError(str(folder / "config.json"), sorted(config), rule, "give a folder written by training")
    evaluation, error = folder / "evaluation.json", _read_error(folder / "error.txt")
    answers = folder_beside("best_response", folder) / "best_response.json"
    return Trial(
        path=folder,
        config=config,
        progress=_read_progress(folder / "progress.csv"),
        evaluation=read_json(evaluation) if evaluation.is_file() else None,
        error=error,
        answers=answers if answers.is_file() else None,
        status=None if error is None else _status(folder),
    )


def read_json(path: Path) -> dict[str, Any]:
    """What a JSON file of a result folder holds; raises `ConfigError` where it is incomplete."""
    return read_object(path, "wait until it is written, or remove it to read the rest")


def _read_error(path: Path) -> str | None:
    if not path.is_file():
        return None
    lines = path.read_text().strip().splitlines()
    return lines[-1] if lines else "no cause was written"


def _status(trial: Path) -> str | None:
    path = trial.parent / "trials.parquet"
    if not path.is_file():
        return None
    try:
        rows = pandas.read_parquet(path, columns=["trial", "status"])
    except ValueError as error:
        rule = f"it must be a complete Parquet file ({error})"
        raise ConfigError(str(path), path.name, rule, "remove it, the sweep's --resume writes it anew") from None
    return rows.set_index("trial")["status"].get(trial.name)


def _read_progress(path: Path) -> pandas.DataFrame:
    if not path.is_file() or path.stat().st_size == 0:
        return pandas.DataFrame({name: [] for name in PROGRESS_COLUMNS})

    def wanted(column: str) -> bool:
        return column in PROGRESS_COLUMNS or column.startswith(PROGRESS_PREFIXES)

    progress = pandas.read_csv(path, usecols=wanted)
    if "env_steps" not in progress:
        rule = "its first line must name the columns, env_steps among them"
        raise ConfigError(str(path), [*progress], rule, "remove it to read the rest")
    # A run that went on from a checkpoint wrote the iterations after that checkpoint twice.
    return progress.drop_duplicates("training_iteration", keep="last").reset_index(drop=True)


def flat_settings(config: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    """The settings that make a treatment, by dotted key."""
    settings: dict[str, Any] = {}
    for key, value in config.items():
        if not prefix and key in NOT_A_TREATMENT:
            continue
        if isinstance(value, dict):
            settings |= flat_settings(value, f"{prefix}{key}.")
        else:
            settings[f"{prefix}{key}"] = value
    return settings


def _order(settings: dict[str, Any], keys: Sequence[str]) -> list[tuple[float, str]]:
    """Sorts numbers by size and everything else by its text."""
    values = [settings.get(key) for key in keys]
    return [(value, "") if isinstance(value, int | float) else (0.0, repr(value)) for value in values]


def _short(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else reprlib.repr(value)
