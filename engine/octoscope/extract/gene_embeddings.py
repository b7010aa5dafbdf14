"""The checkpoint's own embedding of each gene, written once for a category. Uses no Ray."""

from __future__ import annotations

import numpy as np
import torch

from octoscope.errors import OctoscopeError
from octoscope.models.protocol import FoundationModel, GeneEmbeddings
from octoscope.run_plan.values import ModelPlan


@torch.inference_mode()
def embeddings_of_axis(
    model: FoundationModel, m: ModelPlan, panel: np.ndarray
) -> np.ndarray | None:
    """Return [axis genes, width] float32; None: the family or the checkpoint has none.

    Parameters
    ----------
    panel
        [model genes] integers, position of each on the axis; -1: it has none.

    Raises
    ------
    OctoscopeError
        If a family gives another number of rows, or numbers that are not finite.
    """
    if not isinstance(model, GeneEmbeddings):
        return None
    genes = np.flatnonzero(panel >= 0)
    rows = model.gene_embeddings(genes)
    if rows is None:
        return None
    if rows.ndim != 2 or len(rows) != len(genes) or not bool(torch.isfinite(rows).all()):
        raise OctoscopeError(
            f"model {m.name}: gene_embeddings of family {m.family} gave {list(rows.shape)} for "
            f"{len(genes)} genes, or numbers that are not finite; repair the family"
        )
    of_axis = np.zeros((len(m.axis), rows.shape[1]), np.float32)
    of_axis[panel[genes]] = rows.float().cpu().numpy()
    return of_axis
