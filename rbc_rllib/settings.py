"""The base of every configuration class: frozen, typed, no unknown keys, errors in one sentence."""

import argparse
import difflib
import reprlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any, Self

from pydantic import AfterValidator, BaseModel, ConfigDict, ValidationError, model_validator

SHORTENED = reprlib.Repr()
SHORTENED.maxstring = 200
"""How a refused value is shown: whole paths, but not whole files."""


class ConfigError(ValueError):
    """A setting that is refused: its key, its value, the rule it breaks and what to write instead."""

    def __init__(self, key: str, value: Any, rule: str, fix: str):
        self.key, self.value, self.rule, self.fix = key, value, rule, fix
        super().__init__(f"{key} = {SHORTENED.repr(value)} is refused: {rule}; {fix}.")

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self.key, self.value, self.rule, self.fix)

    def below(self, prefix: str) -> "ConfigError":
        """The same error, seen from the settings that hold these ones under `prefix`."""
        return ConfigError(f"{prefix}.{self.key}" if prefix else self.key, self.value, self.rule, self.fix)


def at_least_one(**numbers: int | None) -> None:
    """Raise `ConfigError` for the first of these options that is less than 1; None is one that was not given."""
    for name, value in numbers.items():
        if value is not None and value < 1:
            option = f"--{name.replace('_', '-')}"
            raise ConfigError(option, value, "it must be at least 1", "leave it out to get the default")


def command_parser(name: str, description: str | None) -> argparse.ArgumentParser:
    """The parser of `python -m <name>`, whose help shows `description` as it is written."""
    return argparse.ArgumentParser(
        prog=f"python -m {name}", description=description, formatter_class=argparse.RawDescriptionHelpFormatter
    )


@contextmanager
def refused(command: argparse.ArgumentParser) -> Iterator[None]:
    """Turn a refused setting, and a place where nothing can be written, into one line and exit status 2, in every
    command."""
    try:
        yield
    except ConfigError as error:
        command.exit(2, f"{error}\n")
    except (FileExistsError, NotADirectoryError, PermissionError) as error:
        command.exit(2, f"{error.filename} cannot be written: {error.strerror}; name another folder.\n")


class Settings(BaseModel):
    """Frozen settings. Unknown keys, wrong types, NaN and infinity raise `ConfigError`."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    def __init__(self, **values: Any):
        try:
            super().__init__(**values)
        except ValidationError as error:
            raise _first_problem(type(self), error) from None

    @model_validator(mode="before")
    @classmethod
    def _plain_values(cls, values: Any) -> Any:
        """NumPy scalars and arrays are taken for what they hold, but true and false for no number."""
        if not isinstance(values, dict):
            return values
        plain = {key: v.tolist() if hasattr(v, "tolist") else v for key, v in values.items()}
        for key, value in plain.items():
            field = cls.model_fields.get(key)
            if isinstance(value, bool) and field and field.annotation is not bool:
                rule = "true and false are for settings that are switched on and off, and this is none"
                raise ConfigError(key, value, rule, "give a value of its kind, or leave it out")
        return plain

    def replace(self, **changes: Any) -> Self:
        """A validated copy with `changes`; defaults that depend on a changed value follow it."""
        return type(self)(**{**self.model_dump(exclude_unset=True), **changes})


Folder = Annotated[str, AfterValidator(lambda path: str(Path(path).absolute()))]
"""A path, which is kept from its root on: a trial trains in a folder of its own."""


class PerGroup(Settings):
    """One number for each group of agents."""

    consumer: float
    firm: float
    planner: float


def _all_positive(values: PerGroup) -> PerGroup:
    for group, value in values:
        if value <= 0:
            raise ConfigError(group, value, "it must be greater than 0", "give the size that its rewards have")
    return values


def _none_negative(values: PerGroup) -> PerGroup:
    for group, value in values:
        if value < 0:
            raise ConfigError(group, value, "it must be 0 or more, or learning goes backwards", "take 0 for none")
    return values


PositivePerGroup = Annotated[PerGroup, AfterValidator(_all_positive)]
"""Numbers above 0."""

NonNegativePerGroup = Annotated[PerGroup, AfterValidator(_none_negative)]
"""Numbers from 0 on."""


def _first_problem(settings: type[Settings], error: ValidationError) -> ConfigError:
    # A default that depends on a refused field is not computed: that is a consequence, not the problem.
    problems = [p for p in error.errors() if p["type"] != "default_factory_not_called"]
    problem = problems[0]
    # pydantic's path also names validators and, of a field of several kinds, the kind that was tried.
    path = [str(part) for part in problem["loc"] if not str(part).startswith(("function-", "tuple["))]
    key = ".".join(path)
    cause = problem.get("ctx", {}).get("error")
    if isinstance(cause, ConfigError):
        return cause.below(key)
    if problem["type"] == "extra_forbidden":
        known = list(settings.model_fields)
        close = difflib.get_close_matches(path[-1], known, n=1)
        fix = f"write {close[0]} if that is what you mean" if close else f"the keys are {', '.join(known)}"
        return ConfigError(key, problem["input"], "there is no such key", fix)
    rule = problem["msg"][0].lower() + problem["msg"][1:]
    return ConfigError(key, problem["input"], rule.replace("input should", "it should"), _fix(settings, path))


def _fix(settings: type[Settings], path: list[str]) -> str:
    field = settings.model_fields.get(path[0])
    if field is None or field.is_required():
        return "give it a value of that kind"
    default = field.get_default(call_default_factory=False)
    if field.default_factory is not None or default is None or isinstance(default, Settings):
        return "leave it out to get the default"
    return f"the default is {default!r}"
