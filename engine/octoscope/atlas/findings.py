"""Findings about an atlas: a list of faults and remarks that grows during inspection."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

from octoscope.errors import InputError, reading, some

Severity = Literal["error", "warning", "note"]
_SHOWN = 8  # names in a sentence


@dataclass(frozen=True)
class Finding:
    """One finding.

    Attributes
    ----------
    severity
        ``error``: a run with these settings stops; ``warning``: it costs or misleads; ``note``.
    where
        The array, column or group.
    problem
        What was found.
    fix
        What to change, or what follows.
    """

    severity: Severity
    where: str
    problem: str
    fix: str


@dataclass
class Findings:
    """Findings in the order in which they were made."""

    entries: list[Finding] = field(default_factory=list)

    def add(self, severity: Severity, where: str, problem: str, fix: str) -> None:
        """Note one."""
        self.entries.append(Finding(severity, where, problem, fix))

    def error(self, where: str, problem: str, fix: str) -> None:
        """Note what a run would stop at."""
        self.add("error", where, problem, fix)

    def warning(self, where: str, problem: str, fix: str) -> None:
        """Note what costs time or can mislead."""
        self.add("warning", where, problem, fix)

    def note(self, where: str, problem: str, fix: str) -> None:
        """Note what is worth knowing."""
        self.add("note", where, problem, fix)

    @contextmanager
    def caught(self, where: str) -> Iterator[None]:
        """Turn an error of what is done inside into a finding, and go on behind it.

        ``where``: the store, for what its readers did not foresee.
        """
        try:
            with reading(where, "restore the store from a copy, or write it again"):
                yield
        except InputError as error:
            self.error(error.where, error.problem, error.fix)

    @property
    def errors(self) -> list[Finding]:
        """Findings that would stop a run."""
        return [f for f in self.entries if f.severity == "error"]

    def as_list(self) -> list[dict[str, Any]]:
        """Return them as JSON values."""
        return [asdict(f) for f in self.entries]


def some_of(names: list[str]) -> str:
    """Return names in one line, the first few if there are many."""
    return some(names, _SHOWN)
