"""What one would use instead of the reduction: softmax(q k^T) averaged over heads, by PyTorch.

Three peers, cell by cell, each adding its averages up in float64:

eager
    Written out, operation by operation.
compiled
    The same under ``torch.compile``.
flex
    FlexAttention, which yields the log-sum-exp of each row (and makes the output that nothing
    needs), and a second product under ``torch.compile``: its output is probabilities times values,
    so that the probabilities themselves would need a unit matrix as values, as wide as the cell.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from octoscope.attention.accumulate import QKBatch

FLEX_NOTE = (
    "FlexAttention returns probabilities times values and the log-sum-exp, no average of "
    "probabilities over heads: a second product makes it from the log-sum-exp"
)
MOST = 8e9  # bytes of scores held at once; head by head beyond
Averaged = Callable[[torch.Tensor, torch.Tensor, float], torch.Tensor]


def written_out(q: torch.Tensor, k: torch.Tensor, scale: float) -> torch.Tensor:
    """Return [tokens, tokens], the sum over heads of softmax(q k^T) of [heads, tokens, d_head]."""
    return torch.softmax(q @ k.transpose(1, 2) * scale, -1).sum(0)


def from_sums(q: torch.Tensor, k: torch.Tensor, lse: torch.Tensor, scale: float) -> torch.Tensor:
    """Return what :func:`written_out` does, given the log-sum-exp [heads, tokens] of the rows."""
    return torch.exp(q @ k.transpose(1, 2) * scale - lse[..., None]).sum(0)


def peers(backend: str, *, flex_compiled: bool) -> dict[str, Averaged]:
    """Return the peers by name.

    Parameters
    ----------
    backend
        Of ``torch.compile``: ``inductor`` generates code, ``eager`` only traces.
    flex_compiled
        Whether FlexAttention is compiled; where it is not, it holds all scores.
    """
    from torch.nn.attention.flex_attention import flex_attention

    # sizes differ from case to case, and of ragged cells from cell to cell
    product = torch.compile(from_sums, backend=backend, dynamic=True)
    attend: Any = flex_attention
    if flex_compiled:
        attend = torch.compile(flex_attention, backend=backend, dynamic=True)

    def flex(q: torch.Tensor, k: torch.Tensor, scale: float) -> torch.Tensor:
        return product(q, k, _lse_of(attend, q, k, scale), scale)

    return {
        "eager": written_out,
        "compiled": torch.compile(written_out, backend=backend, dynamic=True),
        "flex": flex,
    }


def _lse_of(attend: Any, q: torch.Tensor, k: torch.Tensor, scale: float) -> torch.Tensor:
    """Return the log-sum-exp [heads, tokens] that FlexAttention yields."""
    try:
        from torch.nn.attention.flex_attention import AuxRequest
    except ImportError:  # before PyTorch 2.9
        lse = attend(q[None], k[None], k[None], scale=scale, return_lse=True)[1]
    else:
        aux = AuxRequest(lse=True)
        lse = attend(q[None], k[None], k[None], scale=scale, return_aux=aux)[1].lse
    return lse[0]


def add_averages(
    averaged: Averaged,
    batch: QKBatch,
    genes: list[np.ndarray],
    total: torch.Tensor,
    dtype: torch.dtype,
) -> None:
    """Add each cell's probabilities, averaged over heads, to [genes, genes] float64 in place."""
    heads = batch.q.shape[1]
    for c, of_cell in enumerate(genes):
        n = len(of_cell)
        at = torch.from_numpy(of_cell).to(total.device)
        step = heads if heads * n * n * 4 <= MOST else 1
        for h in range(0, heads, step):
            q, k = (x[c, h : h + step, :n].to(dtype) for x in (batch.q, batch.k))
            p = averaged(q, k, batch.scale) / heads
            if n == len(total):
                total += p
            else:
                total[at[:, None], at] += p
