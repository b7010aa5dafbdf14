"""Attention variants of a model: its matrices, by estimator, projection and head reduction."""

from __future__ import annotations

from octoscope.attention.query_key_batch import Heads
from octoscope.config import RunConfig
from octoscope.config.types import Estimator, Projection
from octoscope.config.view_names import CORRELATION, plain_view
from octoscope.errors import InputError
from octoscope.run_plan.values import COEXPRESSION, ModelPlan

# Co-expression needs no memory for residual streams, so its units take more cells.
UNIT_BATCHES = 16


def attention_variants(config: RunConfig, m: ModelPlan) -> list[ModelPlan]:
    """Return one plan entry per estimator, projection and head reduction.

    The first has the model's name.

    Raises
    ------
    InputError
        If the model does not have a requested head.
    """
    variants: list[ModelPlan] = []
    projections = list(dict.fromkeys(config.projection))
    estimators: list[tuple[Estimator, Projection | None]] = []
    for estimator in dict.fromkeys(config.estimators):
        estimators += (
            [(estimator, p) for p in projections]
            if estimator == "mean_residual"
            else [(estimator, None)]
        )
    for estimator, projection in estimators:
        for heads in _head_choices(config, m):
            name = _variant_name(m.name, estimator, heads)
            if projection not in (None, projections[0]):
                name += f".{projection}"
            update = {"estimator": estimator, "heads": heads, "projection": projection}
            variants.append(m.model_copy(update={"name": name if variants else m.name, **update}))
    return variants


def _head_choices(config: RunConfig, m: ModelPlan) -> list[Heads]:
    choices: list[Heads] = []
    for heads in config.heads:
        if isinstance(heads, int) and heads >= m.n_heads:
            raise InputError(
                "heads", f"{heads}, but {m.name} has {m.n_heads}", f"0 to {m.n_heads - 1}"
            )
        choices += range(m.n_heads) if heads == "each" else [heads]
    return list(dict.fromkeys(choices))


def _variant_name(base: str, estimator: str, heads: Heads) -> str:
    parts = ["residual"] if estimator == "mean_residual" else []
    if heads != "mean" or not parts:
        parts.append(f"head{heads:02d}" if isinstance(heads, int) else heads)
    return ".".join([base, *parts])


def refuse_shared_names(plans: list[ModelPlan]) -> None:
    """Refuse attention variants that would have the name of another model, in upper case or lower.

    Raises
    ------
    InputError
        Naming the model to rename.
    """
    seen: set[str] = set()
    for m in plans:
        if m.name.casefold() in seen:
            raise InputError(
                f"models.{m.base}",
                f"its attention variant would have the name of another model, {m.name!r}",
                "rename one",
            )  # fmt: skip
        seen.add(m.name.casefold())


def coexpression(
    config: RunConfig, models: list[ModelPlan], symbols: dict[str, str], most_expressed: int
) -> list[ModelPlan]:
    """Return one entry per requested correlation, over every gene that a model accumulates.

    Its gene sets are the declared ones; a set of kind ``model`` is the whole axis. The tokens of a
    cell are its expressed genes, ``most_expressed`` at most.
    """
    # the same derived views as the models have
    derived = [v[len(plain_view(v)) :] for v in config.all_views]
    views = [CORRELATION + suffix for suffix in dict.fromkeys(["", *derived])]
    axis = sorted({gene for m in models for gene in m.axis})
    position = {gene: i for i, gene in enumerate(axis)}
    sets: dict[str, set[str]] = {}
    for m in models:
        for name, members in m.gene_sets.items():
            sets.setdefault(name, set()).update(m.axis[i] for i in members)
    return [
        ModelPlan(
            name=f"{COEXPRESSION}.{kind}",
            base=f"{COEXPRESSION}.{config.coexpression[0]}",
            estimator=kind,
            heads="mean",
            projection=None,
            views=views,
            family=COEXPRESSION,
            path="",
            python=None,
            package="octoscope",
            digests={},
            checkpoint_bytes=0,
            options={},
            input_genes=None,
            layers=[0],
            n_layers=1,
            n_heads=0,
            d=0,
            mass_columns=[],
            axis=axis,
            symbols=[symbols[gene] for gene in axis],
            gene_sets={n: sorted(position[g] for g in genes) for n, genes in sets.items()},
            gene_sets_absent={n: [] for n in sets},
            dtype="float64",
            max_tokens=most_expressed,
            unit_cells=UNIT_BATCHES * config.execution.unit_cells,
            micro_batch=config.execution.unit_cells,
            batch_cells=config.execution.unit_cells,
            demonstration=False,
            gene_report={},
        )
        for kind in dict.fromkeys(config.coexpression)
    ]
