"""Errors that reach the user, each with the exit code that the command line returns; warnings."""

from __future__ import annotations

import errno
import os
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import wraps
from pathlib import Path
from typing import ParamSpec, TypeVar

P = ParamSpec("P")
R = TypeVar("R")


class OctoscopeWarning(UserWarning):
    """Something that the user should know and that stops nothing."""


def warn(text: str) -> None:
    """Warn the user in one line; the command line prints it to standard error."""
    warnings.warn(text, OctoscopeWarning, stacklevel=3)


def some(names: Sequence[str], most: int = 5) -> str:
    """Return the first names in one line, and how many more there are."""
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(names[:most]) + more


_LONGEST = 400  # characters of another library's message that fit one line


def in_one_line(error: BaseException | str) -> str:
    """Return a message of another library in one line; an exception with its type."""
    text = error if isinstance(error, str) else f"{type(error).__name__}: {error}"
    line = " ".join(text.split()).rstrip(":.; ")
    return line if len(line) <= _LONGEST else f"{line[:_LONGEST]} ..."


_NO_RIGHT = (errno.EACCES, errno.EPERM, errno.EROFS)


def of_the_system(error: OSError) -> str:
    """Return an error of the system in one line: the file, what was seen, and what to do."""
    if error.filename is None or error.strerror is None:
        return in_one_line(str(error))
    name = error.filename if isinstance(error.filename, int) else os.fsdecode(error.filename)
    fix = ". Fix: check the rights to it" if error.errno in _NO_RIGHT else ""
    return in_one_line(f"{name}: {error.strerror}{fix}")


class OctoscopeError(Exception):
    """The run failed for a reason that is not the user's input (exit code 1)."""

    exit_code = 1


class InputError(OctoscopeError):
    """Something the user gave cannot be used (exit code 2).

    Parameters
    ----------
    where
        The file, and the field inside it, that is at fault.
    problem
        What was found, and what was expected.
    fix
        What to change.
    """

    exit_code = 2

    def __init__(self, where: str, problem: str, fix: str) -> None:
        super().__init__(f"{where}: {problem}. Fix: {fix}")
        self.where, self.problem, self.fix = where, problem, fix

    def __reduce__(self) -> tuple[type, tuple[str, str, str]]:
        # Exceptions cross process boundaries (Ray); the default rebuild passes one argument only.
        return type(self), (self.where, self.problem, self.fix)


class DamagedRunError(OctoscopeError):
    """A run directory is incomplete or an object in it does not match its digest."""


REPAIR = "use `octoscope repair`"


def damaged_run(where: str, problem: str, fix: str) -> DamagedRunError:
    """Return the error of a part of a run that cannot be read."""
    return DamagedRunError(f"{where}: {problem}; {fix}")


class MemoryShortError(OctoscopeError):
    """A single cell does not fit into memory; another attempt would not either."""


class StoreFullError(OctoscopeError):
    """The run's store takes no more bytes; what is committed stays, and `resume` goes on."""


class MassError(OctoscopeError):
    """A row of attention does not sum to one: the unit must not be committed."""


class ActivationError(OctoscopeError):
    """A model's queries or keys are not finite: the unit must not be committed."""


@contextmanager
def reading(
    where: str | Path, fix: str, make: Callable[[str, str, str], OctoscopeError] = InputError
) -> Iterator[None]:
    """Make one error, which names what is read, of whatever a reader raises on it.

    Readers check what they expect and say precisely what is wrong. Damaged files reach libraries in
    states that nobody foresaw; what those raise (also MemoryError and RecursionError) ends here.

    Parameters
    ----------
    where
        The file, and the place in it.
    fix
        What to do.
    make
        Makes the error of ``where``, the problem and ``fix``.

    Raises
    ------
    OctoscopeError
        As the reader raised it, or made here.
    OSError
        As the reader raised it, where it has a number: the system failed, not the file.
    """
    try:
        yield
    except OctoscopeError:
        raise
    except Exception as error:
        if isinstance(error, OSError) and error.errno is not None:
            raise
        problem = f"cannot be read: {in_one_line(error)}"
        if isinstance(error, MemoryError):
            problem = f"does not fit into memory ({in_one_line(error)})"
            fix = f"free memory, or raise its limit (ulimit -v); if it should fit, {fix}"
        raise make(str(where), problem, fix) from error


def reads(fix: str) -> Callable[[Callable[P, R]], Callable[P, R]]:
    """Decorate a reader whose first parameter is the path that it reads; see :func:`reading`."""

    def decorate(reader: Callable[P, R]) -> Callable[P, R]:
        @wraps(reader)
        def read(*args: P.args, **kwargs: P.kwargs) -> R:
            with reading(str(args[0]), fix):
                return reader(*args, **kwargs)

        return read

    return decorate
