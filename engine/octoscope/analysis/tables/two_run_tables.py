"""Comparison of two finished runs that kept their matrices."""

from __future__ import annotations

from typing import Any

import pandas as pd
from dask.delayed import delayed

from octoscope.analysis import statistics
from octoscope.analysis.agreement import agreement, rank_pairs, spearman, union
from octoscope.analysis.dask_graphs import compute
from octoscope.analysis.finished_matrices import FinishedMatrices
from octoscope.analysis.pairings import MatrixRef, reader, shared_genes, strongest
from octoscope.errors import InputError


def compare_runs(
    first: FinishedMatrices, second: FinishedMatrices, scheduler: Any = "threads"
) -> pd.DataFrame:
    """Compare every matrix that both runs have: same model, category, layer, gene set and view.

    Over the genes that both have, at the smaller ``top_k``. Each row's null relabels the genes of
    the run that is evaluated.

    Returns
    -------
    DataFrame
        query_run and eval_run (0: first, 1: second), model, category, layer, gene_set, view,
        n_genes, and the columns of an agreement; q over all rows of one gene set and view.

    Raises
    ------
    InputError
        If they share no matrix, or rank pairs by different conventions.
    """
    plans = [first.plan, second.plan]
    a, b = plans
    conventions = ["corrected" if p.compare is None else p.compare.conventions for p in plans]
    if conventions[0] != conventions[1]:
        raise InputError(
            "second run",
            f"compare.conventions is {conventions[1]}, of the first run {conventions[0]}",
            "run one of them again with the other's compare.conventions",
        )
    names = [{c.name: i for i, c in enumerate(p.categories)} for p in plans]
    todo = [
        (names[0][category], names[1][category], m.name, layer, gene_set, view)
        for m in a.models
        for other in (t for t in b.models if t.name == m.name)
        for category in names[0]
        if category in names[1]
        for layer in m.layers
        if layer in other.layers
        for gene_set in m.gene_sets
        if gene_set in other.gene_sets
        for view in m.views
        if view in other.views
    ]
    if not todo:
        raise InputError(
            "second run",
            "has no matrix in common with the first",
            "models, categories, layers, gene sets and views are matched by name",
        )
    tables = compute([delayed(_matched)(first, second, *x) for x in todo], scheduler)
    table = pd.concat(tables, ignore_index=True)
    return table.assign(q=statistics.adjust_by(table, ["gene_set", "view"]))


def _matched(
    first: FinishedMatrices,
    second: FinishedMatrices,
    c0: int,
    c1: int,
    model: str,
    layer: int,
    gene_set: str,
    view: str,
) -> pd.DataFrame:
    sides = ((first, c0), (second, c1))
    plans = [first.plan, second.plan]
    ref = MatrixRef(model, layer, view)
    own_genes = [set(shared_genes(plan, [model], gene_set)) for plan in plans]
    genes = tuple(sorted(own_genes[0] & own_genes[1]))
    if len(genes) < 3:
        return pd.DataFrame({"gene_set": [], "view": [], "p": []})
    readers = [reader(run, category, ref, genes) for run, category in sides]
    tops = [strongest(run, category, ref, genes, gene_set) for run, category in sides]
    c = plans[0].compare
    how = "corrected" if c is None else c.conventions
    ranked = rank_pairs(readers, *union(tops, len(genes)), n_genes=len(genes), conventions=how)
    k = min(p.top_k for p in plans)
    result = agreement(
        ranked,
        dict(enumerate(readers)),
        [k],
        permutations=min(p.permutations for p in plans),
        max_permutation_factor=min(p.max_permutation_factor for p in plans),
        conventions=how,
        seed=plans[0].seed,
    )
    r, pairs = spearman(ranked)
    label = {
        "model": model,
        "category": plans[0].categories[c0].name,
        "layer": layer,
        "gene_set": gene_set,
        "view": view,
        "n_genes": len(genes),
        "spearman": float(r[0, 1]),
        "n_correlated": int(pairs[0, 1]),
    }
    rows = [
        {"query_run": row["query"], "eval_run": row["eval"]}
        | label
        | {k: v for k, v in row.items() if k not in ("query", "eval")}
        for row in result.rows
    ]
    return pd.DataFrame(rows)
