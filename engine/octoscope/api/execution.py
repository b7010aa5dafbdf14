"""What planning and continuing a run share: checks before it starts, and its execution."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Literal

from rich.console import Console

from octoscope.config import RunConfig
from octoscope.extras import extras_needed
from octoscope.run_plan.values import Plan

if TYPE_CHECKING:
    from octoscope.store.run_dir import RunRoot

Stage = Literal["all", "attention", "analysis"]


@contextmanager
def starting(run: str, address: str | None, config: RunConfig | None = None) -> Iterator[None]:
    """Check Ray, and GPUs that are asked for here, before planning; `status` shows failures.

    Parameters
    ----------
    run
        Path or URL of the run directory.
    config
        None: GPUs are looked for later, by the driver.
    """
    from octoscope.cluster.connect import is_local, require_start
    from octoscope.cluster.progress import noted
    from octoscope.planning.timing import require_gpu

    with noted(run):
        require_start(address)
        if config is not None and is_local(address):
            require_gpu(config)
        yield


@contextmanager
def progress_to(quiet: bool) -> Iterator[Console]:
    """Give the console that shows progress: standard output, or nothing."""
    if not quiet:
        yield Console()
        return
    with open(os.devnull, "w") as nowhere:
        yield Console(file=nowhere)


@extras_needed()
def executed(
    root: RunRoot,
    plan: Plan,
    config: RunConfig,
    *,
    stage: Stage,
    address: str | None,
    steal: bool,
    quiet: bool,
) -> int:
    """Run every stage that is asked for and not done; returns the exit code (0 or 3)."""
    from octoscope.cluster.driver import execute

    with progress_to(quiet) as console:
        return execute(
            root, plan, console, config=config, stage=stage, address=address, steal=steal
        )
