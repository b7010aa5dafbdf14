"""scFoundation against its authors' code: tokens, hidden states, attention, caught mistakes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from octoscope.errors import InputError
from octoscope.genes import GeneTable
from octoscope.models import Tokens, load_model
from octoscope.models.families import family_of
from octoscope.models.protocol import PAD, TOKEN_KINDS
from octoscope.models.scfoundation import ScFoundation
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

ORACLE = DATA / "scfoundation"
CHECKPOINT, CELLS = ORACLE / "checkpoint", ORACLE / "cells.h5ad"
GENE, CELL = ORACLE / "dump.npz", ORACLE / "dump_cell.npz"


def atlas() -> tuple[sparse.csr_matrix, GeneTable, np.ndarray]:
    return read_cells(CELLS)


@pytest.mark.parametrize(
    "given",
    [
        pytest.param(["--option", "section=gene", "--option", "target=t4"], id="cells"),
        pytest.param(["--tokens", str(GENE)], id="tokens", marks=pytest.mark.slow),
    ],
)
def test_dump_equals_the_authors_code(tmp_path: Path, given: list[str]) -> None:
    judge_by_command(CHECKPOINT, CELLS, GENE, tmp_path / "ours.npz", *given)


@pytest.mark.parametrize("from_cells", [True, False])
def test_section_cell_equals_the_authors_code(tmp_path: Path, from_cells: bool) -> None:
    rows = differences(
        CHECKPOINT, CELL, tmp_path, CELLS if from_cells else None, options={"section": "cell"}
    )
    assert {"attn_0", "hidden_1", "lse_0", "output"} <= {r.name for r in rows}
    assert all(r.ok for r in rows), [r for r in rows if not r.ok]


def _interleaved_heads(w: Weights) -> None:
    """Read q, k, v rows as [d_head, heads] instead of [heads, d_head]."""
    for name in w:
        if "in_proj" in name:
            x = w[name]
            w[name] = x.view(3, 8, 4, *x.shape[1:]).transpose(1, 2).reshape(x.shape)


def _position_of_the_column(w: Weights) -> None:
    """Positions 0, 1, 2 ... of the tokens instead of their places in the list."""
    dump = np.load(GENE)
    rows = dump["token_row"][0][dump["mask"][0]]
    w["pos_emb.weight"][rows] = w["pos_emb.weight"][: len(rows)].clone()


@pytest.mark.parametrize(
    "mistake",
    [
        pytest.param(zero("in_proj_bias", slice(0, 32)), id="no q bias"),
        pytest.param(zero("in_proj_bias", slice(32, 64)), id="no k bias"),
        pytest.param(zero("in_proj_bias", slice(64, 96)), id="no v bias"),
        pytest.param(zero("out_proj.bias"), id="no output bias"),
        pytest.param(zero("mlp2.bias"), id="no bin bias"),
        pytest.param(no_affine("norm1"), id="LayerNorm without affine"),
        pytest.param(no_affine("encoder.norm"), id="final LayerNorm without affine"),
        pytest.param(_interleaved_heads, id="wrong head layout"),
        pytest.param(_position_of_the_column, id="position of the column"),
    ],
)
def test_parity_turns_red_on(mistake: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    change_weights(monkeypatch, ScFoundation, mistake)
    assert not all(r.ok for r in differences(CHECKPOINT, GENE, tmp_path))


def test_parity_turns_red_when_attention_reads_a_normalised_stream(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = ScFoundation.layer

    def pre_norm(self: ScFoundation, i: int, residual: torch.Tensor, mask: torch.Tensor) -> Any:
        return whole(self, i, torch.nn.functional.layer_norm(residual, residual.shape[-1:]), mask)

    monkeypatch.setattr(ScFoundation, "layer", pre_norm)
    assert not all(r.ok for r in differences(CHECKPOINT, GENE, tmp_path))


@pytest.mark.parametrize("mistake", ["total over all genes", "log10", "a1", "zeros kept"])
def test_parity_from_cells_turns_red_on_another_input(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, mistake: str
) -> None:
    options: dict[str, Any] = {}
    if mistake == "a1":
        options["target"] = "a1"
    elif mistake == "zeros kept":
        whole_match = ScFoundation.tokenize

        def shifted(self: Any, counts: Any, match: Any, ids: Any) -> Tokens:
            # a token for a gene without counts, in place of the last expressed one
            tokens = whole_match(self, counts, match, ids)
            last = tokens.mask.sum(1) - 3
            tokens.value[np.arange(len(ids)), last] = 0
            return tokens

        monkeypatch.setattr(ScFoundation, "tokenize", shifted)
    else:
        whole = ScFoundation.tokenize

        def changed(self: Any, counts: Any, match: Any, ids: Any) -> Tokens:
            tokens = whole(self, counts, match, ids)
            gene = tokens.kind == 0
            if mistake == "log10":
                tokens.value[gene] /= np.float32(np.log(10))
            else:
                total = np.asarray(counts.sum(1)).ravel()
                inside = np.asarray(match.model_counts(counts).sum(1)).ravel()
                share = np.broadcast_to((inside / total)[:, None], gene.shape)[gene]
                tokens.value[gene] = np.log1p(np.expm1(tokens.value[gene]) * share)
            return tokens

        monkeypatch.setattr(ScFoundation, "tokenize", changed)
    rows = differences(CHECKPOINT, GENE, tmp_path, CELLS, options=options)
    assert {"token_value", "hidden_0", "attn_0"} <= {r.name for r in rows if not r.ok}


@pytest.mark.parametrize(("target", "stored"), [("a1", "gene_a1"), ("modelgenerator", "gene_mg")])
def test_other_published_targets_equal_the_authors_code(target: str, stored: str) -> None:
    counts, genes, ids = atlas()
    want = np.load(ORACLE / "other_inputs.npz")
    model = load_model(CHECKPOINT, options={"target": target})
    tokens = model.tokenize(counts, model.match(genes), ids)
    depth = tokens.kind == TOKEN_KINDS.index("count")
    got = tokens.value[depth].reshape(len(ids), 2)
    assert np.abs(got - want[f"{stored}_TS_values"]).max() < 1e-5
    residual, mask = model.embed(tokens), torch.from_numpy(tokens.mask)
    for i in range(2):
        _, residual = model.layer(i, residual, mask)
    gap = np.abs(residual.numpy() - want[f"{stored}_hidden_2"])[tokens.mask]
    assert gap.max() < 2e-5


@pytest.mark.parametrize(
    ("target", "expected"),
    [
        ("t5.5", (5.5, 3.0)),
        ("a-0.5", (2.5, 3.0)),
        ("f10", (4.0, 3.0)),
        ("a0.5", (3.5, 3.0)),
        ("bulk", (3.0, 3.0)),
    ],
)
def test_every_target_by_hand(target: str, expected: tuple[float, float]) -> None:
    genes = GeneTable(np.array(["ENSG00000121410"], object), np.array(["A1BG"], object))
    model = load_model(CHECKPOINT, options={"target": target})
    counts = sparse.csr_matrix(np.array([[1000.0]], np.float32))
    tokens = model.tokenize(counts, model.match(genes), np.array(["c"]))
    assert [TOKEN_KINDS[k] for k in tokens.kind[0]] == ["gene", "count", "count"]
    assert tokens.value[0, 1:] == pytest.approx(expected)
    assert tokens.row[0, 1:].tolist() == [19264, 19265]


def test_depth_tokens_at_or_below_zero_vanish() -> None:
    genes = GeneTable(np.array(["ENSG00000121410"], object), np.array(["A1BG"], object))
    model = load_model(CHECKPOINT)
    counts = sparse.csr_matrix(np.array([[1.0], [0.0]], np.float32))
    tokens = model.tokenize(counts, model.match(genes), np.array(["one", "none"]))
    # S = log10(1) = 0 is no token; a cell without counts has none at all
    assert tokens.row[0].tolist() == [0, 19264]
    assert (tokens.kind[1] == PAD).all()


def test_value_embedding_with_mask_and_padding_equals_the_authors_code() -> None:
    want = np.load(ORACLE / "other_inputs.npz")
    model = load_model(CHECKPOINT)
    n = len(want["probe_values"])
    row = np.arange(n)[None]
    tokens = Tokens(
        np.array(["x"]), row.astype(np.int32), np.zeros((1, n), np.int8),
        want["probe_values"][None].astype(np.float32), row.astype(np.int64),
        np.ones((1, n), bool),
    )  # fmt: skip
    table = model._w["pos_emb.weight"][:n]  # type: ignore[attr-defined]
    got = (model.embed(tokens)[0] - table).numpy()
    assert np.abs(got - want["probe_embedding"]).max() < 5e-6


def test_tokens_do_not_depend_on_other_cells_and_a_panel_keeps_values() -> None:
    counts, genes, ids = atlas()
    model = load_model(CHECKPOINT)
    match = model.match(genes)
    whole = model.tokenize(counts, match, ids)
    assert len({int(n) for n in whole.mask.sum(1)}) == 4  # every cell has its own set
    for c in range(len(ids)):
        alone = model.tokenize(counts[[c]], match, ids[[c]])
        n = int(whole.mask[c].sum())
        assert (alone.row[0] == whole.row[c, :n]).all()
        assert (alone.value[0] == whole.value[c, :n]).all()
    chosen = [str(g) for g in match.genes.ensembl[match.allowed][::3]]
    panel = match.with_panel(chosen)
    reduced = model.tokenize(counts, panel, ids)
    for c in range(len(ids)):
        of = dict(zip(whole.row[c].tolist(), whole.value[c].tolist(), strict=True))
        real = reduced.mask[c]
        kept = zip(reduced.row[c][real].tolist(), reduced.value[c][real].tolist(), strict=True)
        assert all(of[r] == v for r, v in kept)
        assert 0 < real.sum() < whole.mask[c].sum()
    assert model.max_tokens(match, 10) == 12
    assert model.max_tokens(panel, 10**6) == len(chosen) + 2


def changed_file(tmp_path: Path, change: Any) -> Path:
    whole = torch.load(CHECKPOINT / "models.ckpt", weights_only=True)
    change(whole)
    torch.save(whole, tmp_path / "models.ckpt")
    return tmp_path


def _drop(key: str) -> Any:
    return lambda w: w["gene"]["state_dict"].pop(key)


@pytest.mark.parametrize(
    ("change", "options", "message"),
    [
        (lambda w: None, {"section": "rde"}, r"rde: absent; the file has \['gene', 'cell'\]"),
        (lambda w: None, {"target": "x3"}, r"options.target.*tX, aX, fX"),
        (lambda w: None, {"target": "f0"}, r"options.target"),
        (_drop("model.pos_emb.weight"), {}, "1 weights are missing.*pos_emb.weight"),
        (
            lambda w: w["gene"]["state_dict"].update({"model.extra": torch.ones(1)}),
            {},
            "1 unexpected weights.*extra",
        ),
        (
            lambda w: w["gene"]["config"]["model_config"]["mae_autobin"]["encoder"].update(heads=5),
            {},
            "config.encoder.*heads 5",
        ),
        (
            lambda w: w["gene"]["config"]["model_config"]["mae_autobin"]["encoder"].update(
                module_type="performer"
            ),
            {},
            "module_type 'performer'",
        ),
        (
            lambda w: w["gene"]["config"]["model_config"]["mae_autobin"].update(seq_len=100),
            {},
            "seq_len: 100, expected 19266",
        ),
        (lambda w: w["gene"].pop("config"), {}, "no config or no state_dict"),
        (
            lambda w: w["gene"]["state_dict"]["model.pos_emb.weight"][3].fill_(float("nan")),
            {},
            "pos_emb.weight holds NaN",
        ),
    ],
    ids=["section", "target", "f0", "missing", "extra", "heads", "performer", "length", "config",
         "nan"],
)  # fmt: skip
def test_bad_files_and_options_are_refused(
    tmp_path: Path, change: Any, options: dict[str, Any], message: str
) -> None:
    with pytest.raises(InputError, match=message):
        load_model(changed_file(tmp_path, change), family="scfoundation", options=options)


def test_settings_are_those_of_the_named_model(tmp_path: Path) -> None:
    def distract(whole: Any) -> None:
        config = whole["gene"]["config"]
        config["model_config"]["other"] = {"bin_alpha": 0.5, "encoder": {"heads": 2}}
        config["dataset_config"]["bulk"] = {"bin_alpha": 0.5}

    (tmp_path / "out").mkdir()
    (tmp_path / "in").mkdir()
    path = changed_file(tmp_path / "in", distract)
    assert all(r.ok for r in differences(path, GENE, tmp_path / "out"))


def test_the_file_is_told_apart_from_scprint_whatever_its_name(tmp_path: Path) -> None:
    renamed = tmp_path / "weights.ckpt"
    renamed.write_bytes((CHECKPOINT / "models.ckpt").read_bytes())
    assert family_of(renamed) == "scfoundation"
    old = tmp_path / "old"
    old.mkdir()
    whole = torch.load(renamed, weights_only=True)
    torch.save(whole, old / "models.ckpt", _use_new_zipfile_serialization=False)
    assert family_of(old) == "scfoundation"
    assert all(r.ok for r in differences(old, GENE, tmp_path))
    assert family_of(DATA / "scprint/checkpoint") == "scprint"
