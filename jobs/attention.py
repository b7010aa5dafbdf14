"""Plan a run and compute its attention stage: ``python -m jobs.attention CONFIG --out RUN``."""

from __future__ import annotations

import argparse
import sys

from rich.console import Console

from engine.cli.shared import guarded
from engine.cluster.driver import execute
from engine.cluster.frozen import prepare
from engine.config import load_config


def main(arguments: list[str] | None = None) -> int:
    """Parse, run, return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("config")
    parser.add_argument("--out", required=True)
    parser.add_argument("--set", action="append", default=[], dest="overrides")
    parser.add_argument("--steal", action="store_true", help="take over an expired lease")
    given = parser.parse_args(arguments)

    def call() -> int:
        config = load_config(given.config, given.overrides)
        root, plan = prepare(config, given.out)
        return execute(root, plan, Console(), config=config, stage="attention", steal=given.steal)

    return guarded(call)


if __name__ == "__main__":
    sys.exit(main())
