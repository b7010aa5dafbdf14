"""Tables of pairs and lists of genes that users hand in."""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from octoscope.errors import InputError
from octoscope.octopus.sources.text import delimiter_of


def read_pairs(path: Path, columns: tuple[str, ...]) -> pd.DataFrame:
    """Return a table (Parquet, TSV, CSV) that has the given columns, as text.

    Raises
    ------
    InputError
        If it cannot be read or a column is missing.
    """
    try:
        if path.suffix == ".parquet":
            table = pd.read_parquet(path)
        else:
            table = pd.read_csv(path, sep=delimiter_of(path), dtype=dict.fromkeys(columns, str))
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
        lines = path.read_text(encoding="utf-8-sig").split()
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(str(path), f"cannot be read ({error})", "give a text file") from None
    if not lines:
        raise InputError(str(path), "names no gene", "write one Ensembl id per line")
    return list(dict.fromkeys(lines))
