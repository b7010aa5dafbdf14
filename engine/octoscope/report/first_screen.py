"""The first screen: what was asked, what was found, what was refused, and the caveats."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from octoscope.report.limits import caveats, listed, number, refused, totals
from octoscope.report.rows import count, figure, interval, p_text, percent, records
from octoscope.results.model_findings import OVERLAP, findings
from octoscope.results.run_results import Results
from octoscope.results.verdict_tables import why_no_verdict

Row = dict[str, Any]
MATRIX = ("matrix", "matrices")


@dataclass(frozen=True)
class Finding:
    """A model and what was found of it: a label and a sentence each."""

    model: str
    attends: bool
    sentences: list[tuple[str, str]]


def sentences(results: Results) -> list[str]:
    """Return the headline of the report, in the first declared gene set and view."""
    gene_set, view = results.config.gene_sets[0].name, results.plan.views[0]
    _, attends, why = _findings(results, gene_set, view)
    return headline(attends, why, results.plan.network is not None)


def _findings(
    results: Results, gene_set: str, view: str
) -> tuple[list[Row], list[Row], str | None]:
    """Return all findings, those of attention, and why there is no verdict (None: there is)."""
    rows = records(findings(results, gene_set, view))
    why = why_no_verdict(results) if rows else "the run is incomplete"
    return rows, [row for row in rows if row["attends"]], why


def content(results: Results, gene_set: str, view: str, view_text: str, network: str) -> Row:
    """Return what the template of the first screen shows."""
    rows, attends, why = _findings(results, gene_set, view)
    return {
        "asked": _introduction(results, gene_set, view, view_text, network),
        "headline": headline(attends, why, bool(network)),
        "numbers": _numbers(attends, why, bool(network)),
        "findings": [finding(row, why) for row in rows],
        "why": why,
        "refused": refused(results),
        "caveats": caveats(results, attends),
    }


def _introduction(results: Results, gene_set: str, view: str, view_text: str, network: str) -> str:
    plan = results.plan
    names = [m.name for m in plan.checkpoints]
    genes = max(len(m.gene_sets[gene_set]) for m in plan.models if gene_set in m.gene_sets)
    tested = f"; are they edges of the network {network}; is co-expression the reason?"
    ask = "Do the strongest pairs of genes in attention repeat between halves of the cells"
    ask += "; do models agree" if len(names) > 1 else ""
    return (
        f"{ask}{tested if network else '?'} Read: {listed(names)}, {_cells(results)}, "
        f"{number(len(plan.categories), 'category', 'categories')}, "
        f"{number(genes, 'gene')} of the set {gene_set}. The value of a pair is its {view}: "
        f"{view_text}."
    )


def _cells(results: Results) -> str:
    atlas, config = results.plan.atlas, results.config.atlas
    if atlas is None or config is None:
        return "imported means of cells"
    name = str(config.path).rstrip("/").rpartition("/")[2]
    return f"{count(atlas['selected'])} of {count(atlas['cells'])} cells of {name}"


def headline(rows: list[Row], why: str | None, network: bool) -> list[str]:
    """Say in a few sentences what the run shows; that it shows nothing, where it does not."""
    if not rows:
        return ["This run has no finished matrices: nothing was found, and nothing was ruled out."]
    matrices, reliable, halves, enriched, tested = totals(
        rows, "n_matrices", "n_reliable", "n_halves", "n_enriched", "n_tested"
    )
    beyond, no_more, not_enriched, undecided = totals(
        rows, "n_beyond", "n_no_more", "n_not_enriched", "n_cannot_tell"
    )
    agree, compared = totals(rows, "agreement_n_significant", "agreement_n")
    lines = []
    if network and why is None:
        judged = beyond + no_more + not_enriched + undecided
        start = f"{beyond:,} of {number(judged, *MATRIX)}" if judged else "No matrix"
        lines.append(
            f"{start} (one for each layer, category and attention variant) "
            f"{'holds' if beyond == 1 else 'hold'} more network edges among the strongest "
            f"pairs than degree, expression and co-expression explain. {no_more:,} "
            f"{'is' if no_more == 1 else 'are'} explained by co-expression, {not_enriched:,} "
            f"{'is' if not_enriched == 1 else 'are'} not enriched at all, and of {undecided:,} it "
            "cannot be told."
        )
    elif network:
        lines.append(
            f"{enriched:,} of {number(tested, 'tested matrix', 'tested matrices')} "
            f"{'has' if enriched == 1 else 'have'} more network edges among the strongest pairs "
            f"than the null (q < 0.05). Whether co-expression is the reason cannot be told: "
            f"{(why or '').partition(';')[0]}."
        )
    if compared:
        lines.append(
            f"{agree:,} of {number(compared, 'comparison')} with the closest other model "
            f"{'agrees' if agree == 1 else 'agree'} more than by chance (q < 0.05)."
        )
    lines.append(
        f"{reliable:,} of {number(halves, *MATRIX)} "
        f"{'repeats' if reliable == 1 else 'repeat'} between the two halves of the cells more than "
        "with permuted gene labels (q < 0.05)."
    )
    if not (beyond or enriched or agree or reliable):
        lines.insert(0, "This run shows nothing beyond chance.")
    elif network and why is not None and tested and not enriched:
        lines.insert(0, "This run shows no overlap with the network beyond the null.")
    elif network and why is None and not beyond:
        decided = no_more + not_enriched
        start = "This run shows no molecular wiring beyond co-expression"
        of = f" in the {number(decided, *MATRIX)} of which it can tell" if undecided else ""
        cannot = "This run cannot tell molecular wiring from co-expression."
        lines.insert(0, f"{start}{of}." if decided else cannot)
    saturated = totals(rows, "n_saturated")[0]
    if saturated:
        lines.append(
            f"{saturated:,} of {number(matrices, *MATRIX)} "
            f"{'is' if saturated == 1 else 'are'} saturated: there, overlap and agreement say "
            "little."
        )
    if matrices > halves:
        lines.append(f"Of {matrices - halves:,} matrices the reliability is not defined.")
    return lines


def _numbers(rows: list[Row], why: str | None, network: bool) -> list[tuple[str, str]]:
    """Return the three numbers above all: how many of how many, and of what."""
    if not rows:
        return []
    out = []
    if network and why is None:
        beyond, *others = totals(rows, "n_beyond", "n_no_more", "n_not_enriched", "n_cannot_tell")
        out.append((f"{beyond:,} of {beyond + sum(others):,}", "matrices beyond co-expression"))
    elif network:
        enriched, tested = totals(rows, "n_enriched", "n_tested")
        out.append(
            (f"{enriched:,} of {tested:,}", "matrices with more network edges than the null")
        )
    agree, compared = totals(rows, "agreement_n_significant", "agreement_n")
    if compared:
        out.append((f"{agree:,} of {compared:,}", "comparisons of models that agree"))
    reliable, halves = totals(rows, "n_reliable", "n_halves")
    out.append((f"{reliable:,} of {halves:,}", "matrices that repeat between halves"))
    return out


def finding(row: Row, why: str | None) -> Finding:
    """Return what was found of one model, of its row of findings.

    ``why``: what the run lacks for a verdict; None: it has verdicts.
    """
    labelled = [("Strongest layer", _strongest(row))]
    if row["attends"]:
        labelled.append(("After co-expression", _controlled(row, why)))
    if row["agreement_n"]:
        labelled.append(("Other models", _agreement(row)))
    labelled.append(("Reliability", _reliability(row)))
    return Finding(row["model"], row["attends"], labelled)


def _strongest(row: Row) -> str:
    start = f"Layer {row['layer']} in {row['category']}"
    if row["strongest_by"] != OVERLAP:
        return (
            f"{start}, by the largest reliability of "
            f"{number(row['n_matrices'], *MATRIX)}: it has no overlap with a network "
            "to choose by."
        )
    if not row["n_edges"]:
        edges = f"none of its {count(row['n_pairs'])} strongest pairs is a network edge"
    else:
        edges = (
            f"{count(row['n_edges'])} of its {count(row['n_pairs'])} strongest pairs are network "
            f"edges ({percent(row['edge_rate'])}; 95 % interval "
            f"{interval(row, 'low', 'high', percent)})"
        )
    null = (
        f"The null expects {percent(row['null_mean'])} "
        f"({percent(row['null_low'])} to {percent(row['null_high'])})"
    )
    return (
        f"{start}: {edges}. {null}, so it is {figure(row['fold_over_null'])} times the null, "
        f"q {p_text(row['q'])}. It is the strongest of "
        f"{number(row['n_tested'], *MATRIX)} by q, then by this ratio; "
        f"q is below 0.05 in {count(row['n_enriched'])}."
    )


def _controlled(row: Row, why: str | None) -> str:
    if why is not None:
        return f"Cannot tell: {why}."
    judged = sum(totals([row], "n_beyond", "n_no_more", "n_not_enriched", "n_cannot_tell"))
    counts = (
        f"Of {number(judged, *MATRIX)} (one for each layer and category) "
        f"{row['n_beyond']:,} beyond co-expression, {row['n_no_more']:,} no more than it, "
        f"{row['n_not_enriched']:,} not enriched, {row['n_cannot_tell']:,} cannot be told."
    )
    return f"{counts} Clearest: {row['verdict']}" if row["verdict"] else counts


def _agreement(row: Row) -> str:
    a = {k.removeprefix("agreement_"): v for k, v in row.items()}
    text = (
        f"Closest is {a['eval_model']}: the {count(a['k'])} strongest pairs have there a median "
        f"quantile of {figure(a['median_quantile'])} over {number(int(a['n']), 'comparison')} "
        f"({figure(a['smallest'])} to {figure(a['largest'])}), the null "
        f"{figure(a['null_median'])}; q is below 0.05 in {count(a['n_significant'])}."
    )
    if a["best_category"] is None or a["best_category"] != a["best_category"]:
        return text
    return (
        f"{text} Best: layer {int(a['best_query_layer'])} in layer {int(a['best_eval_layer'])}, "
        f"{a['best_category']}, {count(a['best_n_pairs'])} pairs: {figure(a['smallest'])} (95 % "
        f"interval {interval(a, 'best_low', 'best_high')}; null {figure(a['best_null_low'])} to "
        f"{figure(a['best_null_high'])}; q {p_text(a['best_q'])})."
    )


def _reliability(row: Row) -> str:
    return (
        f"The halves of the cells correlate with r = {figure(row['half_centred'])} in that layer "
        f"(95 % interval {interval(row, 'half_centred_low', 'half_centred_high')}; null "
        f"{figure(row['half_null_low'])} to {figure(row['half_null_high'])}; q "
        f"{p_text(row['half_q'])}; {count(row['half_pairs'])} pairs). Over "
        f"{number(row['n_halves'], *MATRIX)} the median is "
        f"{figure(row['halves_median'])} ({figure(row['halves_smallest'])} to "
        f"{figure(row['halves_largest'])})."
    )
