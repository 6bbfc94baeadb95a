"""Imports point down only, and the ground floors stay free of what belongs above."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent

FLOORS = (
    ("rbc_rllib.settings",),
    ("rbc_rllib.arrays",),
    ("rbc_rllib.economy",),
    ("rbc_rllib.curriculum", "rbc_rllib.play.vector_economy", "analysis"),
    ("rbc_rllib.experiment",),
    ("rbc_rllib.play.env", "rbc_rllib.play.modules", "rbc_rllib.play.numerics"),
    ("rbc_rllib.play.rollout",),
    ("rbc_rllib.training.env_runner", "rbc_rllib.training.learner"),
    ("rbc_rllib.training.algorithm",),
    ("callbacks",),
    ("rbc_rllib.evaluate", "analysis.gains"),
    ("rbc_rllib.runs.trial",),
    ("rbc_rllib.runs.launch",),
    ("tune_configs",),
    ("rbc_rllib.runs.command_line",),
    ("rbc_rllib.train", "rbc_rllib.sweep", "rbc_rllib.best_response"),
    ("benchmarks",),
)
"""From the ground up. A module imports from floors below its own, or from its own package."""

MAY_IMPORT = {
    "numpy": {"rbc_rllib", "analysis", "benchmarks"},
    "ray": {
        "rbc_rllib.play.env",
        "rbc_rllib.play.modules",
        "rbc_rllib.training.env_runner",
        "rbc_rllib.training.learner",
        "rbc_rllib.training.algorithm",
        "callbacks",
        "rbc_rllib.runs.trial",
        "rbc_rllib.evaluate",
        "rbc_rllib.runs.launch",
        "tune_configs",
        "benchmarks",
    },
    "torch": {
        "rbc_rllib.arrays",
        "rbc_rllib.play.modules",
        "rbc_rllib.play.rollout",
        "rbc_rllib.training.env_runner",
        "rbc_rllib.training.learner",
        "rbc_rllib.runs.trial",
        "rbc_rllib.evaluate",
        "rbc_rllib.best_response",
        "benchmarks",
    },
    "gymnasium": {"rbc_rllib.play.env", "rbc_rllib.play.modules"},
    "cupy": {"rbc_rllib.arrays"},
}
"""Libraries that only some modules may know."""


def module_name(path: Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def modules() -> dict[str, Path]:
    packages = ("rbc_rllib", "callbacks", "analysis", "tune_configs", "benchmarks")
    return {module_name(path): path for package in packages for path in sorted((ROOT / package).rglob("*.py"))}


def imported(path: Path) -> set[str]:
    names = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names |= {node.module} | {f"{node.module}.{alias.name}" for alias in node.names}
    return names


def within(name: str, places: set[str] | tuple[str, ...]) -> str | None:
    """The longest of `places` that holds module `name`."""
    holding = [place for place in places if name == place or name.startswith(f"{place}.")]
    return max(holding, key=len, default=None)


def floor(name: str) -> tuple[int, str] | None:
    for level, places in enumerate(FLOORS):
        place = within(name, places)
        if place:
            return level, place
    return None


@pytest.mark.parametrize("name", [name for name in modules() if name != "rbc_rllib"])
def test_imports_point_down_only(name):
    here = floor(name)
    assert here is not None, f"{name} has no floor: give it one in FLOORS"
    for other in imported(modules()[name]):
        there = floor(other)
        if there is not None and there[1] != here[1]:
            assert there[0] < here[0], f"{name} (floor {here[0]}) imports {other} (floor {there[0]})"


@pytest.mark.parametrize("library", MAY_IMPORT)
def test_a_library_is_known_only_where_it_belongs(library):
    knowing = {
        name
        for name, path in modules().items()
        if within(library, tuple(imported(path))) or any(other.split(".")[0] == library for other in imported(path))
    }
    strangers = {name for name in knowing if within(name, tuple(MAY_IMPORT[library])) is None}
    assert not strangers
