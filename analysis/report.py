"""From results folders to understanding: one page of tables, figures and words.

    python -m analysis.report results/<experiment> [FOLDER ...] [--out DIR] [--open]

Reads any run, sweep, best-response, tax-map or plan-search folder, finished or not, and what lies beside it. Prints the
table and the words, and writes `report.html`, which needs no network, with every figure also as PNG and PDF and every
table as CSV in `report/`, into the first FOLDER or DIR. What is missing is named with the command that adds it, what
cannot be read with its file. An earlier report there is replaced.
"""

import webbrowser
from collections.abc import Sequence
from pathlib import Path

from analysis.comparison import comparison_table, markdown_table
from analysis.gains import words
from analysis.narrative import narrative
from analysis.page import write_page
from analysis.plans import search_words
from analysis.ranking import rank, ranking_text, searched
from analysis.sections import economics, equilibrium, learning, overview, rollouts, search, spectrum, taxes
from analysis.study import Study, load_study
from analysis.tax_map_report import map_text
from analysis.taxes import compare_economies
from analysis.welfare import welfare_text
from rbc_rllib.settings import ConfigError, command_parser, refused

SECTIONS = (overview, learning, rollouts, taxes, equilibrium, spectrum, economics, search)
"""In the order of the page."""


def write_report(folders: Path | Sequence[Path], out: Path | None = None) -> str:
    """Write the report on `folders` into `out` (into the first folder by default); returns the table and the words.

    Raises `ConfigError` where there is nothing to report on.
    """
    folders = [folders] if isinstance(folders, Path) else list(folders)
    study = load_study(folders)
    sections = [section for module in SECTIONS if (section := module.section(study))]
    write_page(study.name, sections, out or folders[0])
    return text_of(study)


def text_of(study: Study) -> str:
    """What a terminal shows of a study: the table by treatment, what happened, learned against fixed taxes, and what a
    search found; without a trial, what leaving gains, other plans and other rates."""
    parts = list(study.damaged.values())
    if not study.trials:
        for answer in study.answers:
            parts += [f"{answer.label}, {each.checkpoint}:\n{words(each)}" for each in answer.solutions]
        parts += [f"{label}:\n{search_words(found)}" for label, found in study.searches.items()]
        parts += [f"{label}:\n{map_text(found)}" for label, found in study.maps.items()]
    if study.trials:
        parts += [markdown_table(comparison_table(study.trials)), overview.CAPTION, narrative(study.trials)]
    if len({trial.planner.learns for trial in study.trials}) > 1:
        parts += ["## Welfare", *welfare_texts(study)]
    if found := searched(study.trials):
        parts += ["## Search", ranking_text(rank(found))]
    return "\n\n".join(parts) + "\n"


def welfare_texts(study: Study) -> list[str]:
    """Learned against fixed taxes in each economy of a study, or why there is no such comparison."""
    texts = []
    for economy, comparison in compare_economies(study.trials).items():
        if isinstance(comparison, ConfigError):
            where = f" where {economy}" if economy else ""
            texts.append(f"No comparison of learned and fixed taxes{where}: {comparison}")
        else:
            texts += [f"Where {economy}:"] * bool(economy) + [welfare_text(comparison)]
    return texts


def main(arguments: Sequence[str] | None = None) -> None:
    """The command line."""
    parser = command_parser("analysis.report", __doc__)
    parser.add_argument("folders", type=Path, nargs="+", metavar="FOLDER", help="results/<experiment>, or any other")
    parser.add_argument("--out", type=Path, help="where to write the report (default: into the first FOLDER)")
    parser.add_argument("--open", action="store_true", help="show it in a browser")
    chosen = parser.parse_args(arguments)
    with refused(parser):
        print(write_report(chosen.folders, chosen.out), end="")
        page = (chosen.out or chosen.folders[0]) / "report.html"
        print(f"\nReport: {page}")
        if chosen.open:
            webbrowser.open(page.resolve().as_uri())


if __name__ == "__main__":
    main()
