"""Whether what is put together fits: sources, their annotation, and the genes of the network."""

from __future__ import annotations

import numpy as np
import pandas as pd

from octoscope.errors import InputError, warn
from octoscope.octopus.gene_vertices import IDENTITY
from octoscope.octopus.merge import Consensus
from octoscope.octopus.sources.annotation import FEW, Annotation
from octoscope.octopus.sources.record import SourceRecord

_GENE_IDS = ("ensembl_gene", "ncbi_entrez_gene", "uniprot", "ensembl_protein")
_GENE_KINDS = ("protein", "unknown", "other")  # vertices that could be genes, by their type


def require_identified(record: SourceRecord, annotation: Annotation | None) -> None:
    """Refuse a source none of whose species has an identifier; warn if fewer than one in ten has.

    Raises
    ------
    InputError
        If none has: it could meet no other source and answer for no gene.
    """
    total, identified = len(record.species), record.identified()
    if len(identified) >= FEW * total:
        return
    missing = np.setdiff1d(np.arange(total), identified)
    unknown = f"for example not {record.species[missing[0]]!r}"
    fix = ("add annotation: {path: …}, a table of symbols and gene ids" if annotation is None
           else "give the annotation of the source's organism, with its kind of names")  # fmt: skip
    if not len(identified):
        raise InputError(
            str(record.files[0]),
            f"none of the {total:,} names of {record.name} has an id, {unknown}",
            fix,
        )  # fmt: skip
    warn(
        f"{record.files[0]}: only {len(identified):,} of {total:,} names of {record.name} have an "
        f"id, {unknown}; {fix}"
    )


def require_known(record: SourceRecord, annotation: Annotation, stop: bool) -> None:
    """Compare a source's ids with the annotation's, in the ontology that most of them share.

    Parameters
    ----------
    stop
        Refuse the source if nothing is shared; else only warn, as below one in ten.

    Raises
    ------
    InputError
        If nothing is shared, where ``stop`` says so.
    """
    ids = record.identifiers[record.identifiers["bqb"].isin(IDENTITY)]
    best: tuple[float, int, int, str, str] | None = None
    for ontology in _GENE_IDS:
        known = set(annotation.table["identifier"][annotation.table["ontology"] == ontology])
        stated = set(ids["identifier"][ids["ontology"] == ontology])
        if known and stated:
            n_known = len(stated & known)
            example = min(stated - known, default="")
            share = (n_known / len(stated), n_known, len(stated), ontology, example)
            best = share if best is None else max(best, share)
    if best is None or best[0] >= FEW:
        return
    _, n_known, total, ontology, example = best
    problem = (
        f"the annotation knows {n_known:,} of {total:,} {ontology} of {record.name}, "
        f"for example not {example!r}"
    )
    fix = "give source and annotation of one organism"
    if stop and not n_known:
        raise InputError(str(record.files[0]), problem, fix)
    warn(f"{record.files[0]}: {problem}; {fix}")


def require_genes(records: list[SourceRecord], consensus: Consensus, genes: pd.DataFrame) -> None:
    """Refuse a network without a gene; warn of sources with hardly any.

    Parameters
    ----------
    genes
        Of :func:`octoscope.octopus.gene_vertices.map_genes`.

    Raises
    ------
    InputError
        If no vertex has an Ensembl gene id: every look-up would answer "not known".
    """
    kinds = consensus.vertices["species_type"].isin(_GENE_KINDS).to_numpy()
    is_gene = np.zeros(len(kinds), bool)
    is_gene[genes["vertex"].to_numpy(int)] = True
    fix = ("add an annotation that joins these ids to ensembl_gene (annotation: {path: …}, with "
           "as_source true), of the same organism")  # fmt: skip
    if not is_gene.any():
        seen = consensus.identifiers["ontology"].astype(str).value_counts()
        raise InputError(
            ", ".join(str(r.files[0]) for r in records if r.pairs or r.reactions)[:400],
            f"none of the {len(kinds):,} vertices is an Ensembl gene; their ids are "
            f"{', '.join(f'{o} ({n:,})' for o, n in seen.items()) or 'none'}",
            fix,
        )
    for record, stated in zip(records, consensus.statements, strict=True):
        mine = np.unique(np.concatenate([stated.src, stated.dst]).astype(int))
        mine = mine[kinds[mine]]
        n_genes = int(is_gene[mine].sum())
        if n_genes < FEW * len(mine):
            warn(f"{record.files[0]}: {n_genes:,} of {len(mine):,} proteins and genes of "
                 f"{record.name} have an Ensembl gene id; {fix}")  # fmt: skip


def with_symbols(identifiers: pd.DataFrame, annotation: Annotation | None) -> pd.DataFrame:
    """Add the annotation's symbols to identifiers of vertices, as names to look them up by.

    Returns
    -------
    DataFrame
        The columns of ``identifiers``; added rows have the ontology ``symbol``, or ``alias``
        (former symbols and other names that stand for one gene), and a qualifier that says no
        identity, so that nothing is joined by them.
    """
    if annotation is None:
        return identifiers
    own = identifiers[identifiers["bqb"].isin(IDENTITY)].astype({"ontology": str})
    known = annotation.table
    of_gene = known[known["ontology"].isin(_GENE_IDS)]
    names = known[(known["ontology"] == "symbol") | (
        (known["ontology"] == "alias") & known["identifier"].isin(list(annotation.aliases))
    )].rename(columns={"ontology": "kind"})  # fmt: skip
    joined = own.merge(of_gene, on=["ontology", "identifier"])[["vertex", "gene"]]
    named = joined.merge(names, on="gene")[["vertex", "kind", "identifier"]].drop_duplicates()
    named = named.sort_values(["vertex", "kind", "identifier"], kind="stable")
    named = named.rename(columns={"kind": "ontology"})
    more = named.assign(bqb="BQB_HAS_PROPERTY")[identifiers.columns.to_list()]
    both = pd.concat([identifiers, more], ignore_index=True)
    return both.drop_duplicates(["vertex", "ontology", "identifier"], ignore_index=True)
