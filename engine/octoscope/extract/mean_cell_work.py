"""Queries and keys of the mean cell of a category. Uses no Ray."""

from __future__ import annotations

import numpy as np
import torch

from octoscope.attention.residual_sums import divided, mean_cells, present
from octoscope.errors import InputError
from octoscope.models.protocol import FoundationModel, WeightsOnlyProjections
from octoscope.results.mean_cell_matrix import GROUP_GENES, RESIDUAL, WITHOUT, projected
from octoscope.results.stored_sums import read_finished_record, unit_rows
from octoscope.row_blocks import tree_sum
from octoscope.run_plan.values import ModelPlan, Plan
from octoscope.run_plan.work_names import layer_name, residual_work
from octoscope.store import tiles
from octoscope.store.commits import Attempt, Record
from octoscope.store.run_dir import RunRoot

_TOKENS = 1024  # of a mean cell that pass a layer together


@torch.inference_mode()
def attend_mean_cells(
    root: RunRoot,
    plan: Plan,
    base: ModelPlan,
    model: FoundationModel,
    device: torch.device,
    category: int,
) -> Record:
    """Average the residual streams of a category's units and commit each layer's q and k.

    Arrays per layer: ``q`` and ``k`` [parts x heads, genes, d_head] float32, q scaled (of a second
    projection under its own name); and once
    ``present`` [parts, genes], the genes that enough cells hold: the only keys. Also per layer
    ``mean`` [genes, d] float32, the averaged residual stream of all cells. With donor groups also
    ``present_without``, ``q_without`` and ``k_without``, of all cells but each group's, and
    ``held`` [groups, genes], the genes that cells of a group hold.

    Raises
    ------
    InputError
        If weights_only is asked for and the family does not give its projection weights.
    """
    attempt = Attempt(root, residual_work(base.name, category))
    store, n = attempt.zarr("attends.zarr"), len(base.axis)
    halves = [
        [read_finished_record(root, plan, u.work) for u in plan.units_of(base.name, category, h)]
        for h in (0, 1)
    ]
    groups = [
        [read_finished_record(root, plan, u.work) for u in units]
        for units in plan.units_by_group(base.name, category)
    ]
    min_cells = plan.categories[category].min_cells or 1

    def totals(parts: list[list[Record]], name: str, shape: tuple[int, ...]) -> np.ndarray:
        out = np.zeros((len(parts), *shape))
        for part, records in zip(out, parts, strict=True):
            total = tree_sum(unit_rows(root, records, name, 0, shape[0]))
            if total is not None:
                part[:] = total
        return out

    def write(name: str, values: np.ndarray) -> None:
        tiles.write_array(store, name, values, plan.tile)

    def write_attended(layer: int, mean: np.ndarray, is_present: np.ndarray, suffix: str) -> None:
        if layer == base.layers[0]:
            write(f"present{suffix}", is_present)
        for projection, named in projections.items():
            q_and_k = []
            for state, mask in zip(mean, is_present, strict=True):
                state, mask = (torch.from_numpy(x).to(device)[None] for x in (state, mask))
                q_and_k.append(
                    _project(base, model, layer, state, mask, projection == "weights_only")
                )
            for name, parts in zip("qk", zip(*q_and_k, strict=True), strict=True):
                write(layer_name(layer, f"{name}{named}{suffix}"), np.concatenate(parts))

    projections = {
        m.projection: projected(plan, m) for m in plan.attention_variants(base.name, RESIDUAL)
    }
    for layer in base.layers:
        cells = totals(halves, layer_name(layer, "cells"), (1, n))[:, 0]
        sums = totals(halves, layer_name(layer, "residual"), (n, base.d))
        mean = mean_cells(sums, cells)
        is_present = present(cells, min_cells)
        write_attended(layer, mean, is_present, "")
        write(layer_name(layer, "mean"), mean[2].astype(np.float32))  # of all cells
        if groups:
            of_groups = totals(groups, layer_name(layer, "cells"), (1, n))[:, 0]
            n_cells = cells.sum(0) - of_groups
            remaining = sums.sum(0) - totals(groups, layer_name(layer, "residual"), (n, base.d))
            # the tokens of the whole that another cell holds
            write_attended(
                layer, divided(remaining, n_cells), is_present[2] & (n_cells > 0), WITHOUT
            )
            if layer == base.layers[0]:
                write(GROUP_GENES, of_groups > 0)
    return attempt.commit(plan.hash, {})


def _project(
    base: ModelPlan,
    model: FoundationModel,
    layer: int,
    state: torch.Tensor,
    mask: torch.Tensor,
    weights_only: bool,
) -> tuple[np.ndarray, np.ndarray]:
    """Return q (scaled) and k [heads, genes, d_head]; genes that are not there hold zeros."""
    at = torch.nonzero(mask[0])[:, 0]
    shape = (base.n_heads, mask.shape[1], base.d // base.n_heads)
    q, k = np.zeros((2, *shape), np.float32)
    if not len(at):
        return q, k
    if weights_only and not isinstance(model, WeightsOnlyProjections):
        raise InputError(
            "projection", f"family {base.family} does not give its projection weights", "use full"
        )
    # A token's query and key are made of its own residual stream alone, so the layer, which also
    # attends and goes on, need not see all genes at once: that would cost genes^2.
    for part in torch.split(at, _TOKENS):
        attention, _ = model.layer(layer, state[:, part], mask[:, part])
        q_and_k = attention.q[0], attention.k[0]
        if weights_only:
            q_and_k = tuple(  # type: ignore[assignment]
                torch.einsum("ntd,hed->hte", state[:, part].to(w.dtype), w)
                for w in model.projections(layer)  # type: ignore[attr-defined]
            )
        where = part.cpu().numpy()
        q[:, where] = (q_and_k[0].float() * attention.scale).cpu().numpy()
        k[:, where] = q_and_k[1].float().cpu().numpy()
    return q, k
