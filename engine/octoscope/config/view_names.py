"""Names of views, and the default number of cells that a pair needs."""

from __future__ import annotations

# The only view of a co-expression matrix, which holds one value a pair.
CORRELATION = "correlation"
# Suffix of a view: without each gene's row and column effect.
CENTRED = ".centred"
# Last suffix of a view: absolute values.
ABSOLUTE = ".absolute"


def plain_view(view: str) -> str:
    """Return the view that a derived one is made of."""
    return view.removesuffix(ABSOLUTE).removesuffix(CENTRED)


def default_min_cells(n_cells: int) -> int:
    """Return max(20, 1 % of the category): fewer cells rank noise first."""
    return max(20, -(-n_cells // 100))
