"""scPRINT against its authors' code: tokens, hidden states, attention, and caught mistakes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import anndata as ad
import numpy as np
import pytest
import torch
from octoscope.errors import InputError
from octoscope.genes import GeneTable
from octoscope.models import GeneStatistics, Tokens, load_model
from octoscope.models.protocol import PAD, TOKEN_KINDS
from octoscope.models.scprint import ScPRINT
from octoscope.models.scprint_file import read_file
from octoscope.models.scprint_tokens import rank_genes
from octoscope.probe.dump import write_dump
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

ORACLE = DATA / "scprint"
CHECKPOINT, CELLS, DUMP = ORACLE / "checkpoint", ORACLE / "cells.h5ad", ORACLE / "dump.npz"
GENES = [str(g) for g in np.load(DUMP)["token_gene"][0] if g]
SOME: dict[str, Any] = {"context": "some", "context_genes": GENES}


def atlas() -> tuple[sparse.csr_matrix, GeneTable, np.ndarray]:
    return read_cells(CELLS)


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


def changed_file(tmp_path: Path, change: Any) -> Path:
    whole = torch.load(CHECKPOINT / "model.ckpt", weights_only=True)
    change(whole)
    torch.save(whole, tmp_path / "changed.ckpt")
    return tmp_path / "changed.ckpt"


def _as_2x(whole: Any) -> None:
    state, settings = whole["state_dict"], whole["hyper_parameters"]
    table = state.pop("gene_encoder.embedding.weight")
    state["gene_encoder.embeddings.weight"] = table
    settings["label_counts"] = settings["classes"]
    settings["classes"] = list(settings["classes"])


def test_layouts_of_1x_and_2x_are_told_apart_and_agree(tmp_path: Path) -> None:
    assert "1.x" in load_model(CHECKPOINT).variant
    path = changed_file(tmp_path, _as_2x)
    assert "2.x" in load_model(path).variant
    assert all(r.ok for r in differences(path, DUMP, tmp_path))


def test_grouped_heads_equal_their_repeated_weights(tmp_path: Path) -> None:
    def grouped(whole: Any) -> None:
        whole["hyper_parameters"]["num_heads_kv"] = 2
        for name, w in whole["state_dict"].items():
            if "Wqkv" in name:  # keep the first of each pair of key and value heads
                q, k, v = w.split(48)
                heads = [x.reshape(4, 12, *x.shape[1:])[[0, 2]] for x in (k, v)]
                small = [x.reshape(24, *x.shape[2:]) for x in heads]
                whole["state_dict"][name] = torch.cat([q, *small])

    def repeated(whole: Any) -> None:
        for name, w in whole["state_dict"].items():
            if "Wqkv" in name:
                q, k, v = w.split(48)
                heads = [x.reshape(4, 12, *x.shape[1:])[[0, 0, 2, 2]] for x in (k, v)]
                whole["state_dict"][name] = torch.cat([q, *(x.reshape(q.shape) for x in heads)])

    outs = []
    for name, change in (("grouped", grouped), ("repeated", repeated)):
        folder = tmp_path / name
        folder.mkdir()
        out = folder / "out.npz"
        write_dump(changed_file(folder, change), "", out, tokens=DUMP)
        outs.append(np.load(out))
    for array in ("attn_0", "logits_2", "hidden_2", "output"):
        assert np.abs(outs[0][array] - outs[1][array]).max() < 1e-6
    assert np.abs(outs[0]["attn_0"] - np.load(DUMP)["attn_0"]).max() > 0.01


def test_a_missing_position_table_is_recomputed_from_the_codes(tmp_path: Path) -> None:
    path = changed_file(tmp_path, lambda w: w["state_dict"].pop("pos_encoder.pe"))
    stored = read_file(CHECKPOINT / "model.ckpt").state["pos_encoder.pe"]
    assert (read_file(path).state["pos_encoder.pe"] - stored).abs().max() < 1e-4

    def neither(whole: Any) -> None:
        whole["state_dict"].pop("pos_encoder.pe")
        whole["hyper_parameters"]["gene_pos_enc"] = None

    assert "pos_encoder.pe" not in read_file(changed_file(tmp_path, neither)).state


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda w: w["state_dict"].pop("transformer.norm.bias"), "missing.*transformer.norm.bias"),
        (lambda w: w["state_dict"].update(extra=torch.ones(1)), "unexpected.*extra"),
        (
            lambda w: w["state_dict"].update({"transformer.norm.bias": torch.ones(7)}),
            r"transformer.norm.bias: shape \(7,\), expected \(48,\)",
        ),
        (lambda w: w["state_dict"]["transformer.norm.bias"].fill_(np.inf), "NaN or infinity"),
        (
            lambda w: w["state_dict"].update({"cell_transformer.x": torch.ones(1)}),
            "cell-specific blocks",
        ),
        (lambda w: w["hyper_parameters"].update(depth_atinput=False), "depth_atinput"),
        (lambda w: w["hyper_parameters"].update(prenorm=False), "prenorm"),
        (lambda w: w["hyper_parameters"].update(nhead=5), "nhead 5"),
        (lambda w: w["hyper_parameters"].update(normalization="both"), "normalization: 'both'"),
        (lambda w: w["hyper_parameters"].pop("genes"), "hyper_parameters: cannot be used"),
        (lambda w: w.pop("hyper_parameters"), "no hyper_parameters"),
    ],
)
def test_other_files_are_refused(tmp_path: Path, change: Any, message: str) -> None:
    with pytest.raises(InputError, match=message):
        load_model(changed_file(tmp_path, change))


def test_several_checkpoints_in_a_folder_are_not_guessed_among(tmp_path: Path) -> None:
    for name in ("small-v1.ckpt", "large-v1.ckpt"):
        (tmp_path / name).touch()
    with pytest.raises(InputError, match=r"large-v1.ckpt, small-v1.ckpt"):
        load_model(tmp_path)


@pytest.mark.parametrize("rule", ["random expr", "most expr"])
def test_contexts_of_cells_do_not_depend_on_batches(rule: str) -> None:
    counts, genes, ids = atlas()
    model = load_model(CHECKPOINT, options={"context": rule, "max_len": 20}, seed=3)
    match = model.match(genes)
    whole = model.tokenize(counts, match, ids)
    assert whole.mask.sum(1).tolist() == [28] * 6
    assert model.max_tokens(match, 10**6) == 28
    for c in range(len(ids)):
        alone = model.tokenize(counts[[c]], match, ids[[c]])
        assert (alone.row[0] == whole.row[c]).all()
        assert (np.diff(whole.row[c, 8:]) > 0).all()
    dense = match.model_counts(counts).toarray()
    for c in range(len(ids)):
        inside = dense[c, whole.row[c, 8:]]
        if (dense[c] > 0).sum() >= 20:
            assert (inside > 0).all()
        if rule == "most expr":
            assert inside.sum() == np.sort(dense[c])[-20:].sum()


def test_contexts_longer_than_expression_are_filled_up() -> None:
    counts, genes, ids = atlas()
    model = load_model(CHECKPOINT, options={"context": "random expr", "max_len": 1000})
    match = model.match(genes)
    tokens = model.tokenize(counts, match, ids)
    assert (tokens.row[:, 8:] == match.matched).all()


def test_rules_over_the_data_set_find_planted_genes() -> None:
    within, across = 3, 7
    statistics = GeneStatistics(
        cells=np.array([50, 50]),
        total=np.r_[np.full(9, 100.0), 900.0],
        mean=np.where(np.arange(10) == across, [[0.0], [3.0]], 1.0),
        variance=np.where(np.arange(10) == within, 2.0, 0.5) * np.ones((2, 1)),
    )
    assert rank_genes("most_var_within", statistics).argmax() == within
    assert rank_genes("most_var_across", statistics).argmax() == across
    assert rank_genes("most_expr_overall", statistics).argmax() == 9


def test_a_rule_over_the_data_set_is_fixed_once_and_named_genes_join() -> None:
    counts, genes, ids = atlas()
    named = GENES[5]
    options = {"context": "most expr overall", "max_len": 15, "context_genes": [named]}
    model = load_model(CHECKPOINT, options=options)
    match = model.match(genes)
    assert model.dataset_options(None, match) is None
    totals = np.asarray(counts.sum(0), float).ravel()
    flat = np.ones((1, len(genes)))
    fixed = model.dataset_options(GeneStatistics(np.array([6]), totals, flat, flat), match)
    assert fixed is not None
    assert len(fixed["context_genes"]) == 15
    assert named in fixed["context_genes"]
    model = load_model(CHECKPOINT, options=options | fixed)
    assert model.max_tokens(match, 10**6) == 23
    dense = match.model_counts(counts).toarray().sum(0)
    chosen = model.tokenize(counts, match, ids).row[0, 8:]
    others = [g for g in chosen if match.genes.ensembl[g] != named]
    assert dense[others].min() >= np.sort(dense)[-15]


def test_a_panel_is_the_context() -> None:
    counts, genes, ids = atlas()
    model = load_model(CHECKPOINT)
    match = model.match(genes).with_panel(GENES[:30])
    tokens = model.tokenize(counts, match, ids)
    inside = [g for g in GENES[:30] if g in set(genes.ensembl)]
    assert match.genes.ensembl[tokens.gene[0, 8:]].tolist() == sorted(inside)
    assert model.max_tokens(match, 10**6) == tokens.mask.shape[1] == len(inside) + 8
    full = np.log2(1 + np.asarray(counts.sum(1)).ravel())
    assert np.allclose(tokens.value[:, 0], full)  # depth still counts every gene


def test_a_cell_without_counts_in_its_context_is_left_out(tmp_path: Path) -> None:
    counts, genes, ids = atlas()
    model = load_model(CHECKPOINT, options=SOME)
    counts = counts.tolil()
    counts[2] = 0
    tokens = model.tokenize(counts.tocsr(), model.match(genes), ids)
    assert not tokens.mask[2].any()
    assert tokens.mask[[0, 1, 3, 4, 5]].all()
    a = ad.read_h5ad(CELLS)
    a.X = sparse.csr_matrix(counts)
    a.write_h5ad(tmp_path / "empty.h5ad")
    with pytest.raises(InputError, match="has no counts among the model's genes"):
        write_dump(CHECKPOINT, str(tmp_path / "empty.h5ad"), tmp_path / "x.npz", options=SOME)


def test_unusable_contexts_are_refused() -> None:
    counts, genes, ids = atlas()
    model = load_model(CHECKPOINT, options={"context": "some"})
    with pytest.raises(InputError, match="context_genes.*no genes to use"):
        model.tokenize(counts, model.match(genes), ids)
    with pytest.raises(InputError, match=r"options\.context: .*given: given"):
        load_model(CHECKPOINT, options={"context": "given"})


@pytest.mark.parametrize(("dtype", "bound"), [("bfloat16", 0.05), ("float16", 0.01)])
def test_lower_precision_stays_near_and_is_not_float32(
    tmp_path: Path, dtype: str, bound: float
) -> None:
    rows = differences(CHECKPOINT, DUMP, tmp_path, dtype=dtype)
    worst = max(r.worst for r in rows if r.name.startswith("attn"))
    assert 1e-5 < worst < bound


def test_a_long_list_of_genes_is_a_list(tmp_path: Path) -> None:
    assert len(",".join(GENES)) > 255  # longer than a file name may be
    options = {"context": "some", "context_genes": ",".join(GENES)}
    assert all(r.ok for r in differences(CHECKPOINT, DUMP, tmp_path, CELLS, options=options))
    (tmp_path / "broken.npz").write_bytes(b"PK")
    with pytest.raises(InputError, match=r"broken.npz is not a dump"):
        load_model(CHECKPOINT, options={"context_genes": str(tmp_path / "broken.npz")})


def test_other_layouts_of_the_same_weights_agree(tmp_path: Path) -> None:
    def otherwise(whole: Any) -> None:
        state, settings = whole["state_dict"], whole["hyper_parameters"]
        table = next(n for n in state if n.startswith("gene_encoder"))
        state["gene_encoder.0.embeddings.weight"] = state.pop(table)
        state["pos_encoder.pe"] = state["pos_encoder.pe"][:, 0]
        counts = settings.pop("classes")
        settings["label_counts"] = counts if isinstance(counts, dict) else dict.fromkeys(counts, 2)
        state["bottleneck_mlps.0.weight"] = torch.ones(2)

    assert all(r.ok for r in differences(changed_file(tmp_path, otherwise), DUMP, tmp_path))


def test_fine_tuned_gene_embeddings_are_worked_out_once(tmp_path: Path) -> None:
    rng = torch.Generator().manual_seed(0)

    def adapted(whole: Any) -> None:
        state = whole["state_dict"]
        table = next(n for n in state if n.startswith("gene_encoder"))
        state["gene_encoder.0.embedding.weight"] = state.pop(table)
        for name in ("gene_encoder.1", "gene_encoder.3"):
            state[f"{name}.weight"] = torch.randn(48, 48, generator=rng)
            state[f"{name}.bias"] = torch.randn(48, generator=rng)

    path = changed_file(tmp_path, adapted)
    whole = torch.load(path, weights_only=True)["state_dict"]
    layers = torch.nn.Sequential(
        torch.nn.Embedding.from_pretrained(whole["gene_encoder.0.embedding.weight"]),
        torch.nn.Linear(48, 48), torch.nn.ReLU(), torch.nn.Linear(48, 48),
    )  # fmt: skip
    with torch.no_grad():
        for i in (1, 3):
            layers[i].weight[:] = whole[f"gene_encoder.{i}.weight"]
            layers[i].bias[:] = whole[f"gene_encoder.{i}.bias"]
        want = layers(torch.arange(len(layers[0].weight)))
    got = load_model(path)._w["gene_encoder.weight"]  # type: ignore[attr-defined]
    assert torch.allclose(got, want, atol=1e-5)
    changed = differences(path, DUMP, tmp_path)
    assert not all(r.ok for r in changed)
    state = torch.load(path, weights_only=True)
    del state["state_dict"]["gene_encoder.3.bias"]
    torch.save(state, path)
    with pytest.raises(InputError, match=r"missing.*gene_encoder.3.bias"):
        load_model(path)


def test_a_context_without_counts_is_defined_in_log_mode() -> None:
    counts, genes, ids = atlas()
    empty = sparse.csr_matrix(counts.shape, dtype=np.float32)
    for mode, kept in (("log", True), ("sum", False)):
        model = load_model(CHECKPOINT, options=SOME | {"normalization": mode})
        tokens = model.tokenize(empty, model.match(genes), ids)
        assert bool(tokens.mask.all()) is kept


@pytest.mark.parametrize("setting", ["nhead", "nlayers"])
def test_zero_heads_or_layers_are_named(tmp_path: Path, setting: str) -> None:
    path = changed_file(tmp_path, lambda w: w["hyper_parameters"].update({setting: 0}))
    with pytest.raises(InputError, match=r"hyper_parameters: d_model 48"):
        load_model(path)


def test_upstream_streams_of_a_cell_are_refused(tmp_path: Path) -> None:
    out = tmp_path / "o.npz"
    write_dump(CHECKPOINT, str(CELLS), out, options=SOME, upstream=True)  # draws nothing
    with pytest.raises(InputError, match=r"--rng upstream.*global stream"):
        write_dump(CHECKPOINT, str(CELLS), out, options={"context": "random_expr"}, upstream=True)
