"""A run directory, finished or not: how far it is; continuing, checking and repairing it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import RenderableType

from octoscope.api.display import Shown
from octoscope.api.execution import progress_to, starting
from octoscope.extras import extras_needed
from octoscope.store.plan_file import run_directory

if TYPE_CHECKING:
    from octoscope.api.plan import PlannedRun
    from octoscope.store.manifest import Fault


@dataclass(frozen=True, repr=False)
class RunStatus(Shown):
    """How far a run is, from its directory alone.

    Attributes
    ----------
    rows
        ``state`` (``finished`` or ``unfinished``), pieces of work committed by stage, the last
        driver, its error if it failed, and how many pieces are quarantined.
    progress
        What the last driver said of its stages and actors; None: no driver wrote any yet.

    Examples
    --------
    >>> status = oc.RunDirectory(RUN).status()
    >>> status.rows["state"], status.progress["status"]
    ('finished', 'finished')
    """

    rows: Mapping[str, Any]
    progress: Mapping[str, Any] | None

    def _entries(self) -> Mapping[str, Any]:
        return self.rows

    def view(self) -> RenderableType | None:
        """Return stages and actors for a terminal (rich); None if no driver is at work."""
        from octoscope.cluster.live_view import render

        seen = self.progress
        if seen is None or seen["status"] != "running" or "actors" not in seen:
            return None
        return render(dict(seen))


class RunDirectory(Shown):
    """A run directory, finished or not.

    Parameters
    ----------
    path
        Path or URL.

    Raises
    ------
    InputError
        If it is not a run directory.

    Examples
    --------
    >>> directory = oc.RunDirectory(RUN)
    >>> directory.finished, directory.exit_code
    (True, 0)
    >>> directory.verify()
    []
    """

    def __init__(self, path: str | Path) -> None:
        self._root = run_directory(path)

    @property
    def path(self) -> str:
        """Absolute path or URL."""
        return self._root.url

    @property
    def finished(self) -> bool:
        """Whether the run is sealed."""
        return self._root.exists("_SUCCESS")

    @property
    def exit_code(self) -> int | None:
        """0: complete; 3: finished with work quarantined; None: not finished."""
        from octoscope.pipeline.seal import exit_code

        return exit_code(self._root)

    @extras_needed()
    def status(self) -> RunStatus:
        """Return how far the run is: stages, actors, rates, time left.

        Examples
        --------
        >>> oc.RunDirectory(RUN).status().rows["state"]
        'finished'
        """
        from octoscope.cluster.progress import summary
        from octoscope.store.progress_file import last_seen

        return RunStatus(summary(self._root), last_seen(self._root))

    @extras_needed()
    def follow(self) -> None:
        """Print what the run's driver says until it ends: live on a terminal, else by lines."""
        from octoscope.cluster.progress import follow

        with progress_to(quiet=False) as console:
            follow(self._root, console)

    @extras_needed()
    def planned(self, *, overrides: Sequence[str] = (), address: str | None = None) -> PlannedRun:
        """Return the frozen plan, ready to continue: ``directory.planned().run()``.

        Parameters
        ----------
        overrides
            ``execution.field=value``, as ``--set`` of the command line takes them; what would
            change a result is refused.
        address
            Ray cluster, which is looked for first; None: the one of ``RAY_ADDRESS``, else this
            machine.

        Raises
        ------
        InputError
            If an input or a version has changed since the run was planned.
        OctoscopeError
            If Ray cannot start, or the cluster does not answer.
        """
        from octoscope.api.plan import PlannedRun
        from octoscope.planning.freeze import replan
        from octoscope.planning.frozen_config import run_config

        config = run_config(self._root, list(overrides))
        with starting(self.path, address):
            return PlannedRun(config, replan(self._root), self._root)

    def verify(self) -> list[Fault]:
        """Compare every object with its digest; returns faults: ``object`` and ``what``.

        Examples
        --------
        >>> oc.RunDirectory(RUN).verify()  # nothing is damaged
        []
        """
        from octoscope.store.manifest import verify

        return verify(self._root)

    @extras_needed()
    def repair(
        self,
        *,
        dry_run: bool = False,
        address: str | None = None,
        steal: bool = False,
        quiet: bool = False,
    ) -> int:
        """Find damage and compute again what is damaged, and what that needs.

        Parameters
        ----------
        dry_run
            Only print what would be done.
        address, steal, quiet
            As for :meth:`PlannedRun.execute`.

        Returns
        -------
        int
            0 done, 3 done with work quarantined.

        Raises
        ------
        DamagedRunError
            If the configuration is damaged.
        InputError
            If an input or a version has changed since the run was planned.
        """
        from octoscope.cluster.repair import repair_run

        with progress_to(quiet) as console:
            return repair_run(self._root, console, dry=dry_run, address=address, steal=steal)

    def _entries(self) -> Mapping[str, Any]:
        return {"path": self.path, "state": "finished" if self.finished else "unfinished"}
