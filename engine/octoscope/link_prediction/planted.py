"""Graphs with a known truth on the degrees of a network: what an evaluation must, or must not, see.

The ends of pairs are drawn by the degrees of the network. Degrees are cut so that two hubs are
joined by chance in at most every third draw; otherwise distinct pairs would have a structure
besides degree.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from octoscope.errors import InputError
from octoscope.gnn.graph import GnnGraph, no_edges
from octoscope.link_prediction.links import Links
from octoscope.octopus.network import Network

_ALWAYS = 3000  # vertices that may be given for any network
_BOTH_WAYS = 0.91  # share of pairs that an Octopus network states both ways
_WITHIN = 0.85  # of the pairs of a graph with blocks


def planted_links(
    n: int,
    src: np.ndarray,
    dst: np.ndarray,
    *,
    relation: np.ndarray | None = None,
    relations: Sequence[str] = (),
    source: np.ndarray | None = None,
    sources: Sequence[str] = (),
    sign: np.ndarray | None = None,
    kinds: Sequence[str] | None = None,
    species: Sequence[str] | None = None,
    split: np.ndarray | None = None,
) -> Links:
    """Return links between ``n`` vertices of one feature, named v0, v1 and so on.

    Parameters
    ----------
    src, dst
        [edges] int64.
    relation, source, sign, split
        [edges] integers, as :class:`Links` and its graph have them.
    kinds, species
        [vertices] names; one kind, and a species each, without.
    """
    names = [f"v{i}" for i in range(n)]
    vertices = pd.DataFrame(
        {
            "vertex": np.arange(n, dtype=np.int32), "name": names, "label": names,
            "node_type": "species", "species_type": list(kinds or ["protein"] * n),
            "species": list(species or names), "compartment": None,
        }
    )  # fmt: skip
    genes = pd.DataFrame({"gene": names, "vertex": np.arange(n), "how": "name"})
    graph = GnnGraph(
        x=np.ones((n, 1), np.float32), src=np.asarray(src, np.int64), dst=np.asarray(dst, np.int64),
        edge_attr=None, relation=relation, relations=tuple(relations), split=split,
        names=Network(vertices, genes, no_edges(), []), vertex_features=("one",), edge_features=(),
        made_from="planted", known={},
    )  # fmt: skip
    signs = np.zeros(len(src), np.int8) if sign is None else np.asarray(sign, np.int8)
    return Links(graph, source, tuple(sources), signs)


@dataclass(frozen=True)
class Degrees:
    """How likely each vertex is an end of a pair.

    Attributes
    ----------
    weight
        [vertices] float64 summing to 1.
    pairs
        Number of distinct unordered pairs to draw.
    """

    weight: np.ndarray
    pairs: int

    @property
    def n(self) -> int:
        """Number of vertices."""
        return len(self.weight)


def degrees_of(links: Links, vertices: int = 0, seed: int = 0) -> Degrees:
    """Return the degrees of some vertices of a network, and ten pairs a vertex.

    Parameters
    ----------
    vertices
        How many to draw at random; 0, or 3,000 of a smaller network: all, and as many pairs as it
        has.

    Raises
    ------
    InputError
        If there are more than 3,000, and the network has fewer with a link.
    """
    a, b = np.divmod(links.known, links.n)
    degree = np.bincount(np.append(a, b), minlength=links.n).astype(float)
    degree = degree[degree > 0]
    pairs = len(links.known)
    if vertices > max(len(degree), _ALWAYS):
        problem = f"{vertices:,}; {len(degree):,} of the network have a link"
        raise InputError("vertices", problem, "give at most so many; 0: all")
    if 0 < vertices < len(degree):
        degree = np.random.default_rng([seed, 4]).choice(degree, vertices, replace=False)
        pairs = 10 * vertices
    return cut_degrees(degree, pairs)


def cut_degrees(degree: np.ndarray, pairs: int) -> Degrees:
    """Return degrees, cut so that the two largest are joined by less than a third of a pair.

    Parameters
    ----------
    degree
        [vertices] positive numbers; only their ratios count.
    pairs
        Number of pairs to draw.
    """
    weight, most = degree / degree.sum(), 1 / np.sqrt(6 * pairs)
    for _ in range(50):
        weight = np.minimum(weight, most)
        weight = weight / weight.sum()
    return Degrees(weight, pairs)


def by_degree(degrees: Degrees, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Return [pairs] distinct unordered pairs that know nothing but degree, in random order."""
    return _distinct(degrees, rng, np.zeros(degrees.n, np.int64), 1)


def by_blocks(
    degrees: Degrees, rng: np.random.Generator, blocks: int = 8
) -> tuple[np.ndarray, np.ndarray]:
    """Return pairs of which 85 % are within a block; a vertex is in a block at random."""
    return _distinct(degrees, rng, rng.integers(blocks, size=degrees.n), blocks)


def _distinct(
    degrees: Degrees, rng: np.random.Generator, block: np.ndarray, blocks: int
) -> tuple[np.ndarray, np.ndarray]:
    n, known = degrees.n, np.zeros(0, np.int64)
    while len(known) < degrees.pairs:
        m = 2 * degrees.pairs
        a, b = rng.choice(n, m, p=degrees.weight), rng.choice(n, m, p=degrees.weight)
        if blocks > 1:
            kept = rng.random(m) < np.where(
                block[a] == block[b], 1.0, (1 - _WITHIN) / _WITHIN / (blocks - 1)
            )
            a, b = a[kept], b[kept]
        a, b = a[a != b], b[a != b]
        known = np.unique(np.append(known, np.minimum(a, b) * n + np.maximum(a, b)))
    a, b = np.divmod(np.sort(rng.choice(known, degrees.pairs, replace=False)), n)
    turned = rng.random(len(a)) < 0.5
    return np.where(turned, b, a), np.where(turned, a, b)


def with_mirrors(
    a: np.ndarray, b: np.ndarray, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """Return edges with the mirrors of 91 % of them."""
    both = rng.random(len(a)) < _BOTH_WAYS
    return np.concatenate([a, b[both]]), np.concatenate([b, a[both]])


def signs_by_target(n: int, dst: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Return [pairs] int8 signs; each target has a leaning of its own, and nothing else counts."""
    leaning = 2 * rng.normal(size=n) + 0.5
    return np.where(rng.random(len(dst)) < 1 / (1 + np.exp(-leaning[dst])), 1, -1).astype(np.int8)
