"""Interactions in PSI-MI's terms: which ids, which pairs, and their score."""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa

from octoscope.octopus.identifiers import clean_identifier
from octoscope.octopus.sources.miscore import category_score, publication_score, scored_terms
from octoscope.octopus.sources.record import SourceCounts, SourceRecord, identifier_frame, pairs_of

_ENSEMBL = re.compile(r"(ENS[A-Z]*([GTP])\d+)")
_KIND = {"G": "ensembl_gene", "T": "ensembl_transcript", "P": "ensembl_protein"}
_DATABASE = {
    "uniprotkb": "uniprot", "rnacentral": "rnacentral", "intact": "intact", "mirbase": "mirbase",
    "entrez gene/locuslink": "ncbi_entrez_gene", "entrezgene/locuslink": "ncbi_entrez_gene",
    "ncbigene": "ncbi_entrez_gene", "entrez gene": "ncbi_entrez_gene",
}  # fmt: skip
NO_PAIR = "not one bait with some preys of the organism"
NO_PUBLICATION = "no publication"
NEGATIVE = "negative interaction"


class Collected:
    """What is collected over all files.

    Attributes
    ----------
    species
        Key of an interactor -> species.
    labels
        [species] names.
    rows
        (study, a, b, method, type, publication, file, origin) of each pair.
    """

    def __init__(self, mode: str, taxon: str, counts: SourceCounts) -> None:
        self.mode, self.taxon, self.counts = mode, taxon, counts
        self.species: dict[str, int] = {}
        self.labels: list[str] = []
        self.identifiers: dict[tuple[int, str, str], None] = {}
        self.rows: list[tuple[Any, ...]] = []
        self.file = 0

    def species_of(self, key: str, label: str) -> int:
        """Return the species of an interactor, a new one if its key was not met."""
        at = self.species.setdefault(key, len(self.labels))
        if at == len(self.labels):
            self.labels.append(label)
        return at

    def ours(self, stated: str | None, identifier: tuple[str, str] | None, label: str) -> bool:
        """Return whether an interactor is of the organism.

        What belongs to none (-2: made by chemistry) counts, unless it is a protein or microRNA. In
        peer mode the ending of the name tells the organism.
        """
        listed = identifier is not None and identifier[0] not in ("uniprot", "mirbase")
        if self.mode == "peer":
            return label.endswith("human") or listed
        return stated == self.taxon or (stated in (None, "-1", "-2") and listed)


def identifier_of(database: str, value: str, mode: str) -> tuple[str, str] | None:
    """Return (ontology, id) of a reference to a database; None if its kind is not known."""
    database = database.strip().lower()
    if database.startswith("ensembl"):
        match = _ENSEMBL.search(value)
        return (_KIND[match.group(2)], match.group(1)) if match else None
    if database == "chebi":
        return "chebi", value.replace("CHEBI:", "")
    ontology = _DATABASE.get(database)
    if ontology is not None and mode == "corrected":
        # an isoform or chain is a product of the same gene
        value = clean_identifier(ontology, value) or value.split("-")[0]
    return (ontology, value) if ontology and value else None


def first_identifier(references: Iterable[tuple[str, str]], mode: str) -> tuple[str, str] | None:
    """Return the first (ontology, id) of references (database, value) whose kind is known.

    IntAct's own accession joins nothing, so that it is taken only where there is no other.
    """
    known = [x for d, v in references if (x := identifier_of(d, v, mode)) is not None]
    return next((x for x in known if x[0] != "intact"), next(iter(known), None))


def record_of(
    state: Collected, name: str, path: Path, names: list[str], release: str, ontology: Path | None
) -> SourceRecord:
    """Return the pairs as a source: one statement per pair, scored by MIscore.

    Parameters
    ----------
    names
        Files that ``state.rows`` count.
    ontology
        Terms of PSI-MI, for the score; None: the frequent ones.
    """
    labels = np.array(state.labels, dtype=object)
    columns = ["study", "a", "b", "method", "type", "publication", "file", "origin"]
    frame = pd.DataFrame(state.rows, columns=columns)
    rank = np.argsort(np.argsort(labels)) if len(labels) else np.zeros(0, int)
    a, b = frame["a"].to_numpy(int), frame["b"].to_numpy(int)
    swap = rank[a] > rank[b] if len(frame) else np.zeros(0, bool)
    frame["a"], frame["b"] = np.where(swap, b, a), np.where(swap, a, b)
    terms = scored_terms(ontology)
    scored: dict[str, np.ndarray] = {}
    wide: dict[str, np.ndarray] = {}
    grouped = frame.groupby(["a", "b"], sort=True)
    first = grouped.agg(file=("file", "first"), origin=("origin", "first"))
    pair = grouped.ngroup().to_numpy()
    n = len(first)
    for what in ("method", "type"):
        term = frame[what].map(terms).fillna("unknown")
        unknown = frame[what][term == "unknown"]
        state.counts.note(f"{what} that no scored term covers", len(unknown), unknown.unique())
        once = pd.DataFrame({"pair": pair, "study": frame["study"], "term": term})
        table = once.drop_duplicates().groupby(["pair", "term"]).size().unstack(fill_value=0)
        table = table.reindex(range(n), fill_value=0)
        scored[what] = category_score(table) if n else np.zeros(0)
        for t in sorted(table.columns):
            wide[f"interaction_{what}_{t}"] = table[t].to_numpy(np.int32)
    papers = frame.assign(pair=pair)[["pair", "study", "publication"]].drop_duplicates()
    count = np.bincount(papers["pair"].to_numpy(int), minlength=n)
    publication = publication_score(count)
    score = (publication + scored["method"] + scored["type"]) / 3
    used = np.zeros(len(labels), bool)
    pair_a, pair_b = (first.index.get_level_values(i).to_numpy(int) for i in (0, 1))
    used[pair_a] = used[pair_b] = True
    renumber = np.cumsum(used) - 1
    identifiers = [(int(renumber[s]), o, x, "BQB_IS") for s, o, x in state.identifiers if used[s]]
    evidence = pa.table(
        {
            "publication_score": publication,
            "interaction_method_score": scored["method"],
            "interaction_type_score": scored["type"],
            "miscore": score,
            "n_publications": count.astype(np.int32),
            **wide,
        }
    )
    return SourceRecord(
        name, release, [str(x) for x in labels[used]], identifier_frame(identifiers),
        pairs_of(renumber[pair_a], renumber[pair_b], score=score, refs=count,
                 file=first["file"].to_numpy(), origin=first["origin"].to_numpy()),
        evidence=evidence, files=[path, *([ontology] if ontology else [])],
        file_names=names, counts=state.counts,
    )  # fmt: skip
