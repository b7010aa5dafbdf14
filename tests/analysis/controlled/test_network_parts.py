"""Parts of a network by what its sources state, against a loop over assertions."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from octoscope.analysis.controlled.network_parts import network_parts
from octoscope.octopus.network import Network, open_network
from octoscope.octopus.network_schema import ROLES


def parts(network: Network) -> dict[tuple[str, str], int]:
    return {(kind, name): len(part.edges) for kind, name, part in network_parts(network)}


def test_parts_are_those_of_a_loop_over_assertions() -> None:
    """Red: roles of both ends the other way round; scores above the threshold alone."""
    network = open_network("demo")
    e = network.edges.select(np.arange(0, len(network.edges), 7))
    network = replace(network, edges=e)
    want: dict[tuple[str, str], int] = {}
    pairs: dict[tuple[int, int], set[int]] = {}
    for i in range(len(e)):
        pairs.setdefault((min(e.src[i], e.dst[i]), max(e.src[i], e.dst[i])), set()).add(e.source[i])
    for i in range(len(e)):
        named = [
            ("source", network.sources[e.source[i]]),
            ("relation", f"{ROLES[e.role_src[i]]} -> {ROLES[e.role_dst[i]]}"),
            ("direction", "in no order" if e.both_ways[i] else "in an order"),
        ]
        if e.sign[i]:
            named.append(("sign", "positive" if e.sign[i] > 0 else "negative"))
        named += [("score", f"at least {x}") for x in (0.4, 0.7, 0.9) if e.score[i] >= x]
        if len(pairs[min(e.src[i], e.dst[i]), max(e.src[i], e.dst[i])]) > 1:
            named.append(("sources", "at least 2"))
        for key in named:
            want[key] = want.get(key, 0) + 1
    assert parts(network) == want


def test_pairs_of_two_sources_count_however_they_are_stated() -> None:
    """A pair that two sources state in opposite orders. Red: ordered keys; assertions counted."""
    network = open_network("demo")
    e = network.edges.select([0, 0, 1])
    src, dst, source = e.src.copy(), e.dst.copy(), e.source.copy()
    src[1], dst[1], source[1] = dst[0], src[0], source[0] + 1
    two = replace(network, edges=replace(e, src=src, dst=dst, source=source), sources=["a", "b"])
    assert parts(two)["sources", "at least 2"] == 2
    source[1] = source[0]
    assert ("sources", "at least 2") not in parts(two)
