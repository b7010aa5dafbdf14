"""Matching the genes of an atlas with a model's vocabulary, by symbol or by Ensembl id."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from engine.errors import InputError
from engine.models.protocol import GeneMatch
from engine.vocabulary import GeneTable


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
