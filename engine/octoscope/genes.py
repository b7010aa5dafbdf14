"""Gene identifiers of an atlas: Ensembl ids, symbols, aliases, retired ids, duplicates.

How a model's vocabulary meets them is in :mod:`octoscope.models.gene_matching`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from functools import cache
from importlib.resources import files
from pathlib import Path

import numpy as np
import pandas as pd

from octoscope.bounded_reads import TEXT_TABLE, open_bounded, read_parquet
from octoscope.errors import InputError, some

_ENSEMBL = re.compile(r"^(ENS[A-Z]*G\d{11})(?:\.\d+)?$")
# an id beside a symbol: TP53_ENSG00000141510, ENSG00000141510.18|TP53
_INSIDE = re.compile(r"(?<![A-Z0-9])(ENS[A-Z]*G\d{11})(?:\.\d+)?(?![A-Z0-9.])")
_SECOND_COPY = "_PAR_Y"  # GENCODE's copies on the Y chromosome are no genes of their own
# what Cell Ranger puts before names where a reference holds several genomes
_GENOME = re.compile(r"^((?:GRCH3[78]|HG19|HG38|GRCM3[89]|MM9|MM10|MM39|RN[67])[_\-]+)(?=.)", re.I)
_SPECIES = {
    "GRCH": "human",
    "HG": "human",
    "GRCM": "mouse",
    "MM": "mouse",
    "RN": "rat",
    "ENSG": "human",
    "ENSMUSG": "mouse",
    "ENSRNOG": "rat",
}


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


def without_genome(name: str) -> tuple[str, str]:
    """Return (prefix of a genome or '', the name behind it): ``GRCh38_``, ``mm10___``."""
    hit = _GENOME.match(name)
    return (hit[1], name[hit.end() :]) if hit else ("", name)


def species_of(name: str) -> str | None:
    """Return the species that a prefix of a genome or an Ensembl id names, or None (symbols)."""
    prefix, rest = without_genome(name)
    start = re.match(r"[A-Z]+", prefix.upper() or (identifier_in(rest) or ""))
    if start is None:
        return None
    return _SPECIES.get(start[0], None if prefix else f"another species ({start[0]})")


def identifier_in(name: str) -> str | None:
    """Return the Ensembl gene id without version that a name is, or holds beside a symbol."""
    identifier = strip_version(name)
    if identifier is not None or name.upper().endswith(_SECOND_COPY):
        return identifier
    inside = set(_INSIDE.findall(name.upper()))
    return inside.pop() if len(inside) == 1 else None


class NoGeneIds(InputError):
    """No name of a gene is an Ensembl id or a symbol that is known."""


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
        [columns] Ensembl ids, with or without version, or symbols; also both in one
        (``TP53_ENSG00000141510``), and behind a genome (``GRCh38_``; symbols behind another
        genome than human are no genes here).
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
    parts = [without_genome(str(i).strip()) for i in raw]
    names = np.array([name for _, name in parts], dtype=object)
    foreign = np.array([bool(p) and species_of(p + n) != "human" for p, n in parts], dtype=bool)
    stripped = np.array([identifier_in(name) or "" for name in names], dtype=object)
    report: list[dict[str, str]] = []
    for column, name in enumerate(raw):
        current = (aliases or {}).get((stripped[column] or str(names[column])).upper())
        if current and current != stripped[column]:
            stripped[column] = current
            report.append({"id": str(name), "what": "renamed", "why": f"alias of {current}"})
    missing = stripped == ""
    if missing.any():  # symbols in the index, or mixed with ids as in 10x tables
        stripped[missing] = np.where(foreign[missing], "", ensembl_of_symbols(names[missing]))
        if symbols is None:
            symbols = np.where(missing, names, symbols_of_ensembl(stripped))
        missing = stripped == ""
        if missing.all():
            fix = "set atlas.gene_id_key to the var column that holds Ensembl ids"
            if len(raw) and all(str(name).strip().isdigit() for name in raw):
                fix = ("numbers may be Entrez ids: add a var column of Ensembl ids (mygene, "
                       "org.Hs.eg.db), and name it in atlas.gene_id_key")  # fmt: skip
            raise NoGeneIds(
                where,
                f"no Ensembl gene id and no GENCODE symbol among {len(raw)} ids "
                f"(first: {raw[0] if len(raw) else 'none'})",
                fix,
            )
    for name, other in zip(raw[missing], foreign[missing], strict=True):
        why = f"a symbol of {species_of(str(name))}" if other else "no Ensembl id, no unique symbol"
        report.append({"id": str(name), "what": "dropped", "why": why})
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
        symbol = np.array([_symbol_alone(s) for s in np.asarray(symbols)[column_of_gene]], object)
    return GeneTable(ensembl, symbol), gene_of_column, report


def _symbol_alone(symbol: object) -> str:
    """Return a symbol without the prefix of a human genome; others keep theirs, and match none."""
    prefix, rest = without_genome(str(symbol))
    return rest if prefix and species_of(str(symbol)) == "human" else str(symbol)


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
            table = read_parquet(path)
        else:
            separator = "," if path.suffix == ".csv" else "\t"
            with open_bounded(path, TEXT_TABLE) as handle:
                table = pd.read_csv(handle, sep=separator, dtype=str, keep_default_na=False)
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
            raise InputError(
                f"{path}: {alias}", f"{identifier!r} is no Ensembl gene id", "correct it"
            )
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
    rows, absent = set(), []
    for name in names:
        key = strip_version(name)
        hits = [by_id[key]] if key in by_id else by_symbol.get(name, [])
        if len(hits) > 1:
            ids = ", ".join(str(table.ensembl[h]) for h in hits)
            raise InputError(where, f"symbol {name!r} names {ids}", "give the Ensembl id")
        if hits:
            rows.add(hits[0])
        else:
            absent.append(name)
    if not rows:
        raise InputError(
            where, f"none of its {len(names)} genes is available", "check ids and models"
        )
    return np.array(sorted(rows), dtype=np.int64), absent


def suggestions(absent: list[str], table: GeneTable, most: int = 5) -> str:
    """Return names that a table lacks, each with the symbol that it most likely means."""
    symbols = [str(s) for s in table.symbol if s]
    texts = []
    for name in absent[:most]:
        close = get_close_matches(name, symbols, n=1, cutoff=0.7)
        texts.append(f"{name} (did you mean {close[0]}?)" if close else name)
    return some([*texts, *absent[most:]], most)
