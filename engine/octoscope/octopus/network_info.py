"""Summary of a network: its sources, and how much they share."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa

from octoscope.octopus.directory import codes_of
from octoscope.octopus.network import Network
from octoscope.octopus.network_schema import NOT_KNOWN, ROLES, count_relations
from octoscope.octopus.pairs import Groups, source_bits

_TABLE = ["source", "release", "assertions", "pairs", "private_pairs", "vertices",
          "private_vertices", "directed", "signed", "self_pairs"]  # fmt: skip
_OVERLAP = ["source_a", "source_b", "pairs", "pairs_jaccard", "vertices", "vertices_jaccard"]


class _Shared:
    """Count pairs (without self pairs) and vertices of each combination of sources."""

    def __init__(self, network: Network) -> None:
        edges, n = network.edges, len(network.vertices)
        bits = source_bits(edges.source)
        low, high = np.minimum(edges.src, edges.dst), np.maximum(edges.src, edges.dst)
        two = low != high
        pairs = Groups(low[two].astype(np.int64) * n + high[two], n * n)
        vertices = np.zeros(n, np.uint64)
        for ends in (edges.src, edges.dst):
            np.bitwise_or.at(vertices, ends, bits)
        self._of = {
            "pairs": np.unique(pairs.reduce(bits[two], np.bitwise_or), return_counts=True),
            "vertices": np.unique(vertices, return_counts=True),
        }

    def count(self, what: str, all_of: int, none_of: int = 0) -> int:
        """Return how many are stated by all sources of one bit set and none of another."""
        sets, counts = self._of[what]
        chosen = (sets & np.uint64(all_of) == all_of) & (sets & np.uint64(none_of) == 0)
        return int(counts[chosen].sum())


def source_table(network: Network) -> pd.DataFrame:
    """Return one row per source.

    Returns
    -------
    DataFrame
        source, release, assertions, pairs (distinct unordered, no self pairs), private_pairs (that
        no other source states), vertices, private_vertices, directed, signed, self_pairs.
    """
    shared, edges, rows = _Shared(network), network.edges, []
    every = (1 << len(network.sources)) - 1
    for i, name in enumerate(network.sources):
        mine = edges.source == i
        own, others = 1 << i, every & ~(1 << i)
        rows.append(
            {
                "source": name,
                "release": network.meta.get("sources", {}).get(name, {}).get("release", "unknown"),
                "assertions": int(mine.sum()),
                "pairs": shared.count("pairs", own),
                "private_pairs": shared.count("pairs", own, others),
                "vertices": shared.count("vertices", own),
                "private_vertices": shared.count("vertices", own, others),
                "directed": int((mine & edges.directed).sum()),
                "signed": int((mine & (edges.sign != 0)).sum()),
                "self_pairs": int((mine & (edges.src == edges.dst)).sum()),
            }
        )
    return pd.DataFrame(rows, columns=_TABLE)


def source_overlap(network: Network) -> pd.DataFrame:
    """Return one row per two sources: pairs and vertices that both state, and their Jaccard index.

    Returns
    -------
    DataFrame
        source_a, source_b, pairs, pairs_jaccard, vertices, vertices_jaccard; both orders and each
        source with itself.
    """
    shared, rows = _Shared(network), []
    for i, a in enumerate(network.sources):
        for j, b in enumerate(network.sources):
            row: dict[str, object] = {"source_a": a, "source_b": b}
            for what in ("pairs", "vertices"):
                both = shared.count(what, 1 << i | 1 << j)
                either = shared.count(what, 1 << i) + shared.count(what, 1 << j) - both
                row |= {what: both, f"{what}_jaccard": both / either if either else float("nan")}
            rows.append(row)
    return pd.DataFrame(rows, columns=_OVERLAP)


def summary(network: Network) -> dict[str, object]:
    """Return the figures of the whole network, name -> value, for a terminal.

    A view's sources under ``NOT_KNOWN`` are named too.
    """
    genes = network.genes
    per_vertex = genes.groupby("vertex")["gene"].nunique()
    per_gene = genes.groupby("gene")["vertex"].nunique()
    degree = network.degree[np.unique(genes["vertex"])] if len(genes) else np.zeros(1, int)
    e = network.edges
    relations = count_relations(e.role_src, e.role_dst)
    unknown = network.meta.get(NOT_KNOWN, ())
    noted = {"not known to be independent": ", ".join(unknown)} if unknown else {}
    signs = {s: int((e.sign == s).sum()) for s in (-1, 0, 1)}
    return {
        "name": network.meta.get("name", ""),
        "mode": network.meta.get("mode", ""),
        "vertices": len(network.vertices),
        "assertions": len(network.edges),
        "connected pairs (unordered)": len(network.pair_keys),
        "connected pairs (ordered)": len(network.index.keys),
        "self pairs": int((e.src == e.dst).sum()),
        "genes": int(genes["gene"].nunique()),
        "vertices of several genes": int((per_vertex > 1).sum()),
        "genes of several vertices": int((per_gene > 1).sum()),
        "degree of genes, median": float(np.median(degree)),
        "degree of genes, largest": int(degree.max()),
        **{f"relation {name}": count for name, count in relations.items()},
        **{f"sign {s}": c for s, c in signs.items()},
        **noted,
    }


def count_edges(table: pa.Table, vertices: int) -> dict[str, Any]:
    """Return vertices, assertions and what they say, each as a number or name -> number."""

    def by(column: str) -> dict[str, int]:
        counted = table[column].combine_chunks().value_counts()
        return {str(c["values"]): c["counts"].as_py() for c in counted}

    roles = (codes_of(table[c], ROLES) for c in ("role_src", "role_dst"))
    directed = int(np.count_nonzero(table["directed"].to_numpy()))
    return {
        "vertices": vertices,
        "assertions": table.num_rows,
        "directed": directed,
        "undirected": table.num_rows - directed,
        "by_source": dict(sorted(by("source").items())),
        "by_release": dict(sorted(by("release").items())),
        "by_relation": count_relations(*roles),
        "by_sign": dict(sorted(by("sign").items())),
    }
