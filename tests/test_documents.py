"""What the documents say is true: their examples run, and what they name exists."""

import ast
import importlib
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

import rbc_rllib
from rbc_rllib.experiment import ExperimentConfig
from rbc_rllib.runs.command_line import parse_assignments

ROOT = Path(__file__).parent.parent
README = ROOT / "README.md"
DOCUMENTS = [README, *sorted((ROOT / "docs").rglob("*.md"))]
EXAMPLES = [ROOT / "docs" / "use_from_python.md", ROOT / "docs" / "extending.md"]
FOLDERS = ("rbc_rllib", "analysis", "callbacks", "tune_configs", "benchmarks", "tests", "docs")
LONGEST_README = 1100  # words
LONGEST_EXAMPLE = 25  # lines that are neither empty nor comments


def names(documents):
    return [str(document.relative_to(ROOT)) for document in documents]


def python_lines(document):
    """Its Python, line by line as in the document, so that an error's line is the document's."""
    inside = False
    for line in document.read_text().splitlines():
        if line.startswith("```"):
            inside = line == "```python"
            yield ""
        else:
            yield line if inside else ""


def blocks(document):
    return re.findall(r"^```python\n(.*?)^```$", document.read_text(), re.DOTALL | re.MULTILINE)


@pytest.mark.parametrize("document", EXAMPLES, ids=names(EXAMPLES))
def test_the_examples_run(document, tmp_path):
    """As a user's script, in a process and a folder of its own."""
    script = tmp_path / f"{document.stem}.py"
    script.write_text("\n".join(python_lines(document)) + "\n")
    environment = {key: value for key, value in os.environ.items() if not key.startswith("RAY_")}
    environment |= {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    ended = subprocess.run([sys.executable, script.name], cwd=tmp_path, env=environment, text=True, capture_output=True)
    assert ended.returncode == 0, ended.stdout + ended.stderr


@pytest.mark.parametrize("document", EXAMPLES, ids=names(EXAMPLES))
def test_examples_are_short(document):
    for block in blocks(document):
        lines = [line for line in block.splitlines() if line.strip() and not line.strip().startswith("#")]
        assert len(lines) <= LONGEST_EXAMPLE, block


def test_there_is_an_example_of_each_public_name():
    code = "\n".join(blocks(ROOT / "docs" / "use_from_python.md"))
    used = {node.id for node in ast.walk(ast.parse(code)) if isinstance(node, ast.Name)}
    assert [name for name in rbc_rllib.__all__ if name not in used] == []


def test_the_readme_is_short():
    assert len(README.read_text().split()) <= LONGEST_README


@pytest.mark.parametrize("document", DOCUMENTS, ids=names(DOCUMENTS))
def test_what_a_document_links_exists(document):
    links = re.findall(r"\]\(([^)#]+)[^)]*\)", document.read_text())
    local = [link for link in links if not link.startswith(("http://", "https://"))]
    assert [link for link in local if not (document.parent / link).exists()] == []


def test_every_document_and_figure_is_linked():
    linked = {
        (document.parent / link).resolve()
        for document in DOCUMENTS
        for link in re.findall(r"\]\(([^)#]+)[^)]*\)", document.read_text())
    }
    there = {path for suffix in ("md", "png") for path in (ROOT / "docs").rglob(f"*.{suffix}")}
    of_the_page = set((ROOT / "docs" / "example" / "report").iterdir())  # which its report.html links
    assert there - linked - of_the_page == set()


@pytest.mark.parametrize("document", DOCUMENTS, ids=names(DOCUMENTS))
def test_what_a_document_says_to_run_is_a_command(document):
    for name in set(re.findall(r"python3? -m ([.\w]+\w)", document.read_text())) - {"pytest", "venv"}:
        assert callable(importlib.import_module(name).main), name


def test_every_command_is_in_the_readme():
    commands = {
        ".".join(path.relative_to(ROOT).with_suffix("").parts)
        for package in ("rbc_rllib", "analysis", "benchmarks")
        for path in (ROOT / package).rglob("*.py")
        if '__name__ == "__main__"' in path.read_text()
    }
    assert {name for name in commands if f"python -m {name}" not in README.read_text()} == set()


@pytest.mark.parametrize("document", DOCUMENTS, ids=names(DOCUMENTS))
def test_paths_that_a_document_names_exist(document):
    paths = re.findall(rf"`((?:{'|'.join(FOLDERS)})/[^`]*)`", document.read_text())
    assert [path for path in paths if not (ROOT / path).exists()] == []


def test_each_row_of_what_is_to_be_opened_names_a_path_that_exists():
    _, _, rest = README.read_text().partition("## To change X, open Y")
    rows = [row for row in rest.partition("\n## ")[0].splitlines() if row.startswith("| ")][2:]
    assert len(rows) > 10
    for row in rows:
        paths = re.findall(r"`([^`]+)`", row)
        assert paths, row
        assert [path for path in paths if not (ROOT / path).exists()] == []


@pytest.mark.parametrize("document", DOCUMENTS, ids=names(DOCUMENTS))
def test_settings_that_a_document_sets_are_accepted(document):
    """Those of one command together."""
    for settings in re.findall(r"((?:--set [^\s`]+[\s\\]*)+)", document.read_text()):
        assignments = [text.strip("'") for text in re.findall(r"--set (\S+)", settings)]
        if assignments != ["key=value"]:
            ExperimentConfig().with_values(parse_assignments(assignments))


@pytest.mark.parametrize("document", DOCUMENTS, ids=names(DOCUMENTS))
def test_settings_that_a_document_names_exist(document):
    groups = "economy|planner|curriculum|learning|refinement|resources"
    for key in re.findall(rf"`((?:{groups})\.\w+)`", document.read_text()):
        settings, _, name = key.partition(".")
        assert name in type(getattr(ExperimentConfig(), settings)).model_fields, key
