"""Resolves declared gene sets to genes, and to positions on the axis of a model."""

from __future__ import annotations

from octoscope.config import GeneSetConfig, RunConfig
from octoscope.errors import InputError, warn
from octoscope.genes import GeneTable, select_genes, suggestions


def resolved_sets(
    config: RunConfig, available: dict[str, GeneTable], genes: GeneTable
) -> tuple[dict[str, set[str] | None], dict[str, list[str]]]:
    """Return the Ensembl ids of each declared set, and its names that were not found.

    Parameters and errors are those of :func:`gene_set`.
    """
    selected = {g.name: gene_set(g, available, genes) for g in config.gene_sets}
    return (
        {name: ids for name, (ids, _) in selected.items()},
        {name: absent for name, (_, absent) in selected.items()},
    )


def gene_set(
    declared: GeneSetConfig, available: dict[str, GeneTable], genes: GeneTable
) -> tuple[set[str] | None, list[str]]:
    """Return the Ensembl ids of a set (None: all genes of each model) and the names not found.

    Parameters
    ----------
    available
        Genes of each model.
    genes
        All genes, which panels are looked up in.

    Raises
    ------
    InputError
        If a panel has no known gene, or models share none.
    """
    where = f"gene_sets.{declared.name}"
    if declared.kind == "panel":
        names = declared.genes or []
        index, absent = select_genes(names, genes, where=where)
        if absent:
            warn(
                f"{where}: {len(absent)} of {len(names)} names are not in the atlas: "
                f"{suggestions(absent, genes)}"
            )
        return set(genes.ensembl[index]), absent
    if declared.kind == "model":
        return None, []
    names = declared.models or list(available)
    common = set.intersection(*(set(available[n].ensembl) for n in names))
    if not common:
        raise InputError(where, f"no gene is in all of {names}", "choose other models")
    return common, []


def sets_of_model(
    config: RunConfig,
    model: str,
    axis: list[str],
    sets: dict[str, set[str] | None],
    absent: dict[str, list[str]],
) -> tuple[dict[str, list[int]], dict[str, list[str]]]:
    """Return a model's gene sets as positions on its axis, and the declared genes not on it.

    Raises
    ------
    InputError
        If no set is for this model, or one has fewer than three of its genes.
    """
    position = {gene: i for i, gene in enumerate(axis)}
    # an intersection of some models is only theirs: another model would narrow it
    own = {
        g.name: sets[g.name]
        for g in config.gene_sets
        if g.kind != "intersection" or g.models is None or model in g.models
    }
    if not own:
        raise InputError(
            f"models.{model}", "every gene set is for other models", "declare one for this model"
        )
    members_of = {
        name: sorted(position[g] for g in (position if genes is None else genes) if g in position)
        for name, genes in own.items()
    }
    for name, members in members_of.items():
        if len(members) < 3:
            raise InputError(
                f"gene_sets.{name}",
                f"{len(members)} of its genes are accumulated for model {model}",
                "declare more genes, or widen `accumulate`",
            )
    missing = {
        name: absent[name] + sorted((genes or set()) - set(position)) for name, genes in own.items()
    }
    return members_of, missing
