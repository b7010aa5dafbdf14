"""Makes the plan of a run that is imported: mean residual streams of napistu-torch stores."""

from __future__ import annotations

import math
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from pydantic import BaseModel, ConfigDict

from octoscope.config import ModelConfig, RunConfig
from octoscope.errors import InputError, warn
from octoscope.genes import GeneTable, symbols_of_ensembl
from octoscope.json_values import hash_json
from octoscope.models.family_options import read_options
from octoscope.models.foundation_store import FoundationStore, LayerOrder, StoredGenes
from octoscope.models.weights import file_digests
from octoscope.planning.attention_variants import attention_variants, refuse_shared_names
from octoscope.planning.derive import result_fields
from octoscope.planning.gene_sets import resolved_sets, sets_of_model
from octoscope.planning.memory import project, refuse_what_cannot_fit
from octoscope.planning.plan_records import library_versions, network_record
from octoscope.planning.resolved_settings import resolved_settings
from octoscope.run_plan.values import CategoryPlan, ModelPlan, Plan
from octoscope.store.instruction_set import instruction_set

# Families by the peer's name of a model: they decide which models are one group by default.
_FAMILIES = {
    "scGPT": "scgpt", "scPRINT": "scprint", "AIDOCell": "aidocell", "scFoundation": "scfoundation",
}  # fmt: skip
_TEN = 10  # layers up to which their order as text is that of their numbers


class StoreOptions(BaseModel):
    """Options of a model of family napistu-torch.

    Attributes
    ----------
    dataset
        Data set of the store; None: its only one.
    categories
        Categories to read; None: those that all stores have.
    layer_order
        Which weights belong to a layer: ``number``, or ``text`` as the peer reads them.
    """

    model_config = ConfigDict(extra="forbid")
    dataset: str | None = None
    categories: list[str] | None = None
    layer_order: LayerOrder = "number"


@dataclass(frozen=True)
class _Stored:
    """A store that is open, with the genes of each category that is read."""

    config: ModelConfig
    options: StoreOptions
    store: FoundationStore
    dataset: str
    genes: dict[str, StoredGenes]


def plan_import(
    config: RunConfig, run: Path | None, threads: int | None = None, *, check_fit: bool = True
) -> tuple[Plan, pd.DataFrame]:
    """Plan an import; returns the plan and the vocabulary table of its genes. Writes nothing.

    Cells, halves, donors and the atlas are not in a store: they are None.

    Parameters
    ----------
    run, threads, check_fit
        As for :func:`octoscope.planning.resolve.plan_run`.

    Raises
    ------
    InputError
        If a store cannot be used, stores share no category, or memory or disk do not suffice.
    """
    stored, names = _open(config)
    tables = {s.config.name: _axis_of(s) for s in stored}
    every = pd.concat(
        [pd.DataFrame({"gene": t.ensembl, "symbol": t.symbol}) for t in tables.values()]
    ).drop_duplicates("gene")
    all_genes = GeneTable(every["gene"].to_numpy(object), every["symbol"].to_numpy(object))
    sets, absent = resolved_sets(config, tables, all_genes)
    models = [
        variant
        for s in stored
        for variant in attention_variants(
            config, _model_plan(config, s, tables[s.config.name], sets, absent)
        )
    ]
    refuse_shared_names(models)
    bases = [m for m in models if m.name == m.base]
    categories = [CategoryPlan(name=n, cells=None, donors=None, min_cells=None) for n in names]
    threads = threads or config.execution.threads or os.cpu_count() or 1
    plan = Plan(
        config_hash=hash_json(result_fields(config)),
        settings=resolved_settings(config, bases, categories),
        atlas=None,
        network=network_record(config.network) if config.network else None,
        categories=categories,
        refused_cells={},
        models=models,
        units=[],
        threads=threads,
        versions=library_versions(),
        instruction_set=instruction_set(),
        needs=project(config, models, categories, [], threads, {}),
    )
    if check_fit:
        refuse_what_cannot_fit(config, plan, run)
    return plan, _vocabulary(stored)


def _open(config: RunConfig) -> tuple[list[_Stored], list[str]]:
    """Open all stores; returns them and the categories that are read."""
    opened: list[tuple[ModelConfig, StoreOptions, FoundationStore, str]] = []
    for m in config.models:
        options, store = read_options(StoreOptions, m.options), FoundationStore(m.path)
        where, datasets = f"models.{m.name}.options.dataset", list(store.datasets)
        if options.dataset is None and len(datasets) > 1:
            raise InputError(where, f"{m.path} holds {len(datasets)} data sets", _one_of(datasets))
        dataset = options.dataset or datasets[0]
        if dataset not in datasets:
            raise InputError(where, f"{m.path} has no {dataset!r}", _one_of(datasets))
        opened.append((m, options, store, dataset))
    first = opened[0][2].datasets[opened[0][3]]
    shared = [
        name
        for name in first
        if all(name in store.datasets[dataset] for _, _, store, dataset in opened)
    ]
    names = shared
    for m, options, store, dataset in opened:
        for name in options.categories or []:
            if name not in store.datasets[dataset]:
                raise InputError(
                    f"models.{m.name}.options.categories",
                    f"{m.path} has no {name!r} in data set {dataset!r}",
                    _one_of(list(store.datasets[dataset])),
                )
        names = [n for n in names if options.categories is None or n in options.categories]
    if not names:
        raise InputError(
            "models", "no category is in all stores, under one name, and asked for in all",
            "import them into runs of their own, or name categories that they share",
        )  # fmt: skip
    for m, options, store, dataset in opened:
        alone = [n for n in store.datasets[dataset] if n not in shared]
        if alone:
            warn(f"models.{m.name}: not imported, as other stores lack them: {', '.join(alone)}")
        if store.n_layers > _TEN and options.layer_order == "number":
            warn(
                f"models.{m.name}: {store.n_layers} layers; napistu-torch 0.4.0 pairs the streams "
                "of layers 2 and up with weights of other layers when it loads a store. Each layer "
                "has its own weights here; options.layer_order: text reads them as it does"
            )
    stored = [
        _Stored(m, options, store, dataset, {n: store.genes(dataset, n) for n in names})
        for m, options, store, dataset in opened
    ]
    return stored, names


def _one_of(names: list[str]) -> str:
    return f"use one of {', '.join(names)}"


def _axis_of(stored: _Stored) -> GeneTable:
    """Return the genes of any category, ordered by Ensembl id."""
    symbols: dict[str, str] = {}
    for genes in stored.genes.values():
        for gene, symbol in zip(genes.ensembl, genes.symbol, strict=True):
            if gene is not None:
                symbols[gene] = symbols.get(gene) or symbol
    ensembl = np.array(sorted(symbols), dtype=object)
    known = symbols_of_ensembl(ensembl)
    return GeneTable(
        ensembl,
        np.array([symbols[g] or k for g, k in zip(ensembl, known, strict=True)], dtype=object),
    )


def _model_plan(
    config: RunConfig,
    stored: _Stored,
    genes: GeneTable,
    sets: dict[str, set[str] | None],
    absent: dict[str, list[str]],
) -> ModelPlan:
    m, store = stored.config, stored.store
    accumulated = sets.get(config.accumulate)
    kept = [i for i, g in enumerate(genes.ensembl) if accumulated is None or g in accumulated]
    axis = [str(genes.ensembl[i]) for i in kept]
    gene_sets, missing = sets_of_model(config, m.name, axis, sets, absent)
    layers = list(range(store.n_layers)) if m.layers is None else sorted(set(m.layers))
    if layers[-1] >= store.n_layers:
        raise InputError(
            f"models.{m.name}.layers", f"{m.layers}", f"choose from 0 to {store.n_layers - 1}"
        )
    options: dict[str, Any] = {"dataset": stored.dataset, "layer_order": stored.options.layer_order}
    uris = {g.dataset_uri for g in stored.genes.values() if g.dataset_uri is not None}
    if uris:
        options["dataset_uri"] = ", ".join(sorted(uris))
    files = store.files(stored.dataset, list(stored.genes))
    names = {name for g in stored.genes.values() for name in g.names}
    return ModelPlan(
        name=m.name,
        base=m.name,
        estimator="mean_residual",
        heads="mean",
        projection="weights_only",
        views=config.all_views,
        family=_FAMILIES.get(store.model_name, store.model_name.casefold()),
        path=m.path,
        python=None,
        package="napistu-torch store",
        digests=file_digests(files),
        checkpoint_bytes=math.ceil(files[1].stat().st_size),
        options=options,
        input_genes=None,
        layers=layers,
        n_layers=store.n_layers,
        n_heads=store.n_heads,
        d=store.d,
        mass_columns=["kept", "outside"],
        axis=axis,
        symbols=[str(genes.symbol[i]) for i in kept],
        gene_sets=gene_sets,
        gene_sets_absent=missing,
        dtype="float32",
        max_tokens=len(axis),
        unit_cells=1,
        micro_batch=1,
        batch_cells=1,
        demonstration=False,
        gene_report={
            "store_genes": len(names),
            "matched": len(genes),
            "accumulated": len(axis),
        },
        imported=True,
    )


def _vocabulary(stored: list[_Stored]) -> pd.DataFrame:
    """Return how the genes of every store were matched, as the table of a run's vocabulary."""
    rows = []
    for s in stored:
        seen: set[str] = set()
        for genes in s.genes.values():
            for name, gene, symbol in zip(genes.names, genes.ensembl, genes.symbol, strict=True):
                if name in seen:
                    continue
                seen.add(name)
                why = None if gene else "the store gives no Ensembl id"
                what = "matched" if gene else "dropped"
                rows.append((s.config.name, gene or name, symbol, what, why))
    columns = ["model", "gene", "symbol", "what", "why"]
    return pd.DataFrame(rows, columns=columns).astype("string")
