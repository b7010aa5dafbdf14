"""Random numbers that belong to a cell, not to the order in which cells are processed."""

from __future__ import annotations

import hashlib

import numpy as np


def cell_generator(seed: int, family: str, cell_id: str) -> np.random.Generator:
    """Return a counter-based generator (Philox) keyed by seed, family and stable cell id.

    Permuting, splitting or re-batching cells changes no number that a cell receives.
    """
    digest = hashlib.blake2b(f"{seed}\x1f{family}\x1f{cell_id}".encode(), digest_size=16).digest()
    return np.random.Generator(np.random.Philox(key=int.from_bytes(digest, "little")))
