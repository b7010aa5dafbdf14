"""Annotation addresses of SBML files as (ontology, identifier)."""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import lru_cache
from urllib.parse import urlsplit

_ENSEMBL = re.compile(r"(ENS(?:[A-Z]{3})?([GTP])\d+)")
_ENSEMBL_KIND = {"G": "ensembl_gene", "T": "ensembl_transcript", "P": "ensembl_protein"}
_DIGITS = re.compile(r"\d+$")
_BY_HOST = {
    "reactome.org": "reactome",
    "purl.uniprot.org": "uniprot",
    "www.uniprot.org": "uniprot",
    "rnacentral.org": "rnacentral",
    "chemspider.com": "chemspider",
    "www.chemspider.com": "chemspider",
}
# What the same thing is called elsewhere.
_RENAMED = {
    "ncbigene": "ncbi_entrez_gene",
    "ncbi_gene": "ncbi_entrez_gene",
    "bigg.metabolite": "bigg_metabolite",
    "kegg.compound": "kegg",
    "pubchem.compound": "pubchem",
}


@lru_cache(maxsize=1 << 20)  # pathway files repeat each other's species: 5 of 6 are known
def parse_uri(uri: str) -> tuple[str, str] | None:
    """Return (ontology, identifier) of an annotation address; None if its kind is not known.

    Examples
    --------
    >>> parse_uri("http://www.ebi.ac.uk/chebi/searchId.do?chebiId=CHEBI:57540")
    ('chebi', '57540')
    >>> parse_uri("https://identifiers.org/ncbigene/1591")
    ('ncbi_entrez_gene', '1591')
    """
    try:
        parts = urlsplit(uri.strip())
    except ValueError:  # one malformed address must not cost a file
        return None
    path = [p for p in parts.path.split("/") if p]
    if not parts.netloc or not path:
        return None
    host, first, last = parts.netloc, path[0], path[-1]
    identifier: tuple[str, str] | None
    if host in ("identifiers.org", "www.identifiers.org"):
        identifier = _identifiers_org(path)
    elif host in _BY_HOST:
        identifier = (_BY_HOST[host], last)
    elif host in ("mirbase.org", "www.mirbase.org"):
        match = re.search(r"MI(?:MAT)?\d+", last) or re.search(r"MI(?:MAT)?\d+", parts.query)
        identifier = ("mirbase", match.group()) if match else None
    elif host == "pubchem.ncbi.nlm.nih.gov":
        identifier = _digits("pubchem", parts.query or last)
    elif host == "rhea-db.org":
        identifier = _digits("rhea", parts.query)
    elif host == "www.ensembl.org":
        match = _ENSEMBL.search(parts.query) or _ENSEMBL.search(last)
        identifier = (_ENSEMBL_KIND[match.group(2)], match.group(1)) if match else None
    else:
        rule = _BY_FOLDER.get(first)
        identifier = rule(path, parts.query) if rule else None
    return identifier if identifier and identifier[1] else None


def _digits(ontology: str, text: str) -> tuple[str, str] | None:
    match = _DIGITS.search(text)
    return (ontology, match.group()) if match else None


def _chebi(path: list[str], query: str) -> tuple[str, str] | None:
    at = path[-1] if re.match(r"CHEBI:\d+", path[-1]) else query
    return _digits("chebi", at)


_BY_FOLDER: dict[str, Callable[[list[str], str], tuple[str, str] | None]] = {
    "chebi": _chebi,
    "pubmed": lambda path, _: ("pubmed", path[-1]),
    "QuickGO": lambda path, _: ("go", path[-1]),
    "gene": lambda path, _: ("ncbi_entrez_gene", path[-1]),
    "nuccore": lambda path, _: ("ncbi_refseq", path[-1]),
    "ena": lambda path, _: ("ebi_refseq", path[-1]),
}


def _identifiers_org(path: list[str]) -> tuple[str, str] | None:
    if ":" in path[0]:  # https://identifiers.org/CHEBI:36927
        ontology, _, value = path[0].partition(":")
        ontology = ontology.lower()
        value = f"GO:{value}" if ontology == "go" else value
    elif len(path) < 2:
        return None
    else:
        ontology, value = path[0], "/".join(path[1:])
    if ontology == "chebi":
        return _digits("chebi", value)
    if ontology.startswith("ensembl"):
        match = _ENSEMBL.search(value)
        return (_ENSEMBL_KIND[match.group(2)], match.group(1)) if match else None
    return _RENAMED.get(ontology, ontology), value
