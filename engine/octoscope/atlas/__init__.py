"""Open, look at, index, stream and convert AnnData atlases. Knows nothing of models or Ray."""

from octoscope.atlas.atlas import Atlas, CellBatch
from octoscope.atlas.check import check
from octoscope.atlas.convert import convert
from octoscope.atlas.index import CellIndex
from octoscope.atlas.info import AtlasInfo, info

__all__ = ["Atlas", "AtlasInfo", "CellBatch", "CellIndex", "check", "convert", "info"]
