"""Open, validate, index, stream and convert AnnData atlases. Knows nothing of models or Ray."""

from engine.atlas.atlas import Atlas, CellBatch
from engine.atlas.check import check
from engine.atlas.convert import convert
from engine.atlas.index import CellIndex

__all__ = ["Atlas", "CellBatch", "CellIndex", "check", "convert"]
