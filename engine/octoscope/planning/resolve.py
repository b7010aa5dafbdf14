"""Makes a plan: a pure function of configuration, atlas and checkpoints."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pandas as pd

from octoscope.atlas import Atlas, CellIndex
from octoscope.config import ModelConfig, RunConfig
from octoscope.config.view_names import default_min_cells
from octoscope.errors import InputError
from octoscope.json_values import hash_json
from octoscope.models import GeneMatch, checkpoint_files
from octoscope.planning.attention_variants import (
    attention_variants,
    coexpression,
    refuse_shared_names,
)
from octoscope.planning.checkpoint_info import (
    CheckpointInfo,
    checkpoint_digests,
    describe,
    describe_elsewhere,
)
from octoscope.planning.derive import result_fields
from octoscope.planning.gene_sets import resolved_sets, sets_of_model
from octoscope.planning.import_plan import plan_import
from octoscope.planning.memory import project, refuse_what_cannot_fit, working_set
from octoscope.planning.plan_records import library_versions, network_record
from octoscope.planning.resolved_settings import resolved_settings
from octoscope.planning.unit_memory import choose_row_blocks
from octoscope.run_plan.values import (
    COEXPRESSION,
    CategoryPlan,
    DonorGroupPlan,
    ModelPlan,
    Plan,
    Unit,
)
from octoscope.store.instruction_set import instruction_set

DEMONSTRATION = "DEMONSTRATION.md"


def model_plans(
    config: RunConfig, atlas: Atlas, index: CellIndex
) -> tuple[list[ModelPlan], dict[str, GeneMatch]]:
    """Load every checkpoint, match genes, resolve gene sets; returns plans and matches by name.

    Raises
    ------
    InputError
        If a checkpoint, an option or a gene set cannot be used.
    """
    categories = [np.sort(np.concatenate(halves)) for halves in index.halves]

    def info_of(
        m: ModelConfig, panel: list[str] | None, match_only: bool = False
    ) -> CheckpointInfo:
        if m.python is None:
            return describe(m, atlas, categories, panel, config.seed, match_only=match_only)
        return describe_elsewhere(
            m, config.cells, categories, panel, config.seed, match_only=match_only
        )

    # a panel may depend on the genes that all models have
    info = {m.name: info_of(m, None, match_only=m.panel is not None) for m in config.models}
    matches = {name: f.match for name, f in info.items()}
    available = {name: match.genes.take(match.matched) for name, match in matches.items()}
    sets, absent = resolved_sets(config, available, atlas.genes)
    for m in config.models:
        if m.panel is not None:
            panel = sets[m.panel]
            info[m.name] = info_of(m, None if panel is None else sorted(panel))
    plans = [
        variant
        for m in config.models
        for variant in attention_variants(
            config, _model_plan(config, m, info[m.name], sets, absent)
        )
    ]
    if config.coexpression:
        symbols = dict(zip(atlas.genes.ensembl, atlas.genes.symbol, strict=True))
        most = max(atlas.most_expressed(rows) for rows in categories)
        plans += coexpression(config, plans, symbols, most)
    refuse_shared_names(plans)
    return plans, {m.name: info[m.name].match for m in config.models}


def _model_plan(
    config: RunConfig,
    m: ModelConfig,
    info: CheckpointInfo,
    sets: dict[str, set[str] | None],
    absent: dict[str, list[str]],
) -> ModelPlan:
    match = info.match
    names, symbols = match.genes.ensembl, match.genes.symbol
    usable = match.allowed
    input_genes = None if match.panel is None else sorted(str(names[i]) for i in usable)
    accumulated = sets.get(config.accumulate)
    kept = [i for i in usable if accumulated is None or names[i] in accumulated]
    # The axis is ordered by Ensembl id: it does not depend on vocabulary or atlas order.
    axis = sorted((str(names[i]), str(symbols[i])) for i in kept)
    gene_sets, missing = sets_of_model(config, m.name, [e for e, _ in axis], sets, absent)
    layers = list(range(info.n_layers)) if m.layers is None else sorted(set(m.layers))
    if not layers or layers[0] < 0 or layers[-1] >= info.n_layers:
        raise InputError(
            f"models.{m.name}.layers", f"{m.layers}", f"choose from 0 to {info.n_layers - 1}"
        )
    path = Path(m.path)
    return ModelPlan(
        name=m.name,
        base=m.name,
        estimator="per_cell",
        heads="mean",
        projection=None,
        views=config.all_views,
        family=m.family,
        path=m.path,
        python=m.python,
        package=info.package,
        digests=checkpoint_digests(path, checkpoint_files(path), info.digests),
        options=info.options,
        input_genes=input_genes,
        layers=layers,
        n_layers=info.n_layers,
        n_heads=info.n_heads,
        d=info.d,
        mass_columns=["kept", "outside", *info.special_kinds],
        axis=[e for e, _ in axis],
        symbols=[s for _, s in axis],
        gene_sets=gene_sets,
        gene_sets_absent=missing,
        checkpoint_bytes=sum(f.stat().st_size for f in checkpoint_files(path)),
        dtype=m.dtype,
        **working_set(config, info.max_tokens, info.d),
        demonstration=((path if path.is_dir() else path.parent) / DEMONSTRATION).exists(),
        gene_report={
            "atlas_genes": len(match.model_gene),
            "model_genes": len(match.genes),
            "matched": len(match.matched),
            "accumulated": len(axis),
        },
    )


def make_plan(config: RunConfig, run: Path | None) -> Plan:
    """Return the plan alone; see :func:`plan_run`."""
    return plan_run(config, run)[0]


def plan_run(
    config: RunConfig, run: Path | None, threads: int | None = None, *, check_fit: bool = True
) -> tuple[Plan, pd.DataFrame]:
    """Plan a run; returns the plan and the vocabulary table of its genes. Writes nothing.

    Parameters
    ----------
    run
        Folder of the run, for the space on its disk; None: an object store.
    threads
        Torch threads per actor of an earlier plan; None: from the configuration or this machine.
    check_fit
        Refuse a plan that does not fit. False on resume: the run's own scratch is on the disk then.

    Raises
    ------
    InputError
        If an input cannot be used, or memory or disk do not suffice.
    """
    if config.atlas is None:
        return plan_import(config, run, threads, check_fit=check_fit)
    atlas = Atlas(config.atlas)
    index = atlas.index_of(config)
    models, matches = model_plans(config, atlas, index)
    bases = [m for m in models if m.name == m.base]
    execution = config.execution
    if threads is None:
        # Models share the CPUs, or take turns where there are more replicas than CPUs.
        cpus, replicas = os.cpu_count() or 1, len(bases) * execution.actors
        together = replicas if replicas <= cpus else execution.actors
        threads = execution.threads or max(1, cpus // together)
    categories = [
        CategoryPlan(
            name=name,
            cells=(len(halves[0]), len(halves[1])),
            donors=index.donors[c] if index.donors else None,
            min_cells=config.min_cells or default_min_cells(len(halves[0]) + len(halves[1])),
            groups=[DonorGroupPlan(**vars(g)) for g in index.groups[c]] if index.groups else None,
        )
        for c, (name, halves) in enumerate(zip(index.categories, index.halves, strict=True))
    ]
    units = [
        Unit(
            id=f"{m.name}.c{c:04d}.h{half}.{start:08d}",
            model=m.name,
            category=c,
            half=half,
            start=start,
            stop=min(start + m.unit_cells, stop),
        )
        for m in bases
        for c, category in enumerate(categories)
        for half, first, stop in category.cell_ranges
        for start in range(first, stop, m.unit_cells)
    ]
    row_blocks = choose_row_blocks(config, models, units, threads)
    plan = Plan(
        config_hash=hash_json(result_fields(config)),
        settings=resolved_settings(
            config, [m for m in bases if m.family != COEXPRESSION], categories
        ),
        atlas={
            "fingerprint": atlas.fingerprint(index),
            "sample": atlas.sample(),
            "counts": atlas.counts_source,
            "cells": len(atlas.cell_ids),
            "genes": len(atlas.genes),
            "selected": index.selected,
            "replicates": config.atlas.replicate_key or "cells",
        },
        network=network_record(config.network) if config.network else None,
        categories=categories,
        refused_cells=index.refused,
        models=models,
        units=units,
        threads=threads,
        versions=library_versions(),
        instruction_set=instruction_set(),
        needs=project(config, models, categories, units, threads, row_blocks)
        | _read_cost(atlas, index, units),
        row_blocks=row_blocks,
        count_files=atlas.count_files(),
    )
    if check_fit:
        refuse_what_cannot_fit(config, plan, run)
    return plan, vocabulary_table(atlas, matches)


def _read_cost(atlas: Atlas, index: CellIndex, units: list[Unit]) -> dict[str, float]:
    """Return the bytes of counts that units decode and that they use.

    For the model with the most units, which reads the most.
    """
    models = [u.model for u in units]
    most = max(dict.fromkeys(models), key=models.count)
    costs = [
        atlas.cost_of(index.halves[u.category][u.half][u.start : u.stop])
        for u in units if u.model == most
    ]  # fmt: skip
    read, needed = sum(c.read for c in costs), sum(c.needed for c in costs)
    return {"bytes_read": float(read), "bytes_needed": float(needed)}


def vocabulary_table(atlas: Atlas, matches: dict[str, GeneMatch]) -> pd.DataFrame:
    """Return how every gene was matched: by each model, and in the atlas before any model.

    Columns: model (null for the atlas), gene, symbol (null likewise), what (matched, renamed,
    merged, dropped), why (null where the gene was matched by its own id).
    """
    columns = ["model", "gene", "symbol", "what", "why"]
    own = pd.DataFrame(atlas.gene_report, columns=["id", "what", "why"], dtype=object)
    own = own.rename(columns={"id": "gene"}).assign(model=None, symbol=None)
    frames = [own[columns]]
    for name, match in matches.items():
        frame = pd.DataFrame(
            {"gene": atlas.genes.ensembl, "symbol": atlas.genes.symbol, "model": name}
        )
        reported = {row["id"]: (row["what"], row["why"]) for row in match.report}
        reported_of = [reported.get(g, ("matched", None)) for g in frame["gene"]]
        frame["what"], frame["why"] = zip(*reported_of, strict=True)
        frames.append(frame[columns])
    return pd.concat(frames, ignore_index=True).astype("string")
