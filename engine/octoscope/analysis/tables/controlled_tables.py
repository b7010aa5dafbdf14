"""Lists of every matrix against the network, controlled for co-expression; and the verdicts."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import numpy as np
import pandas as pd
from dask.delayed import delayed

from octoscope.analysis import statistics
from octoscope.analysis.controlled.comparison import Comparison
from octoscope.analysis.controlled.controlled_block import ControlledBlock
from octoscope.analysis.controlled.sentences import sentence
from octoscope.analysis.controlled.verdict_names import (
    BEYOND,
    CANNOT_TELL,
    COUNTED_AS,
    VERDICTS,
)
from octoscope.analysis.controlled.verdicts import Verdict, e_value, judge
from octoscope.analysis.dask_graphs import compute
from octoscope.analysis.finished_matrices import FinishedMatrices
from octoscope.analysis.gnn_scored import ScoredGenes
from octoscope.analysis.registry import Analysis, Context, Needs, open_network_of
from octoscope.analysis.tables.columns import no_rows
from octoscope.analysis.tables.controlled_schema import CONTROLLED_TABLES
from octoscope.analysis.tables.gnn_scores_by_set import scores_by_set
from octoscope.octopus.network import Network
from octoscope.run_plan.values import COEXPRESSION, Block, Plan

PATHS = tuple(table.path for table in CONTROLLED_TABLES)
_LIST = ["layer", "gene_set", "view", "k"]

Rows = list[dict[str, Any]]


def coexpression_of(finished: Sequence[Block]) -> list[Block]:
    """Return the finished co-expression blocks."""
    return [b for b in finished if b.model.startswith(f"{COEXPRESSION}.")]


def _outputs(plan: Plan, finished: Sequence[Block]) -> dict[str, Sequence[Block]]:
    return dict.fromkeys(PATHS, finished) if coexpression_of(finished) else {}


def _compute(context: Context) -> Iterable[tuple[str, pd.DataFrame]]:
    """Compare every list with the network under every control.

    One task per block. It counts the pairs of each gene set and control once for all layers.
    """
    assert context.network is not None  # needs.network
    network = delayed(open_network_of)(context.network)
    controls = [tuple(b) for b in coexpression_of(context.finished)]
    name = network_view(context.network.sources, context.network.independent)
    scored = scores_by_set(context, network, ("leave-out",))
    tasks = [
        delayed(_of_block)(
            context.run, model, category, network, name, controls, context.network.k, scored(model)
        )
        for model, category in context.finished
        if not model.startswith(f"{COEXPRESSION}.")
    ]
    results = compute(tasks, context.scheduler)
    for i, (path, schema) in enumerate(zip(PATHS, CONTROLLED_TABLES, strict=True)):
        rows = [row for tables in results for row in tables[i]]
        empty = no_rows(schema)
        table = pd.DataFrame(rows, columns=[c.name for c in schema.columns]) if rows else empty
        if "share" in table:  # one test per layer
            table["q"] = statistics.adjust_by(table, ["gene_set"])
        yield path, table.astype({c.name: _dtype(c.dtype) for c in schema.columns})


def _dtype(name: str) -> str:
    return "Int64" if name == "int64" else name  # a comparator without a layer has none


def network_view(sources: Sequence[str] | None, independent: bool) -> str:
    """Return a short name of the part of the network that a run compares with."""
    parts = [", ".join(sources) if sources else "all sources"]
    return "; ".join([*parts, *(["without co-expression evidence"] if independent else [])])


def _of_block(
    run: FinishedMatrices,
    model: str,
    category: int,
    network: Network,
    view_name: str,
    controls: list[tuple[str, int]],
    k: list[int] | None,
    scored: dict[str, dict[str, ScoredGenes]],
) -> tuple[Rows, ...]:
    plan = run.plan
    m = plan.model(model)
    block = {"model": model, "category": plan.categories[category].name}
    found: list[tuple[dict[str, Any], Comparison]] = []
    comparators: Rows = []
    orientations: Rows = []
    sets = plan.compare.gene_sets if plan.compare else list(m.gene_sets)
    for gene_set in sets:
        if gene_set not in m.gene_sets:
            continue
        gnn = scored.get(gene_set)
        asked = ControlledBlock(run, model, category, gene_set, network, controls, k, gnn)
        named = block | {"gene_set": gene_set, "network_view": view_name}
        orientations += [named | row for row in asked.orientations(plan.permutations)]
        for label, comparison in asked.comparisons():
            row = named | {"n_background": asked.pairs.n_pairs} | label
            row["longest"] = row["k"] == asked.headline_k
            row["cells"] = asked.cells_of(str(label["control"]))
            if "comparator" in label:
                comparators.append(row | _numbers(comparison))
            else:
                found.append((row, comparison))
    rows = list(_judged(found))
    verdicts = _verdicts(rows, m.views)
    return (
        rows,
        [label | _ladder(c) for label, c in found],
        [label | row for label, c in found for row in _refinement(c)],
        comparators,
        orientations,
        verdicts,
        [block | _summary(verdicts)] if verdicts else [],
    )


def _numbers(c: Comparison) -> dict[str, Any]:
    low0, high0 = c.or0.interval(c.degrees_of_freedom)
    low1, high1 = c.or1.interval(c.degrees_of_freedom)
    return {
        "n_pairs": c.n_pairs, "n_edges": c.n_edges,
        "or0": c.or0.value, "or0_low": low0, "or0_high": high0,
        "or1": c.or1.value, "or1_low": low1, "or1_high": high1,
    }  # fmt: skip


def _judged(found: list[tuple[dict[str, Any], Comparison]]) -> Iterator[dict[str, Any]]:
    """Yield rows with q over the layers, views and controls of a gene set and K, and verdicts.

    The headline is the control that explains most; one whose odds ratio is undefined leaves nothing
    to compare and comes first. It is beyond co-expression only if every control says so: a pool is
    measured well even where it is no more than a proxy of the co-expression in the category.
    """
    if not found:
        return
    labels = pd.DataFrame([label for label, _ in found])
    labels["p"] = [c.p for _, c in found]
    labels["or1"] = [c.or1.value for _, c in found]
    q = statistics.adjust_by(labels, ["gene_set", "k"])
    of_list = labels.assign(or1=labels["or1"].fillna(0.0)).groupby(_LIST)["or1"]
    headlines = set(of_list.idxmin())  # the first control of equal ones
    verdicts = [judge(c, float(q[i]), label["cells"]) for i, (label, c) in enumerate(found)]
    for rows in labels.groupby(_LIST).indices.values():
        against = [j for j in rows if verdicts[j].kind != BEYOND]
        for i in headlines.intersection(rows):
            if against and verdicts[i].kind == BEYOND:
                other, name = verdicts[against[0]], labels["control"][against[0]]
                why = f"under the control {name}: {other.reason or other.kind}"
                verdicts[i] = Verdict(CANNOT_TELL, why)
    for i, (label, c) in enumerate(found):
        verdict = verdicts[i]
        numbers = _numbers(c)
        low0, high0 = c.or0.donor_interval()
        low1, high1 = c.or1.donor_interval()
        yield label | numbers | {
            "donor_groups": c.or1.donor_groups,
            "or0_donors_low": low0, "or0_donors_high": high0,
            "or1_donors_low": low1, "or1_donors_high": high1,
            "or1_half": float(np.exp(c.or1_half)),
            "or1_extrapolated": float(np.exp(c.or1_extrapolated)),
            "rho": c.reliability, "rho_list": c.reliability_list, "bound": c.bound,
            "smd_coexpression": c.balance[0], "smd_degree": c.balance[1],
            "smd_expression": c.balance[2],
            "positivity": c.positivity, "positivity_edges": c.positivity_edges,
            "p": c.p, "q": float(q[i]),
            "e_value": e_value(numbers["or1_low"] / c.bound), "headline": i in headlines,
            "verdict": verdict.kind, "reason": verdict.reason or None,
        }  # fmt: skip


def _verdicts(rows: Rows, views: Sequence[str]) -> Rows:
    """Return the headline of each layer: the first gene set and view, and one K."""
    rows = [r for r in rows if r["headline"] and r["longest"]]
    if not rows:
        return []
    first = rows[0]["gene_set"], min((r["view"] for r in rows), key=list(views).index)
    chosen = [r for r in rows if (r["gene_set"], r["view"]) == first]
    return [r | {"sentence": sentence(r)} for r in sorted(chosen, key=lambda r: r["layer"])]


def _summary(verdicts: Rows) -> dict[str, Any]:
    """Count verdicts; the sentence is of the first kind of verdict with the strongest evidence."""
    kinds = [r["verdict"] for r in verdicts]

    def rank(r: dict[str, Any]) -> tuple[int, float]:
        evidence = r["or1_low"] / r["bound"]
        return VERDICTS.index(r["verdict"]), np.inf if np.isnan(evidence) else -evidence

    return {
        "n_layers": len(verdicts),
        **{name: kinds.count(kind) for name, kind in COUNTED_AS.items()},
        "sentence": min(verdicts, key=rank)["sentence"],
    }


def _ladder(c: Comparison) -> dict[str, Any]:
    every, degree, expression, coexpression = c.ladder
    return {
        "n_pairs": c.n_pairs, "n_edges": c.n_edges,
        "edge_rate": c.n_edges / c.n_pairs if c.n_pairs else float("nan"),
        "expected_all": every, "expected_degree": degree, "expected_expression": expression,
        "expected_coexpression": coexpression, "edge_rate_comparable": c.comparable_rate,
    }  # fmt: skip


def _refinement(c: Comparison) -> Iterator[dict[str, Any]]:
    for name, (log, difference, positivity) in c.refinement.items():
        yield {
            "bins": name, "or1": float(np.exp(log)), "smd_coexpression": difference,
            "positivity": positivity,
        }  # fmt: skip


CONTROLLED_ANALYSIS = Analysis(
    "controlled overlap",
    Needs(matrices=True, residuals=True, donors=True, correlations=True, network=True),
    _outputs,
    _compute,
    CONTROLLED_TABLES,
)
