"""Trimming of the C heap: memory that is freed and kept, or returned to the system too soon."""

from __future__ import annotations

import ctypes

import psutil

_SLACK = 256 << 20  # growth that is not worth a walk through the heap
_LARGE = 32 << 20  # the most that the GNU C library takes for M_MMAP_THRESHOLD
_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3  # of mallopt, malloc.h


class MallocTrim:
    """Decides when a process gives back what is free: when it has grown, and not before.

    The GNU C library gives back the top of its heap whenever that is free, and keeps every hole.
    A layer's temporaries therefore were mapped and cleared anew in each pass or not, by the chance
    of what lay above them (three times the page faults in one process as in another). They left
    holes between residual streams that stay (0.4 GB at 6,000 genes). Here blocks below 32 MB stay
    in the heap until :meth:`settle` finds that the process has grown. Where the C library has no
    such calls nothing happens.
    """

    def __init__(self) -> None:
        library = ctypes.CDLL(None)
        self._trim = getattr(library, "malloc_trim", None)
        if self._trim is not None:
            library.mallopt(_TRIM_THRESHOLD, 2**31 - 1)
            library.mallopt(_MMAP_THRESHOLD, _LARGE)
        self._process = psutil.Process()
        self._settled = self._process.memory_info().rss

    def settle(self) -> None:
        """Give back, if the process has grown by more than a little since the last time."""
        if self._trim is None:
            return
        now = self._process.memory_info().rss
        self._settled = min(self._settled, now)
        if now < self._settled + _SLACK:
            return
        self._trim(0)
        self._settled = self._process.memory_info().rss
