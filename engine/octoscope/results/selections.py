"""Row selections of tables that several readers share."""

from __future__ import annotations

import pandas as pd


def layers_of_model(agreement: pd.DataFrame, model: str) -> pd.DataFrame:
    """Return how a model's layers agree, of a table of agreement: over all of its own genes.

    Where models share all their genes these rows are among those of all models.
    """
    ends = (agreement["query_model"] == model) & (agreement["eval_model"] == model)
    mine = agreement[ends]
    own, of_models = (mine[mine["comparison"] == kind] for kind in ("layers", "models"))
    if "category" in mine:  # which models there are may differ between categories
        return pd.concat([own, of_models[~of_models["category"].isin(own["category"])]])
    return own if len(own) else of_models
