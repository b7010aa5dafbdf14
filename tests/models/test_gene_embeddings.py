"""Embeddings of genes against the checkpoint's own file, read here without the engine."""

from __future__ import annotations

import json
import pickle
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from octoscope.models import load_model
from octoscope.models.gene_list import gene_list_19264
from octoscope.models.protocol import GeneEmbeddings
from safetensors.torch import load_file, save_file

from tests.models.parity import DATA

State = dict[str, torch.Tensor]
Rows = dict[str, int]  # symbol or id of a gene -> row of the table


def _plain(state: State, name: str) -> torch.Tensor:
    return state[name]


def _normed(state: State, name: str) -> torch.Tensor:
    weight, bias = (state[f"encoder.enc_norm.{n}"] for n in ("weight", "bias"))
    return F.layer_norm(state[name], weight.shape, weight, bias, eps=1e-5)


def _adapted(state: State, name: str) -> torch.Tensor:
    first, second = (
        (state[f"gene_encoder.{i}.weight"], state[f"gene_encoder.{i}.bias"]) for i in (1, 3)
    )
    return torch.relu(state[name] @ first[0].T + first[1]) @ second[0].T + second[1]


def _vocabulary(folder: Path, _: Mapping[str, Any]) -> Rows:
    vocabulary: Rows = json.loads((folder / "vocab.json").read_text())
    return vocabulary


def _dictionary(folder: Path, _: Mapping[str, Any]) -> Rows:
    file = folder.parent / "dictionaries/token_dictionary_gc95M.pkl"
    rows: Rows = pickle.loads(file.read_bytes())
    return rows


def _hyper_parameters(_: Path, whole: Mapping[str, Any]) -> Rows:
    given = whole["hyper_parameters"]
    genes = given["genes"]
    if isinstance(genes, dict):  # by organism
        genes = [gene for organism in given["organisms"] for gene in genes[organism]]
    return {gene: i for i, gene in enumerate(genes)}


def _list(_: Path, __: Mapping[str, Any]) -> Rows:
    return {str(symbol): i for i, symbol in enumerate(gene_list_19264().symbol)}


@dataclass(frozen=True)
class _Case:
    """Where a family's fixture has its table, and how a row becomes the vector of a gene."""

    folder: str
    file: str
    table: str
    rows: Callable[[Path, Mapping[str, Any]], Rows]
    computed: Callable[[State, str], torch.Tensor] = _plain


CASES = {
    "scgpt": _Case(
        "scgpt/checkpoint", "best_model.pt", "encoder.embedding.weight", _vocabulary, _normed
    ),
    "scprint": _Case(
        "scprint/checkpoint", "model.ckpt", "gene_encoder.embedding.weight", _hyper_parameters
    ),
    "scprint2": _Case(
        "scprint2/checkpoint", "model.ckpt", "gene_encoder.0.embeddings.weight",
        _hyper_parameters, _adapted,
    ),
    "scprint2 tokens": _Case(
        "scprint2/tokens/checkpoint", "model.ckpt", "gene_encoder.embeddings.weight",
        _hyper_parameters,
    ),
    "scfoundation": _Case("scfoundation/checkpoint", "models.ckpt", "model.pos_emb.weight", _list),
    "aidocell": _Case(
        "aidocell/checkpoint", "pytorch_model.bin", "bert.position_embedding.weight", _list
    ),
    "geneformer": _Case(
        "geneformer/checkpoint", "model.safetensors", "bert.embeddings.word_embeddings.weight",
        _dictionary,
    ),
    "nicheformer": _Case(
        "nicheformer/checkpoint", "model.safetensors", "nicheformer.embeddings.weight", _vocabulary
    ),
}  # fmt: skip
OPTIONS = {
    "nicheformer": {
        "species": "human",
        "assay": "CosMx",
        "modality": "spatial",
        "technology_mean": str(DATA / "nicheformer/technology_mean.npy"),
    },
    "geneformer": {"dictionaries": str(DATA / "geneformer/dictionaries")},
}


def _read(path: Path) -> tuple[Any, State]:
    """Return a file's content and, within it, its weights."""
    if path.suffix == ".safetensors":
        whole = load_file(path)
        return whole, whole
    whole = torch.load(path, weights_only=True)
    part = whole.get("gene", whole)
    return whole, part.get("state_dict", part)


def _all_embeddings(path: Path, case: str) -> tuple[Any, np.ndarray]:
    model = load_model(path, options=OPTIONS.get(case, {}))
    assert isinstance(model, GeneEmbeddings)
    rows = model.gene_embeddings(np.arange(len(model.genes)))
    assert rows is not None
    return model, rows.numpy()


def _row_of(model: Any, rows: Rows, gene: int) -> int:
    names = str(model.genes.ensembl[gene]), str(model.genes.symbol[gene])
    return next(rows[name] for name in names if name in rows)


@pytest.mark.parametrize("case", CASES)
def test_embeddings_are_the_checkpoints_own(case: str) -> None:
    """Red: rows of other genes; the value, the rank or the place in the genome added."""
    at = CASES[case]
    folder = DATA / at.folder
    whole, state = _read(folder / at.file)
    expected = at.computed(state, at.table).numpy()
    model, rows = _all_embeddings(folder, case)
    rows_of = at.rows(folder, whole)
    chosen = np.linspace(0, len(rows) - 1, 60).astype(int)
    own = expected[[_row_of(model, rows_of, g) for g in chosen.tolist()]]
    np.testing.assert_allclose(rows[chosen], own, rtol=1e-5, atol=1e-6)
    assert rows.shape == (len(model.genes), model.d)
    few = model.gene_embeddings(chosen[[5, 2]]).numpy()
    np.testing.assert_array_equal(few, rows[chosen[[5, 2]]])


@pytest.mark.parametrize("case", CASES)
def test_a_changed_row_changes_the_vector_of_its_gene_alone(case: str, tmp_path: Path) -> None:
    """Red: a vector that other genes' rows enter, or that comes from another table."""
    at = CASES[case]
    _, before = _all_embeddings(DATA / at.folder, case)
    folder = Path(shutil.copytree(DATA / at.folder, tmp_path / "changed"))
    whole, state = _read(folder / at.file)
    model = load_model(DATA / at.folder, options=OPTIONS.get(case, {}))
    row = _row_of(model, at.rows(DATA / at.folder, whole), gene := 7)
    state[at.table] = state[at.table].clone()
    state[at.table][row] += torch.linspace(-1, 1, state[at.table].shape[1])
    if at.file.endswith(".safetensors"):
        save_file(whole, folder / at.file, metadata={"format": "pt"})
    else:
        torch.save(whole, folder / at.file)
    _, after = _all_embeddings(folder, case)
    assert np.flatnonzero((before != after).any(1)).tolist() == [gene]
