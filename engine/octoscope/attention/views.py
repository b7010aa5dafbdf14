"""Values of a matrix from its sums: estimators, eligibility, and the order of float values."""

from __future__ import annotations

import numpy as np

from octoscope.config.view_names import CORRELATION

# What is summed over cells, in the order of the first axis of every sums array.
QUANTITIES = ("probability", "lift", "logit")
# view -> (summed quantity, divisor)
_VIEWS = {
    "marginal": ("probability", "cells"),
    "conditional": ("probability", "pairs"),
    "lift": ("lift", "pairs"),
    "logit": ("logit", "pairs"),
}


def quantity_of(view: str) -> int:
    """Return the index of the summed quantity that a view is made from."""
    return 0 if view == CORRELATION else QUANTITIES.index(_VIEWS[view][0])


def one_view(
    sums: np.ndarray, pairs: np.ndarray, n_cells: int, view: str, *, means: bool = False
) -> np.ndarray:
    """Turn sums of a view's own quantity into the view.

    Parameters
    ----------
    sums
        [rows, genes] of the quantity that :func:`quantity_of` names.
    pairs
        [rows, genes] cells that hold both genes (n_ij).
    n_cells
        Cells of the category (n_C).
    view
        ``marginal`` sum/n_C (an absent pair counts 0), ``conditional`` sum/n_ij, ``lift``
        mean of tokens x probability (1 = uniform attention), ``logit`` mean score;
        ``correlation`` (``means`` only): the one quantity there is.
    means
        The values are means already, as those of a mean cell; nothing is divided.

    Returns
    -------
    ndarray
        [rows, genes] float32; 0 where the divisor is 0 (such pairs are never eligible).
    """
    if means or view == CORRELATION:
        if pairs.all():
            return sums.astype(np.float32, copy=False)
        return np.where(pairs > 0, sums, 0).astype(np.float32, copy=False)
    divisor, total = _VIEWS[view][1], sums.astype(np.float64)
    by = np.float64(n_cells) if divisor == "cells" else pairs.astype(np.float64)
    return np.divide(total, by, out=np.zeros_like(total), where=by > 0).astype(np.float32)


def sortable(values: np.ndarray) -> np.ndarray:
    """Map float32 to uint32 so that integer order is float order; -0 and 0 are one key."""
    bits = (values.astype(np.float32) + np.float32(0)).view(np.uint32)
    return np.where(bits >> 31, ~bits, bits | np.uint32(1 << 31))
