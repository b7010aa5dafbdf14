"""Which published corpus medians are of: Bloom filters of Geneformer's published dictionaries."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from functools import cache
from pathlib import Path

import numpy as np

_FILE = Path(__file__).with_name("geneformer_medians.npz")
_BITS_PER_GENE, _HASHES = 10, 7  # one in 120 other medians passes for a known one


def _bits_of(gene: str, median: float, size: int) -> np.ndarray:
    """Return [hashes] int64 bits of a filter of ``size`` bits."""
    digest = hashlib.blake2b(f"{gene}\t{median!r}".encode(), digest_size=16).digest()
    first, step = (int.from_bytes(digest[i : i + 8], "little") % size for i in (0, 8))
    return np.array([(first + i * step) % size for i in range(_HASHES)])


def filter_of(medians: Mapping[str, float]) -> np.ndarray:
    """Return the filter of a dictionary: [bytes] uint8."""
    size = -(-len(medians) * _BITS_PER_GENE // 8) * 8
    bits = np.zeros(size, bool)
    for gene, median in medians.items():
        bits[_bits_of(gene, median, size)] = True
    return np.packbits(bits)


@cache
def _filters() -> dict[str, np.ndarray]:
    with np.load(_FILE, allow_pickle=False) as arrays:
        return {corpus: np.unpackbits(arrays[corpus]).astype(bool) for corpus in arrays.files}


def foreign_medians(medians: Iterable[tuple[str, float]]) -> tuple[str, list[str]]:
    """Return the corpus that knows most of some medians, and the genes whose median it has not.

    Corpora are gc30M and gc104M, each with the genes that have a token there. ``scripts/
    build_geneformer_medians.py`` makes the filters from the published dictionaries.
    """
    pairs = list(medians)
    foreign = {
        corpus: [g for g, m in pairs if not bits[_bits_of(g, m, len(bits))].all()]
        for corpus, bits in _filters().items()
    }
    best = min(foreign, key=lambda corpus: len(foreign[corpus]))
    return best, foreign[best]
