"""What a run refused or could not answer, and its caveats: one line each, details folded."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from octoscope.report.rows import count, records
from octoscope.results.model_findings import cells_used, genes_not_ranked, why_undecided
from octoscope.results.run_results import Results

Row = dict[str, Any]


@dataclass(frozen=True)
class Line:
    """One line with what is folded behind it; ``id`` of its element."""

    text: str
    details: list[str] = field(default_factory=list)
    id: str = ""


def number(n: int, one: str, more: str = "") -> str:
    """Return a number with what it counts; ``more``: the plural, where it is not with an s."""
    return f"{n:,} {one if n == 1 else more or one + 's'}"


def listed(names: list[str]) -> str:
    """Return names as part of a sentence."""
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"


def totals(rows: list[Row], *columns: str) -> list[int]:
    """Return the sum of each column; what a row does not have counts 0."""
    return [sum(int(row[c] or 0) for row in rows) for c in columns]


def refused(results: Results) -> list[Line]:
    """Return what was not used, or could not be answered: one line each."""
    plan, run = results.plan, results.provenance
    lines = []
    if run["quarantined"]:
        n = len(run["quarantined"])
        lines.append(
            Line(
                f"Incomplete. {number(n, 'piece')} of work quarantined: "
                "their categories are missing here.",
                [f"{work}: {why}" for work, why in run["quarantined"].items()],
                "quarantined",
            )
        )
    if run["cells_not_selected"]:
        reasons = [f"{count(n)}: {why}" for why, n in run["cells_not_selected"].items()]
        total = sum(run["cells_not_selected"].values())
        lines.append(Line(f"{number(total, 'cell')} of the atlas not selected.", reasons))
    cells = results.tables["refused"]
    if len(cells):
        reasons = [
            f"{r['model']}, {r['category']}, {r['cell']}: {r['why']}" for r in records(cells)
        ]
        lines.append(Line(f"{number(len(cells), 'cell')} refused by a model.", reasons))
    absent = records(genes_not_ranked(results))
    for row in absent:
        n_declared = row["n_ranked"] + row["n_absent"]
        lines.append(
            Line(
                f"Gene set {row['gene_set']}: {row['model']} ranks {row['n_ranked']:,} of "
                f"{n_declared:,} genes.",
                [f"Not ranked: {row['genes']}"],
            )
        )
    undecided = records(why_undecided(results))
    if undecided:
        total = sum(row["n"] for row in undecided)
        reasons = [f"{row['n']:,}: {row['reason']}" for row in undecided]
        lines.append(Line(f"{number(total, 'verdict')} cannot be told.", reasons))
    if plan.atlas is None:
        return lines
    used = cells_used(results)
    used_by = ", ".join(f"{name} {n:,}" for name, n in used.items())
    lines.append(Line(f"Of {count(plan.atlas['selected'])} selected cells used: {used_by}."))
    return lines


def _imported(results: Results) -> Line:
    """Return what a run of imported stores cannot know."""
    by_text = [m.name for m in results.plan.checkpoints if m.options.get("layer_order") == "text"]
    details = [
        "Mean residual streams and weights come from stores of napistu-torch. Attention is that of "
        "the mean cell, from the weights alone: no norm, no bias.",
        "The stores hold no cells, so numbers of cells, the reliability of halves, donors and "
        "co-expression are not known; they are null in every table.",
    ]
    if by_text:
        details.append(
            f"Weights of {listed(by_text)} are paired with layers as napistu-torch 0.4.0 pairs "
            "them after loading a store (by the text of their names)."
        )
    return Line(
        "Imported: how many cells there were, and which, is not known.", details, "imported"
    )


def caveats(results: Results, rows: list[Row]) -> list[Line]:
    """Return what the run does not show; ``rows``: its findings of attention variants."""
    plan, config = results.plan, results.config
    lines = []
    shown = [m.name for m in plan.checkpoints if m.demonstration]
    if shown:
        one = len(shown) == 1
        lines.append(
            Line(
                f"{listed(shown)}: "
                f"{'a demonstration checkpoint' if one else 'demonstration checkpoints'}, "
                "small and trained on the same cells that are read here.",
                [
                    "Attention here shows that the engine works. It says nothing about a published "
                    "foundation model or about biology."
                ],
            )
        )
    if len(shown) > 1:
        lines.append(
            Line(
                "These models share their training data, so agreement between them is no evidence "
                "that independent models agree.",
                [
                    f"{listed(shown)} were all trained on the same cells, which are read here. "
                    "Agreement between them reflects shared data as well as shared architecture: "
                    "it is no evidence that independent models agree."
                ],
                "shared-data",
            )
        )
    for m in plan.checkpoints:
        if m.input_genes is not None:
            lines.append(
                Line(
                    f"{m.name} reads a reduced panel of {len(m.input_genes):,} genes, not its "
                    "published input.",
                    ["Every hidden state and attention row differs from what that input gives."],
                )
            )
    saturated, matrices = totals(rows, "n_saturated", "n_matrices")
    if saturated:
        lines.append(
            Line(
                f"{saturated:,} of {number(matrices, 'matrix', 'matrices')} saturated: their "
                f"{count(plan.top_k)} top pairs are more than a tenth of all eligible pairs.",
                ["Overlap, agreement and support of such lists say little. A smaller top_k helps."],
                "saturated",
            )
        )
    if plan.atlas is None:
        lines.append(_imported(results))
    elif plan.atlas["replicates"] == "cells":
        lines.append(
            Line(
                "There is no donor column: reliability is cell-level only.",
                ["Halves are random cells. They say nothing about new donors."],
            )
        )
    if config.atlas is not None and config.atlas.fractional_counts == "round":
        lines.append(
            Line(
                f"Counts in {config.atlas.counts} are not whole numbers; they were rounded.",
                ["Setting: atlas.fractional_counts: round."],
            )
        )
    return lines + [Line(note) for note in config.notes]
