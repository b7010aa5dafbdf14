"""Inspects the genes of an atlas for a run: ids, symbols, genomes, species, repeated ids."""

from __future__ import annotations

from collections import Counter
from typing import Any

import numpy as np

from octoscope.atlas import frames, open_store
from octoscope.atlas.findings import Findings, some_of
from octoscope.atlas.gene_columns import (
    absent_id_column,
    columns_like,
    genomes,
    species,
    where_ids_are,
)
from octoscope.config import AtlasConfig
from octoscope.errors import InputError
from octoscope.genes import NoGeneIds, identifier_in, read_aliases, resolve_genes, without_genome


def inspect_genes(root: Any, config: AtlasConfig, counts: str | None, findings: Findings) -> bool:
    """Note what becomes of the gene ids; returns whether they can be used, summed if need be."""
    path, key = config.path, config.gene_id_key
    with findings.caught(path):
        var = open_store.genes_of(root, counts or "X", path)
        have, where = frames.frame_columns(var), f"{path}: var[{key or 'index'}]"
        if key is not None and key not in have:
            raise absent_id_column(root, var, key, path)
        ids = frames.read_index(var, path)
        if key is not None:
            column = frames.read_column(var, key, path, fill_missing=config.fill_missing)
            ids = frames.as_text(column)
        symbols = None
        if config.symbol_key in have:
            column = frames.read_column(
                var, config.symbol_key, path, fill_missing=config.fill_missing
            )
            symbols = frames.as_text(column, missing="")
        _look_at_names(var, ids, where, config, findings)
        _look_at_symbols(var, config, findings)
        aliases = read_aliases(config.gene_aliases) if config.gene_aliases else None
        try:
            _, _, report = resolve_genes(
                ids, symbols, where=where, duplicates="sum", aliases=aliases
            )
        except NoGeneIds as error:
            cells = frames.read_index(root["obs"], path)
            fix = where_ids_are(var, path, cells) or error.fix
            raise InputError(error.where, error.problem, fix) from None
        many = Counter(row["what"] for row in report)
        first = {row["what"]: row["id"] for row in reversed(report)}
        if many["merged"] and config.duplicate_genes == "refuse":
            problem = (
                f"{many['merged']:,} columns have the id of another (first: {first['merged']})"
            )
            findings.error(where, problem, "make them unique, or set atlas.duplicate_genes: sum")
            many["merged"] = 0
        for what, after in (
            ("dropped", "models cannot read them"),
            ("merged", "their counts are summed"),
            ("renamed", "by atlas.gene_aliases"),
        ):
            if many[what]:
                problem = f"{many[what]:,} of {len(ids):,} columns {what} (first: {first[what]})"
                findings.note(where, problem, after)
        return True
    return False


def _look_at_names(
    var: Any, ids: np.ndarray, where: str, config: AtlasConfig, findings: Findings
) -> None:
    """Note ids that are no Ensembl ids, prefixes of genomes, and genes of several species."""
    plain = [without_genome(str(i))[1] for i in ids]
    foreign = [str(i) for i, name in zip(ids, plain, strict=True) if identifier_in(name) is None]
    if foreign:
        findings.warning(
            where,
            f"{len(foreign):,} of {len(ids):,} ids are no Ensembl gene ids (first: {foreign[0]})",
            where_ids_are(var, config.path)
            or "symbols are looked up in GENCODE 44; --gene-id names a column of Ensembl ids",
        )
    prefixes = genomes(ids)
    if prefixes:
        some = some_of([f"{name} ({n:,})" for name, n in prefixes.items()])
        findings.note(where, f"ids begin with the name of a genome: {some}", "it is taken off")
    kinds = species(ids)
    others = {name: n for name, n in kinds.items() if name != "human"}
    if others:
        some = some_of([f"{n:,} {name}" for name, n in kinds.items()])
        findings.warning(
            where,
            f"genes of several species: {some}" if len(kinds) > 1 else f"genes are {some}",
            "a model reads only those in its vocabulary, and totals of a cell hold all of them; "
            "leave out the other species, and cells of it",
        )


def _look_at_symbols(var: Any, config: AtlasConfig, findings: Findings) -> None:
    if config.symbol_key in frames.frame_columns(var):
        return
    others = columns_like(var, config.path, "symbols")
    if others:
        findings.note(
            f"{config.path}: var",
            f"no column {config.symbol_key!r} of symbols; {some_of(others)} holds some",
            f"set atlas.symbol_key: {others[0]} (--symbol-key {others[0]}); without it, symbols "
            "are those of GENCODE 44",
        )
