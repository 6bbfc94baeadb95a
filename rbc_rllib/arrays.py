"""The array library: NumPy or CuPy, chosen once, and the bridge between it and torch.

This is the only file that imports CuPy. Everything above works on whatever arrays it is given, through the
`Python array API standard <https://data-apis.org/array-api/>`_ (`array_api_compat` fills the gaps).
"""

from collections.abc import Mapping
from types import ModuleType
from typing import Any, Literal, get_args

import array_api_compat
import numpy

from rbc_rllib.settings import ConfigError

Array = Any
"""An array of any library that follows the array API standard."""

Library = Literal["auto", "numpy", "cupy"]
LIBRARIES = get_args(Library)


def array_library(name: str) -> ModuleType:
    """The array module called `name`; `auto` is CuPy where it finds a CUDA device, else NumPy.

    Raises `ConfigError` for another name, and for `cupy` on a machine without CuPy or without a device.
    """
    if name not in LIBRARIES:
        raise ConfigError("array_library", name, f"it must be one of {', '.join(LIBRARIES)}", "use auto")
    if name == "numpy":
        return numpy
    try:
        import cupy

        if cupy.cuda.runtime.getDeviceCount() > 0:
            return cupy
        reason = "CuPy finds no CUDA device here"
    except Exception as error:  # CuPy raises its own runtime errors where the driver is missing
        reason = f"CuPy cannot be used here ({error})"
    if name == "cupy":
        raise ConfigError("array_library", name, reason.splitlines()[0], "use numpy or auto")
    return numpy


_NAMESPACES: dict[type, Any] = {}


def namespace(array: Array) -> Any:
    """The array API namespace of `array`'s library; looked up once for each type of arrays."""
    kind = type(array)
    if kind not in _NAMESPACES:
        _NAMESPACES[kind] = array_api_compat.array_namespace(array)
    return _NAMESPACES[kind]


def device(array: Array) -> Any:
    """The device on which `array` lies."""
    return array_api_compat.device(array)


def sum_inner(array: Array, axis: int) -> Array:
    """The sum of `[E, A, B]` over axis 1 or 2, as a product with ones: several times faster over few elements."""
    xp = namespace(array)
    ones = xp.ones(array.shape[axis], dtype=array.dtype, device=device(array))
    return xp.matmul(ones[None, :], array)[:, 0, :] if axis == 1 else xp.matmul(array, ones)


def stack(records: list[Any]) -> dict[str, Array]:
    """Field by field, the arrays of equal dataclass instances stacked along a new first axis."""
    names = vars(records[0])
    xp = namespace(next(iter(names.values())))
    return {name: xp.stack([getattr(record, name) for record in records]) for name in names}


def to_numpy(array: Array) -> numpy.ndarray:
    """A NumPy view (CPU) or copy (GPU) of an array of either library or of a torch tensor."""
    if hasattr(array, "detach"):
        array = array.detach().cpu()
    elif hasattr(array, "get"):  # CuPy's explicit transfer to the host
        return array.get()
    return numpy.asarray(array)


def to_torch(array: Array) -> Any:
    """`array` as a torch tensor on the same device, sharing its memory (DLPack)."""
    import torch

    return torch.from_dlpack(array)


def from_torch(tensor: Any, xp: ModuleType) -> Array:
    """`tensor` as an array of library `xp` on the same device, sharing its memory (DLPack)."""
    return xp.from_dlpack(tensor.detach())


def pull_floats(values: Mapping[str, Array]) -> dict[str, float]:
    """Scalars of one library as Python floats, with one transfer for all of them."""
    xp = namespace(next(iter(values.values())))
    packed = to_numpy(xp.stack([xp.astype(value, xp.float64) for value in values.values()]))
    return dict(zip(values, packed.tolist(), strict=True))
