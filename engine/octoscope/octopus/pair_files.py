"""Tables of pairs and lists of genes that users hand in."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import pandas as pd

from octoscope.bounded_reads import TEXT_TABLE, read_bounded, read_parquet
from octoscope.errors import InputError, reads
from octoscope.octopus.sources.open_text import (
    decoded,
    delimiter_of,
    is_parquet,
    open_binary,
)

_TABLES = {".parquet": "", ".tsv": "\t", ".txt": "\t", ".csv": ","}


def require_table(named: Path, otherwise: str = "") -> str:
    """Return the ending that says how a table of this name is written; of :func:`write_table`.

    Parameters
    ----------
    otherwise
        Ending that counts if the name has none of a table. Without it a name without any ending
        is Parquet.

    Raises
    ------
    InputError
        If there is none.
    """
    plain = named.with_suffix("") if named.suffix == ".gz" else named
    ending = plain.suffix.lower()
    ending = ending if ending in _TABLES else otherwise
    ending = ending if plain.suffix or otherwise else ".parquet"
    if ending not in _TABLES or (ending == ".parquet" and named.suffix == ".gz"):
        raise InputError(str(named), "its ending is of no table",
                         f"name it {', '.join(_TABLES)}")  # fmt: skip
    return ending


def write_table(frame: pd.DataFrame, path: Path, named: Path, otherwise: str = "") -> None:
    """Write a table as the ending of its name says: Parquet, TSV (``.tsv``, ``.txt``) or CSV.

    ``.gz`` behind it packs a text.

    Parameters
    ----------
    path
        File to write, of any name.
    named, otherwise
        What the file will be called; see :func:`require_table`.

    Raises
    ------
    InputError
        If the ending is of no table.
    """
    ending = require_table(named, otherwise)
    if ending == ".parquet":
        frame.to_parquet(path, compression="zstd", index=False)
    else:
        packed: Literal["gzip"] | None = "gzip" if named.suffix == ".gz" else None
        frame.to_csv(path, sep=_TABLES[ending], index=False, compression=packed)


@reads("give a table")
def read_pairs(path: Path, columns: tuple[str, ...]) -> pd.DataFrame:
    """Return a table (Parquet, TSV, CSV) that has the given columns, as text.

    Raises
    ------
    InputError
        If it cannot be read or a column is missing.
    """
    try:
        if is_parquet(path):
            table = read_parquet(path)
        else:
            with open_binary(path, TEXT_TABLE) as handle:
                line = decoded(handle.peek(1 << 16).partition(b"\n")[0], str(path))
                separator = delimiter_of(line)
                table = pd.read_csv(handle, sep=separator, dtype=dict.fromkeys(columns, str))
    except (OSError, ValueError) as error:
        raise InputError(str(path), f"cannot be read ({error})", "give a table") from None
    missing = [c for c in columns if c not in table]
    if missing:
        raise InputError(
            str(path),
            f"no column {missing[0]!r}; found {', '.join(map(str, table.columns))[:200]}",
            "name the columns with --columns",
        )
    return table


def read_genes(path: Path) -> list[str]:
    """Return the lines of a text file, without blanks and repeats.

    Raises
    ------
    InputError
        If it cannot be read or is empty.
    """
    try:
        lines = read_bounded(path).decode("utf-8-sig").split()
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(str(path), f"cannot be read ({error})", "give a text file") from None
    if not lines:
        raise InputError(str(path), "names no gene", "write one Ensembl id per line")
    return list(dict.fromkeys(lines))
