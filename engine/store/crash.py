"""Named crash points, so that tests can kill real processes at exact moments.

``OCTOSCOPE_CRASH_AT=[worker:]<point>[@<text in the work's name>]`` sends SIGKILL to the driver (its
pid is in ``OCTOSCOPE_DRIVER_PID``; not with ``worker:``) and to this process when execution reaches
the point. Without the variable a point costs one dictionary look-up.
"""

from __future__ import annotations

import os
import signal

POINTS = ("before-write", "after-data", "after-record", "in-finalise", "before-success")


def crash_point(name: str, work: str = "") -> None:
    """Die here if the environment asks for it."""
    wanted = os.environ.get("OCTOSCOPE_CRASH_AT")
    if not wanted:
        return
    point, _, part = wanted.removeprefix("worker:").partition("@")
    if point != name or part not in work:
        return
    driver = int(os.environ.get("OCTOSCOPE_DRIVER_PID", "0"))
    if driver and driver != os.getpid() and not wanted.startswith("worker:"):
        os.kill(driver, signal.SIGKILL)
    os.kill(os.getpid(), signal.SIGKILL)
