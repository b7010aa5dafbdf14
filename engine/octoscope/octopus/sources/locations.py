"""Human Protein Atlas: where a protein is; pairs that are never in one place are left out."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pyarrow as pa

from octoscope.octopus.sources.record import SourceCounts, SourceRecord
from octoscope.octopus.sources.text import stream_table

_TERM = re.compile(r"GO:\d{7}")


def without_shared_location(record: SourceRecord, path: Path) -> None:
    """Drop pairs of a source whose proteins both have known locations and share none.

    Reads ``subcellular_location.tsv`` (columns ``Gene``, ``GO id``). A protein without a known
    location keeps all its pairs.

    Raises
    ------
    InputError
        If a column is missing.
    """
    terms: dict[str, int] = {}
    of_gene: dict[str, set[int]] = {}
    columns = {"Gene": pa.string(), "GO id": pa.string()}
    for batch in stream_table(path, columns, SourceCounts()):
        for gene, text in zip(*(batch[c].to_pylist() for c in columns), strict=True):
            for term in _TERM.findall(text or ""):
                of_gene.setdefault(gene, set()).add(terms.setdefault(term, len(terms)))
    words = (len(terms) + 63) // 64
    bits = np.zeros((len(record.species), max(words, 1)), np.uint64)
    ids = record.identifiers
    mine = ids[ids["ontology"] == "ensembl_gene"]
    for species, gene in zip(mine["species"], mine["identifier"], strict=True):
        for term in of_gene.get(gene, ()):
            bits[species, term // 64] |= np.uint64(1) << np.uint64(term % 64)
    pairs = record.pairs
    assert pairs is not None
    known = np.asarray(bits.any(axis=1))
    apart = np.zeros(len(pairs), bool)
    for at in range(0, len(pairs), 1 << 20):
        part = slice(at, at + (1 << 20))
        a, b = pairs.a[part], pairs.b[part]
        apart[part] = known[a] & known[b] & ~(bits[a] & bits[b]).any(axis=1)
    keep = ~apart
    record.pairs = pairs.select(keep)
    if record.evidence is not None:
        record.evidence = record.evidence.filter(pa.array(keep))
    # Each pair stands for two mirrored rows of the file, of which one was counted as merged.
    record.counts.kept -= int(apart.sum())
    record.counts.drop("proteins that share no location", int(apart.sum()))
    record.files.append(path)
