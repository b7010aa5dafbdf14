"""The configuration of an import, from the stores alone."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from octoscope.config.inputs_config import STORED
from octoscope.models.foundation_store import FoundationStore


def import_tree(
    stores: Sequence[str],
    *,
    dataset: str | None = None,
    categories: Sequence[str] | None = None,
    network: str | None = None,
) -> dict[str, Any]:
    """Return the configuration of a run that reads these stores as the peer does: logits.

    Models are named as the peer names them; of two with one name the second has a number. Several
    stores are compared over the genes that all of them have.

    Raises
    ------
    InputError
        If a folder is no store.
    """
    options: dict[str, Any] = {}
    if dataset is not None:
        options["dataset"] = dataset
    if categories:
        options["categories"] = list(categories)
    models: list[dict[str, Any]] = []
    for path in stores:
        label = re.sub(r"[^A-Za-z0-9._-]", "_", FoundationStore(path).label).lstrip(".-")[:56]
        taken = {str(m["name"]).casefold() for m in models}
        name, n = label, 2
        while name.casefold() in taken:
            name, n = f"{label}-{n}", n + 1
        location = path if "://" in path else str(Path(path).expanduser().resolve())
        models.append({"name": name, "family": STORED, "path": location, "options": dict(options)})
    tree: dict[str, Any] = {
        "title": "Imported from napistu-torch",
        "atlas": None,
        "models": models,
        "estimators": ["mean_residual"],
        "projection": ["weights_only"],
        "views": ["logit"],
        "gene_sets": [{"name": "all", "kind": "model"}],
    }
    if len(models) > 1:
        tree["gene_sets"].insert(0, {"name": "common", "kind": "intersection"})
    if network is not None:
        location = (
            network if network == "demo" or "://" in network else str(Path(network).resolve())
        )
        tree["network"] = {"path": location}
    return tree
