"""Which matrices of a run can be compared, and how they are read for that."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

import numpy as np

from octoscope.analysis.agreement import Pairs, strongest_of
from octoscope.analysis.finished_matrices import FinishedMatrices
from octoscope.analysis.label_tables import of_all_cells
from octoscope.analysis.layer_consensus import CachedMatrix, LayerConsensus
from octoscope.config.view_names import CORRELATION, plain_view
from octoscope.run_plan.settings import ResolvedCompare
from octoscope.run_plan.values import COEXPRESSION, Block, ModelPlan, Plan

Tiles = Iterable[tuple[int, np.ndarray, np.ndarray]]


@dataclass(frozen=True)
class MatrixRef:
    """A matrix of a comparison: one layer of one attention variant, over the comparison's genes."""

    model: str
    layer: int
    view: str


@dataclass(frozen=True)
class Comparison:
    """Matrices of one category over one set of genes.

    Attributes
    ----------
    kind
        ``models`` (all layers of all models, and co-expression), ``layers`` (of one model over all
        of its own genes, where the models do not share them all), ``estimators`` or ``heads`` (of
        one layer).
    genes
        Ensembl ids that all matrices have, ascending.
    """

    kind: str
    category: int
    gene_set: str
    view: str
    genes: tuple[str, ...]
    refs: tuple[MatrixRef, ...]


def comparison_settings(plan: Plan) -> ResolvedCompare:
    """Return the settings of a run's comparisons; the run must have some."""
    if plan.compare is None:
        raise ValueError("a plan without comparisons")
    return plan.compare


def shared_genes(plan: Plan, models: Iterable[str], gene_set: str | None) -> tuple[str, ...]:
    """Return the Ensembl ids that all of the models have, ascending: of a gene set, or of all."""
    shared: set[str] | None = None
    for name in models:
        m = plan.model(name)
        own = set(m.axis if gene_set is None else (m.axis[i] for i in m.gene_sets[gene_set]))
        shared = own if shared is None else shared & own
    return tuple(sorted(shared or ()))


def comparisons(plan: Plan, finished: set[Block]) -> list[Comparison]:
    """Return every comparison between matrices of the finished blocks."""
    candidates: list[Comparison] = []
    for c in range(len(plan.categories)):
        for gene_set, view in compared_sets_and_views(plan):
            across_models = _of_models(plan, finished, c, gene_set, view)
            candidates += across_models
            for base in plan.checkpoints:
                candidates += _of_layers(
                    plan, finished, c, gene_set, view, base, across_models[0].genes
                )
                candidates += _of_variants(plan, finished, c, gene_set, view, base)
    return [x for x in candidates if len(x.refs) > 1 and len(x.genes) > 2]


def compared_sets_and_views(plan: Plan) -> list[tuple[str, str]]:
    """Return the gene sets and views that are compared."""
    c = comparison_settings(plan)
    return [(s, v) for s in c.gene_sets for v in c.views]


def sets_and_views_of(plan: Plan, m: ModelPlan) -> tuple[list[str], list[str]]:
    """Return the gene sets and the views that are compared and that a model has."""
    c = comparison_settings(plan)
    return [s for s in m.gene_sets if s in c.gene_sets], [v for v in m.views if v in c.views]


def _of_models(
    plan: Plan, finished: set[Block], category: int, gene_set: str, view: str
) -> list[Comparison]:
    models = comparable_models(plan, finished, category, gene_set, view)
    genes = shared_genes(plan, models, gene_set)
    refs = [MatrixRef(m, layer, view) for m in models for layer in plan.model(m).layers]
    refs += [
        MatrixRef(m.name, 0, v) for m, v in correlations(plan, finished, category, view, genes)
    ]
    return [Comparison("models", category, gene_set, view, genes, tuple(refs))]


def _of_layers(
    plan: Plan,
    finished: set[Block],
    category: int,
    gene_set: str,
    view: str,
    m: ModelPlan,
    shared: tuple[str, ...],
) -> list[Comparison]:
    """Return the layers of a model over its own genes; none if all models share these genes."""
    if m.name not in comparable_models(plan, finished, category, gene_set, view):
        return []
    own = shared_genes(plan, [m.name], gene_set)
    refs = tuple(MatrixRef(m.name, layer, view) for layer in m.layers)
    return [Comparison("layers", category, gene_set, view, own, refs)] if own != shared else []


def comparable_models(
    plan: Plan, finished: set[Block], category: int, gene_set: str, view: str
) -> list[str]:
    """Return the checkpoints whose first variant has a finished matrix of a set and view."""
    return [
        m.name
        for m in plan.checkpoints
        if (m.name, category) in finished and gene_set in m.gene_sets and view in m.views
    ]


def correlations(
    plan: Plan,
    finished: set[Block],
    category: int,
    view: str,
    genes: tuple[str, ...],
) -> list[tuple[ModelPlan, str]]:
    """Return the finished co-expression entries that have the genes, and the view that matches."""
    correlation_view = CORRELATION + view[len(plain_view(view)) :]
    return [
        (m, correlation_view)
        for m in plan.models
        if m.family == COEXPRESSION
        and (m.name, category) in finished
        and correlation_view in m.views
        and set(genes) <= set(m.axis)
    ]


def _of_variants(
    plan: Plan,
    finished: set[Block],
    category: int,
    gene_set: str,
    view: str,
    base: ModelPlan,
) -> list[Comparison]:
    """Compare the estimators, and the heads, of one checkpoint, layer by layer."""
    variants = [
        m
        for m in plan.models
        if m.base == base.name and (m.name, category) in finished and gene_set in m.gene_sets
    ]
    compared = []
    for layer in base.layers:
        for m in variants:
            twin = [t for t in variants if t.heads == m.heads and t.estimator == "mean_residual"]
            if m.estimator == "per_cell" and twin:
                compared.append(("estimators", [m, *twin], layer))
            elif m in twin[:1] and not any(t.estimator == "per_cell" for t in variants):
                compared.append(("estimators", twin, layer))  # projections beside each other
        for combination in dict.fromkeys((m.estimator, m.projection) for m in variants):
            heads = [
                m for m in variants
                if isinstance(m.heads, int) and (m.estimator, m.projection) == combination
            ]  # fmt: skip
            compared.append(("heads", heads, layer))
    return [
        Comparison(
            kind,
            category,
            gene_set,
            view,
            shared_genes(plan, [m.name for m in attention_variants], gene_set),
            tuple(MatrixRef(m.name, layer, view) for m in attention_variants if view in m.views),
        )
        for kind, attention_variants, layer in compared
    ]


def axis_positions(m: ModelPlan, genes: Iterable[str]) -> np.ndarray:
    """Return the axis indices of Ensembl ids, ascending as these are."""
    at = {gene: i for i, gene in enumerate(m.axis)}
    return np.array([at[gene] for gene in genes], np.int64)


def reader(
    run: FinishedMatrices, category: int, ref: MatrixRef, genes: tuple[str, ...]
) -> Callable[[], Tiles]:
    """Return a function that yields a matrix's (first row, values, eligible) at every call.

    The matrix is opened when it is read, so a task with many readers holds few matrices.
    """
    at = axis_positions(run.plan.model(ref.model), genes)
    return lambda: run.matrix(ref.model, category, ref.layer).values(at, ref.view)


def strongest(
    run: FinishedMatrices, category: int, ref: MatrixRef, genes: tuple[str, ...], gene_set: str
) -> Pairs:
    """Return (query, key), positions in ``genes``, of a matrix's top pairs.

    Read from the committed list if it covers these genes, otherwise with one more pass.
    """
    m = run.plan.model(ref.model)
    at = axis_positions(m, genes)
    if m.gene_sets.get(gene_set) == at.tolist():
        top = run.matrix_table("topk", ref.model, category, ref.layer)
        top = of_all_cells(top, gene_set, ref.view)
        return np.searchsorted(at, top["query"]), np.searchsorted(at, top["key"])
    return strongest_of(reader(run, category, ref, genes), run.plan.top_k)


def combined_layers(run: FinishedMatrices, category: int, model: str) -> CachedMatrix:
    """Return the layers of a model's first variant as one matrix, as the plan combines them.

    Its blocks are cached, if the plan allows it; layers cache what is left.
    """
    plan = run.plan
    bytes_left = CachedMatrix.bytes_left(len(plan.model(model).axis), plan.cache_bytes)
    # cached: layers are read one after the other
    layers = run.layers(model, category, bytes_left, at_once=bytes_left == plan.cache_bytes)
    return CachedMatrix(LayerConsensus(layers, comparison_settings(plan).layers), plan.cache_bytes)
