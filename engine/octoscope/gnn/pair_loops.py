"""Products of two rows per pair of vertices, without an array of pairs x width.

A gathered row is read once, where ``x[a] * y[b]`` in torch writes and reads three arrays of
pairs x width: for 1 million pairs of width 256 that takes six times as long
(``benchmarks/gnn_score.py``). On a GPU, and where gradients are followed, torch does it.
"""

from __future__ import annotations

import numpy as np
import torch

from octoscope.jit import compiled

_SUMS = {"contract", "nsz", "reassoc"}  # a sum over columns may take any order
_LARGE = 1 << 20  # numbers from which NumPy asks for large pages
_LINE = 16  # numbers of a line of the cache


def on_large_pages(x: torch.Tensor) -> torch.Tensor:
    """Return a contiguous copy of a large float32 tensor in memory of 2 MB pages, where there are.

    Rows are read in random order from tens of megabytes, and with pages of 4 KB most reads miss
    the table of pages. NumPy asks the system for large pages, torch does not. Where the system has
    none left, nothing is gained (docs/performance.md).
    """
    if x.device.type != "cpu" or x.numel() < _LARGE or x.dtype != torch.float32:
        return x
    room = torch.from_numpy(np.empty(x.numel() + _LINE, np.float32))
    first = -room.data_ptr() // 4 % _LINE  # NumPy aligns to 16 bytes: loads would cross two lines
    return room[first : first + x.numel()].view(x.shape).copy_(x)


def dots(x: torch.Tensor, y: torch.Tensor, a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
    """Return [pairs] ``sum_k x[a, k] y[b, k]``.

    Parameters
    ----------
    x, y
        [vertices, width] float32.
    a, b
        [pairs] int64 vertices.
    """
    if not _looped(x, y):
        return (x[a] * y[b]).sum(1)
    out = np.empty(len(a), np.float32)
    _dots(*_arrays(x, y, a, b), out)
    return torch.from_numpy(out)


def related_dots(
    x: torch.Tensor, relations: torch.Tensor, y: torch.Tensor,
    a: torch.Tensor, relation: torch.Tensor, b: torch.Tensor,
) -> torch.Tensor:  # fmt: skip
    """Return [pairs] ``sum_k x[a, k] relations[relation, k] y[b, k]``."""
    if not _looped(x, relations, y):
        return (x[a] * relations[relation] * y[b]).sum(1)
    out = np.empty(len(a), np.float32)
    _related_dots(*_arrays(x, relations, y, a, relation, b), out)
    return torch.from_numpy(out)


def relu_dots(
    x: torch.Tensor, y: torch.Tensor, weight: torch.Tensor, a: torch.Tensor, b: torch.Tensor
) -> torch.Tensor:
    """Return [pairs] ``sum_k relu(x[a, k] + y[b, k]) weight[k]``."""
    if not _looped(x, y, weight):
        return (x[a] + y[b]).relu_() @ weight
    out = np.empty(len(a), np.float32)
    _relu_dots(*_arrays(x, y, weight, a, b), out)
    return torch.from_numpy(out)


def _looped(*tensors: torch.Tensor) -> bool:
    """Tell whether the loops can do it: float32 on a CPU, and no gradient is asked for."""
    learns = torch.is_grad_enabled() and any(t.requires_grad for t in tensors)
    here = all(t.device.type == "cpu" and t.dtype == torch.float32 for t in tensors)
    return here and not learns


def _arrays(*tensors: torch.Tensor) -> list[np.ndarray]:
    return [t.detach().contiguous().numpy() for t in tensors]


@compiled(fastmath=_SUMS)
def _dots(x: np.ndarray, y: np.ndarray, a: np.ndarray, b: np.ndarray, out: np.ndarray) -> None:
    for i in range(len(a)):
        row, other = x[a[i]], y[b[i]]
        total = np.float32(0)
        for k in range(x.shape[1]):
            total += row[k] * other[k]
        out[i] = total


@compiled(fastmath=_SUMS)
def _related_dots(
    x: np.ndarray, relations: np.ndarray, y: np.ndarray,
    a: np.ndarray, relation: np.ndarray, b: np.ndarray, out: np.ndarray,
) -> None:  # fmt: skip
    for i in range(len(a)):
        row, between, other = x[a[i]], relations[relation[i]], y[b[i]]
        total = np.float32(0)
        for k in range(x.shape[1]):
            total += row[k] * between[k] * other[k]
        out[i] = total


@compiled(fastmath=_SUMS)
def _relu_dots(
    x: np.ndarray, y: np.ndarray, weight: np.ndarray,
    a: np.ndarray, b: np.ndarray, out: np.ndarray,
) -> None:  # fmt: skip
    for i in range(len(a)):
        row, other = x[a[i]], y[b[i]]
        total = np.float32(0)
        for k in range(x.shape[1]):
            total += max(row[k] + other[k], np.float32(0)) * weight[k]
        out[i] = total
