"""Make the filters of Geneformer's published medians: build_geneformer_medians.py GC30M GC104M.

Each argument is a folder with the token dictionary and the medians of one corpus.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
from octoscope.models.geneformer_files import find_dictionaries
from octoscope.models.geneformer_medians import filter_of


def main(folders: list[str]) -> None:
    """Write the filters beside the module that reads them."""
    filters: dict[str, np.ndarray] = {}
    for corpus, folder in zip(("gc30M", "gc104M"), folders, strict=True):
        read = find_dictionaries(Path(folder), None, mapped=False)
        filters[corpus] = filter_of({g: read.medians[g] for g in read.tokens if g[:1] != "<"})
    target = Path(__file__).parents[1] / "engine/octoscope/models/geneformer_medians.npz"
    np.savez_compressed(target, **filters)  # type: ignore[arg-type]


if __name__ == "__main__":
    main(sys.argv[1:])
