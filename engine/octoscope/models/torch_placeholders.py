"""Reading a torch file that holds more than tensors, without running anything from it.

A Lightning checkpoint carries callbacks, optimisers and settings of any class. torch's
``weights_only`` refuses such files. Here every class that is not needed to rebuild a tensor becomes
:class:`Inert`: an empty dictionary that takes any argument and does nothing.
"""

from __future__ import annotations

import collections
import pickle
from pathlib import Path
from typing import Any

from octoscope.safe_pickle import load_torch_zip, numpy_names, torch_names


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
        if (module, name) == ("collections", "OrderedDict"):
            return collections.OrderedDict
        return numpy_names().get((module, name)) or torch_names().get((module, name), Inert)


def load_inert(path: Path) -> Any:
    """Read a zip-format torch file with unknown classes replaced by :class:`Inert`.

    Raises
    ------
    pickle.UnpicklingError
        If it is not a zip file (torch's format before 1.6 cannot be restricted), or TorchScript.
    """
    return load_torch_zip(str(path), _Unpickler)
