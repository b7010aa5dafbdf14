"""Tables without columns of ends: what they are, which columns may be ends, and what to do."""

from __future__ import annotations

import re
from pathlib import Path

from octoscope.errors import InputError
from octoscope.octopus.identifiers import has_form
from octoscope.octopus.sources.open_text import fields_of, is_parquet, named_columns, open_binary

_DESCRIPTION = re.compile(r"(?:https?://|>|na$|n/a$)", re.IGNORECASE)  # of a set, in GMT
_NUMBER = re.compile(r"-?\d*\.?\d+(?:e[-+]?\d+)?$", re.IGNORECASE)
_LONGEST_LINE = 1 << 20
_GENE_SETS = (
    "gene sets go into the configuration of a run (gene_sets: [{name: …, genes: {file: PATH}}], a "
    "gene on each line); give a list of pairs here"
)
_ROW_EACH = "write a row for each pair"
ADJACENCY = (
    "if a row is a gene and all its targets (an adjacency list), write a row for each pair "
    "(networkx: to_pandas_edgelist(read_adjlist(PATH)).to_csv(PATH, index=False)); else repair the "
    "rows"
)
_CHEMICAL = re.compile(r"(?:\d+\.)?CID[ms]?\d+$")  # of STITCH
_ROWS_LOOKED_AT = 50
MANY = 0.1  # share of rows of another number of fields in what is no table
_SEVERAL = re.compile(r"[A-Za-z][\w.-]*(?:\s*[,;|]\s*[A-Za-z][\w.-]*)+$")  # genes in one cell
# What tells the names of two columns of ends apart: `Gene_A` and `Gene_B`, `ligand` and `receptor`.
_ENDS = {
    ("a", "b"), ("1", "2"), ("ligand", "receptor"), ("from", "to"), ("source", "target"),
    ("regulator", "target"), ("regulatory", "target"), ("tf", "target"), ("tf", "gene"),
    ("kinase", "substrate"), ("enzyme", "substrate"), ("bait", "prey"), ("gene", "target"),
    ("regulator", "gene"),
}  # fmt: skip
_WORD = re.compile(r"[A-Z]?[a-z]+|[A-Z]+(?![a-z])|\d+")
# Columns that tell a table -> what it is, what to do.
_ELSEWHERE = (
    ({"protein1", "protein2"}, "is a table of STRING's links",
     "name it under sources: {STRING: {links: …, aliases: …}}"),
    ({"gene1", "gene2", "annotation", "direction"}, "is the table of Reactome-FI",
     "name it under sources: {Reactome-FI: {path: …}}"),
    ({"#string_protein_id", "alias"}, "is STRING's table of aliases, which names no pairs",
     "name it under sources: {STRING: {links: …, aliases: …}}"),
    ({"item_id_a", "item_id_b", "a_is_acting"}, "is STRING's table of actions",
     "set ids: ensembl_protein, columns: {source: item_id_a, target: item_id_b, sign: mode}, "
     'values: {sign: {activation: 1, inhibition: -1, "*": 0}}, keep: {a_is_acting: [t]} and '
     "score_max: 1000"),
    ({"shared name", "name", "interaction"}, "is Cytoscape's table of edges, whose column name "
     "holds both ends", "export the network as SIF (File, Export, Network to File)"),
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
        For gene sets (GMT, GMX), a matrix of genes by genes, pathways of genes (Reactome), edge
        lists of networkx with attributes, adjacency lists (networkx, ARACNe), chemicals (STITCH),
        Matrix Market, complexes (a cell of several genes), a list that begins with a row, and
        tables that belong under another source.
    """
    where, present = f"{path}: line 1", {n.casefold() for n in names}
    if any(_CHEMICAL.match(f) for f in [*names, *second_line(path)]):
        raise InputError(
            where, "pairs chemicals with proteins (STITCH)",
            "chemicals are no genes: give a list of pairs of genes",
        )  # fmt: skip
    for required, problem, fix in _ELSEWHERE:
        if required <= present:
            raise InputError(where, problem, fix)
    below = second_line(path)
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
            f"{_ROW_EACH} (pandas: stack(); igraph: as_data_frame; R: which(arr.ind))",
        )  # fmt: skip
    if len(names) > 1 and all(_NUMBER.match(n) for n in names[:2]):
        raise InputError(
            where, f"begins with the numbers {names[0]} and {names[1]}, and names no columns",
            "set ids: ncbi_entrez_gene if they are Entrez ids of the two ends; numbers of vertices "
            "(igraph) name no genes: write their names (as_data_frame)",
        )  # fmt: skip
    if names[0].startswith("%%MatrixMarket"):
        raise InputError(
            where, "is a matrix in Matrix Market form, which names no genes",
            f"{_ROW_EACH}, with the names of its rows and columns",
        )  # fmt: skip
    if len(names) > 2 and names[2].startswith("{"):
        raise InputError(
            where, "is an edge list of networkx with attributes",
            "write it with to_pandas_edgelist(graph).to_csv(PATH, index=False)",
        )  # fmt: skip
    _refuse_adjacency(path, names)
    if any(_NUMBER.match(n) for n in names):
        raise InputError(
            where, f"is a row ({', '.join(names)[:60]}), and names no columns",
            "set header: false and give numbers: columns: {source: 1, target: 2}; score: 3 too, if "
            "the third is a score",
        )  # fmt: skip
    several = [n for n, value in zip(names, below, strict=False) if _SEVERAL.match(value)]
    if several and not suggested_ends(names, below):
        raise InputError(
            f"{path}: line 2", f"column {several[0]!r} has several genes in a cell (complexes)",
            f"{_ROW_EACH} of them",
        )  # fmt: skip


def _refuse_adjacency(path: Path, names: list[str]) -> None:
    """Refuse rows that hold a gene and all its targets, with numbers between (ARACNe) or not."""
    where, rows = f"{path}: line 1", [names, *_rows_below(path)]
    neighbours = all(len(r) <= 2 and (r[0] == "#" or _NUMBER.match(r[-1])) for r in rows[1:])
    if path.suffix.casefold() == ".lgl" or (names[0] == "#" and len(rows) > 1 and neighbours):
        raise InputError(
            where, "is a graph in LGL: a line for a gene, then one for each of its neighbours",
            f"{_ROW_EACH}: a gene and one neighbour",
        )  # fmt: skip
    most = max(len(row) for row in rows)
    if path.suffix.casefold() == ".sif" and most > 3:
        raise InputError(
            where, f"rows have up to {most} fields, not a gene, a relation and a gene (SIF)",
            "give each target a row of its own, with the relation between both genes",
        )  # fmt: skip
    if names[0].startswith(">") or any(_is_aracne(row) for row in rows):
        raise InputError(
            where, "is an adjacency list of ARACNe (.adj): a gene, then its targets, each with a "
            "number", f"{_ROW_EACH}: regulator, target, mi; or give the network.txt of ARACNe-AP",
        )  # fmt: skip
    lengths = [len(row) for row in rows if row != [""]]
    uneven = sum(n != len(names) for n in lengths)
    if len(names) == 1 and not uneven:
        raise InputError(
            where, f"has one field ({names[0][:60]}), not a pair",
            "give two genes in each row, between tabs, commas, semicolons or spaces",
        )  # fmt: skip
    if uneven > MANY * len(lengths):
        seen = f"rows have {min(lengths)} to {max(lengths)} fields, and no columns of ends"
        raise InputError(where, seen, ADJACENCY)


def _is_aracne(row: list[str]) -> bool:
    """Tell whether a row is a name, then at least two names with a number each."""
    return (
        len(row) >= 5
        and len(row) % 2 == 1
        and all(_NUMBER.match(f) for f in row[2::2])
        and not any(_NUMBER.match(f) for f in (row[0], *row[1::2]))
    )


def suggested_ends(names: list[str], row: list[str]) -> str | None:
    """Return what to write in the configuration for the two columns that look like ends.

    Parameters
    ----------
    names
        Names of the columns. Two of them are ends if one word tells them apart, as in ``Gene_A``
        and ``Gene_B`` or ``ligand`` and ``receptor``.
    row
        Values of the first row: their form tells the ontology. Ids come before symbols.

    Returns
    -------
    str or None
        ``columns: {…} and ids: …``; None if no two columns look like ends.
    """
    words = [[w.casefold() for w in _WORD.findall(re.sub(r"^#?\d+:", "", n))] for n in names]
    likely = []
    for i, first in enumerate(words):
        for j, second in enumerate(words):
            differ = [p for p in zip(first, second, strict=False) if p[0] != p[1]]
            if len(first) == len(second) and len(differ) == 1 and differ[0] in _ENDS:
                kind = _ontology(names[i], row[i] if i < len(row) else "")
                likely.append((_ORDER.index(kind), i, j))
    if not likely:
        return None
    rank, i, j = min(likely)
    return f'columns: {{source: "{names[i]}", target: "{names[j]}"}} and ids: {_ORDER[rank]}'


_ORDER = ("ensembl_gene", "uniprot", "ncbi_entrez_gene", "ensembl_protein", "symbol")


def _ontology(name: str, value: str) -> str:
    """Return the ontology of a value; a number is an Entrez id where the column says gene."""
    return next(
        (
            kind
            for kind in _ORDER[:-1]
            if has_form(kind, value)
            and (kind != "ncbi_entrez_gene" or re.search("gene|entrez", name, re.IGNORECASE))
        ),
        "symbol",
    )


def second_line(path: Path) -> list[str]:
    """Return the fields of the line below the names; empty for Parquet."""
    return next(iter(_rows_below(path, 1)), [])


def _rows_below(path: Path, most: int = _ROWS_LOOKED_AT) -> list[list[str]]:
    """Return the fields of the first lines below the names; none for Parquet."""
    if is_parquet(path):
        return []
    with open_binary(path) as handle:
        _, _, delimiter, _ = named_columns(handle, str(path))
        lines = [handle.readline(_LONGEST_LINE) for _ in range(most)]
    texts = [line.decode("utf-8", "replace").rstrip("\r\n") for line in lines if line]
    return [fields_of(text, delimiter) for text in texts]
