"""Any edge list of the user's as a source: two columns of ids, and what else it may say."""

from __future__ import annotations

import difflib
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa

from octoscope.errors import InputError, warn
from octoscope.octopus.identifiers import ONTOLOGIES, clean_identifier
from octoscope.octopus.network_schema import ROLE_CODE
from octoscope.octopus.sources.annotation import FEW, Annotation
from octoscope.octopus.sources.edge_columns import read_references, read_signs
from octoscope.octopus.sources.record import SourceCounts, SourceRecord, identifier_frame, pairs_of
from octoscope.octopus.sources.text import delimiter_of, read_frame

ASSUMED = "row whose direction is assumed, as nothing tells it (column directed)"
_OPTIONAL = ("sign", "mor", "weight", "directed", "score", "references", "n_references")


def read_edge_list(
    path: Path, name: str, ids: str, annotation: Annotation | None, release: str
) -> SourceRecord:
    """Read a TSV, CSV or Parquet table with columns ``source`` and ``target``.

    Optional columns: ``sign``, ``mor`` or ``weight`` (the first that tells signs, see
    :func:`~octoscope.octopus.sources.edge_columns.read_signs`), ``directed`` (true, false),
    ``score`` (0..1), ``references`` or ``n_references`` (a count, or publications). Rows with
    neither a sign nor ``directed`` are taken as directed, with a warning. Other columns are named
    in a warning.

    Parameters
    ----------
    ids
        Ontology of both ends: ensembl_gene, ensembl_protein, ncbi_entrez_gene, uniprot, symbol, …
        Symbols are looked up in the annotation.

    Raises
    ------
    InputError
        If columns are missing, the ontology is unknown, a sign cannot be read, or a score lies
        outside 0..1.
    """
    _require_ontology(name, ids, annotation)
    counts = SourceCounts()
    columns = dict.fromkeys(("source", "target", *_OPTIONAL), pa.string()) | {
        "directed": pa.bool_(), "score": pa.float32(),
    }  # fmt: skip
    frame = read_frame(path, columns, counts, delimiter=delimiter_of(path), optional=_OPTIONAL)
    empty = frame[["source", "target"]].isna().any(axis=1)
    counts.drop("without a source or target", int(empty.sum()))
    frame = frame[~empty]
    names = pd.unique(pd.concat([frame["source"], frame["target"]]).astype(str))
    identifiers = _identifiers(names, ids, annotation)
    known = np.zeros(len(names), bool)
    known[identifiers["species"].to_numpy(int)] = True
    if 0 < known.sum() < FEW * len(names):
        warn(f"{path}: only {int(known.sum()):,} of {len(names):,} ids are a known {ids}, for "
             f"example not {names[~known][0]!r}; check the field ids of {name}")  # fmt: skip
    index = pd.Index(names)
    a, b = index.get_indexer(frame["source"]), index.get_indexer(frame["target"])
    mapped = known[a] & known[b]
    counts.drop(f"an end is no known {ids}", int((~mapped).sum()), names[~known])
    frame, a, b = frame[mapped], a[mapped], b[mapped]
    score = frame.get("score")
    if score is not None and ((score < 0) | (score > 1)).any():
        raise InputError(f"{path}: score", "a value is outside 0..1", "rescale it")
    sign = read_signs(path, frame, counts)
    refs = read_references(frame, counts)
    told = frame["directed"].notna().to_numpy() if "directed" in frame else np.zeros(len(a), bool)
    stated = frame["directed"].eq(True).to_numpy(bool) if "directed" in frame else told
    assumed = ~told & (sign == 0)
    counts.note(ASSUMED, int(assumed.sum()))
    _warn(path, counts)
    directed = stated | assumed | (sign != 0)
    role = np.select(
        [sign > 0, sign < 0, directed],
        [ROLE_CODE[r] for r in ("stimulator", "inhibitor", "modifier")],
        ROLE_CODE["interactor"],
    )
    other = np.where(directed, ROLE_CODE["modified"], ROLE_CODE["interactor"])
    counts.kept = len(frame)
    return SourceRecord(
        name, release, [str(x) for x in names], identifiers,
        pairs_of(a, b, role, other, ~directed, origin=frame["row"].to_numpy(),
                 score=None if score is None else score.to_numpy(), refs=refs),
        files=[path], file_names=[path.name], counts=counts,
    )  # fmt: skip


def _require_ontology(name: str, ids: str, annotation: Annotation | None) -> None:
    where = f"sources.edge_lists: {name}: ids"
    if ids not in ONTOLOGIES:
        near = difflib.get_close_matches(ids, ONTOLOGIES, 1, 0.4)
        near = ["symbol"] if "symbol" in ids.lower() else near
        hint = f"write {near[0]}, or another" if near else "write one"
        raise InputError(
            where, f"no ontology {ids!r} is known", f"{hint} of {', '.join(ONTOLOGIES)}"
        )
    if ids == "symbol" and annotation is None:
        raise InputError(where, "symbols need an annotation, and the build names none",
                         "add annotation: {path: …}, a table of symbols and gene ids")  # fmt: skip


def _warn(path: Path, counts: SourceCounts) -> None:
    if counts.unread:
        warn(f"{path}: columns that are not read: {', '.join(counts.unread)[:300]}")
    assumed = counts.noted.get(ASSUMED)
    if assumed:
        warn(f"{path}: no column tells the direction of {assumed:,} rows; they are taken as "
             "directed. Add a column directed (true, false)")  # fmt: skip


def _identifiers(names: np.ndarray, ids: str, annotation: Annotation | None) -> pd.DataFrame:
    rows: list[tuple[int, str, str, str]] = []
    if ids == "symbol":
        found = annotation.of_symbols(("ncbi_entrez_gene", "ensembl_gene", "uniprot")) if (
            annotation is not None
        ) else {}  # fmt: skip
        for i, name in enumerate(names):
            rows += [(i, o, x, "BQB_IS_ENCODED_BY") for o, x in found.get(name.strip(), [])]
        return identifier_frame(rows)
    for i, name in enumerate(names):
        value = clean_identifier(ids, name)
        if value:
            rows.append((i, ids, value, "BQB_IS_ENCODED_BY" if ids == "ensembl_gene" else "BQB_IS"))
    return identifier_frame(rows)
