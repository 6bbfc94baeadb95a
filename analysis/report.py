"""Report on an experiment: the table by treatment, what happened in words, training curves and roll-outs.

    python -m analysis.report results/<experiment> [--out DIR]

Reads an experiment's folder (or one trial's), finished or not. Prints the table and the words, and writes `report.md`,
`comparison.csv`, `training.png` and a `rollout.png` for each trial that has a roll-out into FOLDER or DIR. Where FOLDER
holds learned and fixed taxes, also compares their welfare, as `analysis.welfare` does. An earlier report there is
replaced.
"""

import argparse
import shutil
from collections.abc import Sequence
from pathlib import Path

from analysis.comparison import comparison_table, markdown_table
from analysis.figures import save
from analysis.metrics import verdict
from analysis.narrative import narrative
from analysis.results import Trial, by_treatment, load_trials
from analysis.rollout import save_rollout
from analysis.training import training_figure
from analysis.welfare import write_welfare
from rbc_rllib.settings import ConfigError, refused

NOTE = (
    "Means a quarter over whole episodes and over seeds, trivial ones included; [low, high] is the 95% bootstrap"
    " interval over seeds. Prices and wages count the first quarter too, in which they are given; tax rates do not."
)


def write_report(folder: str | Path, out: str | Path | None = None) -> str:
    """Writes the report on `folder` into `out` (into `folder` by default) and returns the table and the words."""
    folder = Path(folder)
    out = folder if out is None else Path(out)
    trials = load_trials(folder)
    out.mkdir(parents=True, exist_ok=True)

    table = comparison_table(trials)
    table.to_csv(out / "comparison.csv")
    save(training_figure(trials), out / "training.png")
    rollouts = {trial.path: _rollout_image(trial, folder, out) for trial in trials if trial.rollout}

    welfare, welfare_image = _welfare(trials, out)
    text = f"{markdown_table(table)}\n\n{NOTE}\n\n{narrative(trials)}\n{welfare}"
    sections = [
        f"# {folder.resolve().name}",
        text,
        welfare_image,
        "## Training",
        "![Training curves](training.png)",
        *_rollout_section(trials, {path: image.relative_to(out).as_posix() for path, image in rollouts.items()}),
    ]
    (out / "report.md").write_text("\n\n".join(section.strip() for section in sections if section) + "\n")
    return text


def _welfare(trials: Sequence[Trial], out: Path) -> tuple[str, str]:
    """The section on learned and fixed taxes and its image, or why there is no comparison; empty where all taxes are of
    one kind."""
    if len({trial.planner.learns for trial in trials}) < 2:
        return "", ""
    try:
        text, image = write_welfare(trials, out), "![Welfare by treatment](welfare.png)"
    except ConfigError as error:
        text, image = f"No comparison of learned and fixed taxes: {error}", ""
    return f"\n## Welfare\n\n{text}\n", image


def _rollout_image(trial: Trial, folder: Path, out: Path) -> Path:
    """The figure that the evaluation drew, copied where the report goes elsewhere; drawn where it is missing."""
    drawn, image = trial.path / "rollout.png", out / trial.path.relative_to(folder) / "rollout.png"
    if not drawn.is_file():
        return save_rollout(trial.path / "rollout.npz", image, trial.economy_parameters)
    if drawn.resolve() != image.resolve():
        image.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(drawn, image)
    return image


def _rollout_section(trials: Sequence[Trial], images: dict[Path, str]) -> list[str]:
    """One picture a treatment (of a seed that is not trivial, if there is one) and links to the others."""
    if not images:
        return []
    lines = ["## Roll-outs"]
    for name, members in by_treatment(trials).items():
        drawn = [trial for trial in members if trial.path in images]
        if not drawn:
            continue
        shown = next((trial for trial in drawn if verdict(trial) == "alive"), drawn[0])
        lines.append(f"### {name}, seed {shown.seed}")
        lines.append(f"![Roll-out of {name}, seed {shown.seed}](<{images[shown.path]}>)")
        others = [f"[seed {trial.seed}](<{images[trial.path]}>)" for trial in drawn if trial is not shown]
        if others:
            lines.append(f"Other seeds: {', '.join(others)}.")
    return lines


def main(arguments: Sequence[str] | None = None) -> None:
    """The command line."""
    parser = argparse.ArgumentParser(
        prog="python -m analysis.report", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folder", type=Path, help="results/<experiment>, or one trial's folder")
    parser.add_argument("--out", type=Path, help="where to write the report (default: into FOLDER)")
    chosen = parser.parse_args(arguments)
    with refused(parser):
        print(write_report(chosen.folder, chosen.out), end="")


if __name__ == "__main__":
    main()
