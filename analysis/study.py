"""What one or more results folders hold: trials, best responses to them, tax maps, searches, temptations; and what of
it cannot be read."""

import json
import textwrap
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

import numpy

from analysis.followers import read_answers
from analysis.gains import Solution
from analysis.plans import PlanSearch
from analysis.ranking import failed
from analysis.results import Trial, folder_beside, load_trial, nothing_in, read_json, run_name
from analysis.tax_map import TaxMap
from rbc_rllib.economy import EconomyParameters
from rbc_rllib.settings import ConfigError

CAUSE_LETTERS = 200

UNREADABLE = (ConfigError, OSError, ValueError, KeyError, TypeError, AttributeError, EOFError, BadZipFile)
"""What reading a file that is damaged or cut off may end in."""


@dataclass(frozen=True)
class Answer:
    """Best responses to one trial."""

    label: str  # <experiment>/<trial>
    solutions: tuple[Solution, ...]  # one a checkpoint, oldest first
    params: EconomyParameters
    episodes: int


@dataclass
class Study:
    """What was found; lists grow while folders are read."""

    folders: tuple[Path, ...]
    trials: list[Trial] = field(default_factory=list)
    answers: list[Answer] = field(default_factory=list)
    maps: dict[str, TaxMap] = field(default_factory=dict)  # by the run's label
    searches: dict[str, PlanSearch] = field(default_factory=dict)  # by the run's label
    temptations: dict[str, dict[str, Any]] = field(default_factory=dict)  # records, by the run's label
    failures: dict[str, str] = field(default_factory=dict)  # trials that failed for good, and the cause
    recoveries: dict[str, str] = field(default_factory=dict)  # trials that failed and were tried again to their end
    damaged: dict[Path, str] = field(default_factory=dict)  # a sentence for each file that cannot be read

    @property
    def name(self) -> str:
        """Of the folders."""
        return ", ".join(folder.resolve().name for folder in self.folders)

    @property
    def to_evaluate(self) -> str:
        """The command that brings held-out episodes of trials that have none: of unfinished ones they do not count."""
        trained = any(trial.trained for trial in self.trials)
        return "python -m rbc_rllib.evaluate RUN" if trained else "python -m rbc_rllib.sweep NAME --resume"


def load_study(folders: Sequence[Path]) -> Study:
    """Everything in `folders` and in those that lie beside them; raises `ConfigError` where there is nothing."""
    study = Study(tuple(folders))
    wanted: dict[Path, None] = {}
    for folder in folders:
        here = folder.resolve()
        wanted[here] = None
        if not (_trials_in(here) or any((here / f"{kind}.json").is_file() for kind in READERS)):
            raise nothing_in(folder)
        for kind in READERS:
            found = [folder_beside(kind, trial) for trial in _trials_in(here)]
            wanted |= dict.fromkeys(beside for beside in found if beside.is_dir())
    for folder in wanted:
        _read_folder(study, folder)
    study.trials = [replace(each, answers=None) if each.answers in study.damaged else each for each in study.trials]
    _name_others(study)
    if not (study.trials or study.answers or study.maps or study.searches):
        if study.damaged:
            rule = f"nothing in it can be read. {next(iter(study.damaged.values())).removesuffix('.')}"
            raise ConfigError(str(folders[0]), len(study.damaged), rule, "repair or remove that file")
        raise nothing_in(folders[0])
    return study


def _name_others(study: Study) -> None:
    """Say in the labels of answers which of them are not about the policies that their trial ended with."""
    evaluations = {run_name(trial.path): trial.evaluation or {} for trial in study.trials}
    for place, answer in enumerate(study.answers):
        asked = answer.solutions[-1].policies
        if evaluations.get(answer.label, {}).get("policies", asked) != asked:
            study.answers[place] = replace(answer, label=f"{answer.label} (policies of before)")


def _read_folder(study: Study, folder: Path) -> None:
    for kind, reader in READERS.items():
        file = folder / f"{kind}.json"
        if file.is_file():
            _try(study, file, reader, folder)
            return
    for trial in _trials_in(folder):
        _try(study, trial, _read_trial, trial)


def _trials_in(folder: Path) -> list[Path]:
    """Those of an experiment's folder; or the folder itself, where it is a trial's."""
    if (folder / "config.json").is_file():
        return [folder]
    return sorted(path.parent for path in folder.glob("*/config.json"))


def _try(study: Study, path: Path, reader: Callable[[Study, Path], None], folder: Path) -> None:
    """Read what is in `folder`, or note why `path` cannot be read."""
    try:
        reader(study, folder)
    except UNREADABLE as error:
        place, cause = str(path), f"{type(error).__name__}: {error}"
        if isinstance(error, ConfigError):
            place, cause = error.key, f"{error.rule}; {error.fix}."
        study.damaged[path] = f"{place} cannot be read and is left out: {cause}"


def _read_trial(study: Study, folder: Path) -> None:
    trial = load_trial(folder)
    if trial.config.get("deviation"):
        return  # a best response, judged with the others of its folder
    label = run_name(folder)
    if trial.rollout:
        numpy.load(trial.rollout).close()
    study.trials.append(trial)
    if trial.error is not None and (trial.status or trial.finished):
        place = study.failures if failed(trial) else study.recoveries
        place[label] = textwrap.shorten(trial.error, CAUSE_LETTERS, placeholder=" ...")
    for path in sorted(folder.glob("temptation.json")) or sorted(folder.glob("temptation-*/temptation.json")):
        record, evaluated = read_json(path), (trial.evaluation or {}).get("checkpoint")
        if not record["trivial"] and evaluated in (None, record["checkpoint"]):
            study.temptations[label] = record


def _read_answer(study: Study, folder: Path) -> None:
    record, solutions = read_answers(folder / "best_response.json")
    label = run_name(Path(record["run"]))
    study.answers.append(Answer(label, solutions, _params_in(folder), record["held_out_episodes"]))


def _read_map(study: Study, folder: Path) -> None:
    name = folder.name.removeprefix("tax_map-")
    study.maps[name] = TaxMap.read(read_json(folder / "tax_map.json"), _params_in(folder))


def _read_search(study: Study, folder: Path) -> None:
    found = PlanSearch.read(folder / "plan_search.json")
    study.searches[found.run] = found


READERS: dict[str, Callable[[Study, Path], None]] = {
    "best_response": _read_answer,
    "tax_map": _read_map,
    "plan_search": _read_search,
}
"""By kind of the folders that lie beside an experiment's, as `<kind>-<experiment>-<trial>`, each with a `<kind>.json`
that tells it."""


def _params_in(folder: Path) -> EconomyParameters:
    """Of the economy that the trials in `folder` were trained in."""
    config = next(iter(sorted(folder.glob("*/config.json"))), None)
    if config is None:
        raise ConfigError(
            str(folder), [], "it holds no trial with a config.json", "train again under another --results"
        )
    return EconomyParameters(**json.loads(config.read_text())["economy"])
