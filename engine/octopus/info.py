"""What a network holds: sources side by side, and how much they share."""

from __future__ import annotations

import numpy as np
import pandas as pd

from engine.octopus.network import Network
from engine.octopus.schema import ROLES

_TABLE = ["source", "release", "assertions", "pairs", "private_pairs", "vertices",
          "private_vertices", "directed", "signed", "self_pairs"]  # fmt: skip
_OVERLAP = ["source_a", "source_b", "pairs", "pairs_jaccard", "vertices", "vertices_jaccard"]


def _unordered(network: Network) -> tuple[np.ndarray, np.ndarray]:
    """Return distinct unordered pair keys (no self pairs) and the bit set of their sources."""
    edges, n = network.edges, len(network.vertices)
    low, high = np.minimum(edges.src, edges.dst), np.maximum(edges.src, edges.dst)
    two = low != high
    key = low[two].astype(np.int64) * n + high[two]
    order = np.argsort(key, kind="stable")
    key = key[order]
    starts = np.flatnonzero(np.diff(key, prepend=-1))
    bits = (np.uint64(1) << edges.source[two].astype(np.uint64))[order]
    joined = np.bitwise_or.reduceat(bits, starts) if len(starts) else bits
    return key[starts], joined


def _vertex_sources(network: Network) -> np.ndarray:
    out = np.zeros(len(network.vertices), np.uint64)
    bits = np.uint64(1) << network.edges.source.astype(np.uint64)
    for ends in (network.edges.src, network.edges.dst):
        np.bitwise_or.at(out, ends, bits)
    return out


def _has(bits: np.ndarray, source: int) -> np.ndarray:
    return bits >> np.uint64(source) & np.uint64(1) > 0


def source_table(network: Network) -> pd.DataFrame:
    """Return one row per source.

    Returns
    -------
    DataFrame
        source, release, assertions, pairs (distinct unordered, no self pairs), private_pairs (that
        no other source states), vertices, private_vertices, directed, signed, self_pairs.
    """
    _, pair_bits = _unordered(network)
    vertex_bits = _vertex_sources(network)
    edges, rows = network.edges, []
    for i, name in enumerate(network.sources):
        mine = edges.source == i
        only = np.uint64(1) << np.uint64(i)
        rows.append(
            {
                "source": name,
                "release": network.meta.get("sources", {}).get(name, {}).get("release", "unknown"),
                "assertions": int(mine.sum()),
                "pairs": int(_has(pair_bits, i).sum()),
                "private_pairs": int((pair_bits == only).sum()),
                "vertices": int(_has(vertex_bits, i).sum()),
                "private_vertices": int((vertex_bits == only).sum()),
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
    _, pair_bits = _unordered(network)
    vertex_bits = _vertex_sources(network)
    rows = []
    for i, a in enumerate(network.sources):
        for j, b in enumerate(network.sources):
            row: dict[str, object] = {"source_a": a, "source_b": b}
            for what, bits in (("pairs", pair_bits), ("vertices", vertex_bits)):
                one, two = _has(bits, i), _has(bits, j)
                both, either = int((one & two).sum()), int((one | two).sum())
                row |= {what: both, f"{what}_jaccard": both / either if either else float("nan")}
            rows.append(row)
    return pd.DataFrame(rows, columns=_OVERLAP)


def summary(network: Network) -> dict[str, object]:
    """Return the figures of the whole network, name -> value, for a terminal."""
    genes = network.genes
    per_vertex = genes.groupby("vertex")["gene"].nunique()
    per_gene = genes.groupby("gene")["vertex"].nunique()
    degree = network.degree[np.unique(genes["vertex"])] if len(genes) else np.zeros(1, int)
    e, width = network.edges, len(ROLES)
    kinds = np.bincount(e.role_src.astype(int) * width + e.role_dst, minlength=width * width)
    relations = {
        f"{ROLES[k // width]} -> {ROLES[k % width]}": int(kinds[k]) for k in np.flatnonzero(kinds)
    }
    signs = {s: int((e.sign == s).sum()) for s in (-1, 0, 1)}
    return {
        "name": network.meta.get("name", ""),
        "mode": network.meta.get("mode", ""),
        "vertices": len(network.vertices),
        "assertions": len(network.edges),
        "connected pairs (unordered)": len(network.pair_keys),
        "connected pairs (ordered)": len(network.index.keys),
        "self pairs": int((network.edges.src == network.edges.dst).sum()),
        "genes": int(genes["gene"].nunique()),
        "vertices of several genes": int((per_vertex > 1).sum()),
        "genes of several vertices": int((per_gene > 1).sum()),
        "degree of genes, median": float(np.median(degree)),
        "degree of genes, largest": int(degree.max()),
        **{f"relation {name}": count for name, count in relations.items()},
        **{f"sign {s}": c for s, c in signs.items()},
    }
