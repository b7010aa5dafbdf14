"""Compiles inner loops on first call; cached on disk if a folder is writable."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

Function = Callable[..., Any]


class Compiled:
    """A loop that numba compiles when it is first called, so that importing it needs no numba.

    Calls release the GIL.
    """

    def __init__(
        self, function: Function, fastmath: set[str] | None, fallback: Function | None
    ) -> None:
        self.py_func, self._fastmath, self._fallback = function, fastmath, fallback
        self.__doc__, self.__name__ = function.__doc__, function.__name__
        self.__module__, self.__qualname__ = function.__module__, function.__qualname__
        self.__wrapped__ = function
        self._compiled: Function | None = None

    def __call__(self, *arguments: Any) -> Any:
        """Run the loop."""
        return (self._compiled or self.dispatcher())(*arguments)

    def __reduce__(self) -> str:
        return self.__qualname__  # a task on another process finds it by name

    def dispatcher(self) -> Function:
        """Return numba's dispatcher; without numba the fallback, if there is one.

        Raises
        ------
        ModuleNotFoundError
            If numba is not installed and the loop has no other implementation.
        """
        if self._compiled is None:
            try:
                from numba import njit
            except ModuleNotFoundError:
                if self._fallback is None:
                    raise
                self._compiled = self._fallback
                return self._compiled
            # loops that it calls must be dispatchers when it is compiled
            names = self.py_func.__globals__
            for name in self.py_func.__code__.co_names:
                if isinstance(names.get(name), Compiled):
                    names[name] = names[name].dispatcher()
            flags: Any = self._fastmath or False
            try:
                self._compiled = njit(nogil=True, cache=True, fastmath=flags)(self.py_func)
            except RuntimeError:  # neither the package's folder nor the user's cache takes it
                self._compiled = njit(nogil=True, fastmath=flags)(self.py_func)
        return self._compiled


def compiled(
    fastmath: set[str] | None = None, fallback: Function | None = None
) -> Callable[[Function], Compiled]:
    """Return a decorator.

    Parameters
    ----------
    fastmath
        What the compiler may assume of floating-point numbers (LLVM's flags); None: nothing.
    fallback
        An implementation in NumPy for installations without numba; None: numba is needed.
    """
    return lambda function: Compiled(function, fastmath, fallback)
