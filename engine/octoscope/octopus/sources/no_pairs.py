"""Tables that name no pairs, or belong under another source: what they are, and what to do."""

from __future__ import annotations

import re
from pathlib import Path

from octoscope.errors import InputError
from octoscope.octopus.sources.open_text import fields_of, is_parquet, named_columns, open_binary

_DESCRIPTION = re.compile(r"(?:https?://|>|na$|n/a$)", re.IGNORECASE)  # of a set, in GMT
_NUMBER = re.compile(r"-?\d*\.?\d+(?:e[-+]?\d+)?$", re.IGNORECASE)
_LONGEST_LINE = 1 << 20
_GENE_SETS = (
    "gene sets go into the configuration of a run (gene_sets: [{name: …, genes: {file: PATH}}], a "
    "gene on each line); give a list of pairs here"
)
# Columns that tell a table -> what it is, what to do.
_ELSEWHERE = (
    ({"protein1", "protein2"}, "is a table of STRING's links",
     "name it under sources: {STRING: {links: …, aliases: …}}"),
    ({"gene1", "gene2", "annotation", "direction"}, "is the table of Reactome-FI",
     "name it under sources: {Reactome-FI: {path: …}}"),
    ({"#string_protein_id", "alias"}, "is STRING's table of aliases, which names no pairs",
     "name it under sources: {STRING: {links: …, aliases: …}}"),
)  # fmt: skip


def refuse_what_names_no_pairs(path: Path, names: list[str]) -> None:
    """Refuse a table without columns of ends whose form is known.

    Parameters
    ----------
    names
        Fields of its first line.

    Raises
    ------
    InputError
        For gene sets (GMT, GMX), a matrix of genes by genes, pathways of genes (Reactome), a list
        that begins with numbers, and tables that belong under another source.
    """
    where, present = f"{path}: line 1", {n.casefold() for n in names}
    for required, problem, fix in _ELSEWHERE:
        if required <= present:
            raise InputError(where, problem, fix)
    below = [] if is_parquet(path) else _second_line(path)
    if len(names) > 2 and (_DESCRIPTION.match(names[1]) or path.suffix.casefold() == ".gmt"):
        raise InputError(where, "is a gene set and its genes (GMT), not a pair", _GENE_SETS)
    if below and all(_DESCRIPTION.match(f) for f in below):
        raise InputError(f"{path}: line 2", "describes the gene sets of line 1 (GMX)", _GENE_SETS)
    if len(names) > 2 and re.match(r"R-[A-Z]{3}-\d+$", names[1]):
        raise InputError(
            where, "is a gene and a pathway of Reactome, not a pair",
            "give Reactome's SBML under sources: {Reactome: {sbml: …}}",
        )  # fmt: skip
    values = below[1:]
    if len(values) > 1 and below[0] in names and all(_NUMBER.match(v) for v in values):
        raise InputError(
            where, f"names {len(values)} genes, and line 2 has a number for each: a matrix",
            "write a row for each pair (pandas: stack(); igraph: as_data_frame; R: which(arr.ind))",
        )  # fmt: skip
    if len(names) > 1 and all(_NUMBER.match(n) for n in names[:2]):
        raise InputError(
            where, f"begins with the numbers {names[0]} and {names[1]}, and names no columns",
            "set ids: ncbi_entrez_gene if they are Entrez ids of the two ends",
        )  # fmt: skip


def _second_line(path: Path) -> list[str]:
    with open_binary(path) as handle:
        _, _, delimiter, _ = named_columns(handle, str(path))
        line = handle.readline(_LONGEST_LINE).decode("utf-8", "replace").rstrip("\r\n")
    return fields_of(line, delimiter)
