"""Tables of pairs and lists of genes as files, and files of tables."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

import pandas as pd

from octoscope.octopus import pair_files
from octoscope.output_files import new_file, require_new
from octoscope.store.run_dir import require_lasting


def read_pairs(path: str | Path, columns: Sequence[str] = ("query", "key")) -> pd.DataFrame:
    """Return a table (Parquet, TSV, CSV) that has the given columns, as text.

    Raises
    ------
    InputError
        If it cannot be read or a column is missing.
    """
    return pair_files.read_pairs(Path(path), tuple(columns))


def read_genes(path: str | Path) -> list[str]:
    """Return the lines of a text file, without blanks and repeats.

    Raises
    ------
    InputError
        If it cannot be read or is empty.
    """
    return pair_files.read_genes(Path(path))


def require_table(
    path: str | Path, *, force: bool = False, inputs: Iterable[str | Path] = ()
) -> None:
    """Refuse a file that :func:`write_table` would refuse, before minutes of work.

    Raises
    ------
    InputError
        As :func:`write_table` does.
    """
    require_lasting(str(path))
    require_new(Path(path), force=force, inputs=inputs)
    pair_files.require_table(Path(path))


def write_table(
    table: pd.DataFrame,
    path: str | Path,
    *,
    force: bool = False,
    inputs: Iterable[str | Path] = (),
) -> None:
    """Write a table as the ending says: Parquet, TSV (``.tsv``, ``.txt``) or CSV; ``.gz`` packs.

    Parameters
    ----------
    force
        Replace a file that is there.
    inputs
        Paths that were read: nothing is written into them.

    Raises
    ------
    InputError
        If the ending is of no table, the file may not be written, or it is a relative path in a
        submitted job, whose folder Ray deletes.
    """
    require_lasting(str(path))
    with new_file(Path(path), force=force, inputs=inputs) as file:
        pair_files.write_table(table, file, Path(path))
