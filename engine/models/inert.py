"""Reading a torch file that holds more than tensors, without running anything from it.

A Lightning checkpoint carries callbacks, optimisers and settings of any class. torch's
``weights_only`` refuses such files. Here every class that is not needed to rebuild a tensor becomes
:class:`Inert`: an empty dictionary that takes any argument and does nothing.
"""

from __future__ import annotations

import pickle
import zipfile
from pathlib import Path
from types import ModuleType
from typing import Any

import torch

# What rebuilds tensors, arrays and plain containers. Nothing here calls code named in a file.
_ALLOWED = {
    ("collections", "OrderedDict"),
    ("collections", "defaultdict"),
    ("torch", "Size"),
    ("torch", "device"),
    ("torch.nn.parameter", "Parameter"),
    ("torch._utils", "_rebuild_tensor_v2"),
    ("torch._utils", "_rebuild_parameter"),
    ("torch.serialization", "_get_layout"),
    ("torch.storage", "TypedStorage"),
    ("torch.storage", "UntypedStorage"),
    ("numpy", "dtype"),
    ("numpy", "ndarray"),
    ("numpy.core.multiarray", "_reconstruct"),
    ("numpy._core.multiarray", "_reconstruct"),
    ("numpy.core.multiarray", "scalar"),
    ("numpy._core.multiarray", "scalar"),
    ("_codecs", "encode"),
}


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


class _Unpickler(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        storage = module == "torch" and name.endswith("Storage")
        kind = module == "torch" and isinstance(getattr(torch, name, None), torch.dtype)
        if storage or kind or (module, name) in _ALLOWED:
            return super().find_class(module, name)
        return Inert


def load_inert(path: Path) -> Any:
    """Read a zip-format torch file with unknown classes replaced by :class:`Inert`.

    Raises
    ------
    pickle.UnpicklingError
        If it is not a zip file (torch's format before 1.6 cannot be restricted).
    """
    if not zipfile.is_zipfile(path):
        raise pickle.UnpicklingError("not torch's zip format")
    restricted = ModuleType("restricted_pickle")
    restricted.Unpickler = _Unpickler  # type: ignore[attr-defined]
    restricted.__name__ = "restricted_pickle"
    return torch.load(path, map_location="cpu", weights_only=False, pickle_module=restricted)
