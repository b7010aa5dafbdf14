"""Named points at which tests kill, hang or fail real processes.

``OCTOSCOPE_CRASH_AT=[<how>:]<point>[@<text in the work's name>]``, several with commas. Without the
variable a point costs one dictionary look-up. How:

- nothing: SIGKILL to the driver (its pid is in ``OCTOSCOPE_DRIVER_PID``) and to this process;
- ``worker``: SIGKILL to this process alone;
- ``hang``: sleep for an hour;
- ``stop``: SIGSTOP to this process, which goes on from here at SIGCONT;
- ``full``: the store has no space left;
- ``memory``: the device has no memory left.
"""

from __future__ import annotations

import errno
import os
import signal
import time

_HOWS = ("worker", "hang", "stop", "full", "memory")


def crash_point(name: str, work: str = "") -> None:
    """Die, hang or fail here if the environment asks for it."""
    points = os.environ.get("OCTOSCOPE_CRASH_AT")
    for one in points.split(",") if points else ():
        how, _, rest = one.partition(":")
        if how not in _HOWS:
            how, rest = "", one
        point, _, part = rest.partition("@")
        if point == name and part in work:
            _carry_out(how, work)


def _carry_out(how: str, work: str) -> None:
    if how == "hang":
        time.sleep(3600)
    elif how == "stop":
        os.kill(os.getpid(), signal.SIGSTOP)
        return
    elif how == "full":
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), work)
    elif how == "memory":
        raise MemoryError(work)
    driver = int(os.environ.get("OCTOSCOPE_DRIVER_PID", "0"))
    if driver and driver != os.getpid() and how != "worker":
        os.kill(driver, signal.SIGKILL)
    os.kill(os.getpid(), signal.SIGKILL)
