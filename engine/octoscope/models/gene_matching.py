"""Matches the genes of an atlas with a model's vocabulary: one function per family rule.

By symbol (scGPT; AIDO.Cell and scFoundation with their list), by Ensembl id (scPRINT), through a
mapping of symbols, retired and current ids (Geneformer). How an atlas's own identifiers are read is
in :mod:`octoscope.genes`.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

import numpy as np

from octoscope.errors import InputError
from octoscope.genes import GeneTable
from octoscope.models.gene_list import gene_list_19264
from octoscope.models.protocol import GeneMatch, GeneStatistics


def by_symbol(vocabulary: GeneTable, genes: GeneTable, where: str) -> GeneMatch:
    """Match symbols exactly (case matters); by Ensembl id where the atlas has no symbols at all.

    Matched vocabulary genes take the atlas's Ensembl id. An unmatched one whose id the atlas uses
    for another gene loses it, so that ids stay unique.

    Raises
    ------
    InputError
        If no gene of the atlas is in the vocabulary.
    """
    if not any(genes.symbol):
        return by_ensembl(vocabulary, genes, where)
    rows = {str(s): i for i, s in enumerate(vocabulary.symbol)}
    return _match(vocabulary, genes, where, rows, genes.symbol)


def by_ensembl(vocabulary: GeneTable, genes: GeneTable, where: str) -> GeneMatch:
    """Match Ensembl ids (without version).

    Raises
    ------
    InputError
        If no gene of the atlas is in the vocabulary.
    """
    rows = {str(e): i for i, e in enumerate(vocabulary.ensembl) if e}
    return _match(vocabulary, genes, where, rows, genes.ensembl)


def by_mapping(
    vocabulary: GeneTable,
    genes: GeneTable,
    mapping: Mapping[str, str] | None,
    tokens: Collection[str],
    where: str,
) -> GeneMatch:
    """Match current Ensembl ids; retired ids are resolved, genes of one id are added up.

    Parameters
    ----------
    vocabulary
        Genes that can become tokens, under current ids.
    mapping
        Upper-case symbol or id -> current id; an id that it lacks is dropped, even where a symbol
        is known, as Geneformer's authors do. None: ids are taken as they are.
    tokens
        Every name that has a token, for the report.

    Raises
    ------
    InputError
        If no gene of the atlas is in the vocabulary.
    """
    rows = {str(g): i for i, g in enumerate(vocabulary.ensembl)}
    model_gene, report = np.full(len(genes), -1, np.int32), []
    taken: dict[int, str] = {}
    for i, gene in enumerate(genes.ensembl):
        name = str(gene) if mapping is None else mapping.get(str(gene).upper())
        hit = None if name is None else rows.get(name)
        if hit is None:
            why = "not in the mapping of gene ids" if name is None else "has no token"
            why = "has a token but no median" if name in tokens else why
            report.append({"id": gene, "what": "dropped", "why": why})
            continue
        if hit in taken:
            report.append({"id": gene, "what": "merged", "why": f"{name}, as {taken[hit]}"})
        elif name != gene:
            report.append({"id": gene, "what": "renamed", "why": f"retired; now {name}"})
        model_gene[i] = hit
        taken.setdefault(hit, gene)
    if not taken:
        raise InputError(
            where,
            f"none of the atlas's {len(genes)} genes has a token",
            "check atlas.gene_id_key and that the dictionaries belong to the checkpoint",
        )
    return GeneMatch(vocabulary, model_gene, report)


def _match(
    vocabulary: GeneTable,
    genes: GeneTable,
    where: str,
    rows: Mapping[str, int],
    names: np.ndarray,
) -> GeneMatch:
    model_gene = np.full(len(genes), -1, np.int32)
    ensembl, report = vocabulary.ensembl.copy(), []
    taken: dict[int, str] = {}
    for i, (gene, name) in enumerate(zip(genes.ensembl, names, strict=True)):
        hit = rows.get(str(name))
        if hit is None:
            report.append({"id": gene, "what": "dropped", "why": "not in the vocabulary"})
        elif hit in taken:
            why = f"{name} is already taken by {taken[hit]}"
            report.append({"id": gene, "what": "dropped", "why": why})
        else:
            model_gene[i], taken[hit], ensembl[hit] = hit, gene, gene
    if not taken:
        raise InputError(
            where,
            f"none of the atlas's {len(genes)} genes is in the vocabulary of {len(vocabulary)}",
            "check atlas.symbol_key, atlas.gene_id_key and the checkpoint's organism",
        )
    matched = set(taken.values())
    for i, e in enumerate(ensembl):  # an id that GENCODE gives but another token took
        if i not in taken and e in matched:
            ensembl[i] = ""
    return GeneMatch(GeneTable(ensembl, vocabulary.symbol), model_gene, report)


class OnGeneList:
    """What families that index their tokens by the list of 19,264 genes have in common."""

    @property
    def genes(self) -> GeneTable:
        """The 19,264 genes of the published list, in its order."""
        return gene_list_19264()

    def match(self, genes: GeneTable) -> GeneMatch:
        """Match symbols with the list; a list gene that the atlas lacks is named by its symbol.

        Raises
        ------
        InputError
            If no gene of the atlas is in the list.
        """
        match = by_symbol(self.genes, genes, "models.*.path: gene list")
        ids = self.genes.symbol.copy()
        ids[match.matched] = match.genes.ensembl[match.matched]
        return GeneMatch(GeneTable(ids, self.genes.symbol), match.model_gene, match.report)

    def dataset_options(
        self, statistics: GeneStatistics | None, match: GeneMatch
    ) -> dict[str, Any] | None:
        """Nothing depends on other cells."""
        return {}
