"""STRING: full links and aliases (Szklarczyk et al.), one undirected pair per two mirrored rows."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pac

from octoscope.errors import InputError
from octoscope.octopus.sources.record import SourceCounts, SourceRecord, identifier_frame, pairs_of
from octoscope.octopus.sources.text import Names, line_of, stream_table

CHANNELS = (
    "neighborhood", "neighborhood_transferred", "fusion", "cooccurence", "homology",
    "coexpression", "coexpression_transferred", "experiments", "experiments_transferred",
    "database", "database_transferred", "textmining", "textmining_transferred",
)  # fmt: skip
_ALIASES = {
    "Ensembl_gene": ("ensembl_gene", "BQB_IS_ENCODED_BY"),
    "Ensembl_transcript": ("ensembl_transcript", "BQB_IS_ENCODED_BY"),
    "Ensembl_translation": ("ensembl_protein", "BQB_IS"),
    "Ensembl_UniProt_AC": ("uniprot", "BQB_IS"),
}


def read_string(
    links: Path,
    aliases: Path,
    release: str,
    mode: Literal["peer", "corrected"],
    taxon: str = "9606",
) -> SourceRecord:
    """Read ``<taxon>.protein.links.full`` and ``<taxon>.protein.aliases``.

    Every pair is stated in both orders with one score; the first order is kept. In peer mode a row
    without its mirror is an error, as it is for the peer; else it counts as a pair.

    Raises
    ------
    InputError
        For wrong columns, another organism, or (peer) missing mirrors.
    """
    counts, names = SourceCounts(), Names()
    text = pa.dictionary(pa.int32(), pa.string())
    columns = {"protein1": text, "protein2": text} | {
        c: pa.int16() for c in (*CHANNELS, "combined_score")
    }
    ends: list[tuple[np.ndarray, np.ndarray]] = []
    scores: list[np.ndarray] = []
    channels: list[pa.RecordBatch] = []
    rows: list[np.ndarray] = []
    mirrors: list[np.ndarray] = []
    row = 0
    order: np.ndarray = np.zeros(0, np.int32)  # rank of each protein's name
    skipped: list[int] = []
    for batch in stream_table(links, columns, counts, delimiter=" ", skipped=skipped):
        known = len(names)
        a, b = names.of(batch["protein1"]), names.of(batch["protein2"])
        if len(names) != known:
            _require_taxon(links, names.names[known:], taxon)
            order = np.argsort(np.argsort(np.array(names.names)))
        combined = batch["combined_score"].fill_null(-1).to_numpy()
        broken = (a < 0) | (b < 0) | (combined < 0) | (combined > 1000)
        counts.drop("without a protein, or a score outside 0..1000", int(broken.sum()))
        first, self_pair = (order[a] < order[b]) & ~broken, (a == b) & ~broken
        counts.drop("pair of a protein with itself", int(self_pair.sum()))
        keep = np.flatnonzero(first)
        ends.append((a[keep], b[keep]))
        scores.append(combined[keep])
        rows.append((keep + row + 1).astype(np.int32))
        kept = batch.select(CHANNELS).take(pa.array(keep))
        channels.append(kept.from_arrays([c.fill_null(0) for c in kept.columns], list(CHANNELS)))
        back = np.flatnonzero(~first & ~self_pair & ~broken)
        counts.merged += len(back)
        mirrors.append(_fingerprint(b[back], a[back], combined[back]))
        row += batch.num_rows
    a = np.concatenate([e[0] for e in ends]) if ends else np.zeros(0, np.int32)
    b = np.concatenate([e[1] for e in ends]) if ends else np.zeros(0, np.int32)
    score = np.concatenate(scores) if scores else np.zeros(0, np.int16)
    _check_mirrors(links, _fingerprint(a, b, score), mirrors, counts, mode)
    evidence = pa.Table.from_batches(channels) if channels else None
    if evidence is not None:
        evidence = evidence.append_column("combined_score", pa.array(score, pa.int16()))
    pairs = pairs_of(
        a, b, score=score / np.float32(1000),
        origin=line_of(np.concatenate(rows), skipped) + 1 if rows else None,
    )  # fmt: skip
    record = SourceRecord(
        "STRING", release, names.names, identifier_frame([]), pairs, evidence=evidence,
        files=[links, aliases], file_names=[links.name], counts=counts,
    )  # fmt: skip
    counts.kept = len(pairs)
    record.identifiers = _aliases(aliases, names, counts)
    return record


def _fingerprint(a: np.ndarray, b: np.ndarray, score: np.ndarray) -> np.ndarray:
    return (a.astype(np.int64) << 37) | (b.astype(np.int64) << 10) | (score & 1023)


def _check_mirrors(
    path: Path, kept: np.ndarray, mirrors: list[np.ndarray], counts: SourceCounts, mode: str
) -> None:
    back = np.sort(np.concatenate(mirrors)) if mirrors else np.zeros(0, np.int64)
    here = np.sort(kept)
    if len(here) == len(back) and (here == back).all():
        return
    missing, extra = len(np.setdiff1d(here, back)), len(np.setdiff1d(back, here))
    lonely = missing + extra
    if mode == "peer":
        raise InputError(
            str(path),
            f"{lonely} rows have no mirrored row of equal combined_score "
            f"({len(here)} rows in one order, {len(back)} in the other)",
            "download it again, or use mode corrected",
        )  # fmt: skip
    counts.note("pair whose mirrored row is missing or differs", missing)
    counts.merged -= extra
    counts.drop("only the row with protein1 > protein2 is there, or its score differs", extra)


def _require_taxon(path: Path, names: list[str], taxon: str) -> None:
    other = next((n for n in names if not n.startswith(f"{taxon}.")), None)
    if other is not None:
        raise InputError(
            str(path), f"{other!r} is not of organism {taxon}", f"give the file of taxon {taxon}"
        )


def _aliases(path: Path, names: Names, counts: SourceCounts) -> pd.DataFrame:
    columns = {"#string_protein_id": pa.string(), "alias": pa.string(), "source": pa.string()}
    wanted = pa.array(list(_ALIASES))
    rows: list[tuple[int, str, str, str]] = []
    unread = SourceCounts()
    for batch in stream_table(path, columns, unread):
        hit = batch.filter(pac.is_in(batch["source"], wanted))
        proteins, alias, source = (c.to_pylist() for c in hit.columns)
        for p, x, s in zip(proteins, alias, source, strict=True):
            at = names.code.get(p)
            if at is not None and x:
                ontology, bqb = _ALIASES[s]
                rows.append((at, ontology, x, bqb))
    frame = identifier_frame(rows)
    without = len(names) - frame["species"].nunique()
    counts.note("protein without a usable alias (a vertex of its own)", without)
    return frame
