"""Gene identifiers of an atlas: Ensembl ids, symbols, aliases, retired ids, duplicates.

How a model's vocabulary meets them is in :mod:`octoscope.models.gene_matching`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from pathlib import Path

import numpy as np
import pandas as pd

from octoscope.errors import InputError

_ENSEMBL = re.compile(r"^(ENS[A-Z]*G\d{11})(?:\.\d+)?$")


@dataclass(frozen=True)
class GeneTable:
    """An ordered list of genes.

    Attributes
    ----------
    ensembl
        [genes] str, unique, without version.
    symbol
        [genes] str, '' where unknown; not unique.
    """

    ensembl: np.ndarray
    symbol: np.ndarray

    def __len__(self) -> int:
        return len(self.ensembl)

    def take(self, index: np.ndarray) -> GeneTable:
        """Return the genes at ``index``, in that order."""
        return GeneTable(self.ensembl[index], self.symbol[index])


def strip_version(identifier: str) -> str | None:
    """Return the Ensembl gene id without its version, or None if it is not one."""
    match = _ENSEMBL.match(identifier.upper())
    return match.group(1) if match else None


@cache
def reference_genes() -> pd.DataFrame:
    """Return the packaged GENCODE 44 table: columns ``ensembl_gene`` and ``symbol``."""
    with files("octoscope.demo").joinpath("data/gencode44_genes.parquet").open("rb") as handle:
        return pd.read_parquet(handle)


@cache
def _unique_symbols() -> dict[str, str]:
    table = reference_genes()
    table = table[~table["symbol"].duplicated(keep=False)]
    return dict(zip(table["symbol"], table["ensembl_gene"], strict=True))


def ensembl_of_symbols(symbols: np.ndarray) -> np.ndarray:
    """Return [genes] Ensembl ids of symbols that name exactly one GENCODE 44 gene, else ''."""
    known = _unique_symbols()
    return np.array([known.get(str(s), "") for s in symbols], dtype=object)


def symbols_of_ensembl(ensembl: np.ndarray) -> np.ndarray:
    """Return [genes] GENCODE 44 symbols, '' where the id is not in that release."""
    table = reference_genes()
    known = dict(zip(table["ensembl_gene"], table["symbol"], strict=True))
    return np.array([known.get(str(e), "") for e in ensembl], dtype=object)


def resolve_genes(
    identifiers: np.ndarray,
    symbols: np.ndarray | None,
    *,
    where: str,
    duplicates: str = "refuse",
    aliases: Mapping[str, str] | None = None,
) -> tuple[GeneTable, np.ndarray, list[dict[str, str]]]:
    """Turn the gene ids of an atlas into Ensembl ids.

    Parameters
    ----------
    identifiers
        [columns] Ensembl ids, with or without version, or symbols.
    symbols
        [columns] symbols, or None: looked up by Ensembl id.
    where
        File and field for messages.
    duplicates
        ``refuse``, or ``sum``: columns with one id become one gene.
    aliases
        Upper-case symbol or retired Ensembl id -> current Ensembl id; see :func:`read_aliases`.

    Returns
    -------
    table
        The genes, in order of first appearance.
    gene_of_column
        [columns] int32, index into ``table``; -1 for columns without a gene id.
    report
        One row per column that was renamed, merged or dropped: id, what, why.

    Raises
    ------
    InputError
        On duplicated ids (unless summed), or when no identifier is usable.
    """
    raw = np.asarray(identifiers, dtype=object)
    stripped = np.array([strip_version(i) or "" for i in raw], dtype=object)
    report: list[dict[str, str]] = []
    for column, name in enumerate(raw):
        current = (aliases or {}).get((stripped[column] or str(name)).upper())
        if current and current != stripped[column]:
            stripped[column] = current
            report.append({"id": str(name), "what": "renamed", "why": f"alias of {current}"})
    missing = stripped == ""
    if missing.any():  # symbols in the index, or mixed with ids as in 10x tables
        stripped[missing] = ensembl_of_symbols(raw[missing])
        if symbols is None:
            symbols = np.where(missing, raw, symbols_of_ensembl(stripped))
        missing = stripped == ""
        if missing.all():
            raise InputError(
                where,
                f"no Ensembl gene id and no GENCODE symbol among {len(raw)} ids "
                f"(first: {raw[0] if len(raw) else 'none'})",
                "set atlas.gene_id_key to the var column that holds Ensembl ids",
            )
    for name in raw[missing]:
        report.append(
            {"id": str(name), "what": "dropped", "why": "no Ensembl id, no unique symbol"}
        )
    table_ids: list[str] = []
    first: dict[str, int] = {}
    gene_of_column = np.full(len(raw), -1, np.int32)
    column_of_gene: list[int] = []
    twice: list[str] = []
    for column, gene in enumerate(stripped):
        if not gene:
            continue
        if gene in first:
            twice.append(gene)
            report.append({"id": str(raw[column]), "what": "merged", "why": f"same gene as {gene}"})
        else:
            first[gene] = len(table_ids)
            table_ids.append(gene)
            column_of_gene.append(column)
        gene_of_column[column] = first[gene]
    if twice and duplicates == "refuse":
        raise InputError(
            where,
            f"{len(set(twice))} gene ids occur more than once after version stripping "
            f"(first: {twice[0]})",
            "make them unique, or set atlas.duplicate_genes: sum",
        )
    ensembl = np.array(table_ids, dtype=object)
    if symbols is None:
        symbol = symbols_of_ensembl(ensembl)
    else:
        symbol = np.asarray(symbols, dtype=object)[column_of_gene]
    return GeneTable(ensembl, symbol), gene_of_column, report


def read_aliases(path: str | Path) -> dict[str, str]:
    """Read a table with columns ``alias`` and ``ensembl``; returns upper-case alias -> id.

    Raises
    ------
    InputError
        If the file cannot be read, lacks a column, holds something that is no Ensembl id, or
        gives one alias two meanings.
    """
    path = Path(path)
    try:
        if path.suffix == ".parquet":
            table = pd.read_parquet(path)
        else:
            separator = "," if path.suffix == ".csv" else "\t"
            table = pd.read_csv(path, sep=separator, dtype=str, keep_default_na=False)
    except (OSError, ValueError) as error:
        text = f"cannot be read ({error})"
        raise InputError(str(path), text, "check atlas.gene_aliases") from None
    if not {"alias", "ensembl"} <= set(table.columns):
        raise InputError(
            str(path), f"columns {list(table.columns)}", "name two columns alias and ensembl"
        )
    aliases: dict[str, str] = {}
    for alias, identifier in zip(table["alias"], table["ensembl"], strict=True):
        current, key = strip_version(str(identifier)), str(alias).upper()
        if current is None:
            raise InputError(f"{path}: {alias}", f"{identifier!r} is no Ensembl gene id", "mend it")
        if aliases.setdefault(key, current) != current:
            raise InputError(
                f"{path}: {alias}", f"stands for {aliases[key]} and {current}", "keep one of them"
            )
    return aliases


def select_genes(names: list[str], table: GeneTable, *, where: str) -> tuple[np.ndarray, list[str]]:
    """Find Ensembl ids or symbols in a table.

    Returns
    -------
    index
        Sorted unique indices into ``table``.
    absent
        Names that are not in it.

    Raises
    ------
    InputError
        If none is in it, or a symbol names several genes of the table.
    """
    by_id = {e: i for i, e in enumerate(table.ensembl)}
    by_symbol: dict[str, list[int]] = {}
    for i, symbol in enumerate(table.symbol):
        if symbol:
            by_symbol.setdefault(symbol, []).append(i)
    found, absent = set(), []
    for name in names:
        key = strip_version(name)
        hits = [by_id[key]] if key in by_id else by_symbol.get(name, [])
        if len(hits) > 1:
            ids = ", ".join(str(table.ensembl[h]) for h in hits)
            raise InputError(where, f"symbol {name!r} names {ids}", "give the Ensembl id")
        if hits:
            found.add(hits[0])
        else:
            absent.append(name)
    if not found:
        raise InputError(
            where, f"none of its {len(names)} genes is available", "check ids and models"
        )
    return np.array(sorted(found), dtype=np.int64), absent
