"""The graph that the peer makes of a network's statements, to compare it with the peer's own."""

from __future__ import annotations

import pandas as pd
from octoscope.octopus.network_schema import MIRRORED
from octoscope.octopus.pairs import Edges


def graph_edges(edges: Edges) -> pd.DataFrame:
    """Return the edges of the graph: one per reaction, ordered pair and roles.

    Assertions of several sources about one reaction are one edge; statements in no order give
    an edge each way, with reactant and product exchanged on the way back.

    Returns
    -------
    DataFrame
        reaction, src, dst, role_src, role_dst (codes).
    """
    columns = ["reaction", "src", "dst", "role_src", "role_dst"]
    own = pd.DataFrame({c: getattr(edges, c) for c in columns})
    back = own[edges.both_ways].copy()
    back[["src", "dst"]] = back[["dst", "src"]].to_numpy()
    src, dst = back["role_src"].to_numpy(), back["role_dst"].to_numpy()
    back["role_src"], back["role_dst"] = MIRRORED[dst], MIRRORED[src]
    return pd.concat([own, back]).drop_duplicates(ignore_index=True)
