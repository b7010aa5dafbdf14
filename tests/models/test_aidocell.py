"""AIDO.Cell against its authors' code: tokens, hidden states, attention, and caught mistakes."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from octoscope.errors import InputError
from octoscope.genes import GeneTable
from octoscope.models import Tokens, load_model
from octoscope.models.aidocell import AIDOCell
from octoscope.models.gene_list import gene_list_19264
from safetensors.torch import save_file
from scipy import sparse

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

ORACLE = DATA / "aidocell"
CELLS = ORACLE / "cells.h5ad"
FULL, SUB, BIAS = (ORACLE / f"dump{n}.npz" for n in ("", "_sub", "_bias"))
PLAIN, BIASED = ORACLE / "checkpoint", ORACLE / "checkpoint_bias"
SHARED: dict[str, Any] = {"context": "shared", "depth_tokens": 0}


def atlas() -> tuple[sparse.csr_matrix, GeneTable, np.ndarray]:
    return read_cells(CELLS)


_SHARED = ["--option", "context=shared", "--option", "depth_tokens=0"]


@pytest.mark.parametrize(
    ("checkpoint", "dump", "given"),
    [
        pytest.param(
            PLAIN, FULL, ["--positions", str(FULL)], id="full from cells", marks=pytest.mark.slow
        ),
        pytest.param(
            PLAIN, FULL, ["--tokens", str(FULL)], id="full from tokens", marks=pytest.mark.campaign
        ),
        pytest.param(PLAIN, SUB, ["--positions", str(SUB), *_SHARED], id="sub from cells"),
        pytest.param(
            PLAIN, SUB, ["--tokens", str(SUB)], id="sub from tokens", marks=pytest.mark.slow
        ),
        pytest.param(
            BIASED,
            BIAS,
            ["--positions", str(BIAS), *_SHARED],
            id="bias from cells",
            marks=pytest.mark.slow,
        ),
        pytest.param(
            BIASED, BIAS, ["--tokens", str(BIAS)], id="bias from tokens", marks=pytest.mark.slow
        ),
    ],
)
def test_dump_equals_the_authors_code(
    tmp_path: Path, checkpoint: Path, dump: Path, given: list[str]
) -> None:
    judge_by_command(checkpoint, CELLS, dump, tmp_path / "ours.npz", *given)


def _interleaved_heads(w: Weights) -> None:
    """Read q and k rows as [d_head, heads] instead of [heads, d_head]."""
    for name in w:
        if name.endswith(("query.weight", "key.weight")):
            w[name] = w[name].view(4, 8, -1).transpose(0, 1).reshape(w[name].shape)


def _position_of_the_column(w: Weights) -> None:
    """Positions 0, 1, 2 ... of the tokens instead of their places in the list."""
    table = w["position_embedding.weight"]
    rows = np.load(SUB)["token_row"][0]
    table[rows] = table[: len(rows)].clone()


@pytest.mark.parametrize(
    ("checkpoint", "dump", "mistake"),
    [
        pytest.param(BIASED, BIAS, zero("self.query.bias"), id="no q bias"),
        pytest.param(BIASED, BIAS, zero("self.key.bias"), id="no k bias"),
        pytest.param(BIASED, BIAS, zero("self.value.bias"), id="no v bias"),
        pytest.param(BIASED, BIAS, zero("output.dense.bias"), id="no output bias"),
        pytest.param(PLAIN, SUB, zero("linear2.bias"), id="no bin bias"),
        pytest.param(PLAIN, SUB, no_affine("attention.ln"), id="LayerNorm without affine"),
        pytest.param(PLAIN, SUB, _interleaved_heads, id="wrong head layout"),
        pytest.param(PLAIN, SUB, _position_of_the_column, id="position of the column"),
    ],
)
def test_parity_turns_red_on(
    checkpoint: Path, dump: Path, mistake: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    change_weights(monkeypatch, AIDOCell, mistake)
    assert not all(r.ok for r in differences(checkpoint, dump, tmp_path))


def test_parity_turns_red_when_attention_reads_the_residual_stream(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = AIDOCell._norm

    def skipped(self: AIDOCell, x: torch.Tensor, name: str) -> torch.Tensor:
        return x if name.endswith("attention.ln") else whole(self, x, name)

    monkeypatch.setattr(AIDOCell, "_norm", skipped)
    assert not all(r.ok for r in differences(PLAIN, SUB, tmp_path))


@pytest.mark.parametrize("mistake", ["total over all genes", "log10", "no scaling"])
def test_parity_from_cells_turns_red_on_another_normalisation(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, mistake: str
) -> None:
    whole = AIDOCell.tokenize

    def changed(self: AIDOCell, counts: Any, match: Any, cell_ids: Any) -> Tokens:
        tokens = whole(self, counts, match, cell_ids)
        if mistake == "log10":
            return Tokens(*list(vars(tokens).values())[:3], tokens.value / np.float32(np.log(10)),
                          tokens.row, tokens.mask)  # fmt: skip
        total = np.asarray(counts.sum(1)).ravel()
        inside = np.asarray(match.model_counts(counts).sum(1)).ravel()
        share = (inside / total if mistake.startswith("total") else inside / 1e4)[:, None]
        value = np.log1p(np.expm1(tokens.value.astype(float)) * share).astype(np.float32)
        return Tokens(*list(vars(tokens).values())[:3], value, tokens.row, tokens.mask)

    monkeypatch.setattr(AIDOCell, "tokenize", changed)
    rows = differences(PLAIN, SUB, tmp_path, CELLS, options=SHARED)
    wrong = {r.name for r in rows if not r.ok}
    assert {"token_value", "hidden_0", "attn_0"} <= wrong


def test_depth_tokens_take_part_in_every_row(tmp_path: Path) -> None:
    rows = differences(PLAIN, SUB, tmp_path, CELLS, options={"context": "shared"})
    assert any(not r.ok for r in rows if r.name.startswith(("token_kind", "lse")))


def test_value_embedding_with_mask_and_padding_equals_the_authors_code() -> None:
    want = np.load(ORACLE / "probe.npz")
    model = load_model(PLAIN)
    n = len(want["probe_values"])
    row = np.arange(n)[None]
    tokens = Tokens(
        np.array(["x"]), row.astype(np.int32), np.zeros((1, n), np.int8),
        want["probe_values"][None].astype(np.float32), row, np.ones((1, n), bool),
    )  # fmt: skip
    table = torch.load(PLAIN / "pytorch_model.bin", weights_only=True)
    positions = table["bert.position_embedding.weight"][:n].numpy()
    assert np.abs(model.embed(tokens)[0].numpy() - positions - want["probe_embedding"]).max() < 2e-6


def test_published_input_of_every_cell() -> None:
    counts, genes, ids = atlas()
    model = load_model(PLAIN)
    match = model.match(genes)
    tokens = model.tokenize(counts, match, ids)
    want = np.load(FULL)
    assert tokens.value.shape == (4, 19266)
    assert model.max_tokens(match, 10**6) == 19266
    assert np.abs(tokens.value - want["token_value"]).max() < 1e-5
    assert tokens.value[:, -1].max() > 5 == tokens.value[0, -1]  # one cell is above the floor
    for c in range(4):
        alone = model.tokenize(counts[[c]], match, ids[[c]])
        assert (alone.value[0] == tokens.value[c]).all()


def test_the_gene_list_keeps_names_that_look_like_missing_values() -> None:
    genes = gene_list_19264()
    assert len(genes) == 19264
    assert list(genes.symbol[:2]) == ["A1BG", "A1CF"]
    assert all(isinstance(s, str) and s for s in genes.symbol)


@pytest.mark.slow
def test_a_panel_keeps_values_and_changes_hidden_states() -> None:
    counts, genes, ids = atlas()
    model = load_model(PLAIN)
    match = model.match(genes)
    wide = model.tokenize(
        counts, load_model(PLAIN, options={"context": "shared"}).match(genes), ids
    )
    panel = match.with_panel(match.genes.ensembl[match.matched[:50]].tolist())
    narrow = model.tokenize(counts, panel, ids)
    assert narrow.mask.shape == (4, 52)
    assert model.max_tokens(panel, 10**6) == 52
    at = [int(np.flatnonzero(wide.row[0] == r)[0]) for r in narrow.row[0]]
    assert (wide.value[:, at] == narrow.value).all()
    states = []
    for tokens in (narrow, wide):
        _, state = model.layer(0, model.embed(tokens), torch.from_numpy(tokens.mask))
        states.append(state)
    assert (states[0] - states[1][:, at]).abs().max() > 0.1


def test_a_cell_without_list_genes_is_left_out() -> None:
    counts, genes, ids = atlas()
    lil = counts.tolil()
    lil[1] = 0
    model = load_model(PLAIN, options=SHARED)
    tokens = model.tokenize(lil.tocsr(), model.match(genes), ids)
    assert tokens.mask.all(1).tolist() == [True, False, True, True]
    assert not np.isnan(tokens.value).any()


def copied(tmp_path: Path) -> Path:
    return Path(shutil.copytree(BIASED, tmp_path / "checkpoint"))


def test_safetensors_and_a_bare_encoder_are_the_same(tmp_path: Path) -> None:
    path = copied(tmp_path)
    state = torch.load(path / "pytorch_model.bin", weights_only=True)
    unwrapped = {n.removeprefix("bert."): v.clone() for n, v in state.items() if n[:5] == "bert."}
    (path / "pytorch_model.bin").unlink()
    save_file(unwrapped, path / "model.safetensors")
    assert all(r.ok for r in differences(path, BIAS, tmp_path))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"normalization_type": "RMSNorm"}, "normalization_type: 'RMSNorm'"),
        ({"position_embedding_type": "rotary"}, "position_embedding_type"),
        ({"num_attention_heads": 3}, "hidden_size 16, num_attention_heads 3"),
        ({"bin_num": None}, "cannot be used"),
        ({"bin_num": 99}, r"linear1.weight: shape \(100, 1\), expected \(99, 1\)"),
        ({"add_linear_bias": False}, "unexpected"),
        ({"max_position_embeddings": 100}, "100; the published gene list has 19264"),
    ],
)
def test_other_settings_are_refused(tmp_path: Path, change: dict[str, Any], message: str) -> None:
    path = copied(tmp_path)
    config = json.loads((path / "config.json").read_text())
    (path / "config.json").write_text(json.dumps(config | change))
    with pytest.raises(InputError, match=message):
        load_model(path)


@pytest.mark.parametrize(("dtype", "bound"), [("bfloat16", 0.2), ("float16", 0.05)])
def test_lower_precision_stays_near_and_is_not_float32(
    tmp_path: Path, dtype: str, bound: float
) -> None:
    rows = differences(PLAIN, SUB, tmp_path, dtype=dtype)
    worst = max(r.worst for r in rows if r.name.startswith("attn"))
    assert 1e-5 < worst < bound


FULL_LENGTH = """
import sys, torch
from pathlib import Path
from octoscope.models import Tokens, load_model
from octoscope.probe.dump_format import tokens_of_dump
import numpy as np
def status(key):
    for line in open("/proc/self/status"):
        if line.startswith(key):
            return int(line.split()[1]) * 1024
folder, dump, dense = sys.argv[1:]
model = load_model(folder)
tokens = tokens_of_dump(Path(dump))[0].take(np.array([0]))
before = status("VmHWM")
with torch.inference_mode():
    attention, _ = model.layer(0, model.embed(tokens), torch.from_numpy(tokens.mask))
    if dense == "dense":
        (attention.q[:, :1] @ attention.k[:, :1].transpose(2, 3)).softmax(-1)
print(status("VmHWM") - before)
"""


def _peak(how: str) -> int:
    done = subprocess.run(
        [sys.executable, "-c", FULL_LENGTH, str(PLAIN), str(FULL), how],
        capture_output=True, text=True, timeout=300, check=True,
    )  # fmt: skip
    return int(done.stdout)


@pytest.mark.slow
def test_a_forward_pass_at_full_length_never_holds_tokens_by_tokens() -> None:
    one_head = 19266**2 * 4
    assert _peak("as it is") < one_head / 4
    assert _peak("dense") > one_head  # the mistake this guards against, one head of four
