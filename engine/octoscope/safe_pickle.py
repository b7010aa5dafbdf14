"""Reading pickles of other people without running anything from them.

A pickle may call any callable it names, set attributes on what it names, and rebuild arrays whose
bytes are pointers. So an unpickler here hands out stand-ins only: :class:`Maker` calls one harmless
function and cannot be changed, :class:`Opaque` keeps what it is given, :class:`Array` and
:class:`DType` rebuild arrays of numbers, text and plain lists after checking them.

A Lightning checkpoint holds callbacks, optimisers and settings of any class, which torch's
``weights_only`` refuses. :func:`load_inert` reads its tensors. Every class that is not needed to
rebuild a tensor becomes :class:`Inert`: an empty dictionary that takes any argument and does
nothing.
"""

from __future__ import annotations

import collections
import pickle
import re
import zipfile
from collections.abc import Callable
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import IO, Any

import numpy as np

_KIND = re.compile(r"^[<>|=]?(?:[biufc]\d{1,2}|[SU]\d{0,9}|O8?|M8|m8|\?)(?:\[[a-z]+\])?$")


class Refused(pickle.UnpicklingError):
    """A pickle names something, or does something to it, that is not allowed."""


class _Sealed(type):
    """Classes that a pickle cannot set attributes on."""

    def __setattr__(cls, name: str, value: Any) -> None:
        raise Refused(f"a change of {cls.__name__}")


class Opaque(metaclass=_Sealed):
    """Stands for an object of a class that is not rebuilt: its arguments and state, no more."""

    __slots__ = ("args", "state")
    args: tuple[Any, ...]
    state: Any

    def __new__(cls, *args: Any, **kwargs: Any) -> Opaque:
        """Take any argument."""
        self = object.__new__(cls)
        self.args, self.state = args, None
        return self

    def __setstate__(self, state: Any) -> None:
        self.state = state


class Maker:
    """A function that a pickle may call, and cannot change."""

    __slots__ = ("_function",)
    _function: Callable[..., Any]

    def __init__(self, function: Callable[..., Any]) -> None:
        object.__setattr__(self, "_function", function)

    def __call__(self, *args: Any) -> Any:
        """Call the function."""
        return self._function(*args)

    def __setattr__(self, name: str, value: Any) -> None:
        raise Refused("a change of a function")

    def __setstate__(self, state: Any) -> None:
        raise Refused("a change of a function")


class DType(Opaque):
    """A numpy dtype of numbers, text or objects: nothing structured, no flags from the file."""

    __slots__ = ()

    def real(self) -> np.dtype[Any]:
        """Return the dtype.

        Raises
        ------
        Refused
            If it is of another kind.
        """
        text = self.args[0] if self.args else None
        if not isinstance(text, str) or not _KIND.match(text):
            raise Refused(f"a dtype {text!r}")
        kind = np.dtype(text)
        if self.state is None:
            return kind
        version, order, *rest = self.state
        if any(x is not None for x in rest[:3]):
            raise Refused("a structured dtype")
        if kind.kind in "Mm" and len(rest) > 6:
            unit = [x for x in rest[6:] if isinstance(x, tuple)]
            name = next((u for u in _flat(unit) if isinstance(u, str | bytes)), "ns")
            name = name.decode("ascii") if isinstance(name, bytes) else name
            if not name.isalpha():
                raise Refused("a unit of time")
            kind = np.dtype(f"{kind.kind}8[{name}]")
        return kind.newbyteorder(order) if order in ("<", ">") else kind


def _flat(value: Any) -> list[Any]:
    if isinstance(value, tuple | list):
        return [y for x in value for y in _flat(x)]
    return [value]


class Array(Opaque):
    """A numpy array, rebuilt from checked bytes or a list when asked for."""

    __slots__ = ()

    @property
    def value(self) -> np.ndarray:
        """The array; stand-ins inside an array of objects are kept as they are.

        Raises
        ------
        Refused
            If shape, dtype and content do not belong together.
        """
        if self.state is None:
            return np.zeros(0)
        _, shape, dtype, fortran, data = self.state
        return _array(data, dtype, shape, "F" if fortran else "C")


def _array(data: Any, dtype: Any, shape: Any, order: str) -> np.ndarray:
    if not isinstance(dtype, DType) or not isinstance(shape, tuple):
        raise Refused("an array without dtype or shape")
    kind = dtype.real()
    size = 1
    for n in shape:
        if not isinstance(n, int) or n < 0:
            raise Refused("an array of negative size")
        size *= n
    if kind.kind == "O":
        if not isinstance(data, list) or len(data) != size:
            raise Refused("an array of objects from bytes")
        flat = np.empty(size, object)
        flat[:] = data
    else:
        raw = data.encode("latin1") if isinstance(data, str) else data
        if not isinstance(raw, bytes | bytearray) or len(raw) != size * kind.itemsize:
            raise Refused("an array whose bytes do not fit its shape")
        flat = np.frombuffer(bytes(raw), kind)
    return flat.reshape(shape, order="F" if order == "F" else "C")


def _reconstruct(*_: Any) -> Array:
    return Array()


def _from_buffer(data: Any, dtype: Any, shape: Any, order: Any) -> Array:
    array = Array()
    array.state = (1, shape, dtype, order == "F", bytes(data))
    return array


def _scalar(dtype: Any, data: Any = b"") -> Any:
    if isinstance(data, Array | Opaque) or not isinstance(dtype, DType) or dtype.real().kind == "O":
        raise Refused("a number that is no number")
    return _array(data, dtype, (), "C")[()]


def _no_bytes() -> bytes:
    return b""  # protocol 2 writes empty bytes as a call


def _encode(text: Any, codec: Any = "latin1") -> bytes:
    if not isinstance(text, str) or codec not in ("latin1", "latin-1", "utf-8", "ascii"):
        raise Refused(f"the codec {codec!r}")
    return text.encode(codec)


@cache
def numpy_names() -> dict[tuple[str, str], Any]:
    """Return stand-ins for what rebuilds numpy arrays and numbers, by module and name."""
    out: dict[tuple[str, str], Any] = {
        ("numpy", "ndarray"): Opaque,
        ("numpy", "dtype"): DType,
        ("_codecs", "encode"): Maker(_encode),
        ("builtins", "bytes"): Maker(_no_bytes),
        ("__builtin__", "bytes"): Maker(_no_bytes),
    }
    for core in ("numpy.core", "numpy._core"):
        out[(f"{core}.multiarray", "_reconstruct")] = Maker(_reconstruct)
        out[(f"{core}.multiarray", "scalar")] = Maker(_scalar)
        out[(f"{core}.numeric", "_frombuffer")] = Maker(_from_buffer)
    return out


@cache
def torch_names() -> dict[tuple[str, str], Any]:
    """Return what rebuilds tensors, by module and name; torch finds its storages itself."""
    import torch
    from torch import _utils

    def parameter(data: Any, *_: Any) -> Any:
        return data

    out: dict[tuple[str, str], Any] = {
        ("torch", "Size"): torch.Size,
        ("torch", "device"): torch.device,
        ("torch._utils", "_rebuild_tensor_v2"): Maker(_utils._rebuild_tensor_v2),
        ("torch._utils", "_rebuild_parameter"): Maker(parameter),
    }
    for name in dir(torch):
        if isinstance(getattr(torch, name), torch.dtype):
            out[("torch", name)] = getattr(torch, name)
    return out


def load_torch_zip(file: str | IO[bytes], unpickler: type[pickle.Unpickler]) -> Any:
    """Read a torch file with a restricted unpickler.

    Raises
    ------
    pickle.UnpicklingError
        If it is not torch's zip format (before 1.6 it cannot be restricted), or holds TorchScript:
        ``torch.load`` would run its code whatever the unpickler.
    """
    import torch

    if not zipfile.is_zipfile(file):
        raise pickle.UnpicklingError("not torch's zip format (save it again with torch >= 1.6)")
    with zipfile.ZipFile(file) as archive:
        for name in archive.namelist():
            if name.rsplit("/", 1)[-1] == "constants.pkl" or "/code/" in f"/{name}":
                raise Refused("a TorchScript program")
    if not isinstance(file, str):
        file.seek(0)
    restricted = ModuleType("restricted_pickle")
    restricted.Unpickler = unpickler  # type: ignore[attr-defined]
    return torch.load(file, map_location="cpu", weights_only=False, pickle_module=restricted)


class Inert(dict[Any, Any]):
    """Stands for an object of a class that is not rebuilt; keeps dictionary items, if it has any.

    Lightning's own settings class is a dictionary, so its items survive.
    """

    def __new__(cls, *args: Any, **kwargs: Any) -> Inert:
        """Take any argument."""
        return super().__new__(cls)

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__()

    def __setstate__(self, state: Any) -> None:
        pass

    def append(self, value: Any) -> None:
        """Ignore list items."""

    def extend(self, values: Any) -> None:
        """Ignore list items."""

    def add(self, value: Any) -> None:
        """Ignore set items."""


# what runs commands or code, or opens files: no checkpoint needs these, so a file that names one
# was made to be run
_RUNS = {
    "os", "posix", "nt", "subprocess", "pty", "sys", "importlib", "runpy", "socket", "shutil",
    "ctypes", "webbrowser",
}  # fmt: skip
_RUNS_OF_BUILTINS = {
    "eval", "exec", "compile", "__import__", "open", "getattr", "breakpoint", "input",
}  # fmt: skip


class _InertUnpickler(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        builtin = module in ("builtins", "__builtin__") and name in _RUNS_OF_BUILTINS
        if builtin or module.partition(".")[0] in _RUNS:
            raise pickle.UnpicklingError(f"it names code, which is not run: {module}.{name}")
        if (module, name) == ("collections", "OrderedDict"):
            return collections.OrderedDict
        return numpy_names().get((module, name)) or torch_names().get((module, name), Inert)


def load_inert(path: Path) -> Any:
    """Read a zip-format torch file with unknown classes replaced by :class:`Inert`.

    Raises
    ------
    pickle.UnpicklingError
        If it names what runs commands or code; if it is not a zip file (torch's format before 1.6
        cannot be restricted), or TorchScript.
    """
    return load_torch_zip(str(path), _InertUnpickler)
