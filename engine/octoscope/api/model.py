"""A checkpoint for notebooks."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd

from octoscope.api.atlas import Atlas
from octoscope.api.display import Shown
from octoscope.models import load_model
from octoscope.models.protocol import FoundationModel


class Model(Shown):
    """A checkpoint that was loaded strictly.

    Attributes
    ----------
    model
        The model that runs use; see ``FoundationModel``.

    Examples
    --------
    >>> model = oc.open_model(CHECKPOINT)
    >>> model.genes.columns.tolist()
    ['gene', 'symbol']
    """

    def __init__(self, model: FoundationModel, path: str) -> None:
        self.model, self.path = model, path

    @property
    def genes(self) -> pd.DataFrame:
        """Genes of its vocabulary: columns ``gene`` (Ensembl id, '' if unknown) and ``symbol``."""
        return pd.DataFrame({"gene": self.model.genes.ensembl, "symbol": self.model.genes.symbol})

    def match(self, atlas: Atlas) -> pd.DataFrame:
        """Return the genes of an atlas that the model knows: columns ``gene`` and ``symbol``."""
        genes = atlas.reader.genes
        known = genes.take(self.model.match(genes).matched)
        return pd.DataFrame({"gene": known.ensembl, "symbol": known.symbol})

    def _facts(self) -> Mapping[str, Any]:
        m = self.model
        return {
            "family": m.family,
            "variant": m.variant,
            "layers": m.n_layers,
            "heads": m.n_heads,
            "d": m.d,
            "genes": f"{len(m.genes):,}",
        }


def open_model(
    path: str | Path,
    *,
    family: str | None = None,
    device: str = "cpu",
    options: Mapping[str, Any] | None = None,
) -> Model:
    """Load a published checkpoint.

    Parameters
    ----------
    path
        Folder or file, as it was published.
    family
        Entry point in the group ``octoscope.models``; None: the family that recognises the files.
    device
        ``cpu`` or ``cuda``.
    options
        The family's own settings (docs/models.md).

    Raises
    ------
    InputError
        If no installed family can load it.

    Examples
    --------
    >>> import octoscope as oc
    >>> model = oc.open_model(CHECKPOINT)
    >>> model.model.family, model.model.n_layers
    ('scgpt', 4)
    >>> len(model.match(oc.open_atlas("demo"))) > 500
    True
    """
    return Model(load_model(path, family=family, device=device, options=options), str(path))
