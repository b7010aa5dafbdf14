"""A small scPRINT checkpoint, its cells, and what its authors' code made of them."""

from __future__ import annotations

from typing import Any

import numpy as np
from octoscope.genes import GeneTable
from scipy import sparse

from tests.models.parity import DATA, read_cells

ORACLE = DATA / "scprint"
CHECKPOINT, CELLS, DUMP = ORACLE / "checkpoint", ORACLE / "cells.h5ad", ORACLE / "dump.npz"
GENES = [str(g) for g in np.load(DUMP)["token_gene"][0] if g]
SOME: dict[str, Any] = {"context": "some", "context_genes": GENES}


def atlas() -> tuple[sparse.csr_matrix, GeneTable, np.ndarray]:
    return read_cells(CELLS)
