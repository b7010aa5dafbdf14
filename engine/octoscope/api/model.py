"""A checkpoint for notebooks."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pandas as pd

from octoscope.api.atlas import Atlas
from octoscope.api.display import Shown
from octoscope.config import DTYPES
from octoscope.errors import InputError
from octoscope.extras import extras_needed

with extras_needed():
    from octoscope.models import families, load_model
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
        """Return the genes of an atlas that the model knows: columns ``gene`` and ``symbol``.

        Examples
        --------
        >>> atlas = oc.open_atlas("demo", category="cell_type")
        >>> model = oc.open_model(CHECKPOINT)
        >>> len(model.match(atlas)) <= len(model.genes)
        True
        """
        genes = atlas.reader.genes
        known = genes.take(self.model.match(genes).matched)
        return pd.DataFrame({"gene": known.ensembl, "symbol": known.symbol})

    def describe(self) -> dict[str, Any]:
        """Return family, variant, sizes, options, and the SHA-256 of every file.

        Examples
        --------
        >>> model = oc.open_model(CHECKPOINT)
        >>> model.describe()["family"]
        'scgpt'
        """
        from octoscope.models import checkpoint_files
        from octoscope.models.weights import file_digests

        m = self.model
        return {
            "family": m.family,
            "variant": m.variant,
            "layers": m.n_layers,
            "heads": m.n_heads,
            "d": m.d,
            "genes": len(m.genes),
            "genes with an Ensembl id": int((m.genes.ensembl != "").sum()),
            "special tokens": ", ".join(m.special_kinds),
            "options": dict(m.options),
            "sha256": file_digests([*checkpoint_files(Path(self.path)), *m.files]),
        }

    def _entries(self) -> Mapping[str, Any]:
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


def model_families() -> list[dict[str, Any]]:
    """Return the published variants of the installed model families, and where to get them.

    Per variant: ``family``, ``name``, ``n_layers``, ``d``, ``n_heads``, ``files``, ``source`` and
    ``licence``.

    Examples
    --------
    >>> "geneformer" in {row["family"] for row in model_families()}
    True
    """
    return [{"family": n} | asdict(v) for n, kind in families().items() for v in kind.variants]


def check_model(
    checkpoint: str | Path,
    atlas: str,
    *,
    options: Mapping[str, Any] | None = None,
    dtype: str = "float32",
) -> dict[str, Any]:
    """Say what a checkpoint does with an atlas here: genes, tokens, time and memory per cell.

    Parameters
    ----------
    atlas
        AnnData in Zarr, or h5ad.
    options
        The family's own settings.
    dtype
        float32, bfloat16 or float16.

    Raises
    ------
    InputError
        If the checkpoint, an option or the atlas cannot be used.
    """
    kind = require_dtype(dtype)
    from octoscope.probe.profile import check_model as check

    return check(Path(checkpoint), atlas, options=dict(options or {}), dtype=kind)


def require_dtype(name: str) -> str:
    """Return the name of a type of weights if models compute with it.

    Raises
    ------
    InputError
        If they do not.
    """
    if name not in DTYPES:
        raise InputError("dtype", f"{name!r}", f"use one of {', '.join(DTYPES)}")
    return name
