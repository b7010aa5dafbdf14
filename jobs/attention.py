"""Plan a run and compute its attention stage: ``python -m jobs.attention CONFIG --out RUN``."""

from __future__ import annotations

import sys

from jobs.run import main

if __name__ == "__main__":
    sys.exit(main(stage="attention", description=__doc__))
