"""The public list: cheap to import, complete, and the same whatever was imported before."""

import ast
import subprocess
import sys
from importlib import import_module, resources
from types import FunctionType, ModuleType

import pytest

import rbc_rllib

STUB = resources.files("rbc_rllib") / "__init__.pyi"
PUBLIC = {
    alias.asname or alias.name: f"rbc_rllib.{node.module}"
    for node in ast.walk(ast.parse(STUB.read_text()))
    if isinstance(node, ast.ImportFrom)
    for alias in node.names
}
"""Each public name, and the module that holds it."""

HEAVY = {"ray", "torch", "numpy", "gymnasium", "pandas", "matplotlib", "cupy", "pettingzoo"}


def printed(code: str) -> str:
    """What a fresh Python prints."""
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.strip()


def loaded(code: str) -> set[str]:
    """The libraries that a fresh Python has loaded after `code`."""
    return {name.partition(".")[0] for name in printed(f"{code}; import sys; print(*sys.modules)").split()}


def test_the_import_loads_no_heavy_library():
    assert not loaded("import rbc_rllib") & HEAVY


def test_a_list_of_the_names_loads_no_heavy_library():
    assert not loaded("import rbc_rllib; dir(rbc_rllib); rbc_rllib.__all__") & HEAVY


def test_settings_load_neither_ray_nor_torch():
    names = "ConfigError, Curriculum, EconomyParameters, ExperimentConfig, Learning, Resources, Sweep, step"
    assert not loaded(f"from rbc_rllib import {names}") & {"ray", "torch", "gymnasium", "pandas", "matplotlib"}


def test_the_list_is_what_the_package_shows():
    assert len(PUBLIC) > 20
    assert sorted(rbc_rllib.__all__) == sorted(PUBLIC)
    assert set(PUBLIC) <= set(dir(rbc_rllib))


@pytest.mark.parametrize("name", PUBLIC)
def test_every_public_name_can_be_imported(name):
    value = getattr(rbc_rllib, name)
    assert not isinstance(value, ModuleType)
    assert value is getattr(import_module(PUBLIC[name]), name)
    assert value is getattr(rbc_rllib, name)


COMMANDS = ("train", "evaluate")


@pytest.mark.parametrize(
    "first",
    [
        "import rbc_rllib.train, rbc_rllib.evaluate",
        "import rbc_rllib.evaluate, rbc_rllib.train",
        "from rbc_rllib import evaluate, train; from rbc_rllib.train import main; from rbc_rllib.evaluate import main",
    ],
)
def test_commands_are_functions_also_after_their_modules_were_imported(first):
    lines = [first, "import rbc_rllib; from rbc_rllib import evaluate, train"]
    for name in COMMANDS:
        lines.append(f"print(type({name}).__name__, {name}.__module__, rbc_rllib.{name} is {name})")
    expected = [f"function rbc_rllib.{name} True" for name in COMMANDS]
    assert printed("\n".join(lines)).splitlines() == expected


def test_modules_that_are_no_public_names_are_found_as_ever():
    import rbc_rllib.curriculum as module

    assert isinstance(module, ModuleType)
    assert rbc_rllib.curriculum is module
    assert all(isinstance(getattr(rbc_rllib, name), FunctionType) for name in COMMANDS)


@pytest.mark.parametrize("name", ["nothing", "Trainer", "evaluate_trial", "_private"])
def test_an_unknown_name_is_an_attribute_error(name):
    with pytest.raises(AttributeError, match=name):
        getattr(rbc_rllib, name)
    with pytest.raises(ImportError, match=name):
        exec(f"from rbc_rllib import {name}")


def test_type_checkers_are_told_that_the_package_is_typed():
    assert (resources.files("rbc_rllib") / "py.typed").is_file()
    assert STUB.is_file()
