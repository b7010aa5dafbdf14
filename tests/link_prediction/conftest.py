"""Small networks with a planted truth."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
import pytest
from octoscope.gnn.graph import GnnGraph, no_edges
from octoscope.link_prediction.links import Links
from octoscope.octopus.network import Network


def links_from(
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


def pairs_by_degree(
    rng: np.random.Generator, n: int, m: int, tail: float = 2.0
) -> tuple[np.ndarray, np.ndarray]:
    """Return about ``m`` distinct unordered pairs whose ends are drawn by a heavy-tailed weight."""
    weight = np.minimum(rng.pareto(tail, n) + 0.3, 12)
    weight /= weight.sum()
    a, b = rng.choice(n, 2 * m, p=weight), rng.choice(n, 2 * m, p=weight)
    keep = a != b
    code = np.unique(np.minimum(a, b)[keep] * n + np.maximum(a, b)[keep])
    code = np.sort(rng.permutation(code)[:m])
    a, b = code // n, code % n
    turned = rng.random(len(a)) < 0.5
    return np.where(turned, b, a), np.where(turned, a, b)


@pytest.fixture(scope="session")
def degree_only() -> Links:
    """2,500 vertices, 25,000 pairs; nothing but degree."""
    return links_from(2500, *pairs_by_degree(np.random.default_rng(1), 2500, 25_000))


@pytest.fixture(scope="session")
def mirrored() -> Links:
    """The same shape with 91 % of the pairs stated both ways."""
    rng = np.random.default_rng(2)
    a, b = pairs_by_degree(rng, 2500, 25_000)
    both = rng.random(len(a)) < 0.91
    return links_from(2500, np.concatenate([a, b[both]]), np.concatenate([b, a[both]]))
