"""Finish a run: layers, overlap through Dask-on-Ray, report: ``python -m jobs.overlap RUN``."""

from __future__ import annotations

import argparse
import sys

from octoscope.cli.shared import guarded
from octoscope.cluster.driver import execute
from octoscope.planning.freeze import replan
from octoscope.store.plan_file import run_directory
from rich.console import Console


def main(arguments: list[str] | None = None) -> int:
    """Parse, run, return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("run")
    parser.add_argument("--steal", action="store_true", help="take over an expired lease")
    given = parser.parse_args(arguments)

    def call() -> int:
        root = run_directory(given.run)
        return execute(root, replan(root), Console(), stage="analysis", steal=given.steal)

    return guarded(call)


if __name__ == "__main__":
    sys.exit(main())
