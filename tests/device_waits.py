"""Counts where a host would wait for a GPU, in code that runs on a CPU in its place."""

from __future__ import annotations

import sys
from collections import Counter
from types import FrameType
from typing import Any

import torch
from torch.overrides import TorchFunctionMode

# what yields a number, an array or a shape that only the device knows
_ASKING = {
    "__bool__", "__float__", "__int__", "__index__", "__contains__", "item", "tolist", "cpu",
    "numpy", "nonzero", "argwhere", "masked_select", "unique", "unique_consecutive", "equal",
    "allclose", "is_nonzero", "bincount",
}  # fmt: skip


class DeviceWaits(TorchFunctionMode):
    """Counts, by the function of the package that asks, what would wait.

    Attributes
    ----------
    waits
        Numbers, arrays and shapes that a device would have to be asked for.
    copies
        Copies to another device without ``non_blocking``, for which the host waits.
    """

    def __init__(self) -> None:
        super().__init__()
        self.waits: Counter[str] = Counter()
        self.copies: Counter[str] = Counter()

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        name = getattr(func, "__name__", "")
        by_mask = name in ("__getitem__", "__setitem__") and _by_mask(args[1])
        repeats = name == "repeat_interleave" and isinstance([*args, 0][1], torch.Tensor)
        moves = any(isinstance(a, torch.device | str) for a in (*args, *kwargs.values()))
        if name in _ASKING or by_mask or repeats:
            self._count(self.waits)
        elif name == "to" and moves and not kwargs.get("non_blocking", False):
            self._count(self.copies)
        return func(*args, **kwargs)

    def _count(self, into: Counter[str]) -> None:
        frame: FrameType | None = sys._getframe(2)
        asking = None
        while frame is not None:
            path = frame.f_code.co_filename
            if "/triton/" in path:  # the interpreter, which a GPU does without
                return
            if asking is None and "/octoscope/" in path:
                asking = frame.f_code.co_qualname
            frame = frame.f_back
        into[asking or "the test"] += 1


def _by_mask(index: Any) -> bool:
    """Tell whether an index has a tensor of booleans, whose places must be counted."""
    parts = index if isinstance(index, tuple) else (index,)
    return any(isinstance(p, torch.Tensor) and p.dtype == torch.bool for p in parts)
