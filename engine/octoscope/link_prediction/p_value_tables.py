"""Reads p values of effects: a matrix of targets x perturbed genes, as of Replogle et al. 2022.

Their table of Anderson-Darling tests has a row per target (Ensembl id) and a column per
perturbation, whose name ends in the Ensembl id of the perturbed gene. A test says that a target
responds, not in which direction: p values choose among effects that another file states.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd

from octoscope.bounded_reads import TEXT_TABLE
from octoscope.errors import InputError, reads
from octoscope.octopus.sources.open_text import open_binary

_ROWS = 256
_ENDS = r"(ENS[A-Z]*G\d+)$"


@reads("give a table of targets x perturbed genes")
def p_values_of(path: str | Path, frame: pd.DataFrame) -> np.ndarray:
    """Return [rows] float64 p values of the pairs of a table; NaN where there is none.

    Of several columns of a perturbed gene the smallest p value counts.

    Parameters
    ----------
    path
        CSV or TSV of at most 4 GB, also packed with gzip; the first column names targets as
        ``frame`` does.
    frame
        Columns perturbed and target.

    Raises
    ------
    InputError
        If it cannot be read, no column ends in an Ensembl id or has the name of a perturbed gene, a
        value is no p value, or no pair has one.
    """
    out = np.full(len(frame), np.nan)
    of_target = frame.reset_index(drop=True).groupby("target").indices
    known = set(frame["perturbed"])
    separator = "," if str(path).removesuffix(".gz").endswith(".csv") else "\t"
    with open_binary(Path(path), TEXT_TABLE) as handle:
        head = pd.read_csv(handle, sep=separator, index_col=0, nrows=0)
    names = pd.Series(head.columns.astype(str))
    genes = names.str.extract(_ENDS, expand=False).fillna(names)
    columns = {g: at for g, at in genes.groupby(genes).indices.items() if g in known}
    if not columns:
        raise InputError(str(path), "no column is of a perturbed gene; found "
                         f"{', '.join(names[:5])}", "name columns by Ensembl id")  # fmt: skip
    perturbed = frame["perturbed"].to_numpy(object)
    with open_binary(Path(path), TEXT_TABLE) as handle:
        for chunk in pd.read_csv(handle, sep=separator, index_col=0, chunksize=_ROWS):
            try:
                values = chunk.to_numpy(float)
            except ValueError as error:
                raise InputError(str(path), f"holds a value that is no number ({error})",
                                 "give p values") from None  # fmt: skip
            if np.nanmin(values, initial=0) < 0 or np.nanmax(values, initial=0) > 1:
                raise InputError(str(path), "holds values outside of 0 to 1", "give p values")
            for i, target in enumerate(chunk.index.astype(str)):
                for row in of_target.get(target, ()):
                    at = columns.get(perturbed[row])
                    if at is not None:
                        out[row] = np.fmin(out[row], np.fmin.reduce(values[i, at]))
    if not np.isfinite(out).any():
        raise InputError(str(path), "has a p value of no pair", "name targets as the effects do")
    return out
