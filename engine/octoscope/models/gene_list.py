"""The list of 19,264 human genes that AIDO.Cell and scFoundation index their tokens by."""

from __future__ import annotations

import gzip
from functools import cache
from importlib.resources import files

import numpy as np

from octoscope.genes import GeneTable, ensembl_of_symbols


@cache
def gene_list_19264() -> GeneTable:
    """Return the list in model order; Ensembl ids from GENCODE where the symbol is unique."""
    with files("octoscope.models").joinpath("data/gene_list_19264.tsv.gz").open("rb") as handle:
        lines = gzip.decompress(handle.read()).decode().splitlines()[1:]
    symbols = np.array([line.split("\t")[0] for line in lines], dtype=object)
    return GeneTable(ensembl_of_symbols(symbols), symbols)
