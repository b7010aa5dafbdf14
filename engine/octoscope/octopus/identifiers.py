"""Joins by identifiers, and their rules: which qualifier, which name, which type."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import pandas as pd
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import connected_components

# The peer's order of qualifiers: of two that say the same identifier the first is kept.
_RANK = {
    "BQB_IS": 1,
    "BQB_ENCODES": 2,
    "BQB_IS_ENCODED_BY": 2,
    "BQB_HAS_PART": 3,
    "BQB_IS_HOMOLOG_TO": 4,
    "BQB_HAS_PROPERTY": 5,
    "BQB_IS_PROPERTY_OF": 5,
    "BQB_IS_PART_OF": 5,
    "BQB_OCCURS_IN": 5,
    "BQB_IS_DESCRIBED_BY": 6,
    "BQB_HAS_VERSION": 6,
    "BQB_IS_VERSION_OF": 6,
    "BQB_HAS_TAXON": 7,
    "BQB_UNKNOWN": 8,
}
_TYPE = {
    "complex": ("corum", "omnipath_complex"),
    "drug": ("drugbank", "kegg.drug"),
    "metabolite": ("bigg_metabolite", "chebi", "kegg", "pubchem", "smiles"),
    "protein": (
        "ensembl_gene", "ensembl_transcript", "ensembl_protein", "ncbi_entrez_gene", "uniprot",
    ),
    "regulatory_rna": ("mirbase", "rnacentral"),
}  # fmt: skip
_TYPE_OF = {ontology: kind for kind, names in _TYPE.items() for ontology in names}
# Which identifier names a vertex: stable, and what users search for.
_PREFERRED = (
    "ncbi_entrez_gene", "ensembl_gene", "uniprot", "ensembl_protein", "chebi", "reactome",
    "mirbase", "bigg_metabolite", "pubchem", "rnacentral", "omnipath_complex",
)  # fmt: skip

_AROUND = " \t\r\n\u00a0\ufeff\"'"  # spaces (of a word processor, too) and quotes
_ACCESSION = r"[OPQ][0-9][A-Z0-9]{3}[0-9]|[A-NR-Z][0-9](?:[A-Z][A-Z0-9]{2}[0-9]){1,2}"


def _form(prefixes: str, kept: str, rest: str = "") -> re.Pattern[str]:
    """Return the form of an id: what may stand in front, what is kept, what may follow.

    Bars are those of FASTA headers (``sp|P04637|P53_HUMAN``).
    """
    return re.compile(rf"^(?:(?i:{prefixes}):\s*|(?:sp|tr)\|)?(?:\d+\.(?=ENS))?({kept}){rest}$")


# Ontologies whose ids have a form, of which the group is what is kept: names of the database,
# STRING's taxon, versions, isoforms, chains and the decimals of a spreadsheet go.
_FORM = {
    "ensembl_gene": _form("ensembl(?:_gene)?", r"ENS[A-Z]*G\d+", r"(?:\.\d+)?"),
    "ensembl_transcript": _form("ensembl(?:_transcript)?", r"ENS[A-Z]*T\d+", r"(?:\.\d+)?"),
    "ensembl_protein": _form("ensembl(?:_protein)?", r"ENS[A-Z]*P\d+", r"(?:\.\d+)?"),
    "ncbi_entrez_gene": _form(
        # KEGG names genes of these organisms by their Entrez number
        "entrez|geneid|ncbigene|ncbi_gene|ncbi_entrez_gene|entrez gene/locuslink|entrezgene|"
        "hsa|mmu",
        r"\d+", r"(?:\.0+)?",
    ),
    # https://www.uniprot.org/help/accession_numbers
    "uniprot": _form("uniprot|uniprotkb|uniprot/swissprot", _ACCESSION,
                     r"(?:[-.]\d+|[-:_]PRO_\d+)?(?:\|\w+_\w+)?"),
    "chebi": _form("chebi", r"\d+", r"(?:\.0+)?"),
    "pubchem": _form("cid|pubchem", r"\d+", r"(?:\.0+)?"),
}  # fmt: skip
ONTOLOGIES = ("symbol", *dict.fromkeys([*_PREFERRED, *_TYPE_OF]))  # names that ids may have


def clean_identifier(ontology: str, text: str) -> str | None:
    """Return an id without spaces, quotes, database, version, isoform, chain or taxon.

    None if it has not the form of its ontology. Ids of ontologies without a known form only lose
    what stands around them.
    """
    plain = text.strip(_AROUND)
    form = _FORM.get(ontology)
    if form is None:
        return plain or None
    match = form.match(plain)
    return match.group(1) if match else None


def has_form(ontology: str, text: str) -> bool:
    """Return whether a text is an id of an ontology whose ids have a form."""
    return ontology in _FORM and clean_identifier(ontology, text) is not None


def cleaned_identifiers(table: pd.DataFrame) -> pd.DataFrame:
    """Return identifiers (species, ontology, identifier, bqb) in the form of their ontology.

    Ids that have not the form stay as they are: they join nothing by mistake.
    """
    if table.empty:
        return table
    kinds, values = table["ontology"].astype(str), table["identifier"].astype(str)
    with_form = kinds.isin(_FORM)
    distinct = pd.DataFrame({"o": kinds[with_form], "v": values[with_form]}).drop_duplicates()
    clean = {(o, v): clean_identifier(o, v) or v for o, v in distinct.itertuples(index=False)}
    changed = {k: v for k, v in clean.items() if k[1] != v}
    if not changed:
        return table
    new = [changed.get(k, k[1]) for k in zip(kinds, values, strict=True)]
    out = table.assign(identifier=new)
    return out.drop_duplicates(["species", "ontology", "identifier", "bqb"], ignore_index=True)


def best_identifiers(table: pd.DataFrame) -> pd.DataFrame:
    """Keep one row per species, ontology and identifier: that of the strongest qualifier."""
    if table.empty:
        return table
    rank = table["bqb"].map(_RANK).fillna(9).to_numpy(int)
    order = np.lexsort((rank, table["species"].to_numpy(int)))
    kept = table.iloc[order].drop_duplicates(["species", "ontology", "identifier"])
    return kept.reset_index(drop=True)


def nameness(name: str) -> int:
    """Return how little a text looks like a name: long, without spaces, with digits."""
    return (
        len(name) + 10 * (not any(c.isspace() for c in name)) + 5 * sum(c.isdigit() for c in name)
    )


def best_names(label: np.ndarray, names: list[str], count: int) -> list[str]:
    """Return for each of ``count`` labels the most name-like of its members' names.

    The peer's measure: short, with a space, few digits.
    """
    series = pd.Series(names, dtype=object).astype(str)
    score = (
        series.str.len()
        + 10 * ~series.str.contains(r"\s")
        + 5 * series.str.count(r"\d")
    ).to_numpy(int)  # fmt: skip
    order = np.lexsort((np.arange(len(names)), score, label))
    first = np.searchsorted(label[order], np.arange(count))
    return [names[order[i]] for i in first]


def species_types(table: pd.DataFrame, count: int) -> list[str]:
    """Return the kind of each of ``count`` species, told from its identifiers as the peer does."""
    part = table["bqb"] == "BQB_HAS_PART"
    has_part = set(table["species"][part])
    identity = table[table["bqb"].isin(["BQB_IS", "BQB_IS_ENCODED_BY", "BQB_ENCODES"])]
    kinds_of: dict[int, set[str]] = {}
    for species, ontology in zip(identity["species"], identity["ontology"], strict=True):
        kinds = kinds_of.setdefault(species, set())
        if ontology in _TYPE_OF:
            kinds.add(_TYPE_OF[ontology])
    return [_kind(i in has_part, kinds_of.get(i)) for i in range(count)]


def _kind(has_part: bool, kinds: set[str] | None) -> str:
    if has_part:
        return "complex"
    if kinds is None:
        return "unknown"
    strong = kinds & {"drug", "complex"}
    if len(strong) == 1:
        return strong.pop()
    return "other" if not kinds else kinds.pop() if len(kinds) == 1 else "unknown"


def vertex_names(table: pd.DataFrame, labels: list[str]) -> list[str]:
    """Return a stable, distinct name per species: ``ontology:identifier``, or ``label:<label>``."""
    rank = {ontology: i for i, ontology in enumerate(_PREFERRED)}
    mine = table[table["bqb"].isin(["BQB_IS", "BQB_IS_ENCODED_BY", "BQB_ENCODES"])]
    mine = mine.assign(rank=mine["ontology"].map(rank))
    mine = mine[mine["rank"].notna()].sort_values(["species", "rank", "identifier"], kind="stable")
    first = mine.drop_duplicates("species")
    out = [f"label:{label}" for label in labels]
    for species, ontology, identifier in zip(
        first["species"], first["ontology"], first["identifier"], strict=True
    ):
        out[species] = f"{ontology}:{identifier}"
    repeated: dict[str, int] = {}
    for i, name in enumerate(out):
        times = repeated[name] = repeated.get(name, 0) + 1
        if times > 1:
            out[i] = f"{name}#{times}"
    return out


def joined_by_key(n: int, item: np.ndarray, key: Any) -> np.ndarray:
    """Join items that share a key, transitively.

    Parameters
    ----------
    n
        Number of items.
    item
        [rows] item of each row.
    key
        [rows] key of each row, of any hashable kind.

    Returns
    -------
    [n] int64
        Component of each item, numbered by first appearance in ``item``; items without a row
        come last, each for itself.
    """
    item = np.asarray(item, np.int64)
    codes, distinct = pd.factorize(np.asarray(key, dtype=object))
    graph = coo_matrix(
        (np.ones(len(item), np.int8), (item, n + codes)), shape=(n + len(distinct),) * 2
    )
    _, label = connected_components(graph, directed=False)
    order = np.concatenate([item, np.arange(n)])
    number, _ = pd.factorize(label[order])
    out = np.empty(n, np.int64)
    out[order] = number
    return out
