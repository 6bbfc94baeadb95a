"""Imports point down only, on ten floors, and the ground floors stay free of what belongs above."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PACKAGES = ("rbc_rllib", "callbacks", "analysis", "tune_configs", "benchmarks")
LONGEST_FILE = 400

FLOORS = (
    ("rbc_rllib.settings", "rbc_rllib.files"),
    ("rbc_rllib.arrays",),
    ("rbc_rllib.economy",),
    ("rbc_rllib.curriculum", "rbc_rllib.leaving", "rbc_rllib.search", "analysis"),
    ("rbc_rllib.experiment",),
    ("rbc_rllib.play", "tune_configs"),
    ("rbc_rllib.training",),
    ("callbacks",),
    ("rbc_rllib.runs", "rbc_rllib.policies", "benchmarks"),
    (
        "rbc_rllib.evaluate",
        "rbc_rllib.train",
        "rbc_rllib.sweep",
        "rbc_rllib.best_response",
        "rbc_rllib.responses",
        "rbc_rllib.psro",
        "rbc_rllib.plan_search",
        "rbc_rllib.tax_map",
        "rbc_rllib.temptation",
    ),
)
"""From the ground up. A module imports from floors below its own, or from its own."""

MAY_IMPORT = {
    "numpy": {"rbc_rllib", "analysis", "benchmarks"},
    "ray": {"rbc_rllib.play", "rbc_rllib.training", "callbacks", "rbc_rllib.runs", "tune_configs", "benchmarks"},
    "torch": {"rbc_rllib.arrays", "rbc_rllib.play", "rbc_rllib.training", "rbc_rllib.policies", "benchmarks"},
    "gymnasium": {"rbc_rllib.play"},
    "pettingzoo": {"rbc_rllib.play.parallel"},
    "cupy": {"rbc_rllib.arrays"},
    "pandas": {"analysis"},
    "matplotlib": {"analysis", "benchmarks"},
    "optuna": {"rbc_rllib.plan_search", "rbc_rllib.runs.suggestions", "analysis.sections.search"},
    "jinja2": {"analysis.page"},
    "rich": {"rbc_rllib.runs.live_table"},
    "tensorboardX": {"rbc_rllib.runs.tensorboard"},
    "mlflow": {"rbc_rllib.runs.mlflow_tracker"},
    "pickle": set(),
    "safetensors": {"rbc_rllib.training.checkpoints"},
    # Reports are for those who start runs: a training actor draws nothing and makes no tables.
    "analysis": {
        "rbc_rllib.evaluate",
        "rbc_rllib.sweep",
        "rbc_rllib.best_response",
        "rbc_rllib.responses",
        "rbc_rllib.psro",
        "rbc_rllib.plan_search",
        "rbc_rllib.tax_map",
        "rbc_rllib.temptation",
        "benchmarks",
    },
}
"""Libraries that only some modules may know."""

OLD_STACK = ("ray.rllib.policy", "ray.rllib.evaluation", "ray.rllib.utils.schedules")
"""What only `rllib_internals` may import."""


def module_name(path: Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def modules() -> dict[str, Path]:
    return {module_name(path): path for package in PACKAGES for path in sorted((ROOT / package).rglob("*.py"))}


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


def floor(name: str) -> int | None:
    return next((level for level, places in enumerate(FLOORS) if within(name, places)), None)


def imports_among(names: set[str]) -> dict[str, set[str]]:
    """Which of our modules each of them imports: of `from a import b` the module a.b, or a where b is no module."""
    graph = {}
    for name in names:
        others = imported(modules()[name])
        passed_through = {other.rpartition(".")[0] for other in others if other in names}
        graph[name] = {within(other, names) for other in others - passed_through} - {None}
    return graph


@pytest.mark.parametrize("name", [name for name in modules() if name != "rbc_rllib"])
def test_imports_point_down_only(name):
    here = floor(name)
    assert here is not None, f"{name} has no floor: give it one in FLOORS"
    for other in imported(modules()[name]):
        there = floor(other)
        assert there is None or there <= here, f"{name} (floor {here}) imports {other} (floor {there})"


def test_there_are_ten_floors_at_most():
    assert len(FLOORS) <= 10


def test_no_file_and_no_package_is_part_of_a_circle():
    """Files among each other, and folders among each other: taking away what imports nothing leaves nothing."""
    files = imports_among({name for name in modules() if name != "rbc_rllib"})
    packages: dict[str, set[str]] = {}
    for name, others in files.items():
        own = within(name, tuple(place for places in FLOORS for place in places))
        known = {within(other, tuple(place for places in FLOORS for place in places)) for other in others}
        packages.setdefault(own, set()).update(known - {own})
    for graph in (files, packages):
        left = {name: others - {name} for name, others in graph.items()}
        while free := {name for name, others in left.items() if not others & left.keys()}:
            left = {name: others for name, others in left.items() if name not in free}
        assert not left


@pytest.mark.parametrize("package", [*PACKAGES, "tests"])
def test_no_file_is_long(package):
    lengths = {path: len(path.read_text().splitlines()) for path in (ROOT / package).rglob("*.py")}
    assert {path: length for path, length in lengths.items() if length > LONGEST_FILE} == {}


@pytest.mark.parametrize("library", MAY_IMPORT)
def test_a_library_is_known_only_where_it_belongs(library):
    knowing = {name for name, path in modules().items() if any(within(o, (library,)) for o in imported(path))}
    strangers = {name for name in knowing if within(name, tuple(MAY_IMPORT[library] | {library})) is None}
    assert not strangers


def test_the_old_stack_of_rllib_is_known_in_one_place():
    knowing = {name for name, path in modules().items() if any(within(o, OLD_STACK) for o in imported(path))}
    assert knowing == {"rbc_rllib.training.rllib_internals"}
