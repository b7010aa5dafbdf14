"""A process that ends what a driver leaves behind when it is killed.

Ray's processes end with the driver that started them, but some take up to a minute: they try to
tell a head that is gone. This script waits until its standard input ends, which happens however the
driver dies, and kills after a moment every process that carries the driver's token.

It imports nothing of this package, so that it starts fast.
"""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import time

import psutil

TOKEN = "OCTOSCOPE_SESSION"  # environment variable, inherited by all that a driver starts
_MOMENT = 1.0  # seconds in which they may end themselves
_PATIENCE = 30.0  # seconds after which what cannot be killed is left


def marked(token: str) -> list[psutil.Process]:
    """Return the other processes of this user that carry a token."""
    found = []
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error, OSError):
            if process.pid != os.getpid() and process.environ().get(TOKEN) == token:
                found.append(process)
    return found


def main() -> None:
    """Wait for the end of standard input, then kill what carries the token of the argument."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)  # its end is that of the driver
    token = sys.argv[1]
    sys.stdin.buffer.read()
    time.sleep(_MOMENT)
    until = time.monotonic() + _PATIENCE
    while (left := marked(token)) and time.monotonic() < until:
        for process in left:
            with contextlib.suppress(psutil.Error):
                process.kill()
        time.sleep(0.2)


if __name__ == "__main__":
    main()
