"""What training already says of the edges that test a model."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import pandas as pd

from octoscope.link_prediction.links import Links
from octoscope.link_prediction.splits import Split
from octoscope.octopus.pairs import find_keys, pair_codes


@dataclass(frozen=True)
class Leak:
    """Shares of the distinct ordered test pairs, self pairs left out.

    Attributes
    ----------
    part
        ``val`` or ``test``.
    pairs
        Number of these pairs.
    copy
        Share whose copy (same order) is in training.
    mirror
        Share whose mirror (other order) is in training.
    either
        Share with a copy or a mirror.
    compartment
        Share whose species are joined in training, in any order and any compartment.
    new_end
        Share with an end that no training edge reaches.
    """

    part: str
    pairs: int
    copy: float
    mirror: float
    either: float
    compartment: float
    new_end: float

    def as_dict(self) -> dict[str, Any]:
        """Return the fields."""
        return asdict(self)


def leak_of(links: Links, split: Split, part: str = "test") -> Leak:
    """Return what the training edges say of the pairs of another part."""
    n = links.n
    train, evaluated = split.rows("train"), split.rows(part)
    ordered, mine = np.unique(links.ordered[train]), np.unique(links.ordered[evaluated])
    a, b = mine // n, mine % n
    a, b, mine = a[a != b], b[a != b], mine[a != b]
    copy, mirror = find_keys(ordered, mine) >= 0, find_keys(ordered, b * n + a) >= 0
    species, _ = pd.factorize(links.graph.names.vertices["species"].fillna("").astype(str))
    blank = links.graph.names.vertices["species"].isna().to_numpy()
    species = np.where(blank, n + np.arange(n), species).astype(np.int64)
    joined = np.unique(pair_codes(species[links.src[train]], species[links.dst[train]], 2 * n))
    seen = np.zeros(n, bool)
    seen[links.src[train]] = seen[links.dst[train]] = True

    def share(what: np.ndarray) -> float:
        return float(what.mean()) if len(what) else float("nan")

    return Leak(
        part, len(mine), share(copy), share(mirror), share(copy | mirror),
        share(find_keys(joined, pair_codes(species[a], species[b], 2 * n)) >= 0),
        share(~(seen[a] & seen[b])),
    )  # fmt: skip
