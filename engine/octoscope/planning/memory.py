"""Sizes of a plan: cells of units and batches, projected bytes, refusal of what does not fit."""

from __future__ import annotations

import math
import os
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path

from octoscope.attention.comoments import CELLS_AT_ONCE
from octoscope.attention.cpu_reduce import room_bytes
from octoscope.attention.views import QUANTITIES
from octoscope.config import RunConfig
from octoscope.errors import InputError
from octoscope.extract.ranked_cells import rows_at_once
from octoscope.planning.analysis_memory import task_bytes
from octoscope.planning.derive import sizes
from octoscope.planning.unit_memory import (
    IMPORTS,
    UnitMemory,
    actors,
    device_limit,
    memory_limit,
)
from octoscope.run_plan.settings import CACHE_BYTES
from octoscope.run_plan.values import (
    COEXPRESSION,
    CategoryPlan,
    ModelPlan,
    Plan,
    RowBlocks,
    Unit,
)


def working_set(config: RunConfig, tokens: int, d: int) -> dict[str, int]:
    """Return tokens, and the cells of units and batches that the working set allows.

    A function of configuration and checkpoint alone: unit boundaries do not depend on a machine.
    """
    e, a = config.execution, config.execution.advanced
    residual = tokens * (d * 4 + 30)
    limit = sizes(e).working_set
    micro = min(a.micro_batch, int(limit / 4 / (residual * 4)))  # q and k, twice when gathered
    micro = max(1, micro)
    macro = max(1, int(limit / residual))
    if a.macro_batches > 1:
        macro = max(micro, macro - macro % micro)  # whole micro-batches: sums keep their order
    return {
        "max_tokens": tokens,
        "unit_cells": max(1, min(e.unit_cells, macro * a.macro_batches)),
        "macro_cells": max(1, min(e.unit_cells, macro)),
        "micro_batch": micro,
        "batch_cells": max(1, min(a.batch_cells, micro, int(limit / 4 / (residual * 12)))),
    }


def project(
    config: RunConfig,
    models: list[ModelPlan],
    categories: list[CategoryPlan],
    units: list[Unit],
    threads: int,
    row_blocks: Mapping[str, RowBlocks],
) -> dict[str, float]:
    """Project bytes: per actor, on its device, of an analysis task, scratch, finished store.

    ``device_bytes`` is the memory of a model's actor on its device: that of a GPU, or on a CPU a
    part of ``actor_bytes``.
    """
    tile, q = config.execution.advanced.tile, len(QUANTITIES)
    cache_bytes = float(sizes(config.execution).cache)
    actor = device = scratch = kept = tables = 0.0
    for m in models:
        if m.name != m.base:
            continue
        if m.family == COEXPRESSION:
            kinds = [r.estimator for r in models if r.base == m.name]
            need = _coexpression_bytes(m, kinds, categories, units, cache_bytes, tile)
            actor = max(actor, IMPORTS + need["actor"])
            scratch += need["scratch"]
            kept += need["dense"] if config.keep_dense == "fp32" else 0
            tables += len(categories) * len(kinds) * 6 * config.top_k * 24.0 * len(config.gene_sets)
            continue
        n, n2 = len(m.axis), float(len(m.axis)) ** 2
        attention_variants = [r for r in models if r.base == m.name]
        sums = sum(r.estimator == "per_cell" for r in attention_variants)
        means = len(attention_variants) > sums
        second = config.moments == 2 and sums > 0
        unit = UnitMemory.of(config, m, models, units, threads)
        compute = unit.bytes(row_blocks.get(m.name))
        device = max(device, compute)
        parts = 3 if means else 2
        rows = min(tile, n) * n
        groups = max((len(c.groups or []) for c in categories), default=0)  # of donors
        # a small matrix is cached
        cached = min(cache_bytes, n2 * (parts * q * 4 + 2 * 4 * (1 + second)))
        finalise = cached + rows * (2 * q * 4 + 2 * 4 + 8 * q * 3 + 64)
        attends = 3 * n * m.d * 2 * 4.0  # q and k of the mean cells of a layer
        per_model = sum(u.model == m.name for u in units)
        finalise += rows * 8 * q * (math.log2(max(1, per_model)) + 2)  # the tree of their sums
        finalise += rows * (24 * groups + 48 * (groups > 0))  # a tile without each group
        if groups and config.centred:  # pairs in use as bits, those of one group as flags, values
            finalise += n2 * (groups / 8 + 4) + rows * 4 * groups
        if means:  # q and k as read and by gene; a tile's probabilities and logits, and scores
            finalise += 3 * attends * (1 + groups / 3) + rows * 4 * 5 + threads * room_bytes(n)
        if config.edges is not None and config.edges.symmetrise:
            finalise += n2 * 24  # the set's matrix, its transpose in fp64
        actor = max(actor, IMPORTS + max(compute, finalise))
        layers = len(m.layers)
        embeddings = len(categories) * n * m.d * 4.0  # of genes: of a unit, and of pair counts
        dense = embeddings + len(categories) * n2 * 2 * 4 * (sums > 0)
        dense += len(categories) * n2 * layers * 4 * q * 2 * sums
        # and the mean cell; without each group
        ways = len({r.projection for r in attention_variants if r.projection})
        of_layer = ways * attends * (1 + groups / 3) + n * m.d * 4
        dense += len(categories) * layers * of_layer * means
        dense += len(categories) * n2 * layers * 4 * 2 * sums * second
        scratch += per_model * n2 * (layers * q * 8 * sums + 4 * (sums > 0))
        scratch += per_model * layers * n * m.d * 8 * means
        scratch += per_model * n2 * layers * 8 * sums * second
        scratch += dense + embeddings
        kept += dense if config.keep_dense == "fp32" else 0
        top = 3 * 2 * config.top_k * 24.0 * len(config.gene_sets) * len(config.all_views)
        tables += len(categories) * layers * len(attention_variants) * top + 5e6
    return {
        "actor_bytes": actor,
        "device_bytes": device,
        "analysis_bytes": task_bytes(config, models, IMPORTS),
        "scratch_bytes": scratch,
        "store_bytes": kept + tables,
        "units": float(len(units)),
    }


def _refuse_small_gpus(config: RunConfig, plan: Plan) -> None:
    e = config.execution
    if e.gpus > 1:
        raise InputError(
            "execution.gpus",
            f"{e.gpus:g}, but a replica computes on one GPU",
            "say 1 or a fraction; execution.actors makes more replicas",
        )
    limit = device_limit(config)
    if limit is not None and plan.needs["device_bytes"] > limit:
        raise InputError(
            "plan",
            f"a replica needs {plan.needs['device_bytes'] / 1e9:.1f} GB on its GPU, "
            f"{limit / 1e9:.1f} GB are its share",
            "lower execution.advanced.working_set or macro_batches, raise execution.gpus, or "
            "`accumulate` a smaller gene set",
        )


def _coexpression_bytes(
    m: ModelPlan,
    kinds: Sequence[str],
    categories: list[CategoryPlan],
    units: list[Unit],
    cache_bytes: float,
    tile: int,
) -> dict[str, float]:
    """Return bytes of an actor, of scratch, and of the dense matrices in the scratch."""
    n, n2, q = len(m.axis), float(len(m.axis)) ** 2, len(QUANTITIES)
    pearson, spearman = "pearson" in kinds, "spearman" in kinds
    own = [u.stop - u.start for u in units if u.model == m.name]
    longest = max(own, default=0)
    # a value and its place, by cell and by gene
    expressed = min(n, m.max_tokens) * 12.0 * spearman
    spill = longest * expressed
    # sums, those of one block of cells, and the block itself; what adds rows
    products = (1 + (longest > CELLS_AT_ONCE)) * n2 * 8 + 3 * min(longest, CELLS_AT_ONCE) * n * 8
    compute = (products + CELLS_AT_ONCE * n * 8) * pearson + 2 * spill
    rows = min(tile, n) * n
    tree = rows * 8 * (math.log2(max(1, len(own))) + 2)  # of the units' sums
    finalise = min(cache_bytes, n2 * 24) + tree + rows * (2 * q * 4 + 2 * 4 + 8 * q * 3 + 64)
    block = min(rows_at_once(n, tile), n) * n  # its sums, three steps beside, and three parts
    ranks = (block * (4 * 8 + 3 * 4) + 2 * spill + CELLS_AT_ONCE * n * 8) * spearman
    finalise = max(finalise, ranks)
    dense = len(categories) * len(kinds) * n2 * 3 * 4
    sums = len(own) * n2 * 8 * pearson
    # and the ranks of each in its half and among all, while they are used
    values = sum(own) * expressed * (1 + 2 * 8 / 12)
    return {"actor": max(compute, finalise), "scratch": dense + sums + values, "dense": dense}


def refuse_what_cannot_fit(config: RunConfig, plan: Plan, run: Path | None) -> None:
    """Compare the plan's needs with this machine; the space of an object store is not known.

    Raises
    ------
    InputError
        If memory or disk do not suffice, naming the setting to change.
    """
    limit, n_actors = memory_limit(config), actors(config, plan.bases)
    if plan.needs["actor_bytes"] * (1 if config.execution.memory else n_actors) > limit:
        several = config.execution.advanced.macro_batches > 1
        raise InputError(
            "plan",
            f"each of {n_actors} actors needs {plan.needs['actor_bytes'] / 1e9:.1f} GB, "
            f"{limit / 1e9:.1f} GB are allowed in all",
            ("say execution.advanced.macro_batches: 1, " if several else "")
            + "lower execution.unit_cells, or `accumulate` a smaller gene set",
        )
    if plan.needs.get("analysis_bytes", 0) > limit:
        raise InputError(
            "plan",
            f"a task of the analysis needs {plan.needs['analysis_bytes'] / 1e9:.1f} GB, "
            f"{limit / 1e9:.1f} GB are allowed",
            "`accumulate` a smaller gene set, say compare.consensus: false, or lower top_k",
        )
    _refuse_small_gpus(config, plan)
    tasks = os.cpu_count() or 1
    explicit_cache = config.execution.advanced.cache is not None
    if explicit_cache and plan.cache_bytes > CACHE_BYTES and 2 * plan.cache_bytes * tasks > limit:
        raise InputError(
            "execution.advanced.cache",
            f"{tasks} tasks of the analysis may keep {2 * plan.cache_bytes * tasks / 1e9:.1f} GB, "
            f"{limit / 1e9:.1f} GB are allowed",
            f"lower it to {limit / 2 / tasks / 1e9:.1f}GB, or to its default",
        )
    if run is None:
        return
    folder = run
    while not folder.exists():
        folder = folder.parent
    free = shutil.disk_usage(folder).free
    total = plan.needs["scratch_bytes"] + plan.needs["store_bytes"]
    if total > free:
        raise InputError(
            "plan",
            f"needs up to {total / 1e9:.1f} GB of disk at {folder}, {free / 1e9:.1f} GB are free",
            "choose another run directory, or `accumulate` a smaller gene set",
        )
