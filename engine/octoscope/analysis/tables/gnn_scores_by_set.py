"""Tasks that score the pairs of every compared gene set, one per checkpoint and set."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from dask.delayed import delayed

from octoscope.analysis.gnn_scored import compared_gene_sets, scored_genes
from octoscope.analysis.registry import Context
from octoscope.gnn.graph import PASSINGS, Passing


def scores_of_genes(
    context: Context, network: Any, passings: tuple[Passing, ...] = PASSINGS
) -> Callable[[tuple[str, ...]], dict[str, Any]]:
    """Return what gives tasks of scores for genes by their ids: checkpoint -> task.

    The same genes share their tasks.

    Parameters
    ----------
    network
        Task that opens the network.
    passings
        Ways of passing messages.
    """
    config, plan = context.network, context.run.plan
    assert config is not None  # needs.network
    known = (plan.network or {}).get("gnn", {})
    tasks: dict[tuple[str, tuple[str, ...]], Any] = {}

    def of_genes(genes: tuple[str, ...]) -> dict[str, Any]:
        for name, gnn in config.gnn.items():
            if (name, genes) not in tasks:
                planned = known[name]
                tasks[name, genes] = delayed(scored_genes)(
                    network, name, gnn, config.path, planned["sha256"], planned["graph"],
                    genes, passings,
                )  # fmt: skip
        return {name: tasks[name, genes] for name in config.gnn}

    return of_genes


def scores_by_set(
    context: Context, network: Any, passings: tuple[Passing, ...] = PASSINGS
) -> Callable[[str], dict[str, dict[str, Any]]]:
    """Return what gives a model's tasks: gene set -> checkpoint -> task of its scores.

    Models that share a gene set share its tasks. Parameters are those of :func:`scores_of_genes`.
    """
    plan, of_genes = context.run.plan, scores_of_genes(context, network, passings)

    def of_model(model: str) -> dict[str, dict[str, Any]]:
        sets = compared_gene_sets(plan, model).items()
        return {gene_set: tasks for gene_set, genes in sets if (tasks := of_genes(genes))}

    return of_model
