"""Splits of the links of a network into train, val and test, as values with a digest.

``pair``: by a hash of the two names, so mirrors, parallel copies and reversible twins stay
together; with seed 0 it is the split that the graph of an Octopus directory has. ``vertex``:
vertices are held out with all their edges. ``source``: pairs that only one source asserts are test.
``release``: pairs of an older network are train, new ones test. ``graph``: the split that the graph
states. ``edge``: each directed edge for itself, which leaks; only where a peer's numbers are made
again.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import pandas as pd

from octoscope.errors import InputError
from octoscope.gnn.graph import SPLITS
from octoscope.gnn.network_graph import SHARES
from octoscope.gnn.pair_hash import pair_hash
from octoscope.link_prediction.links import Links
from octoscope.octopus.pairs import find_keys, pair_codes

KINDS = ("pair", "vertex", "source", "release", "graph", "edge")
_VERTEX_SHARES = (0.85, 0.925)  # of vertices: train, val, test; of edges about 0.72, 0.14, 0.14
_VAL = SHARES[1] - SHARES[0]


@dataclass(frozen=True)
class Split:
    """Which part each edge is in.

    Attributes
    ----------
    by
        One of :data:`KINDS`.
    part
        [edges] uint8 positions in :data:`octoscope.gnn.graph.SPLITS`.
    settings
        What it was made with: seed, source, older network.
    edges_digest
        SHA-256 of the edges that it divides.
    """

    by: str
    part: np.ndarray
    settings: dict[str, Any]
    edges_digest: str

    @cached_property
    def digest(self) -> str:
        """SHA-256 of the edges, the kind, the settings and the part of each edge."""
        value = hashlib.sha256(
            json.dumps([self.edges_digest, self.by, self.settings], sort_keys=True).encode()
        )
        value.update(np.ascontiguousarray(self.part).tobytes())
        return value.hexdigest()

    def rows(self, name: str) -> np.ndarray:
        """Return the int64 edges of ``train``, ``val`` or ``test``."""
        return np.flatnonzero(self.part == SPLITS.index(name))

    def counts(self) -> dict[str, int]:
        """Return the number of edges of each part."""
        counts = np.bincount(self.part, minlength=len(SPLITS)).tolist()
        return dict(zip(SPLITS, counts, strict=True))


def split_links(
    links: Links,
    by: str = "pair",
    *,
    seed: int = 0,
    source: str | None = None,
    older: Links | None = None,
    peer: bool = False,
) -> Split:
    """Divide the links of a network.

    Parameters
    ----------
    by
        One of :data:`KINDS`.
    seed
        Another seed gives another division; unused by ``graph``.
    source
        For ``source``: the one whose own pairs are test.
    older
        For ``release``: the same network in an older release; vertices are matched by name.
    peer
        Allow ``edge``.

    Raises
    ------
    InputError
        If the kind is unknown, what it needs is missing, or a part is empty.
    """
    settings: dict[str, Any] = {"seed": seed}
    if by == "pair":
        part = _by_share(_share(links, seed), SHARES)
    elif by == "vertex":
        part = _by_vertex(links, seed)
    elif by == "source":
        settings["source"] = source
        part = _by_source(links, source, seed)
    elif by == "release":
        if older is None:
            raise InputError("older", "is not given", "name the older network")
        settings["older"] = older.graph.digest_of("edges")
        part = _new_pairs(links, ~_in_older(links, older), seed)
    elif by == "graph":
        if links.graph.split is None:
            raise InputError(links.graph.made_from, "states no split", "split by pair")
        settings, part = {}, np.asarray(links.graph.split, np.uint8)
    elif by == "edge" and peer:
        drawn = np.random.default_rng(seed).random(len(links.src))
        part = _by_share(drawn, SHARES)
    elif by == "edge":
        raise InputError("split", "by directed edge leaks mirrors and copies into training",
                         "split by pair; peer mode allows it")  # fmt: skip
    else:
        raise InputError("split", f"is {by!r}", f"it is one of {', '.join(KINDS)}")
    split = Split(by, part, settings, str(links.graph.digest_of("edges")))
    for name in SPLITS[1:]:
        if not len(split.rows(name)):
            raise InputError(f"split by {by}", f"puts no edge into {name} of {len(part):,}",
                             "take another split or a larger network")  # fmt: skip
    return split


def _by_share(share: np.ndarray, bounds: tuple[float, float]) -> np.ndarray:
    return (1 + np.searchsorted(bounds, share, side="right")).astype(np.uint8)


def _share(links: Links, seed: int) -> np.ndarray:
    """Return [edges] numbers in 0..1 of the unordered pairs of names."""
    return _numbers(pair_hash(links.graph.vertex_names, links.src, links.dst), seed)


def _numbers(hashed: np.ndarray, seed: int) -> np.ndarray:
    if seed:  # mixed with a constant of the seed; seed 0 is the hash itself
        text = pd.util.hash_array(np.array([f"seed {seed}"], object), categorize=False)
        hashed = (hashed ^ text[0]) * np.uint64(0xBF58476D1CE4E5B9)
        hashed = hashed ^ (hashed >> np.uint64(31))
    return hashed / float(2**64)


def _by_vertex(links: Links, seed: int) -> np.ndarray:
    """Return test where either end is a test vertex, then val, then train."""
    vertices = np.arange(links.n)
    share = _numbers(pair_hash(links.graph.vertex_names, vertices, vertices), seed)
    of_vertex = _by_share(share, _VERTEX_SHARES)
    return np.maximum(of_vertex[links.src], of_vertex[links.dst])


def _by_source(links: Links, source: str | None, seed: int) -> np.ndarray:
    if links.source is None or source not in links.sources:
        known = ", ".join(links.sources) or "none"
        raise InputError("source", f"is {source!r}; sources of the network: {known}",
                         "name one of them")  # fmt: skip
    others = np.unique(links.codes[links.source != links.sources.index(source)])
    return _new_pairs(links, find_keys(others, links.codes) < 0, seed)


def _in_older(links: Links, older: Links) -> np.ndarray:
    """Return [edges] bool: the older network joins the two names, in any direction."""
    at = links.graph.vertex_names.get_indexer(older.graph.vertex_names)
    a, b = at[older.src], at[older.dst]
    both = (a >= 0) & (b >= 0)
    if not both.any():
        raise InputError("older", "shares no edge between vertices of one name with the network",
                         "give an older release of the same network")  # fmt: skip
    return find_keys(np.unique(pair_codes(a[both], b[both], links.n)), links.codes) >= 0


def _new_pairs(links: Links, test: np.ndarray, seed: int) -> np.ndarray:
    """Return test where marked; of the other pairs a share by hash is val."""
    part = np.where(_share(links, seed) < 1 - _VAL, 1, 2).astype(np.uint8)
    part[test] = 3
    return part
