"""The tables of every matrix, joined over the matrices of a run."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np
import pandas as pd

from octoscope.analysis import statistics
from octoscope.analysis.label_tables import name_genes
from octoscope.analysis.registry import Analysis, Context, Needs, open_network_of
from octoscope.analysis.tables.matrix_schema import MATRIX_TABLES
from octoscope.octopus.network import Network
from octoscope.run_plan.values import Block, Plan

_JOINED = ("stats", "genes", "histogram", "mass")  # one table of all matrices
_PER_MODEL = ("topk", "edges")


def _outputs(plan: Plan, finished: Sequence[Block]) -> dict[str, list[Block]]:
    tables: dict[str, list[Block]] = {}
    for model in dict.fromkeys(b.model for b in finished):
        of_model = [b for b in finished if b.model == model]
        tables[f"topk/{model}.parquet"] = of_model
        e, m = plan.edges, plan.model(model)
        if e is not None and e.view in m.views and e.gene_set in m.gene_sets:
            tables[f"edges/{model}.parquet"] = of_model
    if finished:
        tables |= {f"tables/{name}.parquet": list(finished) for name in _JOINED}
    return tables


def _compute(context: Context) -> Iterable[tuple[str, pd.DataFrame]]:
    """Join tables in plan order.

    Top pairs gain ``in_network``: null if a gene is not in the network, or there is no network.
    """
    run, plan = context.run, context.run.plan
    network = None if context.network is None else open_network_of(context.network)
    tables = _outputs(plan, context.finished)
    for table in (*_JOINED, *_PER_MODEL):
        frames: dict[str, list[pd.DataFrame]] = {}
        for block in context.finished:
            m = plan.model(block.model)
            path = f"{table}/{m.name}.parquet" if table in _PER_MODEL else f"tables/{table}.parquet"
            if path not in tables or not context.wants(path):
                continue
            for layer in m.layers:
                frame = run.matrix_table(table, m.name, block.category, layer)
                if table in _PER_MODEL and network is not None:
                    frame["in_network"] = _in_network(frame, network.vertex_of(m.axis), network)
                frames.setdefault(path, []).append(name_genes(frame, m))
        for path, parts in frames.items():
            joined = pd.concat(parts, ignore_index=True)
            if table == "stats":
                joined = statistics.with_half_q(joined, ["gene_set", "view"])
            if table == "topk":  # layers that list the pair
                pair = ["category", "gene_set", "view", "part", "query", "key"]
                n_layers = joined.groupby(pair, sort=False)["layer"].transform("size")
                joined["n_layers"] = n_layers.astype(np.int16)
            yield path, joined


def _in_network(frame: pd.DataFrame, vertices: np.ndarray, network: Network) -> pd.Series:
    a, b = vertices[frame["query"].to_numpy()], vertices[frame["key"].to_numpy()]
    return pd.Series(network.connected(a, b), index=frame.index)


JOINED_ANALYSIS = Analysis("tables", Needs(), _outputs, _compute, MATRIX_TABLES)
