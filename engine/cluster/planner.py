"""Making a plan: a pure function of configuration, atlas and checkpoints; sizes and refusals."""

from __future__ import annotations

import os
import platform
import shutil
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import psutil

from engine.atlas import Atlas, CellIndex
from engine.attention.views import QUANTITIES, default_min_cells
from engine.config import LOCAL_PANEL_LIMIT, GeneSetConfig, ModelConfig, RunConfig
from engine.dataset import fixed_options
from engine.errors import InputError
from engine.models import FoundationModel, GeneMatch, checkpoint_files, load_model
from engine.models.weights import file_digests
from engine.octopus.network import network_facts
from engine.store.plan import CategoryPlan, EdgesPlan, ModelPlan, Plan, Unit
from engine.store.root import hash_json
from engine.vocabulary import GeneTable, select_genes

DEMONSTRATION = "DEMONSTRATION.md"
_IMPORTS = 900e6  # resident bytes of a worker before it holds anything: torch, ray, zarr
_LIBRARIES = (
    "octoscope", "torch", "numpy", "pandas", "zarr", "anndata", "pyarrow", "ray", "dask", "scipy",
)  # fmt: skip


def parse_bytes(text: str, field: str = "execution.memory") -> float:
    """Read sizes such as ``8GB`` or ``512MB``.

    Raises
    ------
    InputError
        If it is not a number with one of the units.
    """
    for unit, factor in (("TB", 1e12), ("GB", 1e9), ("MB", 1e6), ("KB", 1e3)):
        if text.upper().endswith(unit):
            try:
                return float(text[: -len(unit)]) * factor
            except ValueError:
                break
    raise InputError(field, f"{text!r} is not a size", "write it like 8GB")


def model_plans(config: RunConfig, atlas: Atlas, index: CellIndex) -> list[ModelPlan]:
    """Load every checkpoint once, match genes, resolve gene sets.

    Raises
    ------
    InputError
        If a checkpoint, an option or a gene set cannot be used.
    """
    loaded: list[tuple[ModelConfig, FoundationModel, GeneMatch]] = []
    for m in config.models:
        model = load_model(m.path, family=m.family, options=m.options, seed=config.seed)
        loaded.append((m, model, model.match(atlas.genes)))
    available = {m.name: match.genes.take(match.matched) for m, _, match in loaded}
    found = {g.name: _gene_set(g, available, atlas.genes) for g in config.gene_sets}
    sets = {name: genes for name, (genes, _) in found.items()}
    absent = {name: names for name, (_, names) in found.items()}
    categories = [np.sort(np.concatenate(halves)) for halves in index.halves]
    plans = []
    for m, model, match in loaded:
        panel = sets[m.panel] if m.panel is not None else None
        match = match.with_panel(None if panel is None else sorted(panel))
        extra = fixed_options(model, match, atlas, categories)
        if extra:
            options = {**m.options, **extra}
            model = load_model(m.path, family=m.family, options=options, seed=config.seed)
            m = m.model_copy(update={"options": options})
        plans.append(_model_plan(config, m, model, match, sets, absent))
    return plans


def _gene_set(
    declared: GeneSetConfig, available: dict[str, GeneTable], genes: GeneTable
) -> tuple[set[str] | None, list[str]]:
    """Return the Ensembl ids of a set (None: all genes of each model) and the names not found."""
    where = f"gene_sets.{declared.name}"
    if declared.kind == "panel":
        index, absent = select_genes(declared.genes or [], genes, where=where)
        return set(genes.ensembl[index]), absent
    if declared.kind == "model":
        return None, []
    names = declared.models or list(available)
    common = set.intersection(*(set(available[n].ensembl) for n in names))
    if not common:
        raise InputError(where, f"no gene is in all of {names}", "choose other models")
    return common, []


def _model_plan(
    config: RunConfig,
    m: ModelConfig,
    model: FoundationModel,
    match: GeneMatch,
    sets: dict[str, set[str] | None],
    absent: dict[str, list[str]],
) -> ModelPlan:
    names, symbols = match.genes.ensembl, match.genes.symbol
    usable = match.allowed
    input_genes = None if match.panel is None else sorted(str(names[i]) for i in usable)
    wanted = sets.get(config.accumulate)
    kept = [i for i in usable if wanted is None or names[i] in wanted]
    # The axis is ordered by Ensembl id: it does not depend on vocabulary or atlas order.
    axis = sorted((str(names[i]), str(symbols[i])) for i in kept)
    position = {e: a for a, (e, _) in enumerate(axis)}
    gene_sets = {
        name: sorted(position[g] for g in (position if genes is None else genes) if g in position)
        for name, genes in sets.items()
    }
    for name, members in gene_sets.items():
        if len(members) < 3:
            raise InputError(
                f"gene_sets.{name}",
                f"{len(members)} of its genes are accumulated for model {m.name}",
                "declare more genes, or widen `accumulate`",
            )
    if len(axis) > LOCAL_PANEL_LIMIT:
        raise InputError(
            "accumulate",
            f"{len(axis)} genes for model {m.name}; this version takes {LOCAL_PANEL_LIMIT}",
            "set `accumulate` to a gene set of that size or less",
        )
    layers = list(range(model.n_layers)) if m.layers is None else sorted(set(m.layers))
    if not layers or layers[0] < 0 or layers[-1] >= model.n_layers:
        raise InputError(
            f"models.{m.name}.layers", f"{m.layers}", f"choose from 0 to {model.n_layers - 1}"
        )
    path = Path(m.path)
    return ModelPlan(
        name=m.name,
        family=m.family,
        path=m.path,
        digests=file_digests(checkpoint_files(path)),
        options=m.options,
        input_genes=input_genes,
        layers=layers,
        n_layers=model.n_layers,
        n_heads=model.n_heads,
        d=model.d,
        mass_columns=["kept", "outside", *model.special_kinds],
        axis=[e for e, _ in axis],
        symbols=[s for _, s in axis],
        gene_sets=gene_sets,
        gene_sets_absent={
            name: absent[name] + sorted((genes or set()) - set(position))
            for name, genes in sets.items()
        },
        checkpoint_bytes=sum(f.stat().st_size for f in checkpoint_files(path)),
        dtype=m.dtype,
        **_working_set(config, model.max_tokens(match), model.d),
        demonstration=((path if path.is_dir() else path.parent) / DEMONSTRATION).exists(),
        gene_report={
            "atlas_genes": len(match.model_gene),
            "model_genes": len(match.genes),
            "matched": len(match.matched),
            "accumulated": len(axis),
        },
    )


def _working_set(config: RunConfig, tokens: int, d: int) -> dict[str, int]:
    """Return tokens, and the cells of units and batches that ``execution.working_set`` allows.

    A function of configuration and checkpoint alone: unit boundaries do not depend on a machine.
    """
    e = config.execution
    residual = tokens * (d * 4 + 30)
    limit = parse_bytes(e.working_set, "execution.working_set")
    micro = min(e.micro_batch, int(limit / 4 / (residual * 4)))  # q and k, twice when gathered
    return {
        "max_tokens": tokens,
        "unit_cells": max(1, min(e.unit_cells, int(limit / residual))),
        "micro_batch": max(1, micro),
        "batch_cells": max(1, min(e.batch_cells, micro, int(limit / 4 / (residual * 12)))),
    }


def make_plan(
    config: RunConfig, run: Path, threads: int | None = None, *, check_fit: bool = True
) -> Plan:
    """Plan a run. Nothing is written.

    Parameters
    ----------
    threads
        Torch threads per actor of an earlier plan; None: from the configuration or this machine.
    check_fit
        Refuse what does not fit; not on resume, where the run's own scratch is on the disk.

    Raises
    ------
    InputError
        If any input cannot be used, or memory or disk do not suffice.
    """
    atlas = Atlas(config.atlas)
    index = atlas.index(config.seed)
    models = model_plans(config, atlas, index)
    execution = config.execution
    if threads is None:
        # Models share the CPUs, or take turns where there are more replicas than CPUs.
        cpus, replicas = os.cpu_count() or 1, len(models) * execution.actors
        together = replicas if replicas <= cpus else execution.actors
        threads = execution.threads or max(1, cpus // together)
    categories = [
        CategoryPlan(
            name=name,
            cells=(len(halves[0]), len(halves[1])),
            donors=index.donors[c] if index.donors else None,
            min_cells=config.min_cells or default_min_cells(len(halves[0]) + len(halves[1])),
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
            stop=min(start + m.unit_cells, n),
        )
        for m in models
        for c, category in enumerate(categories)
        for half, n in enumerate(category.cells)
        for start in range(0, n, m.unit_cells)
    ]
    plan = Plan(
        config_hash=hash_json(result_fields(config)),
        atlas={
            "fingerprint": atlas.fingerprint(index),
            "counts": atlas.counts_source,
            "cells": len(atlas.cell_ids),
            "genes": len(atlas.genes),
            "selected": index.selected,
            "replicates": config.atlas.replicate_key or "cells",
        },
        network=network_facts(config.network.path) if config.network else None,
        categories=categories,
        refused_cells=index.refused,
        models=models,
        units=units,
        views=list(config.views),
        tile=execution.tile,
        threads=threads,
        top_k=config.top_k,
        edges=_edges(config),
        permutations=config.permutations,
        seed=config.seed,
        versions={"python": platform.python_version(), **{n: version(n) for n in _LIBRARIES}},
        needs=_needs(config, models, categories, units),
    )
    if check_fit:
        _refuse_what_cannot_fit(config, plan, run)
    return plan


def _edges(config: RunConfig) -> EdgesPlan | None:
    e = config.edges
    if e is None:
        return None
    return EdgesPlan(
        per_query=e.per_query,
        threshold=e.threshold,
        symmetrise=e.symmetrise,
        gene_set=e.gene_set or config.gene_sets[0].name,
        view=e.view or config.views[0],
    )


def result_fields(config: RunConfig) -> dict[str, Any]:
    """Return the configuration without what only changes where and how fast it runs."""
    tree = config.model_dump(mode="json")
    for name in ("memory", "attempts", "unit_timeout", "start_timeout", "actors", "threads"):
        tree["execution"].pop(name)
    return tree


def _needs(
    config: RunConfig, models: list[ModelPlan], categories: list[CategoryPlan], units: list[Unit]
) -> dict[str, float]:
    """Project bytes: per actor, scratch (until the run ends) and the finished store."""
    e, q = config.execution, len(QUANTITIES)
    actor = scratch = kept = tables = 0.0
    for m in models:
        n2 = float(len(m.axis)) ** 2
        longest = max((u.stop - u.start for u in units if u.model == m.name), default=0)
        cells = min(m.micro_batch, longest)
        forward = min(m.batch_cells, cells) * m.max_tokens * m.d * 4 * 12
        compute = (
            n2 * (8 * q + 4)  # one layer's sums, pair counts
            + longest * m.max_tokens * (m.d * 4 + 30)  # residual stream and tokens of a unit
            + cells * m.max_tokens * m.d * 4 * 4  # q and k of a micro-batch, twice (gathered)
            + forward
            + 6 * (1 << 22)  # tiles of scores
            + 1.5 * m.checkpoint_bytes  # as read, and converted
        )
        rows = min(e.tile, len(m.axis)) * len(m.axis)
        finalise = rows * (2 * q * 4 + 2 * 4 + 8 * q * 3 + 64) + n2 * (8 + 12)
        if config.edges is not None and config.edges.symmetrise:
            finalise += n2 * 24  # the set's matrix, its transpose in fp64
        actor = max(actor, _IMPORTS + max(compute, finalise))
        per_model = sum(u.model == m.name for u in units)
        dense = len(categories) * n2 * (len(m.layers) * 2 * q * 4 + 2 * 4)
        scratch += per_model * n2 * (len(m.layers) * q * 8 + 4) + dense
        kept += dense if config.keep_dense == "fp32" else 0
        top = 3 * 2 * config.top_k * 24.0 * len(config.gene_sets) * len(config.views)
        tables += len(categories) * len(m.layers) * top + 5e6
    return {
        "actor_bytes": actor,
        "scratch_bytes": scratch,
        "store_bytes": kept + tables,
        "units": float(len(units)),
    }


def _refuse_what_cannot_fit(config: RunConfig, plan: Plan, run: Path) -> None:
    memory = config.execution.memory
    limit = parse_bytes(memory) if memory else 0.8 * psutil.virtual_memory().available
    actors = config.execution.actors * len(plan.models)
    if plan.needs["actor_bytes"] * (1 if memory else actors) > limit:
        raise InputError(
            "plan",
            f"each of {actors} actors needs {plan.needs['actor_bytes'] / 1e9:.1f} GB, "
            f"{limit / 1e9:.1f} GB are allowed in all",
            "lower execution.unit_cells, or `accumulate` a smaller gene set",
        )
    place = run
    while not place.exists():
        place = place.parent
    free = shutil.disk_usage(place).free
    total = plan.needs["scratch_bytes"] + plan.needs["store_bytes"]
    if total > free:
        raise InputError(
            "plan",
            f"needs up to {total / 1e9:.1f} GB of disk at {place}, {free / 1e9:.1f} GB are free",
            "choose another run directory, or `accumulate` a smaller gene set",
        )
