"""scGPT's batch norm before layer 0, against the authors' class and torch's own module."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import anndata as ad
import numpy as np
import pandas as pd
import pytest
import torch
from octoscope.config import parse_config
from octoscope.demo.demo import data
from octoscope.errors import InputError
from octoscope.extract.unit_work import UnitRunner
from octoscope.models import load_model
from octoscope.models.protocol import TOKEN_KINDS, Tokens
from octoscope.planning.freeze import prepare
from octoscope.planning.frozen_config import run_config

from tests.conftest import small_tree
from tests.here import here
from tests.models.parity import DATA

CHECKPOINT = DATA / "scgpt" / "checkpoint"
TRUTH = np.load(DATA / "scgpt" / "batch_norm.npz")
D = 64
State = dict[str, torch.Tensor]


def saved(tmp_path: Path, change: Callable[[State], None]) -> Path:
    """Return the checkpoint with changed weights, the three batches' statistics added first."""
    path = Path(shutil.copytree(CHECKPOINT, tmp_path / "checkpoint"))
    state = torch.load(path / "best_model.pt", weights_only=True)
    for name in TRUTH:
        if name.startswith(("dsbn.", "batch_encoder.")):
            state[name] = torch.from_numpy(TRUTH[name])
    change(state)
    torch.save(state, path / "best_model.pt")
    return path


def no_dsbn(state: State) -> None:
    for name in [n for n in state if n.startswith("dsbn.")]:
        del state[name]


def given_tokens() -> Tokens:
    kind = np.vectorize(TOKEN_KINDS.index)(TRUTH["token_kind"]).astype(np.int8)
    nothing = np.full(kind.shape, -1, np.int32)
    return Tokens(
        TRUTH["cell_id"], nothing, kind, TRUTH["token_value"], TRUTH["token_row"], TRUTH["mask"]
    )


@pytest.mark.parametrize("batch", [0, 1, 2])
def test_every_batch_equals_the_authors_code(tmp_path: Path, batch: int) -> None:
    """Red: the norm left out (attention off by 0.7), another batch's statistics, eps 1e-5."""
    model = load_model(saved(tmp_path, lambda s: None), options={"batch": batch})
    tokens = given_tokens()
    mask, real = torch.from_numpy(tokens.mask), tokens.mask
    residual = model.embed(tokens)
    assert np.abs(residual.numpy() - TRUTH[f"hidden_0_batch{batch}"])[real].max() < 5e-6
    for i in range(model.n_layers):
        part, residual = model.layer(i, residual, mask)
        if i == 0:
            logits = part.q @ part.k.transpose(-1, -2) * part.scale
            attn = logits.masked_fill(~mask[:, None, None], -np.inf).softmax(-1).numpy()
            off = np.abs(attn - TRUTH[f"attn_0_batch{batch}"]).transpose(0, 2, 1, 3)
            assert off[real].max() < 2e-6
    assert np.abs(residual.numpy() - TRUTH[f"output_batch{batch}"])[real].max() < 5e-6


def test_batches_differ_and_the_norm_decides(tmp_path: Path) -> None:
    """Red: a norm that stays without effect would make the comparison above worthless."""
    off = np.abs(TRUTH["attn_0_batch0"] - TRUTH["attn_0_batch1"]).max()
    assert off > 0.1
    plain = load_model(CHECKPOINT).embed(given_tokens()).numpy()
    assert np.abs(plain - TRUTH["hidden_0_batch0"])[TRUTH["mask"]].max() > 0.5


def test_only_the_chosen_batchs_statistics_enter(tmp_path: Path) -> None:
    """Red: statistics of another batch used; the count of steps used; own ones left out."""
    path = saved(tmp_path, lambda s: None)
    tokens = given_tokens()
    before = load_model(path, options={"batch": 1}).embed(tokens)
    state = torch.load(path / "best_model.pt", weights_only=True)
    for name in [n for n in state if n.startswith(("dsbn.", "batch_encoder."))]:
        torch.save(state | {name: state[name] + 1}, path / "best_model.pt")
        after = load_model(path, options={"batch": 1}).embed(tokens)
        enters = name in ("dsbn.bns.1.running_mean", "dsbn.bns.1.running_var")
        assert torch.equal(before, after) != enters, name


def test_a_single_norm_with_affine_part_equals_torch(tmp_path: Path) -> None:
    """Red: weight or bias of `bn.` left out; the norm over tokens instead of channels."""
    rng = torch.Generator().manual_seed(3)
    norm = torch.nn.BatchNorm1d(D, eps=6.1e-5).eval()
    with torch.no_grad():
        for tensor in (norm.weight, norm.bias, norm.running_mean):
            assert tensor is not None
            tensor.copy_(torch.randn(D, generator=rng))
        assert norm.running_var is not None
        norm.running_var.copy_(torch.rand(D, generator=rng) + 0.1)

    def single(state: State) -> None:
        no_dsbn(state)
        state.update({f"bn.{n}": v.clone() for n, v in norm.state_dict().items()})

    tokens = given_tokens()
    got = load_model(saved(tmp_path, single)).embed(tokens)
    with torch.no_grad():
        plain = load_model(CHECKPOINT).embed(tokens)
        want = norm(plain.transpose(1, 2)).transpose(1, 2)
    assert (got - want).abs().max() < 2e-5  # values up to 20
    assert (got - plain).abs().max() > 0.5


def test_affine_parts_per_batch_are_applied(tmp_path: Path) -> None:
    """Red: `dsbn.bns.1.weight` read and not used."""

    def affine(state: State) -> None:
        for b in range(3):
            state[f"dsbn.bns.{b}.weight"] = torch.full((D,), float(b + 1))
            state[f"dsbn.bns.{b}.bias"] = torch.full((D,), 0.5)

    got = load_model(saved(tmp_path, affine), options={"batch": 1}).embed(given_tokens()).numpy()
    want = TRUTH["hidden_0_batch1"] * 2 + 0.5
    assert np.abs(got - want)[TRUTH["mask"]].max() < 2e-5


def test_lower_precision_keeps_the_statistics_in_float32(tmp_path: Path) -> None:
    """Red: statistics rounded to bfloat16 on the way, or a result of another dtype."""
    path = saved(tmp_path, lambda s: None)
    low = load_model(path, options={"batch": 0}, dtype=torch.bfloat16)
    assert low.embed(given_tokens()).dtype == torch.bfloat16
    full = load_model(path, options={"batch": 0})
    assert torch.equal(low._batch_norm.scale, full._batch_norm.scale)  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("change", "batch", "message"),
    [
        (lambda s: None, None, r"best_model.pt: dsbn: .*each of 3 batches.*batch to 0\.\.2"),
        (lambda s: None, 3, r"options.batch: 3, and .*holds 3 batches. Fix: use 0\.\.2"),
        (lambda s: None, -1, "options.batch: .*greater than or equal to 0"),
        (no_dsbn, 0, "options.batch: 0, and .*holds no batch norm per batch"),
        (
            lambda s: s.pop("dsbn.bns.1.running_var"),
            0,
            "1 weights are missing .first: dsbn.bns.1.running_var",
        ),
        (lambda s: s.update({"dsbn.x": torch.ones(1)}), 0, "unexpected .*dsbn.x"),
        (
            lambda s: s.update({"dsbn.bns.0.running_mean": torch.ones(7)}),
            0,
            r"running_mean: shape \(7,\), expected \(64,\)",
        ),
        (lambda s: s["dsbn.bns.2.running_var"].fill_(-1), 0, "bns.2.running_var: below 0"),
        (lambda s: s.update({"bn.running_mean": torch.ones(D)}), 0, "both bn. and dsbn."),
    ],
    ids=["no batch", "beyond", "negative", "needless", "missing", "unexpected", "shape",
         "variance", "both"],
)  # fmt: skip
def test_what_cannot_be_applied_is_refused(
    tmp_path: Path, change: Callable[[State], None], batch: int | None, message: str
) -> None:
    """Red: any of these loads, or the message names neither the field nor the fix."""
    with pytest.raises(InputError, match=message):
        load_model(saved(tmp_path, change), options={"batch": batch})


def test_the_command_line_names_the_option_and_takes_it(tmp_path: Path) -> None:
    """Red: `models inspect` loads without a batch, or does not show which one it took."""
    path = saved(tmp_path, lambda s: None)
    refused = here("models", "inspect", str(path))
    assert refused.returncode == 2
    assert "--option batch=0" in " ".join(refused.stderr.split())
    taken = here("models", "inspect", str(path), "--option", "batch=2", "--json")
    assert taken.returncode == 0, taken.stderr
    assert '"batch": 2' in taken.stdout


COLUMN: dict[str, Any] = {"column": "donor", "values": {"d1": 2, "d2": 0, "d3": 1}}


def test_cells_of_different_batches_equal_the_authors_code(tmp_path: Path) -> None:
    """Red: one batch for all cells of a micro-batch; numbers shifted by ``take``."""
    model = load_model(saved(tmp_path, lambda s: None), options={"batch": COLUMN})
    tokens = replace(given_tokens(), group=np.array([2, 0], np.int32))
    want = np.stack([TRUTH["hidden_0_batch2"][0], TRUTH["hidden_0_batch0"][1]])
    for index in (np.array([0, 1]), np.array([1, 0]), np.array([1])):
        part = tokens.take(index)
        width = part.mask.shape[1]
        off = np.abs(model.embed(part).numpy() - want[index][:, :width])
        assert off[part.mask].max() < 5e-6
    with pytest.raises(InputError, match=r"options.batch: the batch of a cell is not known"):
        model.embed(given_tokens())


@pytest.mark.parametrize(
    ("batch", "message"),
    [
        ({"column": "donor", "values": {"d1": 3}}, r"batch: 3, and .*holds 3 batches"),
        ({"column": "donor", "values": {"d1": -1}}, r"options.batch.values.d1: .*greater than"),
        ({"column": "donor"}, r"options.batch.values: Field required"),
        ({"column": "donor", "values": {}}, r"options.batch.values: .*at least 1"),
        (True, r"options.batch: "),
    ],
    ids=["beyond", "negative", "no values", "empty", "boolean"],
)
def test_columns_of_batches_that_cannot_be_used_are_refused(
    tmp_path: Path, batch: object, message: str
) -> None:
    with pytest.raises(InputError, match=message):
        load_model(saved(tmp_path, lambda s: None), options={"batch": batch})


def with_donors(atlas: Path, folder: Path, donors: list[Any]) -> Path:
    cells = ad.read_zarr(atlas)
    cells.obs["donor"] = pd.Categorical((donors * len(cells))[: len(cells)])
    cells.write_h5ad(folder / "new.h5ad")  # the file may be open
    return (folder / "new.h5ad").replace(folder / "donors.h5ad")


def donor_run(path: Path, atlas: Path) -> dict[str, Any]:
    tree = small_tree(atlas)
    tree["models"][0] |= {"path": str(path), "options": {"batch": COLUMN}, "layers": [0]}
    return tree | {"network": None, "keep_dense": "fp32", "views": ["marginal"], "edges": None}


def test_a_run_takes_every_cells_batch_from_obs(small_atlas: Path, tmp_path: Path) -> None:
    """Red: numbers by place in the unit instead of the atlas; one batch for a run; a column that
    changes between plan and run passes."""
    path = Path(shutil.copytree(data("checkpoints/scgpt-demo"), tmp_path / "checkpoint"))
    state = torch.load(path / "best_model.pt", weights_only=True)
    d = state["encoder.embedding.weight"].shape[1]
    rng = torch.Generator().manual_seed(0)
    for b in range(3):
        state[f"dsbn.bns.{b}.running_mean"] = torch.randn(d, generator=rng)
        state[f"dsbn.bns.{b}.running_var"] = torch.rand(d, generator=rng) + 0.2
    torch.save(state, path / "best_model.pt")
    atlas = with_donors(small_atlas, tmp_path, ["d1", "d2", "d3"])
    tree = donor_run(path, atlas)
    root, plan = prepare(parse_config(tree, "c"), str(tmp_path / "run"))
    assert "obs['donor']" in plan.model("tiny").digests
    runner = UnitRunner(root, plan, run_config(root), "tiny")
    cells = ad.read_h5ad(atlas)
    models = {b: load_model(path, options={"batch": b}) for b in range(3)}
    seen = 0
    with torch.inference_mode():
        for half in (0, 1):
            for unit in plan.units_of("tiny", 1, half):
                parts = (p for batch in runner._prefetcher.batches(unit) for p in batch.parts)
                for part in parts:
                    residual = runner._model.embed(part)
                    for c, cell in enumerate(part.cell_ids):
                        number = COLUMN["values"][cells.obs.loc[cell, "donor"]]
                        want = models[number].embed(part.take(np.array([c])))[0]
                        assert torch.equal(residual[c, : len(want)], want)
                        seen += 1
    assert seen == 24
    with_donors(small_atlas, tmp_path, ["d2", "d1", "d3"])
    with pytest.raises(InputError, match=r"obs\['donor'\]: numbers the cells otherwise.*restore"):
        UnitRunner(root, plan, run_config(root), "tiny")
    with_donors(small_atlas, tmp_path, ["d1", "d9", None])
    with pytest.raises(
        InputError,
        match=r"batch.values: no number for 2 values of obs\['donor'\]: 'd9', a missing value \(32",
    ):
        prepare(parse_config(tree, "c"), str(tmp_path / "other"))
    tree["models"][0]["options"] = {"batch": COLUMN | {"column": "batch"}}
    with pytest.raises(InputError, match=r"no column 'batch'.*correct models\.\*\.options\.batch"):
        prepare(parse_config(tree, "c"), str(tmp_path / "third"))
