"""A process of its own that reads the metadata of HDF5 files, because the library may not return.

On damaged files HDF5 can loop for ever or crash, inside calls that nothing in the same process can
stop. This script gets paths on standard input, touches what a reader would touch, and answers each
with one line. The system ends it (SIGPROF) where one step computes for longer than its limit.

It imports nothing of this package, so that it starts fast.
"""

from __future__ import annotations

import contextlib
import math
import signal
import sys
from typing import Any

import h5py

CHUNKS = 1_000_000  # of an array, whose index is walked
STRINGS = 1_000_000  # of an array, which are read: they lie in heaps, like names
_BLOCK = 1 << 16


def walk(path: str, seconds: float) -> None:
    """Touch every object of a file; what the library reports as an error is left to the reader.

    Parameters
    ----------
    seconds
        Of processor time that one step may take.
    """

    def step() -> None:
        signal.setitimer(signal.ITIMER_PROF, seconds)

    step()
    with contextlib.suppress(Exception), h5py.File(path, "r") as file:
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
                    _touch(node, step)
        step()
    signal.setitimer(signal.ITIMER_PROF, 0)


def _touch(node: Any, step: Any) -> None:
    """Walk the index of an array's chunks, and read text of variable length."""
    if node.chunks is not None:
        sizes = zip(node.shape, node.chunks, strict=True)
        if math.prod(-(-n // max(1, c)) for n, c in sizes) <= CHUNKS:
            node.id.get_num_chunks()
    if h5py.check_string_dtype(node.dtype) is None:
        return
    if node.shape == ():
        node[()]
    elif len(node.shape) == 1:
        for first in range(0, min(node.shape[0], STRINGS), _BLOCK):
            step()
            node[first : first + _BLOCK]


def main() -> None:
    """Answer each line of standard input, a path, with a line."""
    signal.signal(signal.SIGPROF, signal.SIG_DFL)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # of a terminal: the parent ends this
    seconds = float(sys.argv[1])
    for line in sys.stdin.buffer:
        walk(bytes.fromhex(line.decode()).decode(errors="surrogateescape"), seconds)
        print("walked", flush=True)


if __name__ == "__main__":
    main()
