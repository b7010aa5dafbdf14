"""scPRINT against its authors' code: tokens, hidden states, attention, and caught mistakes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from octoscope.errors import InputError
from octoscope.models import Tokens, load_model
from octoscope.models.protocol import PAD, TOKEN_KINDS
from octoscope.models.scprint import ScPRINT
from octoscope.probe.dump import write_dump

from tests.models.parity import (
    Weights,
    change_weights,
    differences,
    judge_by_command,
    no_affine,
    zero,
)
from tests.models.scprint_inputs import CELLS, CHECKPOINT, DUMP, ORACLE, SOME, atlas


@pytest.mark.parametrize(
    "given",
    [
        pytest.param(["--option", f"context_genes={DUMP}", "--option", "context=some"], id="cells"),
        pytest.param(["--tokens", str(DUMP)], id="tokens", marks=pytest.mark.slow),
    ],
)
def test_dump_equals_the_authors_code(tmp_path: Path, given: list[str]) -> None:
    judge_by_command(CHECKPOINT, CELLS, DUMP, tmp_path / "ours.npz", *given)


def _interleaved_heads(w: Weights) -> None:
    """Read q, k, v rows as [d_head, heads] instead of [heads, d_head]."""
    for name in w:
        if "Wqkv" in name:
            x = w[name]
            w[name] = x.view(3, 12, 4, *x.shape[1:]).transpose(1, 2).reshape(x.shape)


def _shifted_positions(w: Weights) -> None:
    w["pos_encoder.pe"] = w["pos_encoder.pe"].roll(1, 0)


@pytest.mark.parametrize(
    "mistake",
    [
        pytest.param(zero("Wqkv.bias", slice(0, 48)), id="no q bias"),
        pytest.param(zero("Wqkv.bias", slice(48, 96)), id="no k bias"),
        pytest.param(zero("Wqkv.bias", slice(96, 144)), id="no v bias"),
        pytest.param(zero("out_proj.bias"), id="no output bias"),
        pytest.param(no_affine("norm1"), id="LayerNorm without affine"),
        pytest.param(no_affine("expr_encoder.encoder.1"), id="encoder norm without affine"),
        pytest.param(_interleaved_heads, id="wrong head layout"),
        pytest.param(_shifted_positions, id="position code of the next gene"),
        pytest.param(zero("pos_encoder.pe"), id="no position code"),
    ],
)
def test_parity_turns_red_on(mistake: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    change_weights(monkeypatch, ScPRINT, mistake)
    assert not all(r.ok for r in differences(CHECKPOINT, DUMP, tmp_path))


def test_parity_from_cells_turns_red_on_the_other_normalisation(tmp_path: Path) -> None:
    rows = differences(CHECKPOINT, DUMP, tmp_path, CELLS, options=SOME | {"normalization": "log"})
    wrong = {r.name for r in rows if not r.ok}
    assert {"token_value", "attn_0", "hidden_0"} <= wrong


def test_parity_from_cells_turns_red_when_depth_is_the_context_total(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = ScPRINT.tokenize

    def context_only(self: ScPRINT, counts: Any, match: Any, cell_ids: Any) -> Tokens:
        inside = np.isin(match.model_gene, self._fixed(match))
        return whole(self, counts.multiply(inside).tocsr(), match, cell_ids)

    monkeypatch.setattr(ScPRINT, "tokenize", context_only)
    rows = differences(CHECKPOINT, DUMP, tmp_path, CELLS, options=SOME)
    assert not all(r.ok for r in rows)


def through(model: Any, tokens: Tokens) -> tuple[np.ndarray, np.ndarray]:
    first = residual = model.embed(tokens)
    mask = torch.from_numpy(tokens.mask)
    for i in range(model.n_layers):
        _, residual = model.layer(i, residual, mask)
    return first.numpy(), model.output(residual).numpy()


def test_log_normalisation_equals_the_authors_code() -> None:
    counts, genes, ids = atlas()
    want = np.load(ORACLE / "other_inputs.npz")
    model = load_model(CHECKPOINT, options=SOME | {"normalization": "log"})
    first, last = through(model, model.tokenize(counts, model.match(genes), ids))
    assert np.abs(first - want["alt_hidden_0"]).max() < 2e-5
    assert np.abs(last - want["alt_final_output"]).max() < 2e-5


def test_a_context_of_its_own_per_cell_equals_the_authors_code() -> None:
    want = np.load(ORACLE / "other_inputs.npz")
    x, cells = want["re_x"], len(want["re_x"])
    kinds = [TOKEN_KINDS.index(k) for k in ("depth", "cell", *["class"] * 6)]
    kind = np.tile(np.r_[kinds, np.zeros(x.shape[1])].astype(np.int8), (cells, 1))
    value = np.full(kind.shape, np.nan, np.float32)
    value[:, 0], value[:, 8:] = np.log2(1 + want["re_depth"]), x / x.sum(1, keepdims=True)
    row = np.full(kind.shape, -1, np.int64)
    row[:, 1:8], row[:, 8:] = np.arange(7), want["re_genes"]
    ids = np.arange(cells).astype(str)
    tokens = Tokens(ids, np.full(kind.shape, -1, np.int32), kind, value, row, kind != PAD)
    first, last = through(load_model(CHECKPOINT), tokens)
    assert np.abs(first - want["re_hidden_0"]).max() < 2e-5
    assert np.abs(last - want["re_final_output"]).max() < 2e-5


def test_the_two_token_orders_are_a_relabelling() -> None:
    counts, genes, ids = atlas()
    got = []
    for order in ("depth, cell, classes, genes", "cell, depth, classes, genes"):
        model = load_model(CHECKPOINT, options=SOME | {"token_order": order})
        tokens = model.tokenize(counts, model.match(genes), ids)
        assert TOKEN_KINDS[tokens.kind[0, 0]] == order.split(",")[0]
        got.append(through(model, tokens)[1])
    swapped = got[1][:, [1, 0, *range(2, got[1].shape[1])]]
    assert np.abs(got[0] - swapped).max() < 1e-5


@pytest.mark.parametrize(("dtype", "bound"), [("bfloat16", 0.05), ("float16", 0.01)])
def test_lower_precision_stays_near_and_is_not_float32(
    tmp_path: Path, dtype: str, bound: float
) -> None:
    rows = differences(CHECKPOINT, DUMP, tmp_path, dtype=dtype)
    worst = max(r.worst for r in rows if r.name.startswith("attn"))
    assert 1e-5 < worst < bound


def test_upstream_streams_of_a_cell_are_refused(tmp_path: Path) -> None:
    out = tmp_path / "o.npz"
    write_dump(CHECKPOINT, str(CELLS), out, options=SOME, upstream=True)  # draws nothing
    random = {"context": "random_expr"}
    with pytest.raises(InputError, match=r"--rng upstream.*global stream"):
        write_dump(CHECKPOINT, str(CELLS), tmp_path / "no.npz", options=random, upstream=True)
