"""Time and peak memory of a call in this process; standard library only, so peers can use it."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any


def status(key: str) -> int:
    """Return a size in /proc/self/status in bytes, e.g. VmRSS or VmHWM (its peak)."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(key):
            return int(line.split()[1]) * 1024
    raise KeyError(key)


def measured(call: Callable[[], Any]) -> tuple[Any, dict[str, float]]:
    """Call; return its result, seconds, and bytes: peak above what was resident before, and all."""
    before = status("VmRSS")
    Path("/proc/self/clear_refs").write_text("5")  # the peak starts here
    started = time.perf_counter()
    result = call()
    seconds = time.perf_counter() - started
    peak = status("VmHWM")
    return result, {"seconds": seconds, "peak": peak - before, "resident": peak}
