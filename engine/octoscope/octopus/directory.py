"""Reading and writing an Octopus directory: whole or not at all, every file with its digest."""

from __future__ import annotations

import json
import operator
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from octoscope.bounded_reads import parquet_table, read_bounded, require_regular
from octoscope.digests import file_digest
from octoscope.errors import InputError, reading
from octoscope.json_values import parse_json
from octoscope.octopus.network_schema import SCHEMA, TABLES
from octoscope.output_files import new_folder

# Columns that mostly count upwards: differences take a tenth of the bytes of a dictionary.
_COUNTERS = ("origin", "reaction", "evidence")
_AGAIN = "build or import the directory again"


class DirectoryWriter:
    """Tables of a directory that does not exist yet; it appears only once it is complete."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._open: dict[str, pq.ParquetWriter] = {}

    def write(self, name: str, table: pa.Table) -> None:
        """Append rows to ``<name>.parquet``; the first rows of a name fix its columns."""
        known = TABLES.get(name)
        if known is not None:
            table = table.select(known.names).cast(known)
        if name not in self._open:
            path = inside(self.folder, f"{name}.parquet")
            path.parent.mkdir(exist_ok=True)
            counters = [c for c in _COUNTERS if c in table.schema.names]
            plain = [c for c in table.schema.names if c not in counters]
            self._open[name] = pq.ParquetWriter(
                path, table.schema, compression="zstd", use_dictionary=plain,
                column_encoding=dict.fromkeys(counters, "DELTA_BINARY_PACKED") or None,
            )  # fmt: skip
        self._open[name].write_table(table, row_group_size=1 << 20)

    def close(self, meta: dict[str, Any]) -> None:
        """Finish every table (absent ones are written empty) and ``octopus.json``."""
        for name, schema in TABLES.items():
            if name not in self._open:
                self.write(name, schema.empty_table())
        for writer in self._open.values():
            writer.close()
        files = {n + ".parquet": file_digest(self.folder / f"{n}.parquet") for n in self._open}
        body = {"schema": SCHEMA, **meta, "files": dict(sorted(files.items()))}
        text = json.dumps(body, indent=1, ensure_ascii=False) + "\n"
        (self.folder / "octopus.json").write_text(text)


def inside(folder: Path, name: str) -> Path:
    """Return the path of a file in a directory.

    Raises
    ------
    InputError
        If the name leads out of it.
    """
    path = (folder / name).resolve()
    if not path.is_relative_to(folder.resolve()) or ".." in Path(name).parts:
        raise InputError(f"{folder}/octopus.json", f"{name!r} leads out of the directory", _AGAIN)
    return path


@contextmanager
def new_directory(path: str | Path, inputs: Iterable[str | Path] = ()) -> Iterator[DirectoryWriter]:
    """Write into a hidden folder beside ``path`` and give it the name at the end.

    ``inputs``: files and folders that are read, into which nothing is written.

    Raises
    ------
    InputError
        If something is there already (a directory is never overwritten), or it would lie in a run
        or an input.
    """
    with new_folder(path, inputs) as hidden:
        yield DirectoryWriter(hidden)
        if not (hidden / "octopus.json").exists():
            raise RuntimeError("the directory was not closed")


def read_meta(folder: Path) -> dict[str, Any]:
    """Return ``octopus.json``.

    Raises
    ------
    InputError
        If it is not there, not JSON, or of another version.
    """
    path = folder / "octopus.json"
    try:
        meta: dict[str, Any] = parse_json(read_bounded(path))
    except (OSError, ValueError) as error:
        raise InputError(
            str(path), f"cannot be read ({error})", f"check the path (network.path), or {_AGAIN}"
        ) from None
    version = meta.get("schema") if isinstance(meta, dict) else None
    if version != SCHEMA:
        raise InputError(str(path), f"schema is {version!r}, expected {SCHEMA!r}", _AGAIN)
    return meta


def read_table(folder: Path, name: str, columns: list[str] | None = None) -> pa.Table:
    """Return one table of a directory.

    Raises
    ------
    InputError
        If it is missing, truncated, lacks a column, or a row names no vertex.
    """
    path = folder / f"{name}.parquet"
    try:
        with reading(path, _AGAIN):
            require_regular(path)
            file, known = pq.ParquetFile(path), TABLES.get(name)
            chosen = columns or (None if known is None else known.names)
            have = file.schema_arrow
            for column in chosen or ():
                if column not in have.names:
                    raise InputError(str(path), f"no column {column!r}", _AGAIN)
                kind = None if known is None else known.field(column).type
                if kind is not None and not _is_like(have.field(column).type, kind):
                    problem = f"holds {have.field(column).type}, expected {kind}"
                    raise InputError(f"{path}: {column}", problem, _AGAIN)
            table = parquet_table(path, str(path), chosen)
            for column in {"vertex", "src", "dst"} & set(table.column_names):
                if absent := table[column].null_count:
                    raise InputError(f"{path}: {column}", f"{absent} rows have none", _AGAIN)
            return table
    except OSError as error:
        raise InputError(str(path), f"cannot be read ({error})", "check the path") from None


def _is_like(actual: pa.DataType, expected: pa.DataType) -> bool:
    """Tell whether a column is of a type, be it coded or not."""
    plain = (t.value_type if pa.types.is_dictionary(t) else t for t in (actual, expected))
    return bool(operator.eq(*plain))


def codes_of(column: pa.ChunkedArray, names: Sequence[str]) -> np.ndarray:
    """Return a text or dictionary column as [rows] uint8 positions in ``names``.

    Raises
    ------
    ValueError
        Naming a value that is not among them.
    """
    code_of = {name: i for i, name in enumerate(names)}
    parts = []
    for chunk in column.chunks:
        coded = chunk if pa.types.is_dictionary(chunk.type) else chunk.dictionary_encode()
        values = coded.dictionary.to_pylist()
        used: list[int] = np.unique(coded.indices.to_numpy(zero_copy_only=False)).tolist()
        unknown = [values[i] for i in used if values[i] not in code_of]
        if unknown:
            raise ValueError(f"{unknown[0]!r} is not one of {', '.join(names)}")
        table = np.array([code_of.get(v, 0) for v in values] or [0], np.uint8)
        parts.append(table[coded.indices.to_numpy(zero_copy_only=False)])
    return np.concatenate(parts) if parts else np.zeros(0, np.uint8)


def verify_directory(folder: Path) -> list[str]:
    """Return what does not match the digests of ``octopus.json``, one line per file."""
    files = read_meta(folder).get("files", {})
    faults = []
    for name, expected in files.items():
        path = inside(folder, name)
        if not path.is_file():
            faults.append(f"{name}: missing")
        elif file_digest(path) != expected:
            faults.append(f"{name}: content does not match its digest")
    return faults
