"""STRING's aliases: ids of its proteins, under the names that each release gives their sources."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.compute as pac

from octoscope.errors import InputError, warn
from octoscope.octopus.identifiers import clean_identifier
from octoscope.octopus.sources.annotation import FEW
from octoscope.octopus.sources.open_text import open_binary
from octoscope.octopus.sources.record import SourceCounts, identifier_frame
from octoscope.octopus.sources.text import stream_table

# Ontology -> qualifier, names of its sources: the first group of which the file has one is read:
# v11.5 and before; v12; any other name that tells what it is (BLAST's accessions are of proteins
# that merely look alike).
_KINDS: dict[str, tuple[str, tuple[str, ...]]] = {
    "ensembl_gene": (
        "BQB_IS_ENCODED_BY",
        (r"Ensembl_gene", r"Ensembl_HGNC_ensembl_gene_id", r"(?i).*ensembl.*gene(?:_?id)?"),
    ),
    "ensembl_transcript": (
        "BQB_IS_ENCODED_BY", (r"Ensembl_transcript", r"(?i).*ensembl.*transcript.*"),
    ),
    "ensembl_protein": (
        "BQB_IS", (r"Ensembl_translation", r"(?i).*ensembl.*(?:translation|protein).*"),
    ),
    "uniprot": (
        "BQB_IS",
        (r"Ensembl_UniProt_AC", r"UniProt_AC|Ensembl_UniProt|Ensembl_HGNC_uniprot_ids",
         r"(?i)(?!blast).*uniprot.*"),
    ),
    "symbol": (  # a name to be found by; it joins nothing
        "BQB_HAS_PROPERTY",
        (r"Ensembl_HGNC_symbol", r"Ensembl_HGNC_Approved_Symbol", r"(?i).*hgnc.*symbol"),
    ),
}  # fmt: skip
_TAXON = "species_ncbi_taxon_id"
_FORMS = {ontology: [re.compile(p) for p in groups] for ontology, (_, groups) in _KINDS.items()}


def read_string_aliases(path: Path, code: Mapping[str, int], counts: SourceCounts) -> pd.DataFrame:
    """Return the identifiers of STRING's proteins.

    Parameters
    ----------
    code
        Protein as the links name it -> species.
    counts
        Gets notes: proteins without an id, ontologies that the file does not give.

    Returns
    -------
    DataFrame
        species, ontology, identifier, bqb, in the order of the file.

    Raises
    ------
    InputError
        If no protein of the links gets an id of a gene or protein: the two files are not of one
        organism and release, or the alias sources have names that are not known here.
    """
    columns = dict.fromkeys(("#string_protein_id", "alias", "source"), pa.string())
    rows: list[tuple[int, str, str, str, int]] = []
    met: dict[str, list[tuple[str, int]]] = {}  # source of the file -> ontology, group
    example, unread = "", SourceCounts()
    with open_binary(path) as handle:
        heading = handle.peek(100)[:100].split(b"\n")[0]
    released = heading.startswith(b"##")  # up to v11.0: a heading of its own form
    if released and b"species" in heading:  # up to v10: the taxon stands in a column of its own
        columns = {_TAXON: pa.string(), **columns}
    for batch in stream_table(
        path, columns, unread, delimiter="\t", header=not released,
        called={"#string_protein_id": ("string_protein_id",)},
    ):  # fmt: skip
        if _TAXON in columns:
            batch = _with_taxon(batch)
        for source in pac.unique(batch["source"]).to_pylist():
            if source is not None and source not in met:
                met[source] = _groups(source)
        usable = pa.array([s for s, groups in met.items() if groups], pa.string())
        hit = batch.filter(pac.is_in(batch["source"], usable))
        example = example or next(iter(batch["#string_protein_id"].drop_null().to_pylist()), "")
        proteins, alias, source = (c.to_pylist() for c in hit.columns)
        for p, x, s in zip(proteins, alias, source, strict=True):
            at = code.get(p)
            if at is None or not x:
                continue
            for ontology, group in met[s]:
                # The named sources of v11.5 are taken as they are, as the peer takes them.
                value = clean_identifier(ontology, x) if group else x
                if value:
                    rows.append((at, ontology, value, _KINDS[ontology][0], group))
    best: dict[str, int] = {}
    for _, ontology, _, _, group in rows:
        best[ontology] = min(group, best.get(ontology, group))
    frame = identifier_frame([r[:4] for r in rows if r[4] == best[r[1]]])
    _judge(path, frame, code, counts, example, list(met))
    return frame


def _with_taxon(batch: pa.RecordBatch) -> pa.RecordBatch:
    """Return a batch whose proteins are called as in the links, behind the taxon and a dot."""
    taxon, protein = batch[_TAXON], batch["#string_protein_id"]
    joined = pac.binary_join_element_wise(taxon, protein, ".")
    parts = [joined, batch["alias"], batch["source"]]
    return pa.RecordBatch.from_arrays(parts, names=["#string_protein_id", "alias", "source"])


def _groups(source: str) -> list[tuple[str, int]]:
    """Return ontology and group of the names in a cell (several, up to v11.0)."""
    group_of: dict[str, int] = {}
    for name in source.split():
        for ontology, groups in _FORMS.items():
            at = next((i for i, form in enumerate(groups) if form.fullmatch(name)), None)
            if at is not None:
                group_of[ontology] = min(at, group_of.get(ontology, at))
    return list(group_of.items())


def _judge(
    path: Path, frame: pd.DataFrame, code: Mapping[str, int], counts: SourceCounts, example: str,
    sources: list[str],
) -> None:  # fmt: skip
    ids = frame[frame["ontology"] != "symbol"]
    n_identified, total = int(ids["species"].nunique()), len(code)
    seen = f"its sources are {', '.join(sorted(sources))[:200] or 'none'}"
    if total and not n_identified:
        raise InputError(
            f"{path}: column source",
            f"gives none of the {total:,} proteins of the links an id; the links name "
            f"{next(iter(code))!r}, the aliases {example!r}, and {seen}",
            "give links and aliases of one organism and release",
        )
    if n_identified < FEW * total:
        warn(
            f"{path}: only {n_identified:,} of {total:,} proteins of the links have an id; give "
            "aliases of the links' organism and release"
        )
    for ontology in ("ensembl_gene", "uniprot"):
        have = int(ids["species"][ids["ontology"] == ontology].nunique())
        counts.note(f"protein without {ontology} among its aliases", total - have)
        if total and have < FEW * total:
            warn(f"{path}: {have:,} of {total:,} proteins of the links get a {ontology} id; "
                 f"{seen}. Sources that use these ids may not meet STRING")  # fmt: skip
    counts.note("protein without a usable alias (a vertex of its own)", total - n_identified)
