"""Queries and keys of mean cells whose residual streams are in a store. Uses no Ray."""

from __future__ import annotations

import numpy as np

from octoscope.errors import InputError
from octoscope.models.foundation_store import FoundationStore
from octoscope.results.mean_cell_matrix import projected
from octoscope.run_plan.values import Plan
from octoscope.run_plan.work_names import layer_name, residual_work
from octoscope.store import tiles
from octoscope.store.commits import Attempt, Record
from octoscope.store.run_dir import RunRoot


def attend_imported_streams(root: RunRoot, plan: Plan, model: str, category: int) -> Record:
    """Commit each layer's q and k of a category of a store, made of its weights alone.

    As napistu-torch 0.4.0 computes attention: no norm, no bias, scores over the square root of
    d_head. Arrays per layer: ``q`` and ``k`` [heads, genes, d_head] float32, q scaled, and ``mean``
    [genes, d], the stream; and once ``present`` [1, genes], the genes that have one.

    Raises
    ------
    InputError
        If the store is damaged, or a layer has no stream of a gene that another layer has.
    """
    m, name = plan.model(model), plan.categories[category].name
    store = FoundationStore(m.path)
    dataset = m.options["dataset"]
    genes, file = store.genes(dataset, name), store.streams(dataset, name)
    position = {gene: i for i, gene in enumerate(m.axis)}
    rows = [i for i, gene in enumerate(genes.ensembl) if gene in position]
    positions = np.array([position[str(genes.ensembl[i])] for i in rows], np.int64)
    attempt = Attempt(root, residual_work(m.name, category))
    out = attempt.zarr("attends.zarr")

    def write(array: str, values: np.ndarray) -> None:
        tiles.write_array(out, array, values, plan.tile)

    first: np.ndarray | None = None
    for layer in m.layers:
        stream = file.layer(layer, len(genes.names))[rows]
        known = np.isfinite(stream).all(1)
        present = np.zeros(len(m.axis), bool)
        present[positions[known]] = True
        if first is None:
            first = present
            write("present", present[None])
        elif not np.array_equal(first, present):
            raise InputError(
                f"{m.path}: {dataset}, {name}, layer {layer}",
                "has streams of other genes than the first layer",
                "write the store again with napistu-torch 0.4.0",
            )
        mean = np.zeros((len(m.axis), m.d), np.float32)
        mean[positions[known]] = stream[known]
        w_q, w_k = store.projections(layer, m.options["layer_order"])
        scale = np.float32(1 / np.sqrt(m.d // m.n_heads))
        named = projected(plan, m)
        write(layer_name(layer, f"q{named}"), mean @ w_q.transpose(0, 2, 1) * scale)
        write(layer_name(layer, f"k{named}"), mean @ w_k.transpose(0, 2, 1))
        write(layer_name(layer, "mean"), mean)
    return attempt.commit(plan.hash, {})
