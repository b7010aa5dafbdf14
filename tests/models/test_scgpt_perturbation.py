"""The flags of scGPT's perturbation model, added before layer 0 as the authors' class adds them."""

from __future__ import annotations

import shutil
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from octoscope.errors import InputError, OctoscopeWarning
from octoscope.genes import GeneTable
from octoscope.models import load_model
from octoscope.models.protocol import Tokens

from tests.models.parity import DATA, read_cells

CHECKPOINT = DATA / "scgpt/checkpoint"


def with_flags(tmp_path: Path, table: torch.Tensor) -> Path:
    path = Path(shutil.copytree(CHECKPOINT, tmp_path / "pert"))
    state = torch.load(path / "best_model.pt", weights_only=True)
    torch.save(state | {"pert_encoder.weight": table}, path / "best_model.pt")
    return path


def embedded(path: Path, **options: Any) -> tuple[torch.Tensor, Tokens]:
    counts, genes, ids = read_cells(DATA / "scgpt/cells.h5ad")
    model = load_model(path, options=options)
    tokens = model.tokenize(counts, model.match(GeneTable(genes.ensembl, genes.symbol)), ids)
    return model.embed(tokens), tokens


def test_the_flag_of_genes_that_are_not_perturbed_is_added(tmp_path: Path) -> None:
    """Red: `pert_encoder` is on the list of heads (it moves every state), or refused."""
    table = torch.randn(3, 64, generator=torch.Generator().manual_seed(3))
    path = with_flags(tmp_path, table)
    base, tokens = embedded(CHECKPOINT)
    hidden, _ = embedded(path, pert_encoder="unperturbed")
    # TransformerGenerator._encode: encoder(src) + value_encoder(values) + pert_encoder(flags)
    flags = torch.nn.Embedding.from_pretrained(table)(torch.zeros(tokens.row.shape).long())
    assert torch.equal(hidden, base + flags)
    unread, _ = embedded(path, pert_encoder="unread")
    assert torch.equal(unread, base)


def test_it_is_read_as_the_model_does_unless_asked_and_says_so(tmp_path: Path) -> None:
    """Red: which of two readings was used is not said, or every worker of a run says it."""
    path = with_flags(tmp_path, torch.ones(3, 64))
    with pytest.warns(OctoscopeWarning, match="perturbation model.*pert_encoder: unread"):
        model = load_model(path)
    assert model.variant == "embed_data, perturbation model (unperturbed)"
    counts, genes, _ = read_cells(DATA / "scgpt/cells.h5ad")
    settled = model.dataset_options(None, model.match(genes))
    assert settled == {"pert_encoder": "unperturbed", "n_heads": 4}
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        load_model(path, options=settled)
    assert counts.shape[0] == 6


def test_options_and_tables_that_do_not_fit_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"pert_encoder: 'unread', and .*holds no pert_encoder"):
        load_model(CHECKPOINT, options={"pert_encoder": "unread"})
    path = with_flags(tmp_path, torch.ones(3, 32))
    with pytest.raises(InputError, match=r"pert_encoder.weight: .*\(3, 32\), expected \(3, 64\)"):
        load_model(path)


def test_perturbing_the_table_moves_the_encoder(tmp_path: Path) -> None:
    """Red: a reading in which the table could be changed without effect."""
    a, _ = embedded(with_flags(tmp_path / "a", torch.ones(3, 64)), pert_encoder="unperturbed")
    b, _ = embedded(with_flags(tmp_path / "b", torch.zeros(3, 64)), pert_encoder="unperturbed")
    assert float((a - b).abs().min()) > 0.99
    assert np.isfinite(a.numpy()).all()
