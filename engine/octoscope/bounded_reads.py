"""Reading files that somebody names: regular ones, of a size that fits their kind.

What is packed may inflate to 256 MB, or to a hundred times the bytes of its file if that is more.
"""

from __future__ import annotations

import bz2
import errno
import gzip
import io
import lzma
import os
import stat
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from octoscope.errors import InputError

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd
    import pyarrow as pa

MOST = 1 << 26  # bytes: 64 MB, where configurations and vocabularies take a few
TEXT_TABLE = 1 << 32  # bytes of a table in text, inflated; in memory it takes several times more
FREE = 1 << 28  # bytes that any packed file may inflate to
INFLATES = 100  # times the packed file beyond that; text reaches 30, tables of pairs less
_BUFFER = 1 << 20
_PACKERS: tuple[tuple[bytes, Any], ...] = (
    (b"\x1f\x8b", gzip.open), (b"BZh", bz2.open), (b"\xfd7zXZ\x00", lzma.open),
)  # fmt: skip


def require_regular(path: Path) -> None:
    """Refuse a pipe or a device, which may never end; the caller refuses a folder.

    Raises
    ------
    OSError
        If it is absent, a pipe or a device.
    """
    kind = os.stat(path).st_mode
    if not (stat.S_ISREG(kind) or stat.S_ISDIR(kind)):
        raise OSError(errno.EINVAL, "is no regular file", str(path))


def read_bounded(path: Path, most: int = MOST) -> bytes:
    """Return the content of a file.

    Raises
    ------
    OSError
        If it is absent, a folder, a pipe or a device (which may never end), or larger.
    """
    require_regular(path)
    with path.open("rb") as handle:
        raw = handle.read(most + 1)
    if len(raw) > most:
        raise OSError(errno.EFBIG, f"has more than {most:,} bytes", str(path))
    return raw


def read_whole(path: Path) -> bytes:
    """Return the content of a large file, which must fit into the memory that is free.

    Raises
    ------
    OSError
        If it is absent, a folder, a pipe or a device, or larger than the free memory.
    """
    import psutil

    require_regular(path)
    size, free = path.stat().st_size, int(psutil.virtual_memory().available)
    if size > free:
        what = f"takes {size / 1e9:.1f} GB, {free / 1e9:.1f} GB of memory are free"
        raise OSError(errno.EFBIG, what, str(path))
    return read_bounded(path, size)


class _Bounded(io.RawIOBase):
    """A stream that ends in an error where it, or a line of it, has more bytes than it may."""

    def __init__(self, stream: Any, where: str, most: int, fix: str, line: int | None) -> None:
        self._stream, self._where, self._most, self._fix = stream, where, most, fix
        self._line, self._bytes, self._of_line = line, 0, 0

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        part = self._stream.read(len(buffer))
        self._bytes += len(part)
        if self._bytes > self._most:
            what = f"has more than {self._most:,} bytes, inflated"
            raise InputError(self._where, what, self._fix)
        last = part.rfind(b"\n")
        self._of_line = len(part) - last - 1 if last >= 0 else self._of_line + len(part)
        if self._line is not None and self._of_line > self._line:
            what = f"has a line of more than {self._line:,} bytes"
            raise InputError(self._where, what, "repair the line, or download the file again")
        buffer[: len(part)] = part
        return len(part)

    def close(self) -> None:
        self._stream.close()
        super().close()


def bounded(stream: Any, where: str, packed: int, most: int | None = None) -> io.BufferedReader:
    """Return a stream that refuses to give more than the bytes of its file may inflate to.

    Parameters
    ----------
    stream
        What is inflated from the file.
    packed
        Bytes of the file.
    most
        Bytes that a table in text may have in any case, each line 64 MB of them; None: as packed
        text may.
    """
    inflated = max(FREE, INFLATES * packed)
    fix = f"it inflates more than {INFLATES} times: unpack it and look at what it holds"
    if most is not None and most < inflated:
        inflated, fix = most, "give fewer rows, or write the table as Parquet"
    line = None if most is None else MOST
    return io.BufferedReader(_Bounded(stream, where, inflated, fix, line), _BUFFER)


@contextmanager
def open_bounded(path: Path, most: int | None = None) -> Iterator[io.BufferedReader]:
    """Open a file, or what gzip, bzip2 or xz packed in it; the first bytes tell, not the name.

    ``most``: see :func:`bounded`; plain files without it have no bound.

    Raises
    ------
    OSError
        If it is absent, a folder, a pipe or a device.
    InputError
        While it is read: it has more bytes than it may.
    """
    require_regular(path)
    with ExitStack() as stack:
        plain: Any = stack.enter_context(path.open("rb"))
        start = plain.read(6)
        plain.seek(0)
        unpack = next((f for signature, f in _PACKERS if start.startswith(signature)), None)
        if unpack is not None:
            plain = stack.enter_context(unpack(plain, "rb"))
        if unpack is None and most is None:
            yield io.BufferedReader(plain, _BUFFER)
        else:
            yield bounded(plain, str(path), path.stat().st_size, most)


def require_parquet(
    file: Any, packed: int, where: str, columns: Sequence[str] | None = None
) -> None:
    """Compare the sizes in the footer of a Parquet file with its bytes, before values are read.

    A value counts as 8 bytes at least: run-length codes store a billion equal ones in a few.

    Parameters
    ----------
    file
        ``pyarrow.parquet.ParquetFile``.
    packed
        Bytes of the file.
    columns
        That will be read; None: all.

    Raises
    ------
    InputError
        If it would inflate to more than 256 MB and more than a hundred times its bytes.
    """
    footer, stated = file.metadata, 0
    for group in range(footer.num_row_groups):
        part = footer.row_group(group)
        for i in range(part.num_columns):
            column = part.column(i)
            if columns is None or column.path_in_schema.partition(".")[0] in columns:
                width = max(8, footer.schema.column(i).length or 0)
                stated += max(column.total_uncompressed_size, column.num_values * width)
    require_inflated(stated, packed, where, footer.num_rows)


def require_inflated(stated: int, packed: int, where: str, rows: int) -> None:
    """Refuse rows that take more than 256 MB and more than a hundred times the bytes of their file.

    Raises
    ------
    InputError
        Naming both.
    """
    if stated > max(FREE, INFLATES * packed):
        raise InputError(
            where, f"has {packed:,} bytes, and its {rows:,} rows take {stated:,} in memory",
            "give fewer rows; if it is meant so, write it without compression",
        )  # fmt: skip


def text_bytes(column: Any) -> int:
    """Return how many bytes the coded text of an Arrow array takes when it is no longer coded.

    Text inside lists, structs and maps counts too.
    """
    import pyarrow.compute as pac
    from pyarrow import types

    kind = column.type
    if types.is_dictionary(kind):
        lengths = pac.take(pac.binary_length(column.dictionary), column.indices)
        return int(pac.sum(lengths).as_py() or 0)
    if types.is_struct(kind):
        return sum(text_bytes(column.field(i)) for i in range(kind.num_fields))
    if types.is_map(kind):
        return text_bytes(column.keys) + text_bytes(column.items)
    return text_bytes(column.flatten()) if types.is_nested(kind) else 0


def coded_text(file: Any) -> list[str]:
    """Return the paths of the columns of a Parquet file that hold text which is not coded yet.

    Parameters
    ----------
    file
        ``pyarrow.parquet.ParquetFile``.
    """
    from pyarrow import types

    schema, fields, paths = file.schema, file.schema_arrow, []
    coded = {field.name for field in fields if types.is_dictionary(field.type)}
    for i in range(len(schema)):
        column = schema.column(i)
        is_text = column.physical_type == "BYTE_ARRAY"
        if is_text and column.path.partition(".")[0] not in coded and column.path not in coded:
            paths.append(column.path)
    return paths


def parquet_table(
    source: Path | IO[bytes], where: str, columns: Sequence[str] | None = None
) -> pa.Table:
    """Return columns (None: all) of a Parquet table whose footer states sizes that fit its bytes.

    Text is read coded, so that its size is known before it is repeated.

    Parameters
    ----------
    source
        Path, or an open file.
    where
        Its name in errors.

    Raises
    ------
    InputError
        If it would inflate to more than 256 MB and more than a hundred times its bytes.
    OSError, ValueError
        If it is absent, a pipe or a device, or no Parquet.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    if isinstance(source, Path):
        require_regular(source)
        packed = source.stat().st_size
    else:
        packed = source.seek(0, os.SEEK_END)
    file = pq.ParquetFile(source)
    require_parquet(file, packed, where, columns)
    names = file.schema_arrow.names if columns is None else list(columns)
    schema = pa.schema([file.schema_arrow.field(n) for n in names], file.schema_arrow.metadata)
    text = coded_text(file)
    if text:
        file = pq.ParquetFile(source, read_dictionary=text)
    table = file.read(columns=None if columns is None else names)
    stated = sum(
        text_bytes(chunk)
        for field in schema if not pa.types.is_dictionary(field.type)
        for chunk in table[field.name].chunks
    )  # fmt: skip
    require_inflated(table.nbytes + stated, packed, where, table.num_rows)
    return table.cast(schema) if text else table


def read_parquet(source: Path | bytes, where: str | None = None) -> pd.DataFrame:
    """Return a Parquet file, or its content, as a data frame; see :func:`parquet_table`."""
    name = str(source) if where is None and isinstance(source, Path) else str(where)
    handle = io.BytesIO(source) if isinstance(source, bytes) else source
    return parquet_table(handle, name).to_pandas()


def read_npy(path: Path) -> np.ndarray:
    """Return the array of an ``.npy`` file, mapped into memory; its size is that of the file.

    Raises
    ------
    OSError
        If it is absent, a pipe or a device.
    ValueError
        If it is no such file, holds Python objects, or states more values than it has.
    """
    import numpy as np

    require_regular(path)
    try:
        values = np.load(path, mmap_mode="r", allow_pickle=False)
    except (OSError, ValueError):
        raise
    except Exception as error:  # noqa: BLE001  a damaged header, parsed as Python, fails in many ways
        raise ValueError(f"no sound npy file: {error}") from None
    if not isinstance(values, np.ndarray):
        raise ValueError("is an archive of arrays, not one")
    return values
