"""A finished run: its plan, configuration, provenance and tables."""

from __future__ import annotations

from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd

from octoscope.config import RunConfig, config_of_text
from octoscope.errors import (
    REPAIR,
    DamagedRunError,
    InputError,
    OctoscopeError,
    damaged_run,
    reading,
    warn,
)
from octoscope.results.run_tables import RunTables
from octoscope.run_plan.values import Plan
from octoscope.store.manifest import require_success
from octoscope.store.plan_file import load_plan, run_directory
from octoscope.store.run_dir import RunRoot
from octoscope.store.sealed_run import SealedRun

if TYPE_CHECKING:  # analyses import numba; a reader of tables does not need it
    from octoscope.analysis.registry import Section

REPORT = "report/index.html"
TIMELINE = "timeline.json"


class Results:
    """The results of a run. Each part is read once, at its first use.

    Parameters
    ----------
    root
        The run directory; :meth:`open` checks first that the run is finished, and reads through a
        :class:`~octoscope.store.sealed_run.SealedRun`, which compares each object with its digest.
    """

    def __init__(self, root: RunRoot) -> None:
        self._root = root

    @classmethod
    def open(cls, run: str | Path | RunRoot, *, check: bool = True) -> Results:
        """Open a finished run.

        Parameters
        ----------
        run
            Path or URL of the run directory.
        check
            Compare each object with the manifest when it is first read. False: read it as it is,
            with a warning that says so.

        Raises
        ------
        InputError
            If it is not a run directory.
        DamagedRunError
            If the run is unfinished, or its manifest does not match; later, when an object is read
            that does not match its digest.
        """
        return cls(opened(run if isinstance(run, RunRoot) else run_directory(run), check=check))

    @property
    def checked(self) -> bool:
        """Whether each object is compared with its digest when it is first read."""
        return isinstance(self._root, SealedRun)

    @property
    def url(self) -> str:
        """Absolute path or URL of the run directory."""
        return self._root.url

    def at(self, relative: str) -> str:
        """Return the full name of an object of the run, for messages."""
        return self._root.at(relative)

    @property
    def report(self) -> str:
        """Path or URL of the HTML report, once it is known to be intact; of a run of any format.

        Raises
        ------
        DamagedRunError
            If it is damaged.
        """
        with self._root.open(REPORT):
            return self._root.at(REPORT)

    @cached_property
    def plan(self) -> Plan:
        """The frozen plan."""
        return load_plan(self._root)

    @cached_property
    def config(self) -> RunConfig:
        """The configuration, with every default filled in."""
        text = self._root.read("config.yaml") or b""
        return config_of_text(text.decode(), self.at("config.yaml"))

    @cached_property
    def provenance(self) -> dict[str, Any]:
        """Content of ``run.json``: cells, versions, digests, what was quarantined."""
        body = self._object("run.json")
        if body is None:
            raise DamagedRunError(f"{self.at('run.json')}: missing or no object")
        return body

    @cached_property
    def timeline(self) -> dict[str, Any] | None:
        """When the stages of the run began and how long they took; None: an earlier version's."""
        return self._object(TIMELINE)

    def _object(self, name: str) -> dict[str, Any] | None:
        with reading(self.at(name), REPAIR, damaged_run):
            body = self._root.read_json(name)
        if body is not None and not isinstance(body, dict):
            raise DamagedRunError(f"{self.at(name)}: missing or no object")
        return body

    @cached_property
    def tables(self) -> RunTables:
        """Tables by name, e.g. ``tables["agreement"]``, ``tables["topk/scgpt"]``."""
        return RunTables(self._root, self.plan, self.provenance)

    def topk(self, model: str) -> pd.DataFrame:
        """Return the top pairs of an attention variant, of every category and layer."""
        return self.tables[f"topk/{model}"]

    def consensus(self, category: str) -> pd.DataFrame:
        """Return the consensus network of a category, over all models."""
        return self.tables[f"consensus/c{self._number(category):04d}"]

    def sections(self) -> tuple[list[Section], list[str]]:
        """Return the report sections of analyses, and the names of analyses not installed."""
        from octoscope.analysis.registry import analyses

        sections, absent = [s for a in analyses() for s in a.sections], []
        for name in self.plan.analyses:
            try:
                sections += analyses([name])[-1].sections
            except OctoscopeError:
                absent.append(name)
        return sections, absent

    def _number(self, category: str) -> int:
        names = [c.name for c in self.plan.categories]
        if category not in names:
            raise InputError(
                f"category {category!r}", "is not in this run", f"one of {', '.join(names)}"
            )
        return names.index(category)


def opened(root: RunRoot, *, check: bool) -> RunRoot:
    """Return a finished run to read from; without ``check`` warn that nothing is compared.

    Raises
    ------
    DamagedRunError
        If the run is unfinished, or its manifest does not match.
    """
    if check:
        return SealedRun(root)
    require_success(root)
    warn(f"{root.url}: read without comparing it with its digests, as asked")
    return root
