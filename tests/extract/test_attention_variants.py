"""Readings of one model: heads and estimators, from real cells to matrices, against references."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import anndata as ad
import numpy as np
import pytest
import torch
from octoscope.analysis.pairings import comparisons
from octoscope.attention.views import QUANTITIES
from octoscope.config import parse_config
from octoscope.errors import InputError
from octoscope.extract.matrix_work import MatrixRunner
from octoscope.extract.unit_work import UnitRunner, _UnitMetrics
from octoscope.models import load_model
from octoscope.models.protocol import WeightsOnlyProjections
from octoscope.planning.freeze import prepare
from octoscope.planning.frozen_config import run_config
from octoscope.planning.resolve import make_plan
from octoscope.results.mean_cell_matrix import MeanTile, mean_cell_source
from octoscope.results.open_matrix import stored_matrix
from octoscope.results.stored_sums import eligible_pairs
from octoscope.run_plan.settings import CACHE_BYTES
from octoscope.run_plan.values import Plan
from octoscope.run_plan.work_names import matrix_work, sums_name
from octoscope.store import tiles
from octoscope.store.commits import read_record
from octoscope.store.parquet import read_table
from octoscope.store.run_dir import RunRoot

from tests.attention import reference
from tests.conftest import five_families, small_tree

FAMILIES = ["tiny", "scprint", "aidocell", "scfoundation", "geneformer"]


def one_model(atlas: Path, name: str, **changes: Any) -> dict[str, Any]:
    tree = five_families(atlas) if name != "tiny" else small_tree(atlas)
    tree["models"] = [m for m in tree["models"] if m["name"] == name]
    return tree | changes


def by_hand(root: RunRoot, plan: Plan, model: str, category: int) -> list[dict[str, np.ndarray]]:
    """Run a category's cells through the model; per unit the inputs of every accumulated layer."""
    runner = UnitRunner(root, plan, run_config(root), model)
    seen = []
    for half in (0, 1):
        for unit in plan.units_of(model, category, half):
            runner.run(unit)
            groups = [
                runner._embed(tokens, _UnitMetrics()) for tokens in runner._prefetcher.batches(unit)
            ]
            for batch in (b for group in groups for b in group):
                residual = batch.residual
                for layer in range(max(plan.model(model).layers) + 1):
                    a, after = runner._model.layer(layer, residual, batch.mask)
                    if layer in plan.model(model).layers:
                        seen.append(
                            {
                                "unit": np.array(unit.start), "half": np.array(half),
                                "layer": np.array(layer), "q": a.q.numpy(), "k": a.k.numpy(),
                                "scale": np.array(a.scale), "mask": batch.mask.numpy(),
                                "panel": batch.layout.panel, "residual": residual.numpy(),
                            }
                        )  # fmt: skip
                    residual = after
    if plan.attention_variants(model, "mean_residual"):
        runner.mean_cell(category)
    MatrixRunner(root, plan).pairs(model, category)
    return seen


def few_cells(atlas: Path, folder: Path) -> Path:
    """Return a third of the cells of each category: the slowest reference is done in time."""
    cells = ad.read_zarr(atlas)
    cells[np.arange(len(cells)) % 3 == 0].copy().write_h5ad(folder / "few.h5ad")
    return folder / "few.h5ad"


@pytest.mark.parametrize(
    "model",
    # scFoundation's reference takes a minute and a half
    [pytest.param(m, marks=pytest.mark.slow if m == "scfoundation" else ()) for m in FAMILIES],
)
def test_matrices_of_every_variant_equal_the_references(
    model: str, small_atlas: Path, tmp_path: Path
) -> None:
    atlas = few_cells(small_atlas, tmp_path) if model == "scfoundation" else small_atlas
    tree = one_model(
        atlas, model, heads=["mean", "max", 1], estimators=["per_cell", "mean_residual"],
        keep_dense="fp32",
    )  # fmt: skip
    if model == "scfoundation":
        tree["execution"]["unit_cells"] = 2  # several units in each half all the same
    root, plan = prepare(parse_config(tree, "c"), str(tmp_path / "run"))
    names = [f"{model}{end}" for end in ("", ".max", ".head01", ".residual", ".residual.max")]
    assert [m.name for m in plan.models] == [*names, f"{model}.residual.head01"]
    assert [m.name for m in plan.bases] == [model]
    with torch.inference_mode():
        seen = by_hand(root, plan, model, 1)
    layer = plan.models[0].layers[-1]
    n = len(plan.models[0].axis)
    mine = [s for s in seen if s["layer"] == layer]
    matrices = MatrixRunner(root, plan)
    for m in plan.models:
        matrices.matrix(m.name, 1, layer)
        record = read_record(root, matrix_work(m.name, 1, layer), plan.hash)
        assert record is not None
        if m.estimator == "mean_residual":
            # nothing dense of a mean cell is written, its matrix is computed when it is read
            assert not any("dense.zarr" in name for name in record.objects)
            dense = computed(root, plan, m.name, layer)
            check_mean_cell(root, plan, m.name, layer, mine, dense)
            continue
        dense = tiles.open_array(root.zarr(f"{record.folder}/dense.zarr"), "sums")[:]
        for half in (0, 1):
            parts = [
                reference.sums(
                    s["q"], s["k"], float(s["scale"]), s["mask"], s["panel"], n, m.heads
                )
                for s in mine if s["half"] == half
            ]  # fmt: skip
            for i, name in enumerate(QUANTITIES):
                want = sum(p[name] for p in parts)
                close(dense[half, i], want, (m.name, name))


def computed(root: RunRoot, plan: Plan, name: str, layer: int) -> np.ndarray:
    """Return [parts, quantities, genes, genes] of mean cells; kept in memory it is the same."""
    read, some, kept = (
        mean_cell_source(root, plan, name, 1, layer, cache_bytes=cache_bytes)
        for cache_bytes in (0, 50_000, CACHE_BYTES)
    )
    whole = []
    for source in (read, some, some, kept, kept):
        parts = [
            np.stack([[t.half(0, q), t.half(1, q), t.both(q)] for q in range(len(QUANTITIES))], 1)
            for t in source.tiles()
        ]
        whole.append(np.concatenate(parts, axis=2))
    for other in whole[1:]:
        np.testing.assert_array_equal(other, whole[0], err_msg=f"{name}, {torch.get_num_threads()}")
    assert [type(t) for t in read.tiles()] == [MeanTile] * len(parts)
    return whole[0]


def close(got: np.ndarray, want: np.ndarray, what: object) -> None:
    scale = np.abs(want[want != 0]).mean() if want.any() else 1.0
    assert (np.abs(got - want) <= 2e-5 * scale + 2e-6 * np.abs(want)).all(), what


def check_mean_cell(
    root: RunRoot, plan: Plan, name: str, layer: int, seen: list[dict], dense: np.ndarray
) -> None:
    """Average residuals by hand, project by the model's own layer, attend by the reference."""
    m = plan.model(name)
    n, floor = len(m.axis), plan.categories[1].min_cells
    sums, cells = np.zeros((2, n, m.d)), np.zeros((2, n), int)
    for s in seen:
        for c, t in zip(*np.nonzero(s["panel"] >= 0), strict=True):
            sums[s["half"], s["panel"][c, t]] += s["residual"][c, t]
            cells[s["half"], s["panel"][c, t]] += 1
    parts = [(sums[0], cells[0], -(-floor // 2)), (sums[1], cells[1], -(-floor // 2))]
    parts.append((sums.sum(0), cells.sum(0), floor))
    net = load_model(m.path, options=m.options)
    for part, (total, n_cells, need) in enumerate(parts):
        at = np.flatnonzero(n_cells >= need)
        mean = torch.from_numpy((total[at] / n_cells[at][:, None]).astype(np.float32))[None]
        mask = torch.ones((1, len(at)), dtype=torch.bool)
        with torch.inference_mode():
            a, _ = net.layer(layer, mean, mask)
        probability, logit = reference.cell_attention(
            a.q[0].numpy(), a.k[0].numpy(), a.scale, mask[0].numpy(), m.heads
        )
        grid = np.ix_(at, at)
        for i, want in enumerate((probability, len(at) * probability, logit)):
            whole = np.zeros((n, n))
            whole[grid] = want
            close(dense[part, i], whole, (name, part, i))
    source = stored_matrix(root, plan, name, 1, layer)
    genes = np.arange(n)
    values = np.concatenate([v for _, v, _ in source.values(genes, "conditional")])
    eligible = np.concatenate([e for _, _, e in source.values(genes, "conditional")])
    enough = cells.sum(0) >= floor
    assert (eligible == np.outer(enough, enough)).all()
    assert (eligible == eligible_pairs(root, plan, name, 1)).all()
    assert np.array_equal(values[eligible], dense[2, 0][eligible])  # a mean is not divided again


@pytest.mark.parametrize("model", FAMILIES)
def test_projections_of_weights_only_are_the_weights_alone(
    model: str, small_atlas: Path, tmp_path: Path
) -> None:
    tree = one_model(small_atlas, model)
    m = make_plan(parse_config(tree, "c"), tmp_path).models[0]
    net = load_model(m.path, options=m.options)
    assert isinstance(net, WeightsOnlyProjections)
    g = torch.Generator().manual_seed(0)
    x = torch.randn((1, 12, m.d), generator=g)
    w_q, w_k = net.projections(0)
    assert w_q.shape == w_k.shape == (m.n_heads, m.d // m.n_heads, m.d)
    mask = torch.ones((1, 12), dtype=torch.bool)
    with torch.inference_mode():
        a, _ = net.layer(0, x, mask)
        # a pre-norm family projects normalised states: undo by giving the layer such a state
        q_weights, k_weights = (torch.einsum("ntd,hed->nhte", x, w) for w in (w_q, w_k))
        shift_q, shift_k = (a.q - q_weights), (a.k - k_weights)
    if model in ("tiny", "scfoundation", "geneformer"):  # post-norm: only biases differ
        for shift in (shift_q, shift_k):
            assert float((shift - shift[:, :, :1]).abs().max()) < 1e-4
    else:
        mean, spread = x.mean(-1, keepdim=True), x.var(-1, keepdim=True, unbiased=False)
        with torch.inference_mode():
            b, _ = net.layer(0, 3 * x + 1, mask)  # the norm takes scale and shift away
        assert float((a.q - b.q).abs().max()) < 1e-3
        norm = (
            "transformer.blocks.0.norm1" if model == "scprint" else "encoder.layer.0.attention.ln"
        )
        weights: Any = net
        y = (x - mean) / spread.add(1e-6 if model == "scprint" else 1e-5).sqrt()
        y = y * weights._w[f"{norm}.weight"] + weights._w[f"{norm}.bias"]
        for projected, w in ((a.q, w_q), (a.k, w_k)):
            shift = projected - torch.einsum("ntd,hed->nhte", y, w)
            assert float((shift - shift[:, :, :1]).abs().max()) < 1e-3


def test_bare_holds_beside_a_per_cell_variant(small_atlas: Path, tmp_path: Path) -> None:
    arrays = {}
    for estimators in (["mean_residual"], ["per_cell", "mean_residual"]):
        tree = one_model(small_atlas, "tiny", estimators=estimators, projection="weights_only")
        root, plan = prepare(parse_config(tree, "c"), str(tmp_path / f"run{len(estimators)}"))
        runner = UnitRunner(root, plan, run_config(root), "tiny")
        for unit in (u for u in plan.units if u.category == 1):
            runner.run(unit)
        path = root.zarr(f"{runner.mean_cell(1).folder}/attends.zarr")
        arrays[len(estimators)] = tiles.open_array(path, "layer_000_q")[:]
    assert np.array_equal(arrays[1], arrays[2])


def test_full_and_weights_only_differ_and_the_mean_cell_is_not_the_mean(
    small_atlas: Path, tmp_path: Path
) -> None:
    by_name = {}
    for projection in ("full", "weights_only", ["weights_only", "full"]):
        tree = one_model(
            small_atlas, "tiny", estimators=["mean_residual"], projection=projection,
            keep_dense="fp32",
        )  # fmt: skip
        root, plan = prepare(parse_config(tree, "c"), str(tmp_path / str(projection)))
        # the first variant has the model's name
        names = ["tiny", "tiny.residual.full"] if isinstance(projection, list) else ["tiny"]
        assert [m.name for m in plan.models] == names
        runner = UnitRunner(root, plan, run_config(root), "tiny")
        for unit in plan.units:
            record = runner.run(unit)
            # without per_cell variants no gene by gene sums are made for the layers
            with pytest.raises(Exception, match="cannot be opened"):
                tiles.open_array(root.zarr(f"{record.folder}/sums.zarr"), sums_name(0, "mean"))
        runner.mean_cell(1)
        matrices = MatrixRunner(root, plan)
        matrices.pairs("tiny", 1)
        genes = np.arange(len(plan.models[0].axis))
        for m in plan.models:
            matrices.matrix(m.name, 1, 0)
            source = stored_matrix(root, plan, m.name, 1, 0)
            values = np.concatenate([v for _, v, _ in source.values(genes, "logit")])
            by_name[str(projection), m.projection] = values
    weights_only, full = by_name["weights_only", "weights_only"], by_name["full", "full"]
    assert np.abs(weights_only - full).max() > 1e-2
    both = "['weights_only', 'full']"
    assert np.array_equal(by_name[both, "weights_only"], weights_only)
    assert np.array_equal(by_name[both, "full"], full)


def test_estimators_are_compared_in_every_projection(small_atlas: Path, tmp_path: Path) -> None:
    tree = one_model(
        small_atlas, "tiny", estimators=["per_cell", "mean_residual"],
        projection=["full", "weights_only"], compare={"k": [10]},
    )  # fmt: skip
    plan = make_plan(parse_config(tree, "c"), tmp_path)
    names = ["tiny", "tiny.residual", "tiny.residual.weights_only"]
    assert [m.name for m in plan.models] == names
    planned = comparisons(plan, {(name, 0) for name in names})
    assert [m.model for x in planned if x.kind == "estimators" for m in x.refs][:3] == names
    tree["estimators"], tree["heads"] = ["mean_residual"], ["mean", 0, 1]
    alone = make_plan(parse_config(tree, "c"), tmp_path)
    planned = comparisons(alone, {(m.name, 0) for m in alone.models})
    beside = [x for x in planned if x.kind == "estimators"]
    assert {alone.model(m.model).projection for x in beside for m in x.refs} == {
        "full", "weights_only"
    }  # fmt: skip
    assert all(len({alone.model(m.model).heads for m in x.refs}) == 1 for x in beside)
    for x in (x for x in planned if x.kind == "heads"):
        assert len({alone.model(m.model).projection for m in x.refs}) == 1
    tree["estimators"], tree["heads"] = ["per_cell", "mean_residual"], "mean"
    tree["projection"] = ["full"]
    one = make_plan(parse_config(tree, "c"), tmp_path)
    tree["projection"] = "full"  # one value is a list of one
    assert make_plan(parse_config(tree, "c"), tmp_path).config_hash == one.config_hash


@pytest.mark.parametrize(
    ("changes", "where"),
    [
        ({"heads": [99]}, "heads"),
        ({"heads": "median"}, "heads"),
        ({"estimators": ["per_cell", "per_gene"]}, "estimators"),
        ({"projection": "bald"}, "projection"),
    ],
)
def test_what_does_not_exist_is_refused(
    changes: dict[str, Any], where: str, small_atlas: Path, tmp_path: Path
) -> None:
    with pytest.raises(InputError, match=where):
        make_plan(parse_config(small_tree(small_atlas) | changes, "c"), tmp_path)


def test_a_variant_does_not_take_the_name_of_another_model(
    small_atlas: Path, tmp_path: Path
) -> None:
    tree = small_tree(small_atlas) | {"heads": ["mean", "max"]}
    tree["models"].append(tree["models"][0] | {"name": "tiny.max"})
    with pytest.raises(InputError, match=r"'tiny\.max'"):
        make_plan(parse_config(tree, "c"), tmp_path)


def test_each_gives_one_variant_per_head(small_atlas: Path, tmp_path: Path) -> None:
    plan = make_plan(parse_config(small_tree(small_atlas) | {"heads": "each"}, "c"), tmp_path)
    heads = plan.bases[0].n_heads
    assert [m.heads for m in plan.models] == list(range(heads))
    assert (
        plan.needs["scratch_bytes"]
        > heads
        / 2
        * make_plan(parse_config(small_tree(small_atlas), "c"), tmp_path).needs["scratch_bytes"]
    )


def test_two_moments_tell_the_spread_between_cells(small_atlas: Path, tmp_path: Path) -> None:
    tree = one_model(small_atlas, "geneformer", moments=2, heads=["mean", "max"])
    tree["execution"]["unit_cells"] = 5  # the halves of 12 cells merge from three units
    root, plan = prepare(parse_config(tree, "c"), str(tmp_path / "run"))
    with torch.inference_mode():
        seen = by_hand(root, plan, "geneformer", 1)
    n, layer = len(plan.models[0].axis), plan.models[0].layers[-1]
    per_cell = []
    for s in (s for s in seen if s["layer"] == layer):
        for c in range(len(s["q"])):
            one = {x: s[x][c : c + 1] for x in ("q", "k", "mask", "panel")}
            scale = float(s["scale"])
            for m in plan.models:
                got = reference.sums(
                    one["q"], one["k"], scale, one["mask"], one["panel"], n, m.heads
                )
                cell = np.where(got["pairs"] > 0, got["probability"], np.nan)
                per_cell.append((m.name, cell))
    for m in plan.models:
        values = np.stack([cell for name, cell in per_cell if name == m.name])
        assert len(values) == 24
        MatrixRunner(root, plan).matrix(m.name, 1, layer)
        record = read_record(root, matrix_work(m.name, 1, layer), plan.hash)
        assert record is not None
        top = read_table(root, f"{record.folder}/topk.parquet")
        assert len(top) > 100
        at = values[:, top["query"].to_numpy(), top["key"].to_numpy()]
        want = np.nanstd(at, axis=0, ddof=1)
        np.testing.assert_allclose(top["cell_sd"], want, rtol=2e-3, atol=1e-9)
