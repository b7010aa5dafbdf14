"""Comparisons between finished matrices: Dask graphs and the tables that they compute."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import reduce
from itertools import combinations
from typing import Any

import numpy as np
import pandas as pd
from dask.delayed import delayed

from octoscope.analysis import statistics, summaries
from octoscope.analysis.agreement import (
    Agreement,
    Pairs,
    RankedPairs,
    agreement,
    coherence,
    rank_pairs,
    spearman,
    union,
)
from octoscope.analysis.agreement_jackknife import donor_interval
from octoscope.analysis.dask_graphs import compute
from octoscope.analysis.finished_matrices import FinishedMatrices
from octoscope.analysis.intervals import jackknife_interval
from octoscope.analysis.pairings import (
    Comparison,
    comparison_settings,
    comparisons,
    reader,
    strongest,
)
from octoscope.analysis.registry import Analysis, Context, Needs
from octoscope.analysis.tables import donor_tables
from octoscope.analysis.tables.agreement_schema import AGREEMENT_TABLES
from octoscope.analysis.tables.columns import no_rows
from octoscope.analysis.tables.donor_tables import DonorDeletions
from octoscope.run_plan.values import COEXPRESSION, Block, Plan

AGREEMENT = "tables/agreement.parquet"
COHERENCE = "tables/coherence.parquet"
CATEGORIES = "tables/agreement_categories.parquet"
GENE_SETS = "tables/gene_sets.parquet"
COHERENCE_CATEGORIES = "tables/coherence_categories.parquet"
MODEL_PAIRS = "tables/model_pairs.parquet"
BY_K = "tables/by_k.parquet"
HEADS = "tables/heads.parquet"
TABLES = (
    AGREEMENT, CATEGORIES, MODEL_PAIRS, BY_K, HEADS, COHERENCE, COHERENCE_CATEGORIES, GENE_SETS,
)  # fmt: skip
_LAYERS = 4  # of a task: CPUs should not wait for the model with the most
_MOST_MODELS = 8  # all subsets of more are too many to list: then only pairs and the whole


@dataclass(frozen=True)
class Compared:
    """Result of one comparison: rows of ``agreement`` and of ``coherence``."""

    agreement: pd.DataFrame
    coherence: pd.DataFrame


def _outputs(plan: Plan, finished: Sequence[Block]) -> dict[str, Sequence[Block]]:
    return dict.fromkeys(TABLES, finished) if plan.compare is not None and finished else {}


def _compute(context: Context) -> Iterable[tuple[str, pd.DataFrame]]:
    """Compare all comparable matrices with each other."""
    run, plan = context.run, context.run.plan
    todo = comparisons(plan, set(context.finished))
    results = compute([_graph(run, x) for x in todo], context.scheduler)
    agreement_table = (
        pd.concat([f.agreement for f in results], ignore_index=True)
        if results
        else no_rows(_AGREEMENT)
    )
    coherence_parts = [f.coherence for f in results if len(f.coherence)]
    coherence_table = (
        pd.concat(coherence_parts, ignore_index=True) if coherence_parts else no_rows(_COHERENCE)
    )
    coherence_table = coherence_table.assign(left_out=coherence_table["left_out"].astype("string"))
    family = ["comparison", "gene_set", "view", "k"]
    agreement_table = agreement_table.assign(q=statistics.adjust_by(agreement_table, family))
    coherence_table = coherence_table.assign(
        q=statistics.adjust_by(coherence_table, ["gene_set", "view", "k"])
    )
    models = [m.name for m in plan.checkpoints]
    tables = {
        AGREEMENT: agreement_table,
        CATEGORIES: summaries.over_categories("agreement", agreement_table),
        MODEL_PAIRS: summaries.model_pairs(agreement_table, models),
        BY_K: summaries.by_k(agreement_table, models),
        HEADS: summaries.heads(agreement_table),
        COHERENCE: coherence_table,
        COHERENCE_CATEGORIES: summaries.over_categories("coherence", coherence_table),
        GENE_SETS: gene_sets(run),
    }
    return tables.items()


_AGREEMENT, _COHERENCE = (
    next(t for t in AGREEMENT_TABLES if t.path == path) for path in (AGREEMENT, COHERENCE)
)


def _graph(run: FinishedMatrices, x: Comparison) -> Any:
    """One comparison: top pairs, then values and ranks and nulls, a few layers at a time."""
    models = list(dict.fromkeys(m.model for m in x.refs))
    comparison = delayed(x, traverse=False)  # one object for all tasks
    of_models = [[i for i, m in enumerate(x.refs) if m.model == name] for name in models]
    parts = [
        indices[at : at + _LAYERS]
        for indices in of_models
        for at in range(0, len(indices), _LAYERS)
    ]
    tops = [delayed(_tops)(run, comparison, part) for part in parts]
    pairs = delayed(_union)(tops, len(x.genes))
    ranked = delayed(_join)([delayed(_rank)(run, comparison, part, pairs) for part in parts], parts)
    agreements = [delayed(_evaluate)(run, comparison, part, ranked) for part in parts]
    without = donor_tables.graph(run, x, comparison)
    return delayed(_tables)(run, comparison, ranked, agreements, without)


def _tops(run: FinishedMatrices, x: Comparison, part: Sequence[int]) -> list[Pairs]:
    return [strongest(run, x.category, x.refs[i], x.genes, x.gene_set) for i in part]


def _union(tops: list[list[Pairs]], n_genes: int) -> Pairs:
    return union([pair for part in tops for pair in part], n_genes)


def _rank(run: FinishedMatrices, x: Comparison, part: Sequence[int], pairs: Pairs) -> RankedPairs:
    plan = run.plan
    readers = [reader(run, x.category, x.refs[i], x.genes) for i in part]
    return rank_pairs(
        readers, *pairs, n_genes=len(x.genes), conventions=comparison_settings(plan).conventions
    )


def _join(ranked: list[RankedPairs], parts: list[list[int]]) -> RankedPairs:
    """Return the parts as one, in the order of ``refs``."""
    order = np.argsort(np.concatenate(parts))
    first = ranked[0]
    return RankedPairs(
        first.query,
        first.key,
        np.concatenate([p.values for p in ranked])[order],
        np.concatenate([p.ranks for p in ranked])[order],
        np.concatenate([p.n_ranked for p in ranked])[order],
        np.concatenate([p.partners for p in ranked])[order],
        first.n_genes,
    )


def _evaluate(
    run: FinishedMatrices, x: Comparison, part: Sequence[int], ranked: RankedPairs
) -> Agreement:
    plan = run.plan
    readers = {i: reader(run, x.category, x.refs[i], x.genes) for i in part}
    c = comparison_settings(plan)
    return agreement(
        ranked,
        readers,
        c.k,
        permutations=plan.permutations,
        max_permutation_factor=plan.max_permutation_factor,
        seed=plan.seed,
        conventions=c.conventions,
    )


def _tables(
    run: FinishedMatrices,
    x: Comparison,
    ranked: RankedPairs,
    agreements: list[Agreement],
    without: DonorDeletions | None,
) -> Compared:
    plan = run.plan
    whole = reduce(Agreement.join, agreements)
    if without is not None:
        low, high = donor_interval(whole.medians, without.medians, without.donors)
        low, high = np.clip(low, 0, 1), np.clip(high, 0, 1)
        ks = comparison_settings(plan).k
        for row in whole.rows:
            at = int(row["query"]), int(row["eval"]), ks.index(int(row["k"]))
            row |= {"donor_low": float(low[at]), "donor_high": float(high[at])}
    label = {
        "comparison": x.kind,
        "category": plan.categories[x.category].name,
        "gene_set": x.gene_set,
        "view": x.view,
    }
    r, n_both = spearman(ranked)
    rows = []
    for row in sorted(whole.rows, key=lambda row: (row["query"], row["eval"], row["k"])):
        a, b = int(row["query"]), int(row["eval"])
        ends: dict[str, Any] = {}
        for side, ref in (("query", x.refs[a]), ("eval", x.refs[b])):
            ends |= {
                f"{side}_model": ref.model,
                f"{side}_layer": ref.layer,
                f"{side}_view": ref.view,
            }
        measured = {k: v for k, v in row.items() if k not in ("query", "eval")}
        more = {
            "n_genes": len(x.genes),
            "n_union": len(ranked.query),
            "n_correlated": int(n_both[a, b]),
            "spearman": float(r[a, b]),
        }
        rows.append(label | ends | measured | more)
    coherence_rows = _coherence(plan, x, whole, without) if x.kind == "models" else []
    return Compared(pd.DataFrame(rows), pd.DataFrame([label | row for row in coherence_rows]))


def _coherence(
    plan: Plan, x: Comparison, whole: Agreement, leave_donors_out: DonorDeletions | None
) -> list[dict[str, Any]]:
    """Return the coherence of every layer of a model, with every model left out in turn."""
    of_group = plan.model_groups
    at = [i for i, m in enumerate(x.refs) if plan.model(m.model).family != COEXPRESSION]
    models = [x.refs[i].model for i in at]
    groups = [of_group[m] for m in models]
    if len(set(groups)) < 2:
        return []
    square = np.ix_(at, at)
    names, rows = list(dict.fromkeys(models)), []
    left_out = [None, *names] if len(names) > 2 else [None]
    model_groups = np.array([of_group.get(m.model, "") for m in x.refs], object)
    others = (model_groups[:, None] != model_groups) & np.isin(
        np.arange(len(model_groups)), at
    )  # who evaluates whom
    complete = whole.complete_permutations(others)
    for i, k in enumerate(comparison_settings(plan).k):
        medians = whole.medians[..., i][square]
        deleted = whole.deleted[..., i][:, at][:, :, at]
        null = complete[..., i][:, at][:, :, at]
        for without in left_out:
            value = coherence(medians, models, groups, without)
            dropped = coherence(deleted, models, groups, without)
            permuted = coherence(null, models, groups, without)
            over = _over_donors(value, leave_donors_out, i, at, models, groups, without)
            for a, index in enumerate(at):
                if models[a] == without:
                    continue
                other_groups = {g for m, g in zip(models, groups, strict=True) if m != without}
                low, high = jackknife_interval(value[a], dropped[:, a])
                null_low, null_high = statistics.null_range(permuted[:, a])
                row = {
                    "model": models[a],
                    "layer": x.refs[index].layer,
                    "group": groups[a],
                    "k": k,
                    "left_out": without,
                    "n_groups": len(other_groups - {groups[a]}),
                    "coherence": float(value[a]),
                    "low": low,
                    "high": high,
                    "null_mean": float(statistics.known_mean(permuted[:, a])),
                    "null_low": null_low,
                    "null_high": null_high,
                    "p": statistics.permutation_p(float(value[a]), permuted[:, a]),
                    "n_permutations": statistics.n_permutations_of(permuted[:, a]),
                }
                rows.append(row | {name: float(end[a]) for name, end in over.items()})
    return rows


def _over_donors(
    value: np.ndarray,
    deletions: DonorDeletions | None,
    k: int,
    at: Sequence[int],
    models: Sequence[str],
    groups: Sequence[str],
    without: str | None,
) -> dict[str, np.ndarray]:
    """Return the interval of coherence [matrices] over donors; nothing without donor groups."""
    if deletions is None:
        return {}
    dropped = coherence(deletions.medians[..., k][:, at][:, :, at], models, groups, without)
    low, high = donor_interval(value, dropped, deletions.donors)
    return {"donor_low": np.maximum(low, 0), "donor_high": high}


def gene_sets(run: FinishedMatrices) -> pd.DataFrame:
    """Count the genes that each subset of models shares: more models, fewer genes.

    For more than eight models: each, every two, all, and the subsets that gene sets name.

    Returns
    -------
    DataFrame
        models (joined by +), n_models, n_groups (model groups), n_genes (accumulated by all of
        them), n_vocabulary (of the atlas, in all of their vocabularies), share_of_smallest (of the
        smallest of these vocabularies).
    """
    plan = run.plan
    names = [m.name for m in plan.checkpoints]
    axes = {m.name: set(m.axis) for m in plan.checkpoints}
    genes = run.table("tables/vocabulary")
    genes = genes[genes["what"].isin(["matched", "renamed"])]
    vocabularies = {name: set(genes.loc[genes["model"] == name, "gene"]) for name in names}
    sizes: Sequence[int] = range(1, len(names) + 1)
    if len(names) > _MOST_MODELS:
        sizes = [1, 2, len(names)]
    subsets = [subset for size in sizes for subset in combinations(names, size)]
    for gene_set in dict.fromkeys(s for m in plan.checkpoints for s in m.gene_sets):
        subsets.append(tuple(m.name for m in plan.checkpoints if gene_set in m.gene_sets))
    rows, model_groups = [], plan.model_groups
    for subset in sorted(dict.fromkeys(subsets), key=len):
        shared = set.intersection(*(vocabularies[name] for name in subset))
        rows.append(
            {
                "models": "+".join(subset),
                "n_models": len(subset),
                "n_groups": len({model_groups[name] for name in subset}),
                "n_genes": len(set.intersection(*(axes[name] for name in subset))),
                "n_vocabulary": len(shared),
                "share_of_smallest": len(shared) / min(len(vocabularies[name]) for name in subset),
            }
        )
    return pd.DataFrame(rows)


AGREEMENT_ANALYSIS = Analysis(
    "comparisons", Needs(matrices=True, donors=True), _outputs, _compute, AGREEMENT_TABLES
)
