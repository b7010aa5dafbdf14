"""Row selections of tables that several readers share."""

from __future__ import annotations

from typing import Literal

import pandas as pd

from octoscope.errors import InputError
from octoscope.results.run_results import Results


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


def agreement_rows(
    results: Results,
    between: Literal["layers", "models"],
    *,
    model: str | None = None,
    gene_set: str | None = None,
    view: str | None = None,
    k: int | None = None,
    category: str | None = None,
) -> pd.DataFrame:
    """Return agreement of the layers of each model, or of models with each other.

    Parameters and errors are those of ``Run.agreement`` of the Python API.
    """
    plan = results.plan
    if plan.compare is None:
        raise InputError(results.at("config.yaml"), "compare: null", "run again with comparisons")
    names = [c.name for c in plan.categories]
    if category is not None and category not in names:
        raise InputError("category", f"{category!r} is not in this run", f"of {', '.join(names)}")
    kinds = ["models", "layers"] if between == "layers" else ["models"]
    table = results.tables["agreement_categories" if category is None else "agreement"]
    table = table[table["comparison"].isin(kinds)]
    if between == "models":  # a gene set of a single model has no comparisons of models
        across = table["query_model"] != table["eval_model"]
        table = table[across] if across.any() else table
    if category is not None:
        table = table[table["category"] == category]
    nothing = InputError(
        results.at("config.yaml"), f"the run has no two {between} to compare", "run with two"
    )
    if table.empty:
        raise nothing
    k = max(plan.compare.k) if k is None else k
    for column, requested in (("gene_set", gene_set), ("view", view), ("k", k)):
        compared = list(dict.fromkeys(table[column]))
        if requested is not None and requested not in compared:
            known = ", ".join(map(str, compared))
            raise InputError(column, f"{requested!r} was not compared", f"choose of {known}")
        table = table[table[column] == (compared[0] if requested is None else requested)]
    of_one = table["query_model"] == table["eval_model"]
    table = table[of_one if between == "layers" else ~of_one]
    if table.empty:
        raise nothing
    if between == "models":
        return table
    table = pd.concat([layers_of_model(table, m) for m in dict.fromkeys(table["query_model"])])
    if model is not None:
        if model not in set(table["query_model"]):
            raise InputError("model", f"{model!r} has no two layers here", "see `status RUN`")
        table = table[table["query_model"] == model]
    return table
