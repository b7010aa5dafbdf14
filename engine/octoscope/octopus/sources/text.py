"""Streaming delimited text: bounded memory, columns checked, bad rows counted, errors named."""

from __future__ import annotations

import re
import sys
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pac
import pyarrow.csv as pc
import pyarrow.parquet as pq

from octoscope.bounded_reads import coded_text, require_inflated, require_parquet, text_bytes
from octoscope.errors import InputError
from octoscope.octopus.sources.open_text import (
    column_positions,
    decoded,
    delimiter_of,
    fields_of,
    is_parquet,
    is_quoted,
    named_columns,
    open_binary,
    skip_comments,
)
from octoscope.octopus.sources.record import SourceCounts

_BLOCK = 16 << 20  # bytes of text parsed at once; no line may be longer
_PUBLISHED = "give the file in its published format"
SHORT = "another number of fields"  # why a row is left out
_NOTHING = ("", "NA", "N/A", "#N/A", "nan", "NaN", "NULL", "null", "None")
_CONVERSION = re.compile(
    r"In CSV column #(\d+): (?:Row #(\d+): )?CSV conversion error to (\w+): (.*)"
)
_KINDS = {"bool": "truth value", "int": "whole number", "float": "number", "double": "number"}
_TRUE = ("True", "TRUE", "true", "T", "t", "yes", "1", "1.0")
_FALSE = ("False", "FALSE", "false", "F", "f", "no", "0", "0.0")


def stream_table(
    path: Path,
    columns: dict[str, pa.DataType],
    counts: SourceCounts,
    *,
    delimiter: str | None = None,
    header: bool = True,
    optional: Collection[str] = (),
    called: Mapping[str, Collection[str]] | None = None,
    column_numbers: Mapping[str, int] | None = None,
    skipped: list[int] | None = None,
    comments: list[int] | None = None,
    fix: str = _PUBLISHED,
) -> Iterator[pa.RecordBatch]:
    """Yield record batches with the given columns, in the order of the file.

    The first line shows whether fields are quoted. Rows with another number of fields are
    left out and counted, columns that are not asked for are named in ``counts.unread``. Parquet
    files are read as well.

    Parameters
    ----------
    columns
        Name -> type of each wanted column.
    delimiter
        What separates the fields; None: decided by the first line.
    optional
        Columns that may be missing; they are then missing from the batches.
    called
        Column -> further names that it may have in the file.
    column_numbers
        Column -> its position, where that is known already; then ``optional`` and ``called`` do not
        count. Without a header and this: the file's columns in order.
    skipped
        Filled with the rows that are left out, counted from 1 after the header.
    comments
        Filled with the number of lines before the header that begin with ``#``.
    fix
        What to do if a column is missing.

    Raises
    ------
    InputError
        If the file cannot be read, lacks a column, holds a value that does not fit its type, or a
        line is longer than 16 MB.
    """
    if is_parquet(path):
        names = _parquet_names(path)
        at = dict(column_numbers) if column_numbers is not None else (
            column_positions(names, columns, optional, called or {}, str(path), fix)
        )  # fmt: skip
        counts.leave_unread(n for i, n in enumerate(names) if i not in at.values())
        yield from _parquet(path, {names[at[c]]: (c, t) for c, t in columns.items() if c in at},
                            counts)  # fmt: skip
        return
    skipped = [] if skipped is None else skipped
    comments = [] if comments is None else comments
    fields: list[int] = []  # of the rows that are left out

    def bad(row: Any) -> str:
        skipped.append(row.number or 0)
        fields.append(row.actual_columns)
        return "skip"

    with open_binary(path) as handle, _no_complaints():
        if header:
            names, line, delimiter, before = named_columns(handle, str(path), delimiter)
        else:
            before = skip_comments(handle)
            line = decoded(handle.peek(1 << 16).partition(b"\n")[0], str(path))
            delimiter = delimiter or delimiter_of(line)
            names = fields_of(line, delimiter)
        counts.note("comment line before the columns (#)", before)
        comments.append(before)
        if not header and column_numbers is None:
            column_numbers = {c: i for i, c in enumerate(columns)}
            names += [""] * (len(columns) - len(names))
        if column_numbers is None:
            at = column_positions(names, columns, optional, called or {}, str(path), fix)
        else:
            at = dict(column_numbers)
        if header:
            counts.leave_unread(n for i, n in enumerate(names) if i not in at.values())
        read = [f"_{i}" for i in range(len(names))]
        for column, i in at.items():
            read[i] = column
        types = {c: t for c, t in columns.items() if c in at}
        try:
            reader = pc.open_csv(
                handle,
                read_options=pc.ReadOptions(
                    block_size=_BLOCK, use_threads=False, column_names=read,
                ),
                parse_options=pc.ParseOptions(
                    delimiter=delimiter,
                    quote_char='"' if is_quoted(line, delimiter) else False,
                    ignore_empty_lines=False, invalid_row_handler=bad,
                ),
                convert_options=pc.ConvertOptions(
                    column_types=types, include_columns=list(types), strings_can_be_null=True,
                    null_values=list(_NOTHING), quoted_strings_can_be_null=False,
                    true_values=list(_TRUE), false_values=list(_FALSE),
                ),
            )  # fmt: skip
            for batch in reader:
                counts.read += batch.num_rows
                yield batch
        except (pa.ArrowInvalid, UnicodeDecodeError) as error:
            if "Empty CSV" in str(error) or "no more data" in str(error):
                return
            raise _fault(path, str(error), names, header + before) from None
    if header and skipped and not counts.read:
        raise InputError(
            f"{path}: line 1", f"names {len(names)} columns, and every row has another number of "
            f"fields (the first {fields[0]})",
            "write it again with a name for every column (R: write.table(…, row.names = FALSE); "
            "pandas: to_csv(…, index=False))",
        )  # fmt: skip
    counts.read += len(skipped)
    counts.drop(SHORT, len(skipped), [f"row {n}" for n in skipped[:3]])


@contextmanager
def _no_complaints() -> Iterator[None]:
    """Keep pyarrow from printing that a row of another number of fields is no UTF-8.

    It drops the error of its own call of the handler of such rows, and refuses the file then.
    """
    before = sys.unraisablehook
    sys.unraisablehook = lambda _: None
    try:
        yield
    finally:
        sys.unraisablehook = before


def read_frame(
    path: Path,
    columns: dict[str, pa.DataType],
    counts: SourceCounts,
    *,
    header: bool = True,
    optional: Collection[str] = (),
    called: Mapping[str, Collection[str]] | None = None,
    column_numbers: Mapping[str, int] | None = None,
    fix: str = _PUBLISHED,
) -> pd.DataFrame:
    """Return a whole table of moderate size, with ``row``: its row in the file, from 1.

    Text loses spaces at both ends; what is then empty is missing.

    Raises
    ------
    InputError
        As :func:`stream_table`.
    """
    skipped: list[int] = []
    comments: list[int] = []
    batches = list(
        stream_table(
            path, columns, counts, header=header, optional=optional, called=called,
            column_numbers=column_numbers, skipped=skipped, comments=comments, fix=fix,
        )
    )  # fmt: skip
    if batches:
        frame = pa.Table.from_batches(batches).to_pandas()
    else:
        frame = pd.DataFrame(columns=[c for c in columns if c not in optional])
    for column in frame.columns.intersection([c for c, t in columns.items() if t == pa.string()]):
        stripped = frame[column].str.strip() if len(frame) else frame[column]
        frame[column] = stripped.where(stripped != "")
    frame["row"] = line_of(np.arange(1, len(frame) + 1), skipped) + header
    frame["row"] += sum(comments)
    return frame


def first_line(path: Path) -> list[str]:
    """Return the fields of the first line of a text table, or the columns of a Parquet file.

    Raises
    ------
    InputError
        If it cannot be read.
    """
    if is_parquet(path):
        return _parquet_names(path)
    with open_binary(path) as handle:
        return named_columns(handle, str(path))[0]


def line_of(row: np.ndarray, skipped: list[int]) -> np.ndarray:
    """Return where the n-th readable row stands among all rows, both from 1."""
    left_out = np.sort(np.array(skipped, np.int64))
    return row + np.searchsorted(left_out - np.arange(len(left_out)), row, side="right")


def _parquet_names(path: Path) -> list[str]:
    try:
        return list(pq.read_schema(path).names)
    except (OSError, pa.ArrowException) as error:
        raise InputError(str(path), f"cannot be read ({error})", "get it again") from None


def _parquet(
    path: Path, chosen: dict[str, tuple[str, pa.DataType]], counts: SourceCounts
) -> Iterator[pa.RecordBatch]:
    """Yield columns of the file under other names: name in the file -> name, type."""
    try:
        file, packed, text = pq.ParquetFile(path), path.stat().st_size, 0
        require_parquet(file, packed, str(path), list(chosen))
        file = pq.ParquetFile(path, read_dictionary=coded_text(file))
        for batch in file.iter_batches(columns=list(chosen)):
            counts.read += batch.num_rows
            for column in batch.columns:
                if pa.types.is_dictionary(column.type):
                    text += text_bytes(column)
            require_inflated(text, packed, str(path), counts.read)
            cast = [_cast(batch.column(n), t) for n, (_, t) in chosen.items()]
            yield pa.RecordBatch.from_arrays(cast, names=[c for c, _ in chosen.values()])
    except (OSError, pa.ArrowException) as error:
        raise InputError(str(path), f"cannot be read ({error})", "get it again") from None


def _cast(column: pa.Array, kind: pa.DataType) -> pa.Array:
    plain = column.dictionary_decode() if pa.types.is_dictionary(column.type) else column
    if pa.types.is_floating(plain.type):  # as text it would be a word
        plain = pac.if_else(pac.is_nan(plain), None, plain)
    return plain.cast(kind)


def _fault(path: Path, message: str, names: list[str], before: int) -> InputError:
    """Return an error that names the column, the row and the value, in words of ours."""
    if "straddling object" in message:
        return InputError(str(path), f"a line is longer than {_BLOCK >> 20} MB",
                          "download it again, or repair the line")  # fmt: skip
    match = _CONVERSION.search(message)
    if match is None:
        return InputError(str(path), message.splitlines()[0][:300],
                          "download it again, or repair the line")  # fmt: skip
    column, row, kind, rest = match.groups()
    where = f", row {int(row) + before}" if row else ""
    name = names[int(column)] or f"column {int(column) + 1}"
    if "UTF8" in rest:
        return InputError(f"{path}: {name}{where}", "is not UTF-8 text", "save it as UTF-8 text")
    value = rest.partition("invalid value ")[2] or rest
    expected = next((w for k, w in _KINDS.items() if kind.startswith(k)), kind)
    return InputError(f"{path}: {name}{where}", f"{value[:100]} is no {expected}",
                      "download it again, or repair the line")  # fmt: skip


class Names:
    """Names numbered in the order in which they are first met."""

    def __init__(self) -> None:
        self.code: dict[str, int] = {}

    def of(self, column: Any) -> Any:
        """Return the numbers of a text or dictionary column as int32."""
        coded = column if pa.types.is_dictionary(column.type) else column.dictionary_encode()
        values = coded.dictionary.to_pylist()
        table = np.array(
            [-1 if v is None else self.code.setdefault(v, len(self.code)) for v in values] or [-1],
            np.int32,
        )
        at = coded.indices.fill_null(0).to_numpy(zero_copy_only=False)
        out = table[at] if len(values) else np.full(len(at), -1, np.int32)
        return np.where(coded.indices.is_null().to_numpy(zero_copy_only=False), -1, out)

    def __len__(self) -> int:
        return len(self.code)

    @property
    def names(self) -> list[str]:
        """All names, by number."""
        return list(self.code)
