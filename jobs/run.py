"""Plan a run and compute all of it: ``python -m jobs.run CONFIG --out RUN``.

Submitted again with the same arguments it continues where it was stopped.
"""

from __future__ import annotations

import argparse
import sys

from octoscope.cli.shared import guarded
from octoscope.cluster.driver import execute
from octoscope.config import load_config
from octoscope.planning.freeze import prepare
from rich.console import Console


def main(
    arguments: list[str] | None = None, stage: str = "all", description: str | None = __doc__
) -> int:
    """Parse, run a stage or all, return the exit code."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("config")
    parser.add_argument("--out", required=True, help="run directory: absolute path, or URL")
    parser.add_argument("--set", action="append", default=[], dest="overrides", metavar="A.B=C")
    parser.add_argument("--steal", action="store_true", help="take over an expired lease")
    given = parser.parse_args(arguments)

    def call() -> int:
        config = load_config(given.config, given.overrides)
        root, plan = prepare(config, given.out)
        return execute(root, plan, Console(), config=config, stage=stage, steal=given.steal)

    return guarded(call)


if __name__ == "__main__":
    sys.exit(main())
