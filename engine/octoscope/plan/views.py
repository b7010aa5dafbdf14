"""Names of views: how sums over cells become the values of a matrix."""

from __future__ import annotations

# The only view of a co-expression matrix, which holds one value a pair.
CORRELATION = "correlation"
# Of a view's name: without each gene's row and column effect.
CENTRED = ".centred"
# Of a view's name, last: the size of each value, whatever its sign.
ABSOLUTE = ".absolute"


def plain_view(view: str) -> str:
    """Return the view that a derived one is made of."""
    return view.removesuffix(ABSOLUTE).removesuffix(CENTRED)
