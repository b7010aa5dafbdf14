"""STRING scores without some kinds of evidence.

The rule is STRING's own (string-db.org/download/combine_subscores.py; von Mering et al. 2005): the
prior is taken from every channel, channels are joined as independent evidence, co-occurrence and
text mining are weakened by homology, and the prior is given back once.
"""

from __future__ import annotations

from collections.abc import Collection

import numpy as np
import pandas as pd

PRIOR = 0.041
# STRING publishes pairs from this score on.
PUBLISHED = 0.15
COEXPRESSION = frozenset({"coexpression", "textmining"})
CHANNELS = (
    "neighborhood", "fusion", "cooccurence", "coexpression", "experiments", "database",
    "textmining",
)  # fmt: skip
_TRANSFERRED = ("neighborhood", "coexpression", "experiments", "database", "textmining")
_WEAKENED = ("cooccurence", "textmining")


def combined_score(channels: pd.DataFrame, without: Collection[str] = ()) -> np.ndarray:
    """Return [pairs] float64 scores in 0..1 from the channels that are left.

    Parameters
    ----------
    channels
        STRING's columns, 0..1000, with their ``_transferred`` forms and ``homology``. The physical
        subnetwork has some of the channels only: the others have no evidence.
    without
        Channels to leave out (with their transferred form): neighborhood, fusion, cooccurence,
        coexpression, experiments, database, textmining.

    Raises
    ------
    ValueError
        If a channel to leave out does not exist.
    """
    unknown = set(without) - set(CHANNELS)
    if unknown:
        raise ValueError(f"{sorted(unknown)[0]!r} is not one of {', '.join(CHANNELS)}")
    missing = np.ones(len(channels))
    for name in CHANNELS:
        if name in without or name not in channels:
            continue
        remaining = 1 - _without_prior(channels[name])
        if name in _TRANSFERRED:
            remaining *= 1 - _without_prior(channels[f"{name}_transferred"])
        if name in _WEAKENED:
            remaining = 1 - (1 - remaining) * (1 - channels["homology"].to_numpy(float) / 1000)
        missing *= remaining
    return np.asarray((1 - missing) * (1 - PRIOR) + PRIOR)


def _without_prior(column: pd.Series) -> np.ndarray:
    value = np.maximum(column.to_numpy(float) / 1000, PRIOR)
    return np.asarray((value - PRIOR) / (1 - PRIOR))
