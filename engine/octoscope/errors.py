"""Errors that reach the user, each with the exit code that the command line returns; warnings."""

import warnings


class OctoscopeWarning(UserWarning):
    """Something that the user should know and that stops nothing."""


def warn(text: str) -> None:
    """Warn the user in one line; the command line prints it to standard error."""
    warnings.warn(text, OctoscopeWarning, stacklevel=3)


_LONGEST = 400  # characters of another library's message that fit one line


def in_one_line(error: BaseException | str) -> str:
    """Return a message of another library in one line; an exception with its type."""
    text = error if isinstance(error, str) else f"{type(error).__name__}: {error}"
    line = " ".join(text.split()).rstrip(":.; ")
    return line if len(line) <= _LONGEST else f"{line[:_LONGEST]} ..."


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


class MemoryShortError(OctoscopeError):
    """A single cell does not fit into memory; another attempt would not either."""


class StoreFullError(OctoscopeError):
    """The run's store takes no more bytes; what is committed stays, and `resume` goes on."""


class MassError(OctoscopeError):
    """A row of attention does not sum to one: the unit must not be committed."""


class ActivationError(OctoscopeError):
    """A model's queries or keys are not finite: the unit must not be committed."""
