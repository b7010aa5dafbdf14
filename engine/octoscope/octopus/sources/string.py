"""STRING: links and aliases (Szklarczyk et al.), one undirected pair per two mirrored rows."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Literal

import numpy as np
import pyarrow as pa

from octoscope.errors import InputError
from octoscope.octopus.sources.record import SourceCounts, SourceRecord, identifier_frame, pairs_of
from octoscope.octopus.sources.string_aliases import read_string_aliases
from octoscope.octopus.sources.text import Names, line_of, stream_table

CHANNELS = (
    "neighborhood", "neighborhood_transferred", "fusion", "cooccurence", "homology",
    "coexpression", "coexpression_transferred", "experiments", "experiments_transferred",
    "database", "database_transferred", "textmining", "textmining_transferred",
)  # fmt: skip
_CALLED = {"experiments": ("experimental",), "cooccurence": ("cooccurrence",)}  # links.detailed


def read_string(
    links: Path,
    aliases: Path,
    release: str,
    mode: Literal["peer", "corrected"],
    taxon: str = "9606",
) -> SourceRecord:
    """Read ``<taxon>.protein.links`` and ``<taxon>.protein.aliases``.

    Links are ``links.full``, ``links.detailed``, ``links``, or those of the physical subnetwork;
    ``evidence`` has the channels that the file has. Every pair is stated in both orders with one
    score; the first order is kept. In peer mode a row without its mirror is an error, as it is for
    the peer; else it counts as a pair, whichever order it has. Of two rows of different scores the
    one with protein1 < protein2 counts, of rows that repeat each other the highest.

    Raises
    ------
    InputError
        For wrong columns, another organism, aliases that match nothing, or (peer) missing mirrors.
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
    for batch in _stream(links, columns, counts, skipped):
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
        channels.append(_channels(batch, keep))
        back = np.flatnonzero(~first & ~self_pair & ~broken)
        counts.merged += len(back)
        mirrors.append(_fingerprint(b[back], a[back], combined[back]))
        row += batch.num_rows
    a = np.concatenate([e[0] for e in ends]) if ends else np.zeros(0, np.int32)
    b = np.concatenate([e[1] for e in ends]) if ends else np.zeros(0, np.int32)
    score = np.concatenate(scores) if scores else np.zeros(0, np.int16)
    lonely = _lonely(links, _fingerprint(a, b, score), mirrors, counts, mode)
    if len(lonely):
        more = _rows_of(links, columns, names, order, lonely)
        a, b = np.concatenate([a, more[0]]), np.concatenate([b, more[1]])
        score = np.concatenate([score, more[2]])
        rows.append(more[3])
        channels += more[4]
        counts.merged -= len(more[0])
    origin = line_of(np.concatenate(rows), skipped) + 1 if rows else np.zeros(0, np.int32)
    evidence = pa.table({"combined_score": pa.array(score, pa.int16())})
    if channels and channels[0].num_columns:
        table = pa.Table.from_batches(channels)
        evidence = table.append_column("combined_score", evidence["combined_score"])
    once = _distinct(a, b, score)
    if len(once) < len(a):
        counts.merged += len(a) - len(once)
        a, b, score, origin = a[once], b[once], score[once], origin[once]
        evidence = evidence.take(pa.array(once))
    pairs = pairs_of(a, b, score=score / np.float32(1000), origin=origin)
    record = SourceRecord(
        "STRING", release, names.names, identifier_frame([]), pairs, evidence=evidence,
        files=[links, aliases], file_names=[links.name], counts=counts,
    )  # fmt: skip
    counts.kept = len(pairs)
    record.identifiers = read_string_aliases(aliases, names.code, counts)
    return record


def _stream(
    path: Path, columns: dict[str, pa.DataType], counts: SourceCounts, skipped: list[int]
) -> Iterator[pa.RecordBatch]:
    return stream_table(
        path, columns, counts, optional=CHANNELS, called=_CALLED, skipped=skipped,
        fix="give protein.links, links.detailed or links.full of STRING as published; a table of "
            "its web site is an edge list (edge_lists)",
    )  # fmt: skip


def _channels(batch: pa.RecordBatch, rows: np.ndarray) -> pa.RecordBatch:
    """Return the channels that a file has of some rows, 0 where a field is empty."""
    names = [c for c in CHANNELS if c in batch.schema.names]
    taken = batch.select(names).take(pa.array(rows))
    return taken.from_arrays([c.fill_null(0) for c in taken.columns], names)


def _distinct(a: np.ndarray, b: np.ndarray, score: np.ndarray) -> np.ndarray:
    """Return the sorted rows to keep: of a pair that is stated again the one of highest score."""
    key = (a.astype(np.int64) << 32) | b
    order = np.lexsort((-score.astype(int), key))
    return np.sort(order[np.flatnonzero(np.diff(key[order], prepend=-1))])


def _fingerprint(a: np.ndarray, b: np.ndarray, score: np.ndarray) -> np.ndarray:
    return (a.astype(np.int64) << 37) | (b.astype(np.int64) << 10) | (score & 1023)


def _lonely(
    path: Path, kept: np.ndarray, mirrors: list[np.ndarray], counts: SourceCounts, mode: str
) -> np.ndarray:
    """Return the sorted pairs (fingerprints without score) that only protein1 > protein2 states."""
    back = np.sort(np.concatenate(mirrors)) if mirrors else np.zeros(0, np.int64)
    here = np.sort(kept)
    if len(here) == len(back) and (here == back).all():
        return np.zeros(0, np.int64)
    missing, extra = np.setdiff1d(here, back), np.setdiff1d(back, here)
    if mode == "peer":
        raise InputError(
            str(path),
            f"{len(missing) + len(extra)} rows have no mirrored row of equal combined_score "
            f"({len(here)} rows in one order, {len(back)} in the other)",
            "download it again, or use mode corrected",
        )  # fmt: skip
    alone = np.setdiff1d(extra >> 10, here >> 10)
    one_way = len(np.setdiff1d(missing >> 10, back >> 10)) + len(alone)
    pairs = len(np.union1d(missing >> 10, extra >> 10))
    counts.note("pair whose mirrored row is missing or differs", pairs)
    counts.note("pair whose two rows differ in score (protein1 < protein2 counts)", pairs - one_way)
    return alone


def _rows_of(
    path: Path,
    columns: dict[str, pa.DataType],
    names: Names,
    order: np.ndarray,
    keys: np.ndarray,
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray, list[pa.RecordBatch]]:
    """Read the file again for pairs that it states in the second order only.

    Returns
    -------
    tuple
        [pairs] int32 of both proteins (first one first), int16 scores, int32 rows, and batches of
        the channels; the first row of each pair.
    """
    ends: list[tuple[np.ndarray, ...]] = []
    channels: list[pa.RecordBatch] = []
    met = np.zeros(len(keys), bool)
    row = 0
    for batch in _stream(path, columns, SourceCounts(), []):
        a, b = names.of(batch["protein1"]), names.of(batch["protein2"])
        score = batch["combined_score"].fill_null(-1).to_numpy()
        usable = (a >= 0) & (b >= 0) & (score >= 0) & (score <= 1000)
        key = _fingerprint(b, a, np.zeros(len(a), np.int16)) >> 10
        at = np.minimum(np.searchsorted(keys, key), len(keys) - 1)
        hit = np.flatnonzero(usable & (keys[at] == key) & (order[a] > order[b]) & ~met[at])
        hit = hit[np.sort(np.unique(at[hit], return_index=True)[1])]
        met[at[hit]] = True
        ends.append((b[hit], a[hit], score[hit], (hit + row + 1).astype(np.int32)))
        channels.append(_channels(batch, hit))
        row += batch.num_rows
    first, second, scores, rows = (np.concatenate(x) for x in zip(*ends, strict=True))
    return first, second, scores, rows, channels


def _require_taxon(path: Path, names: list[str], taxon: str) -> None:
    other = next((n for n in names if not n.startswith(f"{taxon}.")), None)
    if other is not None:
        seen = other.partition(".")[0]
        if not seen.isdigit():
            raise InputError(str(path), f"{other!r} has no taxon in front, as STRING's names have",
                             f"give STRING's own file ({taxon}.ENSP…)")  # fmt: skip
        raise InputError(
            str(path), f"{other!r} is not of organism {taxon}",
            f"give the file of taxon {taxon}, or set taxon: {seen} in the build configuration",
        )  # fmt: skip
