"""Reader of an OmniPath interactions table (Türei et al. 2016) into the edge schema."""

from __future__ import annotations

import numpy as np
import pandas as pd


def read_omnipath(
    table: pd.DataFrame, vertex_of_symbol: dict[str, int], release: str
) -> tuple[pd.DataFrame, int]:
    """Turn interactions into source assertions, one edge per row of the table.

    Direction is kept as stated; a directed row gives one edge, never its reverse. Sign is 1 or -1
    where the table says exactly one of stimulation and inhibition, else 0 (unknown).

    Parameters
    ----------
    table
        Columns source, target (symbols), is_directed, is_stimulation, is_inhibition, type,
        n_references.
    vertex_of_symbol
        Symbol -> vertex.

    Returns
    -------
    edges
        In the schema of :data:`engine.octopus.network.EDGE_COLUMNS`.
    dropped
        Rows with an end that has no vertex.
    """
    src = table["source"].map(vertex_of_symbol)
    dst = table["target"].map(vertex_of_symbol)
    keep = (src.notna() & dst.notna()).to_numpy()
    kept = table[keep]
    directed = kept["is_directed"].to_numpy(bool)
    up, down = kept["is_stimulation"].to_numpy(bool), kept["is_inhibition"].to_numpy(bool)
    sign = np.where(up & ~down, 1, np.where(down & ~up, -1, 0))
    edges = pd.DataFrame(
        {
            "src": src[keep].to_numpy(np.int32),
            "dst": dst[keep].to_numpy(np.int32),
            "role_src": pd.Categorical(np.where(directed, "modifier", "interactor")),
            "role_dst": pd.Categorical(np.where(directed, "modified", "interactor")),
            "directed": directed,
            "sign": sign.astype(np.int8),
            "source": pd.Categorical(["OmniPath/" + str(t) for t in kept["type"]]),
            "release": pd.Categorical([release] * len(kept)),
            "score": np.full(len(kept), np.nan, np.float32),
            "refs": kept["n_references"].fillna(0).to_numpy(np.int32),
            "origin": np.flatnonzero(keep).astype(np.int32),
        }
    )
    return edges, int((~keep).sum())
