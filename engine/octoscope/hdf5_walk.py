"""A process of its own that reads the metadata of HDF5 files, because the library may not return.

On damaged files HDF5 can loop without end or crash, inside calls that nothing in the same process
can stop. This script gets paths and URLs on standard input, touches what a reader would touch, and
answers each with one line. The system ends it (SIGPROF) where one step computes for longer than its
limit; waiting for a disk or a network does not count.

It imports nothing of this package, so that it starts fast.
"""

from __future__ import annotations

import contextlib
import math
import signal
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import h5py

_BLOCK = 1 << 16
_FETCHED = 1 << 18  # bytes of a file behind a URL that are fetched at once


@dataclass(frozen=True)
class Bounds:
    """How much of an array is looked at.

    Attributes
    ----------
    chunks
        Of an array, whose index is walked.
    strings
        Of an array, which are read: they lie in heaps, like names.
    """

    chunks: int
    strings: int


LOCAL = Bounds(1_000_000, 1_000_000)
REMOTE = Bounds(10_000, 1 << 16)  # each look may fetch a block over the network


@contextlib.contextmanager
def _opened(path: str) -> Iterator[Any]:
    """Give what h5py opens: the path, or a file object that fetches what is read of a URL."""
    if "://" not in path:
        yield path
        return
    from fsspec.core import url_to_fs

    system, system_path = url_to_fs(path)
    with system.open(system_path, "rb", block_size=_FETCHED, cache_type="blockcache") as handle:
        yield handle


def walk(path: str, seconds: float) -> None:
    """Touch every object of a file; what the library reports as an error is left to the reader.

    Parameters
    ----------
    seconds
        Of processor time that one step may take.
    """
    bounds = REMOTE if "://" in path else LOCAL

    def step() -> None:
        signal.setitimer(signal.ITIMER_PROF, seconds)

    with (
        contextlib.suppress(Exception),
        _opened(path) as source,
        _stepping(step),
        h5py.File(source, "r") as file,
    ):
        names = ["/"]
        with contextlib.suppress(Exception):
            file.visit(names.append)
        for name in names:
            step()
            with contextlib.suppress(Exception):
                node = file[name]
                for key in node.attrs:
                    with contextlib.suppress(Exception):
                        node.attrs[key]
                if isinstance(node, h5py.Dataset):
                    _touch(node, step, bounds)
        step()


@contextlib.contextmanager
def _stepping(step: Callable[[], None]) -> Iterator[None]:
    """Let steps be timed inside, and nothing after."""
    step()
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)


def _touch(node: Any, step: Callable[[], None], bounds: Bounds) -> None:
    """Walk the index of an array's chunks, and read text of variable length."""
    if node.chunks is not None:
        sizes = zip(node.shape, node.chunks, strict=True)
        if math.prod(-(-n // max(1, c)) for n, c in sizes) <= bounds.chunks:
            node.id.get_num_chunks()
    if h5py.check_string_dtype(node.dtype) is None:
        return
    if node.shape == ():
        node[()]
    elif len(node.shape) == 1:
        for first in range(0, min(node.shape[0], bounds.strings), _BLOCK):
            step()
            node[first : first + _BLOCK]


def main() -> None:
    """Answer each line of standard input, a path or URL, with a line."""
    signal.signal(signal.SIGPROF, signal.SIG_DFL)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # of a terminal: the parent ends this
    seconds = float(sys.argv[1])
    for line in sys.stdin.buffer:
        walk(bytes.fromhex(line.decode()).decode(errors="surrogateescape"), seconds)
        print("walked", flush=True)


if __name__ == "__main__":
    main()
