"""Direction of listed pairs against the direction of edges: a loop, a planted one, hubs alone."""

from __future__ import annotations

import numpy as np
from octoscope.analysis.controlled.orientation import leads_to, orientation_test
from octoscope.analysis.vertex_pairs import VertexPairs
from octoscope.octopus.network import open_network

V = 80


def planted_edges(
    seed: int, hubs: float = 0.0
) -> tuple[np.random.Generator, np.ndarray, VertexPairs]:
    """Return one-way edges (a tenth of all pairs) and a universe where every pair is eligible."""
    rng = np.random.default_rng(seed)
    source = hubs * rng.normal(size=V)
    joined = np.triu(rng.random((V, V)) < 0.1, 1)
    forth = rng.random((V, V)) < 1 / (1 + np.exp(source - source[:, None]))
    leads = (joined & forth) | (joined & ~forth).T
    pairs = VertexPairs.of_genes(np.arange(V), joined | joined.T, ~np.eye(V, dtype=bool))
    return rng, leads, pairs


def listed(rng: np.random.Generator, n: int) -> tuple[np.ndarray, np.ndarray]:
    i, j = np.triu_indices(V, 1)
    chosen = rng.choice(len(i), n, replace=False)
    turn = rng.random(n) < 0.5
    return np.where(turn, j[chosen], i[chosen]), np.where(turn, i[chosen], j[chosen])


def test_counts_are_those_of_a_loop() -> None:
    """Red: the key taken for the query; pairs without an edge counted."""
    rng, leads, pairs = planted_edges(0)
    query, key = listed(rng, 400)
    done = orientation_test(query, key, pairs, leads, permutations=20, seed=0)
    forth = sum(bool(leads[q, k]) for q, k in zip(query, key, strict=True))
    back = sum(bool(leads[k, q]) for q, k in zip(query, key, strict=True))
    assert (done["n_query_to_key"], done["n_one_way"]) == (forth, forth + back)
    assert done["share"] == forth / (forth + back)
    turned = orientation_test(key, query, pairs, leads, permutations=20, seed=0)
    assert turned["n_query_to_key"] == back


def test_a_planted_direction_is_found_either_way_and_noise_is_not() -> None:
    """Red: a one-sided p."""
    small = 0
    for seed in range(40):
        rng, leads, pairs = planted_edges(seed)
        query, key = listed(rng, 400)
        done = orientation_test(query, key, pairs, leads, permutations=99, seed=seed)
        small += done["p"] <= 0.05
        for share in (1, 0):  # every one-way edge of the list turned one way, then the other
            turn = leads[key, query] if share else leads[query, key]
            q, k = np.where(turn, key, query), np.where(turn, query, key)
            planted = orientation_test(q, k, pairs, leads, permutations=99, seed=seed)
            assert planted["share"] == share
            assert planted["p"] <= 0.02
    assert small <= 7  # 40 runs: at a true 5 % P(more than 7) is 1e-3


def test_a_list_without_one_way_edges_is_undefined() -> None:
    rng, leads, pairs = planted_edges(1)
    done = orientation_test(*listed(rng, 50), pairs, np.zeros_like(leads), permutations=10, seed=0)
    assert done["n_one_way"] == 0
    assert np.isnan(done["share"])
    assert np.isnan(done["p"])


def test_only_pairs_that_all_sources_state_one_way_have_a_direction() -> None:
    """Red: a pair in no order, or stated both ways, counted in both directions."""
    network = open_network("demo")
    edges = network.edges
    vertices = np.unique(np.concatenate([edges.src[:300], edges.dst[:300]])).astype(np.int64)
    leads = leads_to(network, vertices)
    assert leads.any()
    assert not (leads & leads.T).any()
    forth = set(zip(edges.src.tolist(), edges.dst.tolist(), strict=True))
    forth |= {
        (int(b), int(a))
        for a, b, both in zip(edges.src, edges.dst, edges.both_ways, strict=True)
        if both
    }
    for i, j in np.argwhere(leads)[:50]:
        assert (vertices[i], vertices[j]) in forth
        assert (vertices[j], vertices[i]) not in forth
