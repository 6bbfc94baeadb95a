"""What an installation brings: ranges and pins that agree, every import declared, a complete wheel, an image."""

import ast
import importlib
import json
import re
import shutil
import subprocess
import sys
import tomllib
import zipfile
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parent.parent
PACKAGES = ("rbc_rllib", "callbacks", "analysis", "tune_configs", "benchmarks")
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
DISTRIBUTIONS = packages_distributions()
SOURCES = [path for package in PACKAGES for path in sorted((ROOT / package).rglob("*.py"))]


def named(lines) -> dict[str, Requirement]:
    requirements = [Requirement(line) for line in lines]
    return {canonicalize_name(requirement.name): requirement for requirement in requirements}


def pins(*files: str) -> dict[str, str]:
    lines = [line for file in files for line in (ROOT / file).read_text().splitlines() if "==" in line]
    return {name: str(requirement.specifier).removeprefix("==") for name, requirement in named(lines).items()}


BASE = named(PROJECT["dependencies"])
EXTRAS = {extra: named(lines) for extra, lines in PROJECT["optional-dependencies"].items()}
DECLARED = BASE | {name: requirement for extra in EXTRAS.values() for name, requirement in extra.items()}


def third_party(nodes) -> set[str]:
    """The distributions that these imports come from."""
    modules = set()
    for node in nodes:
        if isinstance(node, ast.Import):
            modules |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            modules.add(node.module.partition(".")[0])
    others = modules - sys.stdlib_module_names - {*PACKAGES}
    return {canonicalize_name(DISTRIBUTIONS.get(module, [module])[0]) for module in others}


@pytest.mark.parametrize("name", sorted(DECLARED))
def test_a_range_has_two_ends_and_holds_what_the_tests_run_with(name):
    specifier = DECLARED[name].specifier
    assert {each.operator for each in specifier} == {">=", "<"}
    pinned = pins("requirements.txt", "requirements-dev.txt")
    assert pinned[name] in specifier


def test_every_pin_is_declared():
    assert set(pins("requirements.txt", "requirements-dev.txt")) <= set(DECLARED)
    assert set(pins("requirements-dev.txt")) == {*EXTRAS["dev"], *EXTRAS["wandb"], *EXTRAS["mlflow"]}


def test_ray_stays_what_its_insides_are_known_of():
    assert "2.60.9" in BASE["ray"].specifier
    assert "2.61.0" not in BASE["ray"].specifier


def test_extras_bring_what_not_everybody_needs():
    assert EXTRAS.keys() >= {"gpu", "wandb", "mlflow", "dev"}
    assert EXTRAS["gpu"].keys() == {"cupy-cuda13x"}
    assert not BASE.keys() & {name for extra in EXTRAS.values() for name in extra}


@pytest.mark.parametrize("path", SOURCES, ids=[str(path.relative_to(ROOT)) for path in SOURCES])
def test_what_a_file_imports_is_declared(path):
    """What it cannot be imported without, as a dependency; what a function of it imports, at least as an extra."""
    tree = ast.parse(path.read_text())
    assert third_party(tree.body) <= set(BASE)
    assert third_party(ast.walk(tree)) <= set(DECLARED)


@pytest.fixture(scope="module")
def wheel(tmp_path_factory) -> set[str]:
    """The names of the files in a wheel of the project."""
    folder = tmp_path_factory.mktemp("wheel")
    for path in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / path, folder)
    for package in (*PACKAGES, "tests"):
        shutil.copytree(ROOT / package, folder / package, ignore=shutil.ignore_patterns("__pycache__"))
    build = "import setuptools.build_meta as build; build.build_wheel('.')"
    subprocess.run([sys.executable, "-c", build], cwd=folder, check=True, capture_output=True)
    (built,) = folder.glob("*.whl")
    return set(zipfile.ZipFile(built).namelist())


def test_a_wheel_holds_all_of_the_packages_and_nothing_else(wheel):
    expected = {str(path.relative_to(ROOT)) for path in SOURCES} | {"rbc_rllib/py.typed", "rbc_rllib/__init__.pyi"}
    expected.add("analysis/page.html")
    assert {name for name in wheel if ".dist-info/" not in name} == expected


def test_every_folder_of_a_package_is_one():
    assert [path for path in SOURCES if not (path.parent / "__init__.py").is_file()] == []


def test_a_citation_names_the_software_and_the_paper():
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    assert citation.keys() >= {"cff-version", "message", "title", "authors"}
    assert citation["cff-version"] == "1.2.0"
    assert citation["version"] == PROJECT["version"]
    assert citation["license"] == PROJECT["license"]
    assert citation["authors"] == [{"name": "The rbc_rllib developers"}]
    (paper,) = citation["references"]
    assert paper.keys() >= {"type", "title", "authors"}
    assert [author["family-names"] for author in paper["authors"]] == ["Curry", "Trott", "Phade", "Bai", "Zheng"]
    assert paper["identifiers"] == [{"type": "other", "value": "arXiv:2201.01163"}]


def instructions() -> list[tuple[str, str]]:
    """The Dockerfile's, with continued lines joined."""
    text = re.sub(r"\\\n\s*", "", (ROOT / "Dockerfile").read_text())
    lines = [line for line in text.splitlines() if line and not line.startswith("#")]
    return [(line.partition(" ")[0], line.partition(" ")[2]) for line in lines]


def test_an_image_gets_what_it_copies():
    """From a context in which nothing else is."""
    copied = {source for name, rest in instructions() if name == "COPY" for source in rest.split()[:-1]}
    assert copied >= {"requirements.txt", *PACKAGES}
    assert [source for source in copied if not (ROOT / source).exists()] == []
    rules = [line for line in (ROOT / ".dockerignore").read_text().splitlines() if line and not line.startswith("#")]
    assert rules[0] == "*"
    assert {rule.removeprefix("!") for rule in rules if rule.startswith("!")} == copied


def test_an_image_runs_a_command_of_ours():
    given = dict(instructions())
    assert json.loads(given["ENTRYPOINT"]) == ["python", "-m"]
    (command,) = json.loads(given["CMD"])
    assert callable(importlib.import_module(command).main)


def test_an_image_chooses_cpu_or_cuda_by_build_arguments_alone():
    """Its base, and the index of torch's build; each is used after its declaration."""
    text = (ROOT / "Dockerfile").read_text()
    defaults = dict(rest.split("=", 1) for name, rest in instructions() if name == "ARG")
    assert defaults.keys() == {"BASE", "TORCH_INDEX"}
    for name in defaults:
        assert text.index(f"\nARG {name}=") < text.index(f"${{{name}}}")
        assert f"--build-arg {name}=" in text
    assert defaults["TORCH_INDEX"].endswith("/cpu")
    assert re.search(r"^torch==\S+$", (ROOT / "requirements.txt").read_text(), re.MULTILINE)  # what `grep` looks for
