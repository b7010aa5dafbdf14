"""Reading Napistu's pickles without running anything that a file names.

An allow-list of the classes that rebuild tables, arrays and tensors; Napistu's, igraph's and
PyTorch Geometric's own classes become :class:`Opaque`, which only keeps what was stored in it. Any
other name in a file stops the reading. ``trust`` lifts the restriction for one file whose SHA-256
the user has given.
"""

from __future__ import annotations

import hashlib
import io
import pickle
import zipfile
from types import ModuleType
from typing import Any

from engine.errors import InputError

_ALLOWED = {
    "builtins": {"slice", "set", "frozenset", "list", "dict", "tuple", "bytearray", "complex"},
    "collections": {"OrderedDict", "defaultdict"},
    "_codecs": {"encode"},
    "datetime": {"datetime", "date", "timedelta"},
    "numpy": {"ndarray", "dtype"},
    "numpy._core.multiarray": {"_reconstruct", "scalar"},
    "numpy.core.multiarray": {"_reconstruct", "scalar"},
    "numpy._core.numeric": {"_frombuffer"},
    "numpy.core.numeric": {"_frombuffer"},
    "pandas.core.frame": {"DataFrame"},
    "pandas.core.series": {"Series"},
    "pandas.core.internals.managers": {"BlockManager", "SingleBlockManager"},
    "pandas._libs.internals": {"_unpickle_block"},
    "pandas._libs.arrays": {"__pyx_unpickle_NDArrayBacked"},
    "pandas._libs.missing": {"NA", "NAType"},
    "pandas.core.arrays.string_": {"StringArray", "StringDtype"},
    "pandas.core.arrays.categorical": {"Categorical"},
    "pandas.core.dtypes.dtypes": {"CategoricalDtype"},
    "pandas.core.arrays.boolean": {"BooleanArray", "BooleanDtype"},
    "pandas.core.arrays.integer": {"IntegerArray", "Int64Dtype", "Int32Dtype"},
    "pandas.core.arrays.floating": {"FloatingArray", "Float64Dtype"},
    "pandas.core.indexes.base": {"_new_Index", "Index"},
    "pandas.core.indexes.range": {"RangeIndex"},
    "pandas.core.indexes.multi": {"MultiIndex"},
    "torch": {
        "FloatStorage", "DoubleStorage", "HalfStorage", "BFloat16Storage", "LongStorage",
        "IntStorage", "ShortStorage", "CharStorage", "ByteStorage", "BoolStorage", "Size",
        "float32", "float64", "int64", "int32", "bool",
    },
    "torch._utils": {"_rebuild_tensor_v2"},
    "torch.storage": {"TypedStorage", "UntypedStorage"},
    "torch.serialization": {"_get_layout"},
}  # fmt: skip
_OPAQUE = ("napistu.", "napistu_torch.", "torch_geometric.data.", "igraph.")


class Opaque:
    """Stands for an object of another package's class: its arguments and state, nothing else."""

    def __init__(self, *args: Any) -> None:
        self.args = args
        self.state: Any = None

    def __setstate__(self, state: Any) -> None:
        self.state = state


class _Refused(pickle.UnpicklingError):
    pass


class _Restricted(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        module = {"__builtin__": "builtins"}.get(module, module)
        if name in _ALLOWED.get(module, ()):
            return super().find_class(module, name)
        if module.startswith(_OPAQUE) and name.isidentifier():
            return Opaque
        raise _Refused(f"{module}.{name}")


class _Trusted(_Restricted):
    """Runs what the file names, where it is not known to be harmless."""

    def find_class(self, module: str, name: str) -> Any:
        try:
            return super().find_class(module, name)
        except _Refused:
            return pickle.Unpickler.find_class(self, module, name)


def load_pickle(data: bytes, where: str, trust: str | None = None) -> Any:
    """Return the content of a pickle.

    Raises
    ------
    InputError
        If it names anything outside the allow-list (nothing is executed), or is not a pickle.
    """
    return _load(lambda kind: kind(io.BytesIO(data)).load(), data, where, trust)


def load_torch(data: bytes, where: str, trust: str | None = None) -> Any:
    """Return the content of a torch zip file that holds tables beside tensors.

    Raises
    ------
    InputError
        As :func:`load_pickle`; also for torch's format before 1.6, which cannot be restricted.
    """
    if not zipfile.is_zipfile(io.BytesIO(data)):
        raise InputError(where, "is not torch's zip format", "save it again with torch >= 1.6")

    import torch  # seconds to load, and only stores need it

    def load(kind: type[pickle.Unpickler]) -> Any:
        restricted = ModuleType("restricted_pickle")
        restricted.Unpickler = kind  # type: ignore[attr-defined]
        return torch.load(
            io.BytesIO(data), map_location="cpu", weights_only=False, pickle_module=restricted
        )

    return _load(load, data, where, trust)


def _load(load: Any, data: bytes, where: str, trust: str | None) -> Any:
    digest = hashlib.sha256(data).hexdigest() if trust else ""
    kind = _Trusted if trust and trust.lower() == digest else _Restricted
    try:
        return load(kind)
    except _Refused as refused:
        raise InputError(
            where,
            f"names {refused}, which is not needed to read a network; nothing was executed",
            "get the file from its authors again; if you trust it whatever it runs, give "
            "--trust and its SHA-256",
        ) from None
    except (pickle.UnpicklingError, EOFError, AttributeError, ImportError, IndexError, KeyError,
            TypeError, ValueError, RuntimeError, UnicodeDecodeError, OverflowError,
            MemoryError, zipfile.BadZipFile) as error:  # fmt: skip
        raise InputError(where, f"cannot be read ({error})", "get the file again") from None
