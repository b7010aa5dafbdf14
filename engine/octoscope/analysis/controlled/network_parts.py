"""Parts of a network that lists are compared with one by one: by source, relation, sign, score."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from octoscope.octopus.network import Network
from octoscope.octopus.network_schema import ROLES, relation_name
from octoscope.octopus.pairs import Groups, pair_codes, source_bits

SCORES = (0.4, 0.7, 0.9)  # STRING's medium, high and highest confidence


def network_parts(network: Network) -> Iterator[tuple[str, str, Network]]:
    """Yield (kind, name, part) of a network; parts without an edge are left out.

    Kinds: ``source``; ``relation`` (roles of both ends, as a source states them); ``sign``;
    ``direction`` (stated in an order, or in none); ``score`` (of sources that give one);
    ``sources`` (pairs that at least two sources assert). A pair may be in several parts.
    """
    for kind, name, keep in _masks(network):
        if keep.any():
            yield kind, name, network.with_edges(network.edges.select(keep))


def _masks(network: Network) -> Iterator[tuple[str, str, np.ndarray]]:
    e = network.edges
    for i, source in enumerate(network.sources):
        yield "source", source, e.source == i
    relation = e.role_src.astype(np.int64) * len(ROLES) + e.role_dst
    for code in np.unique(relation):
        yield "relation", relation_name(int(code)), relation == code
    yield "sign", "positive", e.sign > 0
    yield "sign", "negative", e.sign < 0
    yield "direction", "in an order", ~e.both_ways
    yield "direction", "in no order", e.both_ways
    for least in SCORES:
        yield "score", f"at least {least}", e.score >= least
    key = pair_codes(e.src, e.dst, len(network.vertices))
    groups = Groups(key, len(network.vertices) ** 2)
    bits = groups.reduce(source_bits(e.source), np.bitwise_or)
    several = groups.keys[np.bitwise_count(bits) > 1]
    yield "sources", "at least 2", np.isin(key, several)
