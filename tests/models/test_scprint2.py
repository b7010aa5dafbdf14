"""scPRINT-2 against its authors' code: tokens, attention, files, caught mistakes, a small run."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import anndata as ad
import numpy as np
import pandas as pd
import pytest
import torch
from octoscope.attention.views import QUANTITIES
from octoscope.config import parse_config
from octoscope.errors import InputError
from octoscope.extract.matrix_work import MatrixRunner
from octoscope.extract.unit_work import UnitRunner
from octoscope.models import load_model
from octoscope.models.families import family_of
from octoscope.models.protocol import PAD, TOKEN_KINDS
from octoscope.models.scprint2 import ScPRINT2
from octoscope.planning.freeze import prepare
from octoscope.planning.frozen_config import run_config
from octoscope.run_plan.work_names import matrix_work
from octoscope.store import tiles
from octoscope.store.commits import read_record
from scipy import sparse

from tests.here import here
from tests.models.parity import (
    DATA,
    Weights,
    change_weights,
    differences,
    judge_by_command,
    no_affine,
    read_cells,
    zero,
)

ORACLE = DATA / "scprint2"
CELLS = DATA / "scprint/cells.h5ad"
FOLDERS = {"published": ORACLE, "tokens": ORACLE / "tokens"}
GENES = [str(g) for g in np.load(ORACLE / "dump.npz")["token_gene"][0]]
SOME: dict[str, Any] = {"context": "some", "context_genes": GENES}


@pytest.mark.parametrize("layout", FOLDERS)
def test_dump_equals_the_authors_code(tmp_path: Path, layout: str) -> None:
    folder = FOLDERS[layout]
    given = ["--option", f"context_genes={folder / 'dump.npz'}", "--option", "context=some"]
    judge_by_command(
        folder / "checkpoint", CELLS, folder / "dump.npz", tmp_path / "ours.npz", *given
    )


def _kv_heads_in_turn(w: Weights) -> None:
    """Give query heads 0, 1, 2, 3 the key heads 0, 1, 0, 1 instead of 0, 0, 1, 1."""
    for name in w:
        if "Wqkv" in name:
            q, kv = w[name].split(16)
            heads = q.unflatten(0, (4, 4))[[0, 2, 1, 3]]
            w[name] = torch.cat([heads.flatten(0, 1), kv])


def _shifted_positions(w: Weights) -> None:
    w["pos_encoder.pe"] = w["pos_encoder.pe"].roll(1, 0)


def _neighbours_first(w: Weights) -> None:
    name = "expr_encoder.shared_layers.0.weight"
    w[name] = w[name].roll(16, 1)


def _metacell(w: Weights) -> None:
    w["metacell_encoder.embedding.weight"] = w["metacell_encoder.embedding.weight"].flip(0)


_ENCODER = "expr_encoder."


@pytest.mark.parametrize(
    ("layout", "mistake"),
    [
        pytest.param("published", zero("Wqkv.bias", slice(0, 16)), id="no q bias"),
        pytest.param("published", zero("Wqkv.bias", slice(16, 24)), id="no k bias"),
        pytest.param("published", no_affine(_ENCODER + "self_layers.1"), id="own norm"),
        pytest.param("published", no_affine(_ENCODER + "shared_layers.1"), id="shared norm"),
        pytest.param("published", _kv_heads_in_turn, id="other groups of heads"),
        pytest.param("published", _shifted_positions, id="position of the next gene"),
        pytest.param("published", _neighbours_first, id="neighbours before the cell"),
        pytest.param("tokens", zero("class_encoder.embedding.weight"), id="no class tokens"),
        pytest.param("tokens", _metacell, id="read as metacells"),
        pytest.param("tokens", no_affine(_ENCODER + "encoder.1"), id="encoder norm"),
    ],
)
def test_parity_turns_red_on(
    layout: str, mistake: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    change_weights(monkeypatch, ScPRINT2, mistake)
    folder = FOLDERS[layout]
    assert not all(r.ok for r in differences(folder / "checkpoint", folder / "dump.npz", tmp_path))


@pytest.mark.parametrize("other", ["sum", "raw"])
def test_parity_from_cells_turns_red_on_another_scale(tmp_path: Path, other: str) -> None:
    rows = differences(
        ORACLE / "checkpoint", ORACLE / "dump.npz", tmp_path, CELLS,
        options=SOME | {"normalization": other},
    )  # fmt: skip
    assert {"token_value", "hidden_0", "attn_0"} <= {r.name for r in rows if not r.ok}


def changed_file(tmp_path: Path, change: Any, layout: str = "published") -> Path:
    whole = torch.load(FOLDERS[layout] / "checkpoint/model.ckpt", weights_only=True)
    change(whole["state_dict"], whole["hyper_parameters"])
    torch.save(whole, tmp_path / "changed.ckpt")
    return tmp_path / "changed.ckpt"


def test_rows_follow_the_organisms_not_the_mapping(tmp_path: Path) -> None:
    """The file lists mouse before human under ``genes``, and human first under ``organisms``."""
    model = load_model(ORACLE / "checkpoint")
    assert [g[:7] for g in model.genes.ensembl[[0, 59, 60, 79]]] == [
        "ENSG000", "ENSG000", "ENSMUSG", "ENSMUSG",
    ]  # fmt: skip

    def swapped(_: Any, settings: Any) -> None:
        settings["organisms"] = settings["organisms"][::-1]

    path = changed_file(tmp_path, swapped)
    rows = differences(path, ORACLE / "dump.npz", tmp_path, CELLS, options=SOME)
    assert not all(r.ok for r in rows)


def test_values_of_both_are_shares_as_in_the_authors_code(tmp_path: Path) -> None:
    """``both`` takes their first branch: the logarithm in the second is never reached."""
    folder = FOLDERS["tokens"]
    path = changed_file(tmp_path, lambda _, s: s.update(normalization="both"), "tokens")
    assert all(r.ok for r in differences(path, folder / "dump.npz", tmp_path, CELLS, options=SOME))
    other = changed_file(tmp_path, lambda _, s: s.update(normalization="tpm"), "tokens")
    with pytest.raises(InputError, match=r"normalization: 'tpm'; this version knows sum, log"):
        load_model(other)


def test_one_linear_layer_encodes_as_published(tmp_path: Path) -> None:
    """The published setting ``expr_encoder_layers: 1`` leaves one layer after the joining."""

    def one(state: Any, settings: Any) -> None:
        for part in ("0.bias", "1.weight", "1.bias", "4.weight", "4.bias"):
            state.pop(f"{_ENCODER}shared_layers.{part}")
        state[f"{_ENCODER}shared_layers.0.weight"] = torch.arange(512.0).reshape(16, 32) / 100
        state[f"{_ENCODER}shared_layers.0.bias"] = torch.arange(16.0)

    model = load_model(changed_file(tmp_path, one))
    whole = torch.load(tmp_path / "changed.ckpt", weights_only=True)["state_dict"]
    own = torch.nn.Sequential(
        torch.nn.Linear(1, 16), torch.nn.LayerNorm(16), torch.nn.ReLU(), torch.nn.Linear(16, 16)
    )
    names = {0: 0, 1: 1, 3: 4}
    value = torch.tensor([0.0, 1.0, 4.5])
    with torch.no_grad():
        for at, name in names.items():
            own[at].weight[:] = whole[f"{_ENCODER}self_layers.{name}.weight"]
            own[at].bias[:] = whole[f"{_ENCODER}self_layers.{name}.bias"]
        both = torch.cat([own(value[:, None]), torch.zeros(3, 16)], -1)
        want = both @ whole[f"{_ENCODER}shared_layers.0.weight"].T + torch.arange(16.0)
        got = model._expression(value)  # type: ignore[attr-defined]
    assert torch.allclose(got, want, atol=1e-5)


def test_cells_without_counts_are_padding_where_values_are_shares() -> None:
    counts, genes, ids = read_cells(CELLS)
    nothing = sparse.csr_matrix(counts.shape, dtype=counts.dtype)
    model = load_model(FOLDERS["tokens"] / "checkpoint", options=SOME)
    match = model.match(genes)
    assert (model.tokenize(nothing, match, ids).kind == PAD).all()
    padded = model.tokenize(counts, match, ids)
    kinds = ["cell", "class", "class", "context", *["gene"] * 24]
    assert [TOKEN_KINDS[k] for k in padded.kind[0]] == kinds
    assert model.max_tokens(match, 5) == padded.kind.shape[1] == 28
    assert model.special_kinds == ("cell", "class", "context")
    genes_only = load_model(ORACLE / "checkpoint", options={"context": "most_expr", "max_len": 9})
    assert genes_only.special_kinds == ()
    read = genes_only.tokenize(nothing, genes_only.match(genes), ids)
    assert read.kind.shape == (6, 9)
    assert (read.value == 0).all()  # log2(1 + 0): defined


def test_the_two_scprints_are_told_apart() -> None:
    assert family_of(ORACLE / "checkpoint") == "scprint2"
    assert family_of(FOLDERS["tokens"] / "checkpoint/model.ckpt") == "scprint2"
    assert family_of(DATA / "scprint/checkpoint") == "scprint"
    with pytest.raises(InputError, match=r"depth_encoder: present: scPRINT v1.*family scprint"):
        load_model(DATA / "scprint/checkpoint", family="scprint2")
    with pytest.raises(InputError, match=r"cell-specific blocks.*family scprint2 reads"):
        load_model(ORACLE / "checkpoint", family="scprint")
    shown = here("models", "inspect", str(ORACLE / "checkpoint"))
    assert shown.returncode == 0, shown.stderr
    assert "metacell encoder, cell-specific blocks" in shown.stdout


@pytest.mark.parametrize(
    ("change", "message"),
    [
        pytest.param(
            lambda w, s: s.update(attn_bias="bias.npz"), r"attn_bias: 'bias.npz': a file of",
            id="bias",
        ),
        pytest.param(
            lambda w, s: s.update(attention="criss-cross"), r"attention: 'criss-cross'; softmax",
            id="criss-cross",
        ),
        pytest.param(
            lambda w, s: s.update(rotary_emb_dim=8), r"rotary_emb_dim: 8: rotary", id="rotary"
        ),
        pytest.param(
            lambda w, s: s.update(expr_emb_style="binned"), r"expr_emb_style: 'binned'; its",
            id="binned",
        ),
        pytest.param(
            lambda w, s: s.update(expr_emb_style="continuous"),
            r"'continuous'; its weights begin with \['expr_encoder.neighbors_layers'", id="style",
        ),
        pytest.param(
            lambda w, s: s.update(cell_specific_blocks=False),
            r"cell_specific_blocks: False, but weights of a cell transformer are present",
            id="blocks",
        ),
        pytest.param(
            lambda w, s: s["genes"]["NCBITaxon:9606"].pop(),
            r"gene_encoder.weight: shape \(80, 16\)",
            id="vocabulary",
        ),
        pytest.param(
            lambda w, s: s["genes"].pop("NCBITaxon:9606"), r"hyper_parameters: cannot be used",
            id="organism",
        ),
        pytest.param(
            lambda w, s: s["genes"].update({"NCBITaxon:10090": s["genes"]["NCBITaxon:9606"]}),
            r"hyper_parameters.genes: holds a gene twice", id="twice",
        ),
        pytest.param(
            lambda w, s: w.pop("expr_encoder.shared_layers.4.bias"),
            r"missing \(first: expr_encoder.shared_layers.4.bias", id="weight absent",
        ),
        pytest.param(
            lambda w, s: w.update({"transformer.blocks.0.gate.weight": torch.ones(2)}),
            r"1 unexpected weights \(first: transformer.blocks.0.gate.weight", id="weight unknown",
        ),
    ],
)  # fmt: skip
def test_files_that_cannot_be_read_faithfully_are_refused(
    tmp_path: Path, change: Any, message: str
) -> None:
    with pytest.raises(InputError, match=message):
        load_model(changed_file(tmp_path, change), family="scprint2")


def test_a_run_adds_up_what_the_model_attends_with(tmp_path: Path) -> None:
    """From an h5ad of another gene order to the stored sums of a layer."""
    model = load_model(ORACLE / "checkpoint", options=SOME)
    rng = np.random.default_rng(0)
    names = rng.permutation(model.genes.ensembl[:60].astype(str))
    counts = rng.poisson(1.0, (24, 60)).astype(np.float32)
    cells = ad.AnnData(
        sparse.csr_matrix(counts),
        obs=pd.DataFrame({"cell_type": ["A", "B"] * 12}, index=[f"c{i}" for i in range(24)]),
        var=pd.DataFrame({"feature_name": names}, index=names),
    )
    cells.write_h5ad(tmp_path / "cells.h5ad")
    folder = Path(shutil.copytree(ORACLE / "checkpoint", tmp_path / "checkpoint"))
    tree = {
        "atlas": {"path": str(tmp_path / "cells.h5ad"), "category_key": ["cell_type"]},
        "models": [{"name": "two", "family": "scprint2", "path": str(folder), "options": SOME}],
        "accumulate": "all", "views": ["marginal", "logit"], "min_cells": 6, "top_k": 20,
        "keep_dense": "fp32", "execution": {"unit_cells": 8, "threads": 1, "actors": 1},
    }  # fmt: skip
    root, plan = prepare(parse_config(tree, "c"), str(tmp_path / "run"))
    runner = UnitRunner(root, plan, run_config(root), "two")
    with torch.inference_mode():
        for half in (0, 1):
            for unit in plan.units_of("two", 1, half):
                runner.run(unit)
        matrices = MatrixRunner(root, plan)
        matrices.pairs("two", 1)
        matrices.matrix("two", 1, 1)
        record = read_record(root, matrix_work("two", 1, 1), plan.hash)
        assert record is not None
        dense = tiles.open_array(root.zarr(f"{record.folder}/dense.zarr"), "sums")[:]
        ours = np.flatnonzero(np.arange(24) % 2)  # category B
        genes = [str(g) for g in np.array(plan.model("two").axis)]
        mine = sparse.csr_matrix(counts[ours])
        match = model.match(read_cells(tmp_path / "cells.h5ad")[1])
        tokens = model.tokenize(mine, match, np.array([f"c{i}" for i in ours], object))
        mask, residual = torch.from_numpy(tokens.mask), model.embed(tokens)
        for i in range(2):
            attended, residual = model.layer(i, residual, mask)
    attn = (
        torch.softmax(attended.q @ attended.k.transpose(2, 3) * attended.scale, -1).mean(1).sum(0)
    )
    seen_genes = [str(match.genes.ensembl[g]) for g in tokens.gene[0]]
    at = [genes.index(g) for g in seen_genes]
    total = dense[:, QUANTITIES.index("probability")].sum(0)
    assert len(at) == 24
    np.testing.assert_allclose(total[np.ix_(at, at)], attn.numpy(), atol=1e-5)
