"""Learn the equilibrium and the tax policy of an economy with many different, strategic agents.

`__init__.pyi` lists what a Python user imports. Importing this package is cheap: Ray and torch are loaded when
something is used that needs them.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
