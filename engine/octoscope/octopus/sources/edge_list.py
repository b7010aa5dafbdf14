"""Any edge list of the user's as a source: two columns of ids, and what else it may say."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa

from octoscope.errors import InputError
from octoscope.octopus.gene_vertices import ensembl_gene
from octoscope.octopus.network_schema import ROLE_CODE
from octoscope.octopus.sources.annotation import Annotation
from octoscope.octopus.sources.record import SourceCounts, SourceRecord, identifier_frame, pairs_of
from octoscope.octopus.sources.text import delimiter_of, read_frame


def read_edge_list(
    path: Path, name: str, ids: str, annotation: Annotation | None, release: str
) -> SourceRecord:
    """Read a TSV, CSV or Parquet table with columns ``source`` and ``target``.

    Optional columns: ``sign`` (1, -1, 0), ``directed`` (true, false; default true), ``score``
    (0..1), ``references`` (a count).

    Parameters
    ----------
    ids
        Ontology of both ends: ensembl_gene, ensembl_protein, ncbi_entrez_gene, uniprot, symbol, …
        Symbols are looked up in the annotation.

    Raises
    ------
    InputError
        If columns are missing or a score lies outside 0..1.
    """
    counts = SourceCounts()
    columns = {
        "source": pa.string(), "target": pa.string(), "sign": pa.int8(), "directed": pa.bool_(),
        "score": pa.float32(), "references": pa.int32(),
    }  # fmt: skip
    optional = tuple(columns)[2:]
    frame = read_frame(path, columns, counts, delimiter=delimiter_of(path), optional=optional)
    empty = frame[["source", "target"]].isna().any(axis=1)
    counts.drop("without a source or target", int(empty.sum()))
    frame = frame[~empty]
    names = pd.unique(pd.concat([frame["source"], frame["target"]]).astype(str))
    identifiers = _identifiers(names, ids, annotation)
    known = np.zeros(len(names), bool)
    known[identifiers["species"].to_numpy(int)] = True
    index = pd.Index(names)
    a, b = index.get_indexer(frame["source"]), index.get_indexer(frame["target"])
    mapped = known[a] & known[b]
    counts.drop(f"an end is no known {ids}", int((~mapped).sum()), names[~known])
    frame, a, b = frame[mapped], a[mapped], b[mapped]
    score = frame.get("score")
    if score is not None and ((score < 0) | (score > 1)).any():
        raise InputError(f"{path}: score", "a value is outside 0..1", "rescale it")
    zero = pd.Series(0, index=frame.index)
    sign = frame.get("sign", zero).fillna(0).to_numpy(int)
    directed = frame.get("directed", zero == 0).ne(False).to_numpy(bool) | (sign != 0)
    role = np.select(
        [sign > 0, sign < 0, directed],
        [ROLE_CODE[r] for r in ("stimulator", "inhibitor", "modifier")],
        ROLE_CODE["interactor"],
    )
    other = np.where(directed, ROLE_CODE["modified"], ROLE_CODE["interactor"])
    refs = frame.get("references", zero).fillna(0)
    counts.kept = len(frame)
    return SourceRecord(
        name, release, [str(x) for x in names], identifiers,
        pairs_of(a, b, role, other, ~directed, origin=frame["row"].to_numpy(),
                 score=None if score is None else score.to_numpy(), refs=refs.to_numpy()),
        files=[path], file_names=[path.name], counts=counts,
    )  # fmt: skip


def _identifiers(names: np.ndarray, ids: str, annotation: Annotation | None) -> pd.DataFrame:
    rows: list[tuple[int, str, str, str]] = []
    if ids == "symbol":
        found = annotation.of_symbols(("ncbi_entrez_gene", "ensembl_gene", "uniprot")) if (
            annotation is not None
        ) else {}  # fmt: skip
        for i, name in enumerate(names):
            rows += [(i, o, x, "BQB_IS_ENCODED_BY") for o, x in found.get(name, [])]
        return identifier_frame(rows)
    for i, name in enumerate(names):
        value = ensembl_gene(name) if ids == "ensembl_gene" else name.strip()
        if value:
            rows.append((i, ids, value, "BQB_IS_ENCODED_BY" if ids == "ensembl_gene" else "BQB_IS"))
    return identifier_frame(rows)
