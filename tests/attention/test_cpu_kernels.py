"""The inner loops give the same bits wherever in memory their arrays lie."""

from __future__ import annotations

import ctypes

import numpy as np
from octoscope.attention.cpu_kernels import raise_peaks

KEYS, CHUNK = 15, 4096
_C = ctypes.CDLL(None)
_C.malloc.restype = ctypes.c_void_p
_C.malloc.argtypes = [ctypes.c_size_t]
_C.free.argtypes = [ctypes.c_void_p]


def peaks_beside(
    values: np.ndarray, size: int, allocated: list[int], *, at_the_end: bool
) -> np.ndarray:
    """Return peaks of one row of scores, in a chunk before one of ``size`` bytes that is free.

    The room that the loop itself takes lies there, if it has about this size. ``held``: gains what
    is to be freed after all calls, so that chunks are new ones, and neighbours.
    """
    peaks = np.zeros((2, 1, KEYS), np.float32)
    peaks[1] = -np.inf
    allocated += [_C.malloc(size) for _ in range(12)]
    allocated.append(chunk := _C.malloc(CHUNK))
    after = _C.malloc(size)
    at = chunk + (CHUNK - values.nbytes if at_the_end else 0)
    scores = np.frombuffer((ctypes.c_float * KEYS).from_address(at), np.float32)
    scores = scores.reshape(1, 1, KEYS)
    scores[:] = values
    _C.free(after)
    raise_peaks(scores, *peaks)
    return peaks


def test_peaks_do_not_depend_on_what_memory_was_free() -> None:
    allocated: list[int] = []
    try:
        for size in range(16, 600, 16):
            for seed in range(30):
                values = (np.random.default_rng(seed).normal(size=KEYS) * 3).astype(np.float32)
                far, near = (
                    peaks_beside(values, size, allocated, at_the_end=x) for x in (False, True)
                )
                np.testing.assert_array_equal(far, near, err_msg=f"seed {seed}, {size} bytes")
    finally:
        for address in allocated:
            _C.free(address)
