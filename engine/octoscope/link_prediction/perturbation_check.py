"""Perturbations against the signs that checkpoints predict, on the vertices of a network."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from octoscope.errors import InputError
from octoscope.link_prediction.checkpoint_scores import open_scorer
from octoscope.link_prediction.links import Links
from octoscope.link_prediction.perturbation_signs import SHARES, perturbation_signs
from octoscope.link_prediction.perturbation_tables import Perturbations
from octoscope.link_prediction.sign_floors import TARGET, rates, signed_pairs
from octoscope.link_prediction.splits import Split
from octoscope.octopus.name_lookup import require_known, with_names
from octoscope.octopus.pairs import find_keys


def check_perturbations(
    links: Links, split: Split, perturbations: Perturbations,
    checkpoints: Sequence[str | Path] = (), shares: tuple[float, ...] = SHARES, seed: int = 0,
    where: str = "perturbations",
) -> tuple[pd.DataFrame, dict[str, Any]]:  # fmt: skip
    """Compare predicted and observed signs; see ``perturbation_signs``.

    Checkpoints are encoded along training edges of the split, and training edges are a group of
    their own: they are no evidence. A gene of several vertices counts with its first.

    Returns
    -------
    tuple
        Rows, and numbers of what was read, mapped and left out.

    Raises
    ------
    InputError
        If no pair has both genes in the network, or a checkpoint knows no signs.
    """
    frame = perturbations.frame
    names = pd.unique(pd.concat([frame["perturbed"], frame["target"]], ignore_index=True))
    named, counts = with_names(links.graph.names, names)
    names_as = require_known(where, named, counts, str(names[0]))
    first = named.genes.drop_duplicates("gene").set_index("gene")["vertex"]
    a, b = (frame[c].map(first).to_numpy(float) for c in ("perturbed", "target"))
    mapped = ~np.isnan(a) & ~np.isnan(b)
    mapped &= a != b
    if not mapped.any():
        raise InputError(where, "no row has both genes in the network", "give genes that it knows")
    a, b = (v[mapped].astype(np.int64) for v in (a, b))
    models = {}
    for path in checkpoints:
        scorer = open_scorer(path, links, split)
        if not scorer.knows_signs:
            raise InputError(str(path), "has no relations of stimulators and inhibitors",
                             "give a checkpoint whose head has")  # fmt: skip
        models[scorer.name] = scorer.sign(a, b)
    pairs = signed_pairs(links, split)
    train = pairs.part == 1
    rate = None
    if train.any():
        of = rates(links.n, pairs.src[train], pairs.dst[train], pairs.activates[train])
        rate = of[TARGET](a, b)
    effect = frame["effect"].to_numpy(float)[mapped]
    table = perturbation_signs(
        a, b, effect, models, rate=rate, group=_edges(links, split, a, b), shares=shares, seed=seed
    )
    about = {**perturbations.account, "mapped": int(mapped.sum()),
             "unmapped": int((~mapped).sum()), "names": names_as}  # fmt: skip
    return table, about


def _edges(links: Links, split: Split, a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Return [pairs] object: training edge, other edge, no edge; in any order."""
    low, high = np.minimum(a, b), np.maximum(a, b)
    known = np.unique(np.minimum(links.src, links.dst) * links.n + np.maximum(links.src, links.dst))
    rows = split.rows("train")
    x, y = links.src[rows], links.dst[rows]
    train = np.unique(np.minimum(x, y) * links.n + np.maximum(x, y))
    code = low * links.n + high
    out = np.where(find_keys(known, code) >= 0, "other edge", "no edge").astype(object)
    out[find_keys(train, code) >= 0] = "training edge"
    return out
