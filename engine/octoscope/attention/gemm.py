"""Products of queries and keys on CPUs, through the fastest library that torch brings.

MKL, behind ``torch.mm``, leaves AVX-512 unused on CPUs that are not Intel's. oneDNN asks the CPU
what it can do: twice the speed on such a machine (docs/performance.md), and for up to 192 terms the
same bits.
"""

from __future__ import annotations

import torch

# of torch.compile's operators, without a public name: done without where it is gone
_ONEDNN = torch.backends.mkldnn.is_available() and hasattr(torch.ops.mkldnn, "_linear_pointwise")
# oneDNN compiles a kernel for each shape, which takes longer than a small product, and keeps 1,024:
# where sizes vary they are rounded up to these
_QUERIES, _KEYS = 16, 64
_MANY = 10  # blocks of queries from which on a packed copy of the keys pays


class Keys:
    """Keys that blocks of queries are multiplied with.

    Parameters
    ----------
    k
        [keys, d] float32 on the CPU, d at least 1.
    blocks
        Number of blocks to come: for many, a copy in the library's own order is held.
    sizes_vary
        Other keys, and blocks, are of any other size.
    """

    def __init__(self, k: torch.Tensor, blocks: int, *, sizes_vary: bool = False) -> None:
        self._rounded = sizes_vary and _ONEDNN
        self._k = _padded(k, _KEYS) if self._rounded else k.contiguous()
        if _ONEDNN and blocks >= _MANY:
            self._k = torch.ops.mkldnn._reorder_linear_weight(self._k)

    def products(self, q: torch.Tensor) -> torch.Tensor:
        """Return [queries, keys] float32, a new tensor: q_i . k_j of [queries, d] float32.

        Where sizes vary, rows and columns of padding may follow.
        """
        if self._rounded:
            q = _padded(q, _QUERIES)
        if not _ONEDNN:
            return q @ self._k.T
        products: torch.Tensor = torch.ops.mkldnn._linear_pointwise(
            q, self._k, None, "none", [], ""
        )
        return products


def _padded(x: torch.Tensor, step: int) -> torch.Tensor:
    return torch.nn.functional.pad(x, (0, 0, 0, -len(x) % step)).contiguous()
