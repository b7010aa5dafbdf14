"""A process gives back what it freed once it has grown, and keeps it until then."""

from __future__ import annotations

import ctypes
import json
import subprocess
import sys

import pytest

pytestmark = pytest.mark.skipif(
    not hasattr(ctypes.CDLL(None), "malloc_trim"), reason="the C library gives back by itself"
)

# Blocks of 4 MB, every other one freed: holes that the C library alone never gives back.
SCRIPT = """
import json, sys
import numpy as np, psutil
from octoscope.extract.malloc_trim import MallocTrim

def resident():
    return psutil.Process().memory_info().rss

heap = MallocTrim()
start = resident()
blocks = [np.ones(4 << 20, np.uint8) for _ in range(int(sys.argv[1]) // 4)]
grown = resident()
del blocks[::2]
freed = resident()
heap.settle()
settled = resident()
again = [np.ones(4 << 20, np.uint8) for _ in range(4)]
del again
heap.settle()
print(json.dumps([x - start for x in (grown, freed, settled, resident())]))
"""


def sizes(megabytes: int) -> list[float]:
    """Return MB: grown, after every other block was freed, settled, after a little more."""
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, str(megabytes)], capture_output=True, text=True, check=True
    )
    return [x / 2**20 for x in json.loads(done.stdout)]


def test_holes_are_given_back_when_the_process_has_grown() -> None:
    grown, freed, settled, after = sizes(640)
    assert grown > 630
    assert freed > 630  # in the heap, where the C library keeps them
    assert settled < 360
    assert after > settled + 10  # what was freed since is kept for the next pass


def test_a_process_that_has_grown_a_little_keeps_what_it_freed() -> None:
    grown, freed, settled, _ = sizes(160)
    assert freed > grown - 10
    assert settled > grown - 10
