"""Napistu's pickles: tables, arrays and tensors; nothing that a file names is run.

pandas objects become stand-ins that are rebuilt from checked parts when asked for, so pickles of
any pandas version are read. Objects of Napistu, igraph and PyTorch Geometric keep their state
only. Any other name stops the reading; ``trust`` lifts that for the file of one SHA-256.
"""

from __future__ import annotations

import collections
import hashlib
import io
import pickle
import zipfile
from typing import Any

import numpy as np
import pandas as pd

from octoscope.errors import InputError
from octoscope.safe_pickle import (
    Array,
    Opaque,
    Refused,
    load_torch_zip,
    numpy_names,
    torch_names,
)
from octoscope.zip_parts import archive_fault

_OPAQUE = ("napistu.", "napistu_torch.", "torch_geometric.data.", "igraph.")
_BROKEN = (
    pickle.UnpicklingError, EOFError, AttributeError, AssertionError, ImportError, LookupError,
    TypeError, ValueError, RuntimeError, OverflowError, MemoryError, RecursionError,
    zipfile.BadZipFile,
)  # fmt: skip


class Block(Opaque):
    """Columns of one type: values, places, dimensions."""

    __slots__ = ()


class Manager(Opaque):
    """Blocks and axes of a table or series."""

    __slots__ = ()


class Index(Opaque):
    """An index of any kind."""

    __slots__ = ()

    @property
    def value(self) -> pd.Index:
        """The index, as pandas has it."""
        parts = self.args[1]
        if "start" in parts:
            return pd.RangeIndex(parts["start"], parts["stop"], parts["step"], name=parts["name"])
        if "levels" in parts:
            levels = [plain(x) for x in parts["levels"]]
            codes = [plain(x) for x in parts["codes"]]
            return pd.MultiIndex(levels=levels, codes=codes, names=list(parts["names"]))
        return pd.Index(plain(parts["data"]), name=parts.get("name"))


class Extension(Opaque):
    """A column of text or of categories."""

    __slots__ = ()

    @property
    def value(self) -> np.ndarray:
        """The values as [rows] objects."""
        state = self.state if self.state is not None else self.args[-1]
        values = next(x.value for x in state if isinstance(x, Array))
        dtype = next((x for x in state if isinstance(x, Opaque) and not isinstance(x, Array)), None)
        known = dtype.state if dtype is not None and isinstance(dtype.state, dict) else {}
        if "categories" not in known:
            return values
        names = np.asarray(plain(known["categories"]), object)
        out = np.full(len(values), None, object)
        out[values >= 0] = names[values[values >= 0]]
        return out


class Frame(Opaque):
    """A table."""

    __slots__ = ()

    @property
    def value(self) -> pd.DataFrame:
        """The table, as pandas has it."""
        blocks, axes = self.state["_mgr"].args[:2]
        columns, rows = (plain(a) for a in axes)
        data: dict[int, Any] = {}
        for block in blocks:
            values, positions = plain(block.args[0]), plain(block.args[1])
            at = np.arange(len(columns))[positions]
            values = values if values.ndim == 2 else values[None]
            if len(at) != len(values):
                raise Refused("a table whose columns do not fit")
            data |= dict(zip(at.tolist(), values, strict=True))
        ordered = {i: pd.Series(data[i], index=rows) for i in range(len(columns))}
        return pd.DataFrame(ordered, index=rows).set_axis(columns, axis=1)


class Series(Opaque):
    """A named column."""

    __slots__ = ()

    @property
    def value(self) -> pd.Series:
        """The series, as pandas has it."""
        manager = self.state["_mgr"]
        if manager.args:
            blocks, axes = manager.args[:2]
            block = blocks[0] if isinstance(blocks, tuple | list) else blocks
            values = block.args[0]
        else:  # protocols 0 to 2
            parts = manager.state[-1]["0.14.1"]
            axes, values = parts["axes"], parts["blocks"][0]["values"]
        index = plain(axes[0] if isinstance(axes, tuple | list) else axes)
        return pd.Series(plain(values).ravel(), index=index, name=self.state.get("_name"))


def plain(value: Any) -> Any:
    """Return what a stand-in stands for; other objects as they are."""
    return value.value if isinstance(value, Array | Index | Extension | Frame | Series) else value


def _names() -> dict[tuple[str, str], Any]:
    out = numpy_names() | {
        ("builtins", "slice"): slice,
        ("builtins", "set"): set,
        ("builtins", "frozenset"): frozenset,
        ("collections", "OrderedDict"): collections.OrderedDict,
        ("pandas.core.frame", "DataFrame"): Frame,
        ("pandas.core.series", "Series"): Series,
        ("pandas.core.internals.managers", "BlockManager"): Manager,
        ("pandas.core.internals.managers", "SingleBlockManager"): Manager,
        ("pandas._libs.internals", "_unpickle_block"): Block,
        ("pandas._libs.arrays", "__pyx_unpickle_NDArrayBacked"): Extension,
        ("pandas._libs.missing", "NA"): None,
        ("pandas.core.indexes.base", "_new_Index"): Index,
    }
    for module, name in (
        ("pandas.core.indexes.base", "Index"),
        ("pandas.core.indexes.range", "RangeIndex"),
        ("pandas.core.indexes.multi", "MultiIndex"),
        ("pandas.core.arrays.string_", "StringArray"),
        ("pandas.core.arrays.string_", "StringDtype"),
        ("pandas.core.arrays.categorical", "Categorical"),
        ("pandas.core.dtypes.dtypes", "CategoricalDtype"),
    ):
        out[(module, name)] = Opaque
    return out


_ALLOWED = _names()


class _Restricted(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        module = {"__builtin__": "builtins"}.get(module, module)
        if (module, name) in _ALLOWED:
            return _ALLOWED[(module, name)]
        if module.startswith(_OPAQUE) and name.isidentifier():
            return Opaque
        raise Refused(f"{module}.{name}")


class _Tensors(_Restricted):
    """Also rebuilds tensors."""

    def find_class(self, module: str, name: str) -> Any:
        known = torch_names().get((module, name))
        return super().find_class(module, name) if known is None else known


def load_pickle(data: bytes, where: str, trust: str | None = None) -> Any:
    """Return the content of a pickle; see :func:`plain`.

    Raises
    ------
    InputError
        If it names anything outside the allow-list (nothing is executed), or is not a pickle.
    """
    return _load(data, where, trust, _Restricted, lambda kind: kind(io.BytesIO(data)).load())


def load_torch(data: bytes, where: str, trust: str | None = None) -> Any:
    """Return the content of a torch zip file that holds tables beside tensors.

    Raises
    ------
    InputError
        As :func:`load_pickle`; also for torch's format before 1.6 and TorchScript, and where a part
        does not match its checksum.
    """
    fault = archive_fault(io.BytesIO(data))
    if fault is not None:
        raise InputError(where, f"damaged: {fault}", "get the file again")
    return _load(data, where, trust, _Tensors, lambda kind: load_torch_zip(io.BytesIO(data), kind))


def _load(data: bytes, where: str, trust: str | None, kind: type[_Restricted], read: Any) -> Any:
    if trust and trust.lower() == hashlib.sha256(data).hexdigest():
        kind = _trusted(kind)
    try:
        return read(kind)
    except Refused as refused:
        raise InputError(
            where,
            f"names {refused}, which is not needed to read a network; nothing was executed",
            "get the file from its authors again; if you trust it whatever it runs, give "
            "--trust and its SHA-256",
        ) from None
    except _BROKEN as error:
        raise InputError(where, f"cannot be read ({error})", "get the file again") from None


def _trusted(kind: type[_Restricted]) -> type[_Restricted]:
    class Trusting(kind):  # type: ignore[misc, valid-type]
        """Runs what the file names, where it is not known to be harmless."""

        def find_class(self, module: str, name: str) -> Any:
            try:
                return super().find_class(module, name)
            except Refused:
                return pickle.Unpickler.find_class(self, module, name)

    return Trusting
