"""Plan a run and compute all of it: ``python jobs/run.py CONFIG --out RUN``.

For ``ray job submit`` with a checkout as the working directory; the same as ``octoscope run``.
Submitted again with the same arguments it continues where it was stopped.
"""

from __future__ import annotations

import sys


def main(*command: str) -> None:
    """Call a command of ``octoscope`` with the arguments of this script; exits with its code."""
    try:
        from octoscope.cli import main as octoscope
    except ModuleNotFoundError as error:
        if error.name != "octoscope":
            raise
        sys.exit("error: octoscope is not installed in this Python. Fix: pip install octoscope")
    sys.argv[1:1] = command
    octoscope()


if __name__ == "__main__":
    main("run")
