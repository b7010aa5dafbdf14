"""Rules for identifiers of joined things: which qualifier, which name, which type."""

from __future__ import annotations

import re

import numpy as np
import pandas as pd

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

# Ontologies whose ids have a form -> that form, of which the group is what is kept: versions,
# isoforms, STRING's taxon and the decimals of a spreadsheet go.
_FORM = {
    "ensembl_gene": re.compile(r"^(?:\d+\.)?(ENS[A-Z]*G\d+)(?:\.\d+)?$"),
    "ensembl_transcript": re.compile(r"^(?:\d+\.)?(ENS[A-Z]*T\d+)(?:\.\d+)?$"),
    "ensembl_protein": re.compile(r"^(?:\d+\.)?(ENS[A-Z]*P\d+)(?:\.\d+)?$"),
    "ncbi_entrez_gene": re.compile(r"^(\d+)(?:\.0+)?$"),
    # https://www.uniprot.org/help/accession_numbers
    "uniprot": re.compile(
        r"^([OPQ][0-9][A-Z0-9]{3}[0-9]|[A-NR-Z][0-9](?:[A-Z][A-Z0-9]{2}[0-9]){1,2})(?:[-.]\d+)?$"
    ),
}
ONTOLOGIES = ("symbol", *dict.fromkeys([*_PREFERRED, *_TYPE_OF]))  # names that ids may have


def clean_identifier(ontology: str, text: str) -> str | None:
    """Return an id without spaces, version, isoform or taxon; None if it has not the form of one.

    Ids of ontologies without a known form stay as they are.
    """
    plain = text.strip()
    form = _FORM.get(ontology)
    if form is None:
        return plain or None
    found = form.match(plain)
    return found.group(1) if found else None


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
    found: dict[int, set[str]] = {}
    for species, ontology in zip(identity["species"], identity["ontology"], strict=True):
        kinds = found.setdefault(species, set())
        if ontology in _TYPE_OF:
            kinds.add(_TYPE_OF[ontology])
    return [_kind(i in has_part, found.get(i)) for i in range(count)]


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
