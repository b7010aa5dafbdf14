"""Parquet tables of a run: deterministic bytes, category and gene names as plain strings."""

from __future__ import annotations

import io
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from octoscope.bounded_reads import parquet_table
from octoscope.digests import digest_of
from octoscope.errors import REPAIR, DamagedRunError, damaged_run, reading
from octoscope.store.run_dir import RunRoot

_NULLABLE: dict[str, Any] = {
    "bool": pd.BooleanDtype(),
    "int16": pd.Int16Dtype(),
    "int32": pd.Int32Dtype(),
    "int64": pd.Int64Dtype(),
}
VOCABULARY = "tables/vocabulary.parquet"  # what became of every gene, per model


def table_bytes(frame: pd.DataFrame) -> bytes:
    """Return a frame as Parquet (zstd); the same frame gives the same bytes."""
    table = pa.Table.from_pandas(frame, preserve_index=False).replace_schema_metadata(None)
    buffer = io.BytesIO()
    pq.write_table(table, buffer, compression="zstd", store_schema=False)
    return buffer.getvalue()


def write_table(root: RunRoot, relative: str, frame: pd.DataFrame) -> dict[str, Any]:
    """Write a table atomically; returns its bytes and sha256."""
    data = table_bytes(frame)
    root.replace(relative, data)
    return digest_of(data)


def read_table(root: RunRoot, relative: str) -> pd.DataFrame:
    """Read a table; whole numbers and booleans with nulls are of pandas' nullable types.

    Raises
    ------
    DamagedRunError
        If it is absent or not Parquet.
    """
    try:
        with reading(root.at(relative), REPAIR, damaged_run), root.open(relative) as handle:
            return _frame(parquet_table(handle, root.at(relative)))
    except OSError as error:
        raise DamagedRunError(f"{root.at(relative)}: cannot be read ({error})") from None


def _frame(table: pa.Table) -> pd.DataFrame:
    frame = table.to_pandas()
    for field in table.schema:
        nullable = _NULLABLE.get(str(field.type))
        if nullable is not None and table[field.name].null_count:
            # pandas would make floats of them, and objects of booleans
            frame[field.name] = table[field.name].to_pandas(types_mapper={field.type: nullable}.get)
    return frame
