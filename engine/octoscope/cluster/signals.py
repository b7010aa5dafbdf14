"""SIGINT and SIGTERM: finish what runs, start nothing new, leave a run that can be resumed."""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

from octoscope.errors import OctoscopeError


class Stopped(OctoscopeError):
    """A signal ended the run before it was done."""

    def __init__(self, number: int) -> None:
        super().__init__("`octoscope resume` continues the run")
        self.exit_code = 128 + number


class StopSignals:
    """Takes the first signal as a request; use as a context manager.

    Inside :meth:`patience` it is only noted, and a wait for work calls :meth:`stop_requested`; a
    second signal ends the grace. Elsewhere KeyboardInterrupt is raised at once, the one error
    of a handler that ends a wait inside Ray (any other is kept until the wait is over);
    :meth:`promptly` makes :class:`Stopped` of it.

    Parameters
    ----------
    grace
        Seconds that running work gets.
    """

    def __init__(self, grace: float) -> None:
        self._grace = grace
        self._number: int | None = None
        self._until = 0.0
        self._patient = False
        self._before: dict[int, Any] = {}

    def __enter__(self) -> StopSignals:
        if threading.current_thread() is threading.main_thread():
            for number in (signal.SIGINT, signal.SIGTERM):
                self._before[number] = signal.signal(number, self._take)
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _take(self, number: int, frame: FrameType | None) -> None:
        again = self._number is not None
        self._number = number
        self._until = time.monotonic() + (0 if again else self._grace)
        if not self._patient:
            raise KeyboardInterrupt

    @contextmanager
    def promptly(self) -> Iterator[None]:
        """Raise :class:`Stopped` where a signal comes while nothing waits for it."""
        try:
            yield
        except (KeyboardInterrupt, SystemError):  # Ray's compiled code may make this one of it
            self.carry_out()
            raise

    @contextmanager
    def patience(self) -> Iterator[None]:
        """Promise that :meth:`stop_requested` is called inside.

        At the end a noted request is carried out.
        """
        self._patient = True
        try:
            yield
        finally:
            self._patient = False
        self.carry_out()

    def carry_out(self) -> None:
        """Raise :class:`Stopped` if there was a signal."""
        if self._number is not None:
            raise Stopped(self._number)

    def stop_requested(self) -> bool:
        """Tell whether nothing new may start.

        Raises
        ------
        Stopped
            If running work has used up its grace.
        """
        if self._number is not None and time.monotonic() > self._until:
            raise Stopped(self._number)
        return self._number is not None
