"""How often a unit on a GPU waits for it: never for a micro-batch, once for a layer's checks."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from octoscope.attention.accumulate import BatchLayout, LayerSums, QKBatch
from octoscope.attention.residual_sums import ResidualSums
from octoscope.config import parse_config
from octoscope.device_copies import sent_mask
from octoscope.errors import ActivationError
from octoscope.extract import unit_work
from octoscope.extract.unit_work import UnitRunner
from octoscope.planning.freeze import prepare
from octoscope.results.stored_sums import unit_rows
from octoscope.run_plan.work_names import sums_name

from tests.conftest import small_tree
from tests.device_waits import DeviceWaits
from tests.extract.test_accelerator import FakeGpu

pytest.importorskip("triton", reason="Triton is not installed (octoscope[triton])")
from octoscope.attention import triton_reduce
from octoscope.attention.triton_reduce import TritonTiles


@pytest.mark.parametrize("whole", [True, False])
def test_the_reduction_needs_no_number_of_the_device(
    whole: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Tensors without values: whatever asks for one fails. Kernels are launched into the void."""
    launched = []
    for name in ("sum_rows", "peak_rows", "add_whole_cells", "add_part_cells"):
        grid = {"__getitem__": lambda self, grid, name=name: lambda *a, **k: launched.append(name)}
        monkeypatch.setattr(triton_reduce.kernels, name, type("Kernel", (), grid)())
    meta, rng = torch.device("meta"), np.random.default_rng(0)
    panel = np.stack([rng.permutation(12)[: 12 if whole else 9] for _ in range(3)])
    panel = np.pad(panel, ((0, 0), (0, 2)), constant_values=-1)
    special = np.where(np.arange(panel.shape[1]) == panel.shape[1] - 1, 1, -1) + 0 * panel
    layout = BatchLayout(panel, special)
    mask = sent_mask((panel >= 0) | (special > 0), meta)
    sums = LayerSums(
        12, ("kept", "outside"), tile=4, device=meta, heads=("mean", "max"), moments=2,
        reduction=TritonTiles(),
    )  # fmt: skip
    residuals = ResidualSums(12, 4, device=meta)
    ordered = []
    argsort = np.argsort
    monkeypatch.setattr(np, "argsort", lambda *a, **k: ordered.append(1) or argsort(*a, **k))
    for _ in range(2):  # two layers: tokens are put into order once
        q = torch.empty((3, 2, panel.shape[1], 16), device=meta)
        sums.add([QKBatch(q, q, 0.25, mask, layout)])
        residuals.add(torch.empty((3, panel.shape[1], 4), device=meta), panel)
    add = "add_whole_cells" if whole else "add_part_cells"
    assert launched == ["sum_rows", add, add, "peak_rows"] * 2
    assert len(ordered) == 1
    unknown = torch.ones(panel.shape, dtype=torch.bool, device=meta)
    with pytest.raises((NotImplementedError, RuntimeError), match="meta"):
        sums.add([QKBatch(q, q, 0.25, unknown, layout)])


def runner_of(
    atlas: Path, folder: Path, monkeypatch: pytest.MonkeyPatch, micro: int, layers: list[int],
    **more: Any,
) -> UnitRunner:  # fmt: skip
    tree = small_tree(atlas) | more
    tree["models"][0]["layers"] = layers
    tree["execution"] |= {"unit_cells": 4}
    tree["execution"]["advanced"] |= {"micro_batch": micro, "batch_cells": 2}
    root, plan = prepare(parse_config(tree, "c"), str(folder))
    monkeypatch.setattr(unit_work, "accelerator_of", lambda *_: FakeGpu())
    return UnitRunner(root, plan, parse_config(tree, "c"), "tiny")


def waits_of(runner: UnitRunner) -> DeviceWaits:
    with DeviceWaits() as counted:
        runner.run(runner._plan.units[0])
    return counted


def test_waits_grow_with_layers_and_not_with_micro_batches(
    small_atlas: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    many, few = (
        waits_of(
            runner_of(
                small_atlas, tmp_path / str(micro), monkeypatch, micro, [0, 2],
                estimators=["per_cell", "mean_residual"],
            )
        )
        for micro in (2, 4)
    )  # fmt: skip
    assert many.waits == few.waits
    waits = dict(many.waits)
    assert waits.pop("FiniteChecks.settle") == 3  # layers 0 to 2
    assert waits.pop("embeddings_of_axis") == 3  # once, in the first unit of a category
    # when the sums of a layer are whole, and pairs that are counted on the host
    of_layer = {"LayerSums.check_mass", "ResidualSums.check", "UnitRunner._write_layer"}
    assert set(waits) == of_layer | {"UnitRunner._count_pairs"}
    # tokens are embedded once, on a stream of their own; genes once in the first unit
    assert many.copies.pop("ScGPT.gene_embeddings") == 1
    assert set(many.copies) <= {"ScGPT.embed"}, many.copies


def test_cells_at_fault_are_named_though_their_layer_was_checked_at_its_end(
    small_atlas: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    runner = runner_of(small_atlas, tmp_path, monkeypatch, 2, [0])
    whole, passed = runner._model.layer, []

    def layer(i: int, residual: torch.Tensor, mask: torch.Tensor) -> Any:
        a, after = whole(i, residual, mask)
        passed.append(i)
        if len(passed) % 2 == 0:  # the second of two batches
            a.k[1, 0, 0] = torch.nan
        return a, after

    monkeypatch.setattr(runner._model, "layer", layer)
    with pytest.raises(ActivationError, match=r"layer 0, head 0: keys not finite in 1 cell: "):
        runner.run(runner._plan.units[0])
    assert passed == [0] * 4  # and again, to name the cells


def test_padding_that_is_not_finite_is_no_fault(
    small_atlas: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def sums(folder: str, spoil: bool) -> np.ndarray:
        runner = runner_of(small_atlas, tmp_path / folder, monkeypatch, 4, [0])
        whole = runner._model.layer

        def layer(i: int, residual: torch.Tensor, mask: torch.Tensor) -> Any:
            a, after = whole(i, residual, mask)
            if spoil:
                a.q.transpose(1, 2)[~mask] = torch.inf
            return a, after

        monkeypatch.setattr(runner._model, "layer", layer)
        record = runner.run(runner._plan.units[0])
        assert runner._checks.at_once == spoil
        n = len(runner._plan.model("tiny").axis)
        return np.stack(list(unit_rows(runner._root, [record], sums_name(0, "mean"), 0, n)))

    assert np.array_equal(sums("spoiled", True), sums("sound", False))
