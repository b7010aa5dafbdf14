"""Judging a family against what its authors' code computed; changing weights on the way."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import anndata as ad
import numpy as np
import pytest
import torch
from octoscope.genes import GeneTable
from octoscope.models import load_model
from octoscope.models.protocol import FoundationModel
from octoscope.probe.dump import write_dump
from octoscope.probe.dump_format import Difference, diff
from scipy import sparse

from tests.here import here

DATA = Path(__file__).parents[1] / "data"
Weights = dict[str, torch.Tensor]


def read_cells(path: Path) -> tuple[sparse.csr_matrix, GeneTable, np.ndarray]:
    """Return counts, genes and ids of an h5ad file, without the engine's own reader."""
    a = ad.read_h5ad(path)
    symbols = a.var["feature_name"].astype(str).to_numpy(dtype=object)
    genes = GeneTable(a.var_names.to_numpy(dtype=object), symbols)
    return sparse.csr_matrix(a.X), genes, a.obs_names.to_numpy(dtype=object)


def judge_by_command(checkpoint: Path, cells: Path, dump: Path, out: Path, *given: str) -> None:
    """Run `attention dump` and `attention diff` as a user does; every array must agree."""
    completed = here("attention", "dump", str(checkpoint), str(cells), "--out", str(out), *given)
    assert completed.returncode == 0, completed.stderr
    judged = here("attention", "diff", str(out), str(dump), "--json")
    assert judged.returncode == 0, judged.stdout
    names = {r["array"] for r in json.loads(judged.stdout)}
    assert names >= {"attn_0", "logits_1", "lse_1", "hidden_1", "output", "token_value"}


def differences(
    checkpoint: Path, dump: Path, tmp: Path, cells: Path | None = None, **given: Any
) -> list[Difference]:
    """Return the judged arrays: from given tokens, or from cells with options."""
    out = tmp / "ours.npz"
    if cells is None:
        write_dump(checkpoint, "", out, tokens=dump, force=True, **given)
    else:
        write_dump(checkpoint, str(cells), out, positions=dump, force=True, **given)
    return diff(out, dump)


def change_weights(
    monkeypatch: pytest.MonkeyPatch, family: type, change: Callable[[Weights], None]
) -> None:
    """Let every later load of a family use changed weights."""
    whole = family.__init__  # type: ignore[misc]

    def changed(self: Any, weights: Weights, *args: Any, **kw: Any) -> None:
        weights = {name: w.clone() for name, w in weights.items()}
        change(weights)
        whole(self, weights, *args, **kw)

    monkeypatch.setattr(family, "__init__", changed)


def zero(part: str, rows: slice = slice(None)) -> Callable[[Weights], None]:
    """Return a change: these rows of every weight whose name ends so become zero."""

    def change(w: Weights) -> None:
        hits = [name for name in w if name.endswith(part)]
        assert hits
        for name in hits:
            w[name][rows] = 0

    return change


def no_affine(part: str) -> Callable[[Weights], None]:
    """Return a change: LayerNorms whose name ends so lose weight and bias."""

    def change(w: Weights) -> None:
        hits = [name for name in w if name.rsplit(".", 1)[0].endswith(part)]
        assert hits
        for name in hits:
            w[name].fill_(1.0 if name.endswith("weight") else 0.0)

    return change


def states(path: Path, options: dict[str, Any]) -> list[torch.Tensor]:
    """Return queries, keys and output of three cells over some of the model's genes."""
    model: FoundationModel = load_model(path, options=options)
    known = np.flatnonzero(model.genes.ensembl.astype(str) != "")[:12]
    genes = GeneTable(model.genes.ensembl[known], model.genes.symbol[known])
    if options.get("context") == "some":
        given = [str(g) for g in genes.ensembl]
        model = load_model(path, options=options | {"context_genes": given})
    counts = np.random.default_rng(0).poisson(3.0, (3, len(genes))).astype(np.float32)
    counts[:, 0] = 1
    ids = np.array(["a", "b", "c"], dtype=object)
    tokens = model.tokenize(sparse.csr_matrix(counts), model.match(genes), ids)
    if model.family in ("aidocell", "scfoundation"):  # reach the rows for masks and padding
        value = tokens.value.copy()
        codes = (-1, -2) if model.family == "aidocell" else (102, 103)
        value[0, :2] = codes
        tokens = replace(tokens, value=value)
    residual, mask = model.embed(tokens), torch.from_numpy(tokens.mask)
    layers = []
    for i in range(model.n_layers):
        part, residual = model.layer(i, residual, mask)
        layers += [part.q, part.k]
    return [*layers, model.output(residual)]
