"""What ``octoscope plan`` says of a plan."""

from __future__ import annotations

from collections.abc import Hashable
from typing import TYPE_CHECKING, Any

from rich.markup import escape
from rich.table import Table

from octoscope.cli.shared import out
from octoscope.errors import some

if TYPE_CHECKING:  # not imported for `octoscope --help`
    from octoscope.api.plan import PlannedRun


def show_plan(planned: PlannedRun) -> None:
    """Print what a run will compute and need."""
    plan = planned.plan
    table = Table("model", "category", "cells", "halves", "units", "layers", "genes", title="Plan")
    for m in plan.bases:
        for c, category in enumerate(plan.categories):
            n = sum(len(plan.units_of(m.name, c, h)) for h in (0, 1))
            name = m.name + (" (demonstration)" if m.demonstration else "")
            known = ("not known",) * 2
            if category.cells is not None:
                known = (str(category.n_cells), " + ".join(map(str, category.cells)))
            cells = (*known, str(n), str(len(m.layers)), str(len(m.axis)))
            table.add_row(name, escape(category.name), *cells)
    out.print(table)
    for sentence in gene_set_sentences(planned):
        out.print(escape(sentence), soft_wrap=True)
    if len(plan.models) > len(plan.bases):
        out.print(f"matrices: {', '.join(m.name for m in plan.models)}")
    needs = plan.needs
    out.print(
        f"plan {plan.hash[:12]}: {len(plan.units)} units; per actor up to "
        f"{needs['actor_bytes'] / 1e9:.1f} GB of memory, of which on the model's device "
        f"{needs['device_bytes'] / 1e9:.2f} GB; a task of the analysis up to "
        f"{needs.get('analysis_bytes', 0) / 1e9:.1f} GB, one per CPU; disk up to "
        f"{needs['scratch_bytes'] / 1e9:.2f} GB while it runs, "
        f"{needs['store_bytes'] / 1e9:.2f} GB after"
    )
    for sentence in row_block_sentences(planned):
        out.print(escape(sentence), soft_wrap=True)
    if plan.atlas is None:
        out.print("imported: no cells are read")
        return
    read, needed = needs["bytes_read"], max(needs["bytes_needed"], 1)
    wasteful = read > 2 * needed
    out.print(
        f"counts: the model with the most units decodes {read / 1e9:.3f} GB of the atlas and uses "
        f"{needed / 1e9:.3f} GB ({read / needed:.1f} x)"
        + ("; `octoscope atlas convert` sorts cells so that less is read" if wasteful else "")
    )
    refused = ", ".join(f"{n} {why}" for why, n in plan.refused_cells.items()) or "none"
    out.print(
        f"cells selected {plan.atlas['selected']} of {plan.atlas['cells']}; refused: {refused}"
    )


def row_block_sentences(planned: PlannedRun) -> list[str]:
    """Return which models sum their layers by row blocks, and what that costs."""
    plan, sentences = planned.plan, []
    for name, blocks in plan.row_blocks.items():
        m = plan.model(name)
        genes = len(m.axis)
        count = blocks.count(genes)
        if blocks.keep_queries:
            cost = (
                "queries and keys of a unit's cells are kept meanwhile, so that a layer runs once; "
                "each block only reads them again"
            )
        else:
            cost = (
                f"each layer whose attention is kept runs {count} times over a unit's cells "
                "instead of once. More memory, or a smaller execution.unit_cells, avoids that"
            )
        sentences.append(
            f"model {name}: the sums of a layer over {genes:,} genes do not fit into the memory at "
            f"once. They are made in {count} blocks of {blocks.rows:,} rows: {cost}. No result "
            "depends on it"
        )
    return sentences


def show_estimate(timed: list[dict[str, Any]], device: str) -> None:
    """Print how long a run takes, as a trial on this machine says.

    ``device``: ``execution.device``.
    """
    names = [f"seconds_per_{what}" for what in ("cell", "unit", "matrix")]
    names += ["unit_hours", "matrix_hours"]
    titles = ("s per cell", "per unit", "per matrix", "hours of units", "of matrices")
    table = Table("model", *titles, title="Time, measured here")
    for row in timed:
        known = (row[n] for n in names)
        table.add_row(row["model"], *("not timed" if x is None else f"{x:.3g}" for x in known))
    out.print(table)
    measured = [r for r in timed if r["unit_hours"] is not None]
    hours = {n: sum(r[n] for r in measured) for n in ("unit_hours", "matrix_hours")}
    if measured:
        out.print(
            f"about {60 * sum(hours.values()):.1f} minutes of one actor before the analysis: "
            f"{60 * hours['unit_hours']:.1f} of units (shared by the actors of each model) and "
            f"{60 * hours['matrix_hours']:.1f} of matrices (shared by all CPUs). From a few cells "
            "in this process, with the plan's threads: an estimate for machines like this one"
        )
    if len(measured) == len(timed):
        return
    if device == "cuda":
        out.print(
            "not timed: this machine has no GPU, and execution.device is cuda. The plan is for a "
            "cluster with GPUs; to run here, say execution.device=auto"
        )
    else:
        out.print("not timed: models that were imported, or run in another environment")


def gene_set_sentences(planned: PlannedRun, names: int = 5) -> list[str]:
    """Return what of declared sets is not used, and which lists hold most of what can be ranked."""
    rows = planned.gene_sets().to_dict("records")
    top_k = planned.plan.settings.top_k
    sentences = [
        f"gene set {row['gene_set']}, {row['model']}: {row['n_genes']} of {row['n_declared']} "
        f"genes; not in the atlas, the model or `accumulate`: {some(row['absent'], names)}"
        for row in rows
        if row["absent"]
    ]
    fewest: dict[str, dict[Hashable, Any]] = {}
    for row in sorted(rows, key=lambda row: -int(row["n_pairs"])):
        if row["saturated"]:
            fewest[row["gene_set"]] = row
    sentences += [
        f"gene set {name}: top_k {top_k:,} is {row['top_share']:.0%} of its {row['n_pairs']:,} "
        f"pairs in {row['model']}: any two such lists share pairs; top_k up to "
        f"{row['top_k_sound']:,} is a tenth"
        for name, row in fewest.items()
    ]
    return sentences
