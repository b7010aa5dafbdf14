"""Refuses queries and keys that are not finite, before they enter sums over cells."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch

from octoscope.errors import ActivationError, some

_NAMED = 5  # cells named in a message


def require_finite(
    q: torch.Tensor,
    k: torch.Tensor,
    cell_ids: Sequence[str] | np.ndarray,
    mask: torch.Tensor,
    where: str,
) -> None:
    """Refuse NaN and infinity in what a layer attends with.

    A sum is not finite where a term is not, so sound tensors cost one sum each. The rest is worked
    out only where a sum is not finite, which padding alone (or an overflow) may cause too.

    Parameters
    ----------
    q, k
        [cells, heads, tokens, d_head]; ``k`` may have fewer heads, each shared by as many of ``q``.
    cell_ids
        [cells].
    mask
        [cells, tokens] bool, True at tokens; positions of padding do not count.
    where
        The model, unit and layer, for the message.

    Raises
    ------
    ActivationError
        Naming the heads and the cells at fault.
    """
    if bool(torch.isfinite(_total(q, k))):
        return
    at_q, at_k = _faults(q, mask), _faults(k, mask)
    at_k = at_k.repeat_interleave(q.shape[1] // k.shape[1], dim=1)
    faults = at_q | at_k
    cells = np.flatnonzero(faults.any(1).cpu().numpy())
    if not len(cells):
        return
    names = [name for name, at in (("queries", at_q), ("keys", at_k)) if bool(at.any())]
    heads = np.flatnonzero(faults.any(0).cpu().numpy())
    raise ActivationError(
        f"{where}, head{'s' if len(heads) > 1 else ''} {', '.join(map(str, heads))}: "
        f"{' and '.join(names)} not finite in {len(cells)} cell{'s' if len(cells) > 1 else ''}: "
        f"{some([cell_ids[int(i)] for i in cells], _NAMED)}"
    )


class NotFiniteError(Exception):
    """A sum of a layer's queries and keys is not finite; which cells are at fault is not known."""


class FiniteChecks:
    """Checks of what layers attend with: of each batch at once, or of a layer's batches together.

    To check at once, the host waits for the device. The checks of a layer's batches together are
    one wait, but by then the tensors are gone: a fault names no cell.

    Parameters
    ----------
    at_once
        Check each batch when it is added.
    """

    def __init__(self, at_once: bool) -> None:
        self.at_once = at_once
        self._totals: list[torch.Tensor] = []

    def add(
        self,
        q: torch.Tensor,
        k: torch.Tensor,
        cell_ids: Sequence[str] | np.ndarray,
        mask: torch.Tensor,
        where: str,
    ) -> None:
        """Add a batch; parameters and errors as of :func:`require_finite`."""
        if self.at_once:
            require_finite(q, k, cell_ids, mask, where)
        else:
            self._totals.append(_total(q, k))

    def settle(self) -> None:
        """Check what was added since the last time.

        Raises
        ------
        NotFiniteError
            If a sum is not finite. Padding alone, or an overflow, may cause that too: check at
            once to know.
        """
        totals, self._totals = self._totals, []
        if totals and not bool(torch.isfinite(torch.stack(totals)).all()):
            raise NotFiniteError


def _total(q: torch.Tensor, k: torch.Tensor) -> torch.Tensor:
    """Return the sum of queries and keys, which is not finite where one of them is not."""
    return q.sum(dtype=torch.float32) + k.sum(dtype=torch.float32)


def _faults(x: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    """Return [cells, heads] bool: whether a token of the cell is not finite in the head."""
    return (~torch.isfinite(x).all(-1) & mask[:, None]).any(-1)
