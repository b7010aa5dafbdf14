"""scGPT against its authors' code: tokens, hidden states, attention, and caught mistakes."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import anndata as ad
import numpy as np
import pytest
import torch
from octoscope.errors import InputError
from octoscope.genes import GeneTable
from octoscope.models import GeneStatistics, load_model
from octoscope.models.scgpt import ScGPT
from octoscope.models.scgpt_tokens import UpstreamRandomness, bin_cells
from octoscope.probe.dump import write_dump
from octoscope.probe.dump_format import diff
from scipy import sparse

from tests.here import here


def cells(oracle: Path) -> tuple[sparse.csr_matrix, GeneTable, np.ndarray]:
    a = ad.read_h5ad(oracle / "cells.h5ad")
    symbols = a.var["feature_name"].astype(str).to_numpy(dtype=object)
    genes = GeneTable(a.var_names.to_numpy(dtype=object), symbols)
    return sparse.csr_matrix(a.X), genes, a.obs_names.to_numpy(dtype=object)


@pytest.mark.parametrize(
    "given",
    [
        pytest.param(["--rng", "upstream", "--option", "binning_seed=2023"], id="from cells"),
        pytest.param(["--tokens", "dump.npz"], id="from given tokens", marks=pytest.mark.slow),
    ],
)
def test_dump_equals_the_authors_code(oracle: Path, tmp_path: Path, given: list[str]) -> None:
    given = [str(oracle / g) if g.endswith(".npz") else g for g in given]
    ours = tmp_path / "ours.npz"
    completed = here(
        "attention", "dump", str(oracle / "checkpoint"), str(oracle / "cells.h5ad"),
        "--out", str(ours), *given,
    )  # fmt: skip
    assert completed.returncode == 0, completed.stderr
    judged = here("attention", "diff", str(ours), str(oracle / "dump.npz"), "--json")
    assert judged.returncode == 0, judged.stdout
    rows = json.loads(judged.stdout)
    assert {r["array"] for r in rows} >= {"attn_0", "logits_2", "lse_1", "hidden_2", "output"}


def _no_bias(part: str, where: slice) -> Any:
    def change(w: dict[str, torch.Tensor]) -> None:
        for name in w:
            if name.endswith(part):
                w[name] = w[name].clone()
                w[name][where] = 0

    return change


def _no_affine(w: dict[str, torch.Tensor]) -> None:
    for name in w:
        if "norm1.weight" in name:
            w[name] = torch.ones_like(w[name])
        if "norm1.bias" in name:
            w[name] = torch.zeros_like(w[name])


def _interleaved_heads(w: dict[str, torch.Tensor]) -> None:
    """Read q, k, v rows as [d_head, heads] instead of [heads, d_head]."""
    for name in w:
        if "Wqkv" in name:
            x = w[name]
            w[name] = x.view(3, 16, 4, *x.shape[1:]).transpose(1, 2).reshape(x.shape)


@pytest.mark.parametrize(
    "mistake",
    [
        pytest.param(_no_bias("Wqkv.bias", slice(0, 64)), id="no q bias"),
        pytest.param(_no_bias("Wqkv.bias", slice(64, 128)), id="no k bias"),
        pytest.param(_no_bias("Wqkv.bias", slice(128, 192)), id="no v bias"),
        pytest.param(_no_bias("out_proj.bias", slice(None)), id="no output bias"),
        pytest.param(_no_affine, id="LayerNorm without affine"),
        pytest.param(_interleaved_heads, id="wrong head layout"),
        pytest.param("scale", id="no scale"),
    ],
)
def test_parity_turns_red_on(
    mistake: Any, oracle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if mistake == "scale":
        monkeypatch.setattr("octoscope.models.scgpt.math.sqrt", lambda x: 1.0)
    else:
        whole = ScGPT.__init__

        def changed(self: ScGPT, weights: dict[str, torch.Tensor], *args: Any, **kw: Any) -> None:
            mistake(weights)
            whole(self, weights, *args, **kw)

        monkeypatch.setattr(ScGPT, "__init__", changed)
    out = tmp_path / "wrong.npz"
    write_dump(oracle / "checkpoint", "", out, tokens=oracle / "dump.npz")
    assert not all(r.ok for r in diff(out, oracle / "dump.npz"))


@pytest.fixture
def prep(oracle: Path) -> Any:
    return np.load(oracle / "expected_preprocessor.npz")


@pytest.mark.parametrize(("zeros", "name"), [(True, "prep_all"), (False, "prep_nz")])
def test_second_recipe_equals_the_preprocessor(
    oracle: Path, prep: Any, zeros: bool, name: str
) -> None:
    counts, genes, ids = cells(oracle)
    options = {"recipe": "preprocessor", "binning_seed": 2024, "include_zero_gene": zeros}
    model = load_model(oracle / "checkpoint", options=options)
    model.use_upstream_randomness()  # type: ignore[attr-defined]
    tokens = model.tokenize(counts, model.match(genes), ids)
    want_ids, want_values = prep[f"{name}_token_ids"], prep[f"{name}_values"]
    assert tokens.row.shape == want_ids.shape
    real = tokens.mask
    assert (tokens.row == want_ids).all()
    assert (tokens.value[real] == want_values[real]).all()
    residual = model.embed(tokens)
    mask = torch.from_numpy(tokens.mask)
    for i in range(model.n_layers):
        _, residual = model.layer(i, residual, mask)
    got = residual.numpy()[real]
    assert np.abs(got - prep[f"{name}_encoder_output"][real]).max() < 5e-6


def test_second_recipe_keeps_its_gene_filter_when_split(oracle: Path) -> None:
    counts, genes, ids = cells(oracle)
    options: dict[str, Any] = {"recipe": "preprocessor"}
    model = load_model(oracle / "checkpoint", options=options)
    match = model.match(genes)
    assert model.dataset_options(None, match) is None
    nothing = np.zeros((1, len(genes)))
    totals = np.asarray(counts.sum(0)).ravel()
    fixed = model.dataset_options(
        GeneStatistics(np.array([len(ids)]), totals, nothing, nothing), match
    )
    model = load_model(oracle / "checkpoint", options=options | (fixed or {}))
    whole = model.tokenize(counts, match, ids)
    for c in range(len(ids)):
        alone = model.tokenize(counts[[c]], match, ids[[c]])
        n = int(alone.mask.sum())
        assert (alone.row[0, :n] == whole.row[c, :n]).all()
        assert (alone.value[0, :n] == whole.value[c, :n]).all()
        assert not whole.mask[c, n:].any()


def test_counter_based_bins_stay_in_the_authors_range(oracle: Path) -> None:
    counts, genes, ids = cells(oracle)
    want = np.load(oracle / "bins.npz")
    model = load_model(oracle / "checkpoint", seed=5)
    tokens = model.tokenize(counts, model.match(genes), ids)
    gene = tokens.gene >= 0
    assert (tokens.row == want["token_ids"]).all()
    assert (tokens.value[gene] >= want["value_lo"][gene]).all()
    assert (tokens.value[gene] <= want["value_hi"][gene]).all()
    assert (tokens.value[gene] != want["values"][gene]).any()  # another stream, other ties


@pytest.mark.parametrize("max_length", [1200, 20])
def test_no_token_changes_when_cells_are_permuted_or_split(oracle: Path, max_length: int) -> None:
    counts, genes, ids = cells(oracle)
    model = load_model(oracle / "checkpoint", options={"max_length": max_length}, seed=1)
    match = model.match(genes)
    whole = model.tokenize(counts, match, ids)
    assert whole.mask.sum(1).max() <= max_length

    def cell(tokens: Any, c: int) -> tuple[Any, Any]:
        real = tokens.mask[c]
        return tokens.row[c][real].tolist(), tokens.value[c][real].tolist()

    order = np.array([3, 0, 5, 1, 4, 2])
    permuted = model.tokenize(counts[order], match, ids[order])
    for at, c in enumerate(order):
        assert cell(permuted, at) == cell(whole, c)
        alone = model.tokenize(counts[[c]], match, ids[[c]])
        assert cell(alone, 0) == cell(whole, c)
    other = load_model(oracle / "checkpoint", options={"max_length": max_length}, seed=2)
    changed = other.tokenize(counts, match, ids)
    assert any(cell(changed, c) != cell(whole, c) for c in range(6))


def test_upstream_stream_depends_on_order_and_ours_does_not(oracle: Path) -> None:
    # the mistake that the test above guards against, shown once
    counts, genes, ids = cells(oracle)
    model = load_model(oracle / "checkpoint", options={"binning_seed": 1})
    model.use_upstream_randomness()  # type: ignore[attr-defined]
    match = model.match(genes)
    a = model.tokenize(counts, match, ids)
    b = model.tokenize(counts, match, ids)
    assert (a.value != b.value).any()


def test_bins_of_one_repeated_value_cover_the_range() -> None:
    stream = UpstreamRandomness(0, 0).cell("")[0]
    bins = bin_cells(np.ones(2000, np.float32), np.array([0, 2000]), 51, stream(2000))
    assert bins.min() == 1
    assert bins.max() == 50


def broken(oracle: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(oracle / "checkpoint", tmp_path / "checkpoint"))


def _save(path: Path, change: Any) -> None:
    state = torch.load(path / "best_model.pt", weights_only=True)
    change(state)
    torch.save(state, path / "best_model.pt")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda s: s.pop("encoder.enc_norm.bias"), "missing.*encoder.enc_norm.bias"),
        (lambda s: s.update(extra=torch.ones(1)), "unexpected.*extra"),
        (
            lambda s: s.update({"encoder.enc_norm.bias": torch.ones(7)}),
            r"encoder.enc_norm.bias: shape \(7,\), expected \(64,\)",
        ),
        (lambda s: s["encoder.enc_norm.bias"].fill_(float("nan")), "NaN or infinity"),
        (lambda s: s.update(extra=print), r"not a name -> tensor dict \(extra: no tensor"),
    ],
    ids=["missing", "unexpected", "shape", "nan", "code"],
)
def test_bad_weights_are_refused(oracle: Path, tmp_path: Path, change: Any, message: str) -> None:
    path = broken(oracle, tmp_path)
    _save(path, change)
    with pytest.raises(InputError, match=message):
        load_model(path)


def test_truncated_weights_are_refused(oracle: Path, tmp_path: Path) -> None:
    path = broken(oracle, tmp_path)
    whole = (path / "best_model.pt").read_bytes()
    (path / "best_model.pt").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(InputError, match=r"best_model.pt.*cannot be read"):
        load_model(path)


def test_pre_norm_checkpoints_are_refused(oracle: Path, tmp_path: Path) -> None:
    path = broken(oracle, tmp_path)
    args = json.loads((path / "args.json").read_text())
    (path / "args.json").write_text(json.dumps(args | {"pre_norm": True}))
    with pytest.raises(InputError, match="pre_norm: True"):
        load_model(path)


def test_no_common_gene_and_unknown_option(oracle: Path) -> None:
    model = load_model(oracle / "checkpoint")
    nothing = GeneTable(np.array(["ENSG00000000001"], object), np.array(["nope"], object))
    with pytest.raises(InputError, match="none of the atlas's 1 genes"):
        model.match(nothing)
    with pytest.raises(InputError, match=r"options\.bins"):
        load_model(oracle / "checkpoint", options={"bins": 3})


def test_atlas_without_symbols_matches_by_id(oracle: Path) -> None:
    model = load_model(oracle / "checkpoint")
    _, genes, _ = cells(oracle)
    by_symbol = model.match(genes)
    by_id = model.match(GeneTable(genes.ensembl, np.array([""] * len(genes), object)))
    assert len(by_id.matched) >= len(by_symbol.matched) - 2
