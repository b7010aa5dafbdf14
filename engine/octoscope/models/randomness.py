"""Random numbers that belong to a cell, not to the order in which cells are processed."""

from __future__ import annotations

import hashlib
from typing import Any

import numpy as np


def _key(seed: int, family: str, cell_id: str) -> np.ndarray:
    digest = hashlib.blake2b(f"{seed}\x1f{family}\x1f{cell_id}".encode(), digest_size=16).digest()
    return np.frombuffer(digest, "<u8").astype(np.uint64)


def cell_generator(seed: int, family: str, cell_id: str) -> np.random.Generator:
    """Return a counter-based generator (Philox) keyed by seed, family and stable cell id.

    Permuting, splitting or re-batching cells changes no number that a cell receives.
    """
    return np.random.Generator(np.random.Philox(key=_key(seed, family, cell_id)))


class CellGenerators:
    """The generators of :func:`cell_generator`, one cell after the other, without building each."""

    def __init__(self, seed: int, family: str) -> None:
        self._seed, self._family = seed, family
        self._bits = np.random.Philox(key=0)
        self._generator = np.random.Generator(self._bits)
        self._start: dict[str, Any] = dict(self._bits.state)

    def of(self, cell_id: str) -> np.random.Generator:
        """Return the generator of a cell, to be used before the next cell's."""
        key = _key(self._seed, self._family, cell_id)
        counter = self._start["state"]["counter"]
        start: Any = self._start | {"state": {"counter": counter, "key": key}}
        self._bits.state = start
        return self._generator
