"""The report: one self-contained HTML file, made from the run's tables alone."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from octoscope.analysis.summaries import mass_by_layer, side_by_side
from octoscope.config import RunConfig, config_of_text
from octoscope.errors import DamagedRunError, InputError
from octoscope.plan.values import COEXPRESSION, ModelPlan, Plan
from octoscope.plan.views import ABSOLUTE, CENTRED, CORRELATION, plain_view
from octoscope.report import comparisons, figures
from octoscope.store.manifest import check_objects, require_success
from octoscope.store.parquet import VOCABULARY, read_table
from octoscope.store.plan_file import load_plan
from octoscope.store.run_dir import RunRoot

_TOP_ROWS = 15
_MOST_ROWS = 200  # of a table on the page: sixty layers have thousands of pairs of layers
_VIEW_TEXT = {
    "marginal": "mean attention per cell of the category (a cell without the pair counts 0)",
    "conditional": "mean attention over cells that hold both genes",
    "lift": "attention relative to uniform attention (1 = uniform)",
    "logit": "mean scaled query-key score before the softmax",
    CORRELATION: "correlation of log-normalised counts over the cells of the category",
}


REPORT = "report/index.html"


def write_report(root: RunRoot) -> None:
    """Write ``report/index.html`` from ``run.json`` and the tables."""
    root.replace(REPORT, page(root, None, None))


def stored_report(root: RunRoot) -> str:
    """Return the path or URL of a finished run's report, after checking that it is intact.

    Raises
    ------
    DamagedRunError
        If the run is unfinished or the report damaged.
    """
    for fault in check_objects(root, {REPORT: require_success(root)["objects"][REPORT]}):
        raise DamagedRunError(f"{fault.object}: {fault.what}")
    return root.at(REPORT)


def render(root: RunRoot, gene_set: str | None, view: str | None) -> bytes:
    """Return the report of a finished run for a declared gene set and view.

    Raises
    ------
    InputError
        If the gene set or view was not declared, with the cost of a new run.
    DamagedRunError
        If the run is unfinished.
    """
    require_success(root)
    return page(root, gene_set, view)


def page(root: RunRoot, gene_set: str | None, view: str | None) -> bytes:
    """Return the page as UTF-8; None stands for the first declared gene set and view."""
    plan, text = load_plan(root), root.read("config.yaml") or b""
    config = config_of_text(text.decode(), root.at("config.yaml"))
    run = root.read_json("run.json")
    sets = [g.name for g in config.gene_sets]
    cost = sum(c["seconds"] for c in run["cells"])
    views = list(dict.fromkeys(v for m in plan.models for v in m.views))
    for kind, value, declared in (("gene_sets", gene_set, sets), ("views", view, views)):
        if value is not None and value not in declared:
            raise InputError(
                f"{root.at('config.yaml')}: {kind}",
                f"{value!r} was not declared; this run has {', '.join(declared)}",
                f"declare it and run again into a new directory ({len(plan.units)} units, "
                f"{cost:.0f} actor-seconds last time): a top-K list cannot be restricted later",
            )
    env = Environment(
        loader=PackageLoader("octoscope.report"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    env.filters |= {"figure": _figure, "p": _p, "count": _count}
    env.filters |= {"some": lambda rows: rows[:_MOST_ROWS], "rest": _rest, "donors": _over_donors}
    template = env.get_template("report.html.j2")
    content = _content(root, plan, config, run, gene_set or sets[0], view or plan.views[0])
    return template.render(**content).encode()


def _content(
    root: RunRoot, plan: Plan, config: RunConfig, run: dict[str, Any], gene_set: str, view: str
) -> dict[str, Any]:
    done = root.exists("tables/stats.parquet")
    models = [
        _model(root, plan, m, gene_set, view, config.network is not None) for m in plan.models
    ] if done else []  # fmt: skip
    genes = read_table(root, VOCABULARY)
    return {
        "vocabulary": {
            m.name: genes.loc[genes["model"] == m.name, "what"].value_counts().to_dict()
            for m in plan.checkpoints
        },
        "atlas_genes_changed": int((genes["model"] == "").sum()),
        "config": config,
        "plan": plan,
        "run": run,
        "models": [m for m in models if m],
        "view": view,
        "gene_set": gene_set,
        "panels": [m for m in plan.checkpoints if m.input_genes is not None],
        "demonstrations": [m.name for m in plan.checkpoints if m.demonstration],
        "cells_refused": sum(len(c["refused"]) for c in run["cells"]),
        "cells_used": {m.name: _used(run, m.name) for m in plan.bases},
        "network": _network_text(plan),
        "together": comparisons.models_together(root, plan, gene_set, view) if done else None,
    }


def _rest(rows: list[Any], table: str) -> Markup:
    """Say where the rows are that a table of the page leaves out."""
    if len(rows) <= _MOST_ROWS:
        return Markup("")
    return Markup('<p class="soft">The first {} of {} rows; all: <code>{}</code>.</p>').format(
        _MOST_ROWS, f"{len(rows):,}", f"{table}.parquet"
    )


def _over_donors(row: dict[str, Any]) -> str:
    """Say what the interval over donors is, where there is one."""
    low = row.get("donor_low")
    if low is None or np.isnan(low):
        return ""
    return f"; over donors {_figure(low)} to {_figure(row['donor_high'])}"


def _used(run: dict[str, Any], model: str) -> int:
    return sum(c["used"] for c in run["cells"] if c["model"] == model)


def _network_text(plan: Plan) -> str:
    if plan.network is None:
        return ""
    n = plan.network
    return f"{n['name']}: {n['vertices']:,} vertices, {n['pairs']:,} connected pairs"


def _model(
    root: RunRoot, plan: Plan, m: ModelPlan, gene_set: str, view: str, with_network: bool
) -> dict[str, Any] | None:
    if view not in m.views:  # co-expression has a view of its own
        view = m.views[0]
    if gene_set not in m.gene_sets:  # a set of some models
        gene_set = next(iter(m.gene_sets))

    def primary(table: str) -> pd.DataFrame:
        t = read_table(root, f"tables/{table}.parquet")
        return t[(t["model"] == m.name) & (t["gene_set"] == gene_set) & (t["view"] == view)]

    stats = primary("stats")
    if stats.empty:
        return None
    layers = primary("layers")
    mass = read_table(root, "tables/mass.parquet")
    mass = mass[mass["model"] == m.name]
    shares = mass_by_layer(mass)
    shares = shares[shares["to"].isin(m.mass_columns)]
    tag = m.name
    content = {
        "plan": m,
        "attends": m.family != COEXPRESSION,
        "view": view,
        "gene_set": gene_set,
        "view_text": _view_text(view),
        "spread": plan.moments == 2 and m.estimator == "per_cell",
        "shown_options": _shown_options(m.options),
        "reading": _reading(m),
        "stats": stats.to_dict("records"),
        **_donors(stats),
        "layers": layers[layers["layer_a"] != layers["layer_b"]].to_dict("records"),
        "heatmap": figures.layer_heatmaps(layers, f"{tag} layers") if len(m.layers) > 1 else "",
        "reliability": figures.by_layer(
            stats,
            f"{tag} reliability",
            value="half_centred",
            low="half_centred_low",
            high="half_centred_high",
            null_low="half_null_low",
            null_high="half_null_high",
            ylabel="centred r of halves",
        ),
        "mass": figures.mass_bars(shares, f"{tag} mass") if len(shares) else "",
        "mass_rows": shares.to_dict("records"),
        "top": _top_pairs(root, m, gene_set, view, with_network),
        "saturated": list(dict.fromkeys(stats.loc[stats["top_share"] > 0.1, "category"])),
        "overlap": [],
        "separation": [],
        "overlap_figure": "",
        "compared": comparisons.of_model(root, plan, m, gene_set, view),
    }
    if with_network:
        tested = primary("overlap")
        content["overlap"] = tested.to_dict("records")
        content["separation"] = primary("separation").to_dict("records")
        content["overlap_figure"] = figures.by_layer(
            tested,
            f"{tag} overlap",
            value="edge_rate",
            ylabel="edge rate",
            reference="background_rate",
        )
    short = side_by_side(stats, mass, tested if with_network else None)
    content["summary"] = short.set_index("measure").to_dict("index")
    return content


def _view_text(view: str) -> str:
    signed = view.removesuffix(ABSOLUTE)
    without = ", without each gene's row and column effect" if signed.endswith(CENTRED) else ""
    size = "" if signed == view else "; ordered by size, whatever the sign"
    return _VIEW_TEXT[plain_view(view)] + without + size


def _reading(m: ModelPlan) -> str:
    """Say how cells and heads became one matrix, where it is not the mean over both."""
    said = []
    if m.family == COEXPRESSION:
        return (
            f"{m.estimator.capitalize()} correlation of log-normalised counts (10,000 per cell) "
            "over cells: not attention, but what attention must exceed. It is symmetric, so each "
            "pair of genes stands twice among the top pairs."
        )
    if m.estimator == "mean_residual":
        said.append(
            "Attention of the mean cell over the accumulated genes "
            f"({m.projection} projection), not the mean of each cell's attention."
        )
    if m.heads == "max":
        said.append("The largest value over heads within each cell.")
    elif m.heads != "mean":
        said.append(f"Head {m.heads} alone.")
    return " ".join(said)


def _shown_options(options: dict[str, Any]) -> str:
    """Name the settings that the plan fixed; long lists by their length."""
    short = {k: f"{len(v)} genes" if isinstance(v, list) else v for k, v in options.items()}
    return ", ".join(f"{k} {v}" for k, v in short.items())


def _donors(stats: pd.DataFrame) -> dict[str, Any]:
    """Return the rows that say what donors do, and a warning where the groups are few."""
    if "donor_groups" not in stats:
        return {"donors": [], "few_donors": ""}
    rows = stats.dropna(subset=["donor_groups"])
    few = int(rows["donor_groups"].min()) if len(rows) else 0
    return {
        "donors": rows.to_dict("records"),
        "few_donors": f"{few} groups at the least: such intervals are rough."
        if 0 < few < 6
        else "",
    }


def _top_pairs(
    root: RunRoot, m: ModelPlan, gene_set: str, view: str, with_network: bool
) -> list[dict[str, Any]]:
    """Return per category the best-ranked pairs over all layers."""
    top = read_table(root, f"topk/{m.name}.parquet")
    top = top[(top["gene_set"] == gene_set) & (top["view"] == view) & (top["part"] == "total")]
    tables = []
    for category, part in top.groupby("category", sort=False):
        layers = part.groupby(["query", "key"])["layer"].transform("size")
        part = part.assign(n_layers=layers)
        best = part.sort_values(["rank", "layer", "query", "key"], kind="stable")
        best = best.drop_duplicates(["query", "key"]).head(_TOP_ROWS)
        rows = best.to_dict("records")
        for row in rows:
            known = row.get("in_network") if with_network else None
            row["edge"] = comparisons.edge_text(known)
        tables.append({"category": category, "rows": rows})
    return tables


def _figure(value: Any, digits: int = 3) -> str:
    """Format a number; an undefined one is said to be so."""
    if value is None or (isinstance(value, float) and np.isnan(value)):
        return "n/a"
    return f"{value:.{digits}g}"


def _count(value: Any) -> str:
    """Format a whole number; what a table of an earlier version does not have is undefined."""
    return "n/a" if value is None or np.isnan(value) else f"{int(value):,}"


def _p(value: Any) -> Markup | str:
    """Format a p-value; no p is ever shown as 0."""
    if value is None or np.isnan(value):
        return "n/a"
    return f"{value:.2g}" if value >= 1e-4 else Markup("&lt; 1e-4")
