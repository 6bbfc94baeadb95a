"""Learn the equilibrium and the tax policy of an economy with many different, strategic agents.

`__init__.pyi` lists what a Python user imports. Importing this package is cheap: Ray and torch are loaded when
something is used that needs them.
"""

import sys
from types import ModuleType
from typing import Any

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)


class _Package(ModuleType):
    """`train` and `evaluate` are functions, and modules that are commands: Python makes an imported module an attribute
    of its package, which must not replace the function."""

    def __setattr__(self, name: str, value: Any) -> None:
        if not (name in __all__ and isinstance(value, ModuleType)):
            super().__setattr__(name, value)


sys.modules[__name__].__class__ = _Package
