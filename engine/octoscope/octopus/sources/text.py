"""Streaming delimited text: bounded memory, columns checked, bad rows counted, errors named."""

from __future__ import annotations

import gzip
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.csv as pc
import pyarrow.parquet as pq

from octoscope.errors import InputError
from octoscope.octopus.sources.record import SourceCounts

_BLOCK = 16 << 20  # bytes of text parsed at once; no line may be longer


@contextmanager
def open_binary(path: Path) -> Iterator[IO[bytes]]:
    """Open a file, or the only member of a ``.gz`` or ``.zip``.

    Raises
    ------
    InputError
        If it does not exist or is damaged.
    """
    try:
        if path.suffix == ".gz":
            with gzip.open(path, "rb") as handle:
                yield handle  # type: ignore[misc]
        elif path.suffix == ".zip":
            with zipfile.ZipFile(path) as archive:
                members = [m for m in archive.namelist() if not m.endswith("/")]
                if len(members) != 1:
                    raise InputError(str(path), f"holds {len(members)} files", "unpack it")
                with archive.open(members[0]) as handle:
                    yield handle
        else:
            with path.open("rb") as handle:
                yield handle
    except (OSError, EOFError, zlib.error, zipfile.BadZipFile) as error:
        raise InputError(str(path), f"cannot be read ({error})", "download it again") from None


def stream_table(
    path: Path,
    columns: dict[str, pa.DataType],
    counts: SourceCounts,
    *,
    delimiter: str = "\t",
    header: bool = True,
    optional: tuple[str, ...] = (),
    skipped: list[int] | None = None,
) -> Iterator[pa.RecordBatch]:
    """Yield record batches with the given columns, in the order of the file.

    Rows with another number of fields are left out and counted, columns that are not asked for
    are named in ``counts.unread``. Parquet files are read as well.

    Parameters
    ----------
    columns
        Name -> type of each wanted column. Without a header they are the file's columns in order.
    optional
        Columns that may be missing; they are then missing from the batches.
    skipped
        Filled with the rows that are left out, counted from 1 after the header.

    Raises
    ------
    InputError
        If the file cannot be read, lacks a column, holds a value that does not fit its type, or a
        line is longer than 16 MB.
    """
    if path.suffix == ".parquet":
        yield from _parquet(path, columns, optional, counts)
        return
    skipped = [] if skipped is None else skipped

    def bad(row: Any) -> str:
        skipped.append(row.number or 0)
        return "skip"

    with open_binary(path) as handle:
        names = list(columns)
        if header:
            names = _header(path, handle.readline(1 << 20), delimiter, columns, optional)
            counts.unread += [n for n in names if n not in columns and n not in counts.unread]
        wanted = {c: t for c, t in columns.items() if c in names}
        try:
            reader = pc.open_csv(
                handle,
                read_options=pc.ReadOptions(
                    block_size=_BLOCK, use_threads=False, column_names=names,
                ),
                parse_options=pc.ParseOptions(
                    delimiter=delimiter, quote_char='"' if delimiter == "," else False,
                    ignore_empty_lines=False, invalid_row_handler=bad,
                ),
                convert_options=pc.ConvertOptions(
                    column_types=wanted, include_columns=list(wanted), strings_can_be_null=True,
                    null_values=["", "NA", "nan"], quoted_strings_can_be_null=False,
                    true_values=["True", "TRUE", "true", "1"],
                    false_values=["False", "FALSE", "false", "0"],
                ),
            )  # fmt: skip
            for batch in reader:
                counts.read += batch.num_rows
                yield batch
        except (pa.ArrowInvalid, UnicodeDecodeError) as error:
            if "Empty CSV" in str(error) or "no more data" in str(error):
                return
            raise InputError(
                str(path), _plain(str(error)), "download it again, or repair the line"
            ) from None
    counts.read += len(skipped)
    counts.drop("another number of fields", len(skipped), [f"row {n}" for n in skipped[:3]])


def read_frame(
    path: Path,
    columns: dict[str, pa.DataType],
    counts: SourceCounts,
    *,
    delimiter: str = "\t",
    header: bool = True,
    optional: tuple[str, ...] = (),
) -> pd.DataFrame:
    """Return a whole table of moderate size, with ``row``: its row in the file, from 1.

    Text loses spaces at both ends; what is then empty is missing.

    Raises
    ------
    InputError
        As :func:`stream_table`.
    """
    skipped: list[int] = []
    batches = list(
        stream_table(
            path, columns, counts, delimiter=delimiter, header=header, optional=optional,
            skipped=skipped,
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
    return frame


def line_of(row: np.ndarray, skipped: list[int]) -> np.ndarray:
    """Return where the n-th readable row stands among all rows, both from 1."""
    left_out = np.sort(np.array(skipped, np.int64))
    return row + np.searchsorted(left_out - np.arange(len(left_out)), row, side="right")


def _header(
    path: Path,
    line: bytes,
    delimiter: str,
    columns: dict[str, pa.DataType],
    optional: tuple[str, ...],
) -> list[str]:
    names = header_names(line, delimiter, str(path))
    missing = [c for c in columns if c not in names and c not in optional]
    if missing:
        raise InputError(
            f"{path}: line 1",
            f"no column {missing[0]!r}; found {', '.join(names)[:200]}",
            "give the file in its published format",
        )
    twice = [c for c in columns if names.count(c) > 1]
    if twice:
        raise InputError(f"{path}: line 1", f"column {twice[0]!r} twice", "keep one of them")
    return names


def delimiter_of(path: Path) -> str:
    """Return what separates the fields of a text table: a comma in ``.csv``, else a tab."""
    return "," if ".csv" in path.suffixes else "\t"


def header_names(line: bytes, delimiter: str, where: str) -> list[str]:
    """Return the column names of a header line; a byte order mark and quotes are taken off.

    Raises
    ------
    InputError
        If it is not text.
    """
    try:
        names = line.decode("utf-8-sig").rstrip("\r\n").split(delimiter)
    except UnicodeDecodeError:
        raise InputError(f"{where}: line 1", "is not text", "unpack or download it") from None
    return [n.strip('"') for n in names]


def _parquet(
    path: Path, columns: dict[str, pa.DataType], optional: tuple[str, ...], counts: SourceCounts
) -> Iterator[pa.RecordBatch]:
    try:
        file = pq.ParquetFile(path)
        names = file.schema_arrow.names
        missing = [c for c in columns if c not in names and c not in optional]
        if missing:
            raise InputError(str(path), f"no column {missing[0]!r}", "give the published columns")
        wanted = {c: t for c, t in columns.items() if c in names}
        counts.unread += [n for n in names if n not in columns and n not in counts.unread]
        for batch in file.iter_batches(columns=list(wanted)):
            counts.read += batch.num_rows
            cast = [_cast(batch.column(c), t) for c, t in wanted.items()]
            yield pa.RecordBatch.from_arrays(cast, names=list(wanted))
    except (OSError, pa.ArrowException) as error:
        raise InputError(str(path), f"cannot be read ({error})", "get it again") from None


def _cast(column: pa.Array, kind: pa.DataType) -> pa.Array:
    plain = column.dictionary_decode() if pa.types.is_dictionary(column.type) else column
    return plain.cast(kind)


def _plain(message: str) -> str:
    if "straddling object" in message:
        return f"a line is longer than {_BLOCK >> 20} MB"
    return message.splitlines()[0][:300]


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
