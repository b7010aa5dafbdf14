"""A process that ends what a driver leaves behind when it is killed.

Ray's processes end with the driver that started them, but some take a minute and more: they try to
tell a head that is gone. This script notes the driver's descendants while its standard input is
open. That ends however the driver dies; a moment later it kills those that are left, and every
process that carries the driver's token. Neither alone suffices: who started a process is forgotten
once that one is dead, and Ray's agents write their title over part of their environment. What the
driver had started before is left alone: a notebook may hold servers of its own.

It imports nothing of this package, so that it starts fast.
"""

from __future__ import annotations

import contextlib
import os
import select
import signal
import sys
import time

import psutil

TOKEN = "OCTOSCOPE_SESSION"  # environment variable, inherited by all that a driver starts
_MOMENT = 1.0  # seconds in which they may end themselves
_PATIENCE = 30.0  # seconds after which what cannot be killed is left
_OFTEN, _BEGIN, _SELDOM = 0.5, 30.0, 5.0  # seconds between looks, at the beginning and later


def marked(token: str) -> set[psutil.Process]:
    """Return the other processes of this user in whose environment a token is found."""
    processes = set()
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error, OSError):
            if process.pid != os.getpid() and process.environ().get(TOKEN) == token:
                processes.add(process)
    return processes


def descendants_until_end(driver: int, before: set[int]) -> set[psutil.Process]:
    """Return what a process has started, but for children of ``before``, once stdin ends."""
    seen: set[psutil.Process] = set()
    begun = time.monotonic()
    while True:
        seen = {p for p in seen if p.is_running()}
        with contextlib.suppress(psutil.Error):
            for child in psutil.Process(driver).children():
                if child.pid not in before:
                    seen.add(child)
                    with contextlib.suppress(psutil.Error):
                        seen |= set(child.children(recursive=True))
        wait = _OFTEN if time.monotonic() - begun < _BEGIN else _SELDOM
        ready, _, _ = select.select([sys.stdin], [], [], wait)
        if ready and not os.read(sys.stdin.fileno(), 1):
            return {p for p in seen if p.pid != os.getpid()}


def main() -> None:
    """Wait for the driver's end, then kill what it has left.

    Arguments: its pid, its token, and the pids of the children that it had before.
    """
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)  # its end is that of the driver
    token = sys.argv[2]
    seen = descendants_until_end(int(sys.argv[1]), {int(pid) for pid in sys.argv[3:]})
    time.sleep(_MOMENT)
    until = time.monotonic() + _PATIENCE
    while time.monotonic() < until:
        alive = marked(token) | {p for p in seen if p.is_running()}
        alive = {p for p in alive if _is_alive(p)}
        if not alive:
            return
        for process in alive:
            with contextlib.suppress(psutil.Error):
                process.kill()  # psutil compares the time of its start: never another process
        time.sleep(0.2)


def _is_alive(process: psutil.Process) -> bool:
    with contextlib.suppress(psutil.Error):
        return bool(process.status() != psutil.STATUS_ZOMBIE)
    return False


if __name__ == "__main__":
    main()
