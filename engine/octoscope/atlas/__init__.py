"""Open, look at, index, stream and convert AnnData atlases. Knows nothing of models or Ray."""

from octoscope.atlas.atlas import Atlas, CellBatch
from octoscope.atlas.atlas_info import AtlasInfo, info
from octoscope.atlas.cell_index import CellIndex
from octoscope.atlas.chunk_check import check
from octoscope.atlas.convert import convert

__all__ = ["Atlas", "AtlasInfo", "CellBatch", "CellIndex", "check", "convert", "info"]
