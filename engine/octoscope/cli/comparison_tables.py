"""``octoscope compare show``: any table of a run's comparisons, with n, interval and null."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from octoscope.cli.shared import MOST, AsJson, Unchecked, opened, out, rows_json
from octoscope.errors import InputError

_WIDTH = 250  # of what is not a terminal
_ROWS = 60  # printed, unless --json or --rows asks for more


@dataclass(frozen=True)
class _Shown:
    """A table of the run, and the columns that are printed (the first ones name the row)."""

    file: str
    columns: tuple[str, ...]
    what: str
    ends: str = "95 %"  # what lies between _low and _high
    settings: str = "`compare`, `estimators` and `heads`"  # without which a run has no such table


SHOWN = {
    "correlation": _Shown(
        "layers",
        ("model", "category", "layer_a", "layer_b", "n_pairs", "spearman", "low", "high",
         "n_tested", "tested_spearman", "null_low", "null_high", "q"),
        "layers of a model: Spearman correlation over the union of their strongest pairs",
    ),
    "geometry": _Shown(
        "geometry",
        ("category", "model_a", "layer_a", "model_b", "layer_b", "n_genes", "spearman", "low",
         "high", "null_genes", "sampled", "null_low", "null_high", "q"),
        "cosines of the genes' residual streams in mean cells",
    ),
    "by-k": _Shown(
        "by_k",
        ("query_model", "k", "n", "low", "middle", "high", "null"),
        "agreement with the other models against K: quartiles of median quantiles",
        ends="quartiles",
    ),
    "pairs": _Shown(
        "model_pairs",
        ("query_model", "eval_model", "k", "n", "median_quantile", "smallest", "largest",
         "null_median", "n_significant", "jaccard", "null_jaccard"),
        "models in pairs, over their layers and categories",
    ),
    "coherence": _Shown(
        "coherence",
        ("model", "category", "layer", "left_out", "k", "n_groups", "coherence", "low", "high",
         "null_low", "null_high", "q"),
        "agreement of other model groups with each layer",
    ),
    "coherence-enrichment": _Shown(
        "coherence_enrichment",
        ("model", "category", "layer", "k", "n_groups", "coherence", "coherence_low",
         "coherence_high", "n_pairs", "n_edges", "fold", "fold_low", "fold_high", "or1", "or1_low",
         "or1_high"),
        "coherence of each layer beside the network enrichment of its list",
    ),
    "coherence-enrichment-groups": _Shown(
        "coherence_enrichment_groups",
        ("group", "model", "category", "k", "n_layers", "n_groups", "spearman", "low", "high",
         "null_mean", "null_low", "null_high", "p", "n_permutations", "q"),
        "rank correlation of coherence and enrichment over the layers of a model group",
    ),
    "coherence-scores": _Shown(
        "coherence_scores",
        ("model", "category", "layer", "k", "checkpoint", "quantity", "coherence", "coherence_low",
         "coherence_high", "fold", "fold_low", "fold_high", "n_pairs", "median", "median_low",
         "median_high", "null_mean"),
        "coherence and enrichment of each layer beside the median GNN score of its list",
        settings="`compare` and `network.gnn`",
    ),
    "coherence-scores-groups": _Shown(
        "coherence_scores_groups",
        ("group", "model", "category", "k", "checkpoint", "quantity", "n_layers", "n_groups",
         "spearman", "low", "high", "null_mean", "null_low", "null_high", "p", "n_permutations",
         "q"),
        "rank correlation of coherence and GNN score over the layers of a model group",
        settings="`compare` and `network.gnn`",
    ),
    "heads": _Shown(
        "heads",
        ("query_model", "category", "layer", "k", "n", "n_pairs", "median_quantile", "smallest",
         "largest", "low", "high", "null_low", "null_high", "n_significant"),
        "quantiles of each head's strongest pairs in the layer's other heads",
    ),
    "genes": _Shown(
        "gene_sets",
        ("models", "n_models", "n_groups", "n_genes", "n_vocabulary", "share_of_smallest"),
        "genes shared by subsets of models",
    ),
    "consensus": _Shown(
        "consensus_layers",
        ("model", "category", "layers", "n_cells", "n_eligible", "half_centred",
         "half_centred_low", "half_centred_high", "half_null_low", "half_null_high", "half_q",
         "half_topk_jaccard"),
        "combined layers of a model: reliability",
    ),
    "support": _Shown(
        "support",
        ("category", "n_groups", "n_pairs", "null_mean", "null_low", "null_high", "p", "q"),
        "pairs shared by at least so many model groups",
    ),
    "contrasts": _Shown(
        "contrasts",
        ("model", "category", "n_pairs", "median_contrast", "noise_high", "n_specific",
         "n_by_chance", "specific_rate", "specific_low", "specific_high", "half_correlation", "low",
         "high"),
        "pairs specific to one category",
    ),
    "pools": _Shown(
        "pools",
        ("pool", "model", "layer", "n_cells", "n_eligible", "half_centred", "half_centred_low",
         "half_centred_high", "half_null_low", "half_null_high", "half_q"),
        "pooled categories",
    ),
    "models": _Shown(
        "models",
        ("model", "measure", "n", "median", "smallest", "largest"),
        "models side by side",
    ),
}  # fmt: skip


def show(
    run: Annotated[str, typer.Argument(help="Run directory")],
    name: Annotated[str, typer.Argument(help=f"One of {', '.join(SHOWN)}")],
    gene_set: Annotated[str | None, typer.Option(help="Declared gene set; default: all")] = None,
    view: Annotated[str | None, typer.Option(help="View; default: all")] = None,
    k: Annotated[
        int | None, typer.Option("--k", min=1, max=MOST, help="One of compare.k; default: all")
    ] = None,
    category: Annotated[str | None, typer.Option(help="One category; default: all")] = None,
    model: Annotated[str | None, typer.Option(help="One model; default: all")] = None,
    rows: Annotated[int, typer.Option(min=1, max=MOST, help="Rows to print")] = _ROWS,
    as_json: AsJson = False,
    unchecked: Unchecked = False,
) -> None:
    """Print a table of a run's comparisons: every figure with its n, interval and null."""
    if name not in SHOWN:
        raise InputError("NAME", f"there is no table {name!r}", f"one of {', '.join(SHOWN)}")
    shown, finished = SHOWN[name], opened(run, unchecked)
    file = f"tables/{shown.file}.parquet"
    if shown.file not in finished.tables:
        raise InputError(
            finished.at(file), "this run did not make it",
            f"see {shown.settings} of its configuration",
        )  # fmt: skip
    table = finished.tables[shown.file]
    selection = {"gene_set": gene_set, "view": view, "k": k, "category": category}
    for column, value in selection.items():
        if value is not None:
            table = _only(table, (column,), value, f"--{column.replace('_', '-')}")
    if model is not None:
        if "models" in table:  # subsets, joined by +
            one_each = table.assign(models=table["models"].str.split("+")).explode("models")
            table = table.loc[_only(one_each, ("models",), model, "--model").index]
        else:
            names = ("model", "query_model", "model_a", "model_b")
            table = _only(table, names, model, "--model")
    if as_json:
        typer.echo(rows_json(table))
        return
    keys = [c for c in ("gene_set", "view") if c in table and table[c].nunique() > 1]
    columns = [*keys, *(c for c in shown.columns if c in table)]
    if table.empty:
        out.print("no rows")
        return
    ends = {c: c[:-3] + "high" for c in columns if c.endswith("low") and c[:-3] + "high" in columns}
    columns = [c for c in columns if c not in ends.values()]
    heads = ((f"{c[:-3]}{shown.ends}" if c in ends else c).replace("_", " ") for c in columns)
    printed = Table(*heads, title=shown.what)
    for row in table.head(rows).to_dict("records"):
        cells = (
            f"{_text(row[c])} to {_text(row[ends[c]])}" if c in ends else _text(row[c])
            for c in columns
        )
        printed.add_row(*map(escape, cells))
    if out.is_terminal:
        out.print(printed)
    else:  # lines are not cut to a width
        Console(width=_WIDTH).print(printed)
    if len(table) > rows:
        out.print(f"{rows} of {len(table)} rows; --rows, --json, or {escape(finished.at(file))}")


def _only(table: Any, columns: Sequence[str], value: object, option: str) -> Any:
    """Return the rows that have a value in one of the columns."""
    present = [c for c in columns if c in table]
    if not present:
        raise InputError(option, "this table has no such column", "leave it out")
    kept = table[table[present].eq(value).any(axis=1)]
    if kept.empty:
        known = ", ".join(str(x) for x in dict.fromkeys(table[present[0]])) or "none"
        raise InputError(option, f"{value!r} is not in this table", f"choose of {known}")
    return kept


def _text(value: Any) -> str:
    if value is None or str(value) in ("nan", "<NA>"):
        return "–"
    return f"{value:.3g}" if isinstance(value, float) else str(value)
