"""How inner loops are compiled: on first call, kept on disk where any folder takes it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from numba import njit

Function = Callable[..., Any]


def compiled(fastmath: set[str] | None = None) -> Callable[[Function], Function]:
    """Return a decorator; calls release the GIL.

    Parameters
    ----------
    fastmath
        What the compiler may assume of floating-point numbers (LLVM's flags); None: nothing.
    """
    flags: Any = fastmath or False

    def decorate(function: Function) -> Function:
        try:
            return njit(nogil=True, cache=True, fastmath=flags)(function)
        except RuntimeError:  # neither the package's folder nor the user's cache can be written
            return njit(nogil=True, fastmath=flags)(function)

    return decorate
