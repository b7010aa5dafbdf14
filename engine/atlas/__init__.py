"""Open, look at, index, stream and convert AnnData atlases. Knows nothing of models or Ray."""

from engine.atlas.atlas import Atlas, CellBatch
from engine.atlas.check import check
from engine.atlas.convert import convert
from engine.atlas.index import CellIndex
from engine.atlas.info import AtlasInfo, info

__all__ = ["Atlas", "AtlasInfo", "CellBatch", "CellIndex", "check", "convert", "info"]
