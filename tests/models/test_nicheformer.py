"""Nicheformer against its authors' code: tokens, attention, files, caught mistakes."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from octoscope.errors import InputError
from octoscope.genes import GeneTable
from octoscope.models import load_model
from octoscope.models.families import family_of
from octoscope.models.nicheformer import Nicheformer
from octoscope.models.protocol import PAD, TOKEN_KINDS
from safetensors.torch import load_file, save_file
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

ORACLE = DATA / "nicheformer"
CHECKPOINT, DUMP, MEAN = (ORACLE / n for n in ("checkpoint", "dump.npz", "technology_mean.npy"))
CELLS = DATA / "geneformer/cells.h5ad"
OPTIONS = {
    "species": "human", "assay": "10x 3' v3", "modality": "dissociated",
    "technology_mean": str(MEAN), "recipe": "tokenizer",
}  # fmt: skip
_ASSAY = '"10x 3\' v3"'
GIVEN = [
    "species=human", f"assay={_ASSAY}", "modality=dissociated", f"technology_mean={MEAN}",
    "recipe=tokenizer",
]  # fmt: skip


@pytest.mark.parametrize("tokens", [False, True], ids=["cells", "tokens"])
def test_dump_equals_the_authors_code(tmp_path: Path, tokens: bool) -> None:
    given = [x for option in GIVEN for x in ("--option", option)]
    given += ["--tokens", str(DUMP)] if tokens else []
    judge_by_command(CHECKPOINT, CELLS, DUMP, tmp_path / "ours.npz", *given)


def _interleaved_heads(w: Weights) -> None:
    """Read q, k, v rows as [d_head, heads] instead of [heads, d_head]."""
    for name in w:
        if "in_proj" in name:
            x = w[name]
            w[name] = x.view(3, 4, 4, *x.shape[1:]).transpose(1, 2).reshape(x.shape)


def _shifted_positions(w: Weights) -> None:
    w["positional_embedding.weight"] = w["positional_embedding.weight"].roll(1, 0)


@pytest.mark.parametrize(
    "mistake",
    [
        pytest.param(zero("in_proj_bias", slice(0, 16)), id="no q bias"),
        pytest.param(zero("in_proj_bias", slice(16, 32)), id="no k bias"),
        pytest.param(zero("in_proj_bias", slice(32, 48)), id="no v bias"),
        pytest.param(zero("out_proj.bias"), id="no output bias"),
        pytest.param(no_affine("norm1"), id="LayerNorm without affine"),
        pytest.param(_interleaved_heads, id="wrong head layout"),
        pytest.param(_shifted_positions, id="position of the next place"),
    ],
)
def test_parity_turns_red_on(mistake: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    change_weights(monkeypatch, Nicheformer, mistake)
    assert not all(r.ok for r in differences(CHECKPOINT, DUMP, tmp_path, options=OPTIONS))


@pytest.mark.parametrize(
    "other",
    [
        {"recipe": "dataset"}, {"recipe": "notebooks"}, {"technology_mean": "none"},
        {"species": "mouse"}, {"assay": "10x 3' v2"}, {"modality": "spatial"},
    ],
    ids=lambda o: str(*o),
)  # fmt: skip
def test_parity_from_cells_turns_red_on_another_input(
    tmp_path: Path, other: dict[str, str]
) -> None:
    rows = differences(CHECKPOINT, DUMP, tmp_path, CELLS, options=OPTIONS | other)
    assert {"token_row", "hidden_0"} <= {r.name for r in rows if not r.ok}


@pytest.mark.parametrize("recipe", ["notebooks", "dataset"])
def test_means_become_what_the_authors_make_of_them(tmp_path: Path, recipe: str) -> None:
    """As the tokenisation notebooks round them, and as ``NicheformerDataset``; ties by row."""
    counts, genes, ids = read_cells(CELLS)
    mean = np.load(MEAN)
    if recipe == "notebooks":
        mean[3] = np.nan  # not measured in the technology, as most genes of the spatial ones
    np.save(tmp_path / "mean.npy", mean)
    given = {"recipe": recipe, "technology_mean": str(tmp_path / "mean.npy")}
    model = load_model(CHECKPOINT, options=OPTIONS | given)
    tokens = model.tokenize(counts, model.match(genes), ids)
    if recipe == "notebooks":
        mean = np.nan_to_num(mean)
        mean = np.where((mean % 1) >= 0.5, np.ceil(mean), np.floor(mean))
    mean[mean == 0] = 1
    vocabulary = json.loads((CHECKPOINT / "vocab.json").read_text())
    for c in range(len(ids)):
        row = {g: counts[c, i] for i, g in enumerate(genes.ensembl)}
        value = {r: row.get(g, 0) / mean[r - 30] for g, r in vocabulary.items() if r >= 30}
        order = sorted((r for r, v in value.items() if v > 0), key=lambda r: (-value[r], r))
        cells = tokens.row[c][tokens.kind[c] == TOKEN_KINDS.index("gene")]
        assert cells.tolist() == order[:19]


def test_copies_of_a_gene_have_tokens_and_no_counts(tmp_path: Path) -> None:
    """The published vocabulary holds names such as ENSG00000072694-1."""
    counts, genes, ids = read_cells(CELLS)
    folder = Path(shutil.copytree(CHECKPOINT, tmp_path / "checkpoint"))
    tokens = json.loads((folder / "vocab.json").read_text())
    first = next(g for g in tokens if g.startswith("ENSG"))
    renamed = {f"{g}-1" if g == first else g: row for g, row in tokens.items()}
    (folder / "vocab.json").write_text(json.dumps(renamed))
    model = load_model(folder, options=OPTIONS)
    assert len(model.genes) == 60
    assert first not in model.genes.ensembl
    read = model.tokenize(counts, model.match(genes), ids)
    assert tokens[first] not in read.row[read.mask]


def test_a_context_token_that_is_left_out_moves_the_genes_up() -> None:
    counts, genes, ids = read_cells(CELLS)
    whole = load_model(CHECKPOINT, options=OPTIONS)
    part = load_model(CHECKPOINT, options=OPTIONS | {"assay": "none"})
    a, b = (m.tokenize(counts, m.match(genes), ids) for m in (whole, part))
    assert a.row[4, :6].tolist() == [5, 11, 3, *b.row[4, 2:5].tolist()]
    assert b.row[4, :2].tolist() == [5, 3]
    assert a.mask[4].sum() == b.mask[4].sum() + 1
    none = load_model(
        CHECKPOINT, options=OPTIONS | dict.fromkeys(("species", "assay", "modality"), "none")
    )
    assert none.special_kinds == ()
    assert (
        none.tokenize(counts, none.match(genes), ids).kind != TOKEN_KINDS.index("context")
    ).all()


def test_a_cell_without_genes_of_the_model_is_padding() -> None:
    counts, genes, ids = read_cells(CELLS)
    model = load_model(CHECKPOINT, options=OPTIONS)
    nothing = sparse.csr_matrix(counts.shape, dtype=counts.dtype)
    tokens = model.tokenize(nothing, model.match(genes), ids)
    assert (tokens.kind == PAD).all()
    other = GeneTable(np.array(["ENSG99999999999"], object), np.array([""], object))
    with pytest.raises(InputError, match=r"vocab.json: none of the atlas's 1 genes"):
        model.match(other)


def test_a_lightning_checkpoint_is_the_same_model(tmp_path: Path) -> None:
    """The authors' own class has no prefix, two more heads, and no buffer of positions."""
    state = load_file(CHECKPOINT / "model.safetensors")
    inner = {n.removeprefix("nicheformer."): v for n, v in state.items() if not n.endswith(".pos")}
    inner |= {
        "pooler_head.weight": torch.ones(16, 16), "pooler_head.bias": torch.ones(16),
        "cls_head.weight": torch.ones(164, 16), "cls_head.bias": torch.ones(164),
    }  # fmt: skip
    settings = json.loads((CHECKPOINT / "config.json").read_text())
    file = tmp_path / "nicheformer.ckpt"
    torch.save({"state_dict": inner, "hyper_parameters": settings}, file)
    assert family_of(file) == "nicheformer"
    options = OPTIONS | {"vocabulary": str(CHECKPOINT / "vocab.json")}
    assert all(r.ok for r in differences(file, DUMP, tmp_path, CELLS, options=options))
    with pytest.raises(InputError, match=r"vocab.json: does not exist.*options.vocabulary"):
        load_model(file, options=OPTIONS)


def _config(**changes: Any) -> Callable[[Path], None]:
    def change(folder: Path) -> None:
        file = folder / "config.json"
        file.write_text(json.dumps(json.loads(file.read_text()) | changes))

    return change


def _vocabulary(change: Callable[[dict[str, Any]], None]) -> Callable[[Path], None]:
    def edit(folder: Path) -> None:
        file = folder / "vocab.json"
        tokens = json.loads(file.read_text())
        change(tokens)
        file.write_text(json.dumps(tokens))

    return edit


def _weights(change: Callable[[Weights], Any]) -> Callable[[Path], None]:
    def edit(folder: Path) -> None:
        file = folder / "model.safetensors"
        state = load_file(file)
        change(state)
        save_file({n: v.contiguous() for n, v in state.items()}, file)

    return edit


FAULTS: dict[str, tuple[Callable[[Path], Any], str]] = {
    "another n_tokens": (_config(n_tokens=80), r"config.json: n_tokens: 80, but embeddings.weight"),
    "context on another row": (
        _vocabulary(lambda t: t.update({"[SPECIES_human]": 6})),
        r"vocab.json: \[SPECIES_human\]: row 6; the authors' tokenizer has 5",
    ),
    "gene without a row": (
        _vocabulary(lambda t: t.pop(next(g for g in t if g.startswith("ENSG")))),
        r"vocab.json: 59 genes on rows \d+ to \d+; the model has tokens 30 to 89",
    ),
    "heads absent": (_config(nheads=None), r"config.json: nheads: None is no count"),
    "heads do not divide": (_config(nheads=3), r"config.json: nheads: 3 do not divide d 16"),
    "no Ensembl id": (
        _vocabulary(lambda t: t.update(TP53=90)), r"vocab.json: TP53: is no Ensembl id",
    ),
    "positions of another length": (
        _config(context_length=30),
        r"pos: is not 0 to 29",
    ),
    "sine positions": (_config(learnable_pe=False), r"learnable_pe: false: sine positions"),
    "unknown weight": (
        _weights(lambda w: w.update({"nicheformer.batch.weight": torch.ones(3)})),
        r"1 unexpected weights \(first: batch.weight",
    ),
    "weight absent": (
        _weights(lambda w: w.pop("nicheformer.encoder.layers.1.norm2.bias")),
        r"1 weights are missing \(first: encoder.layers.1.norm2.bias\)",
    ),
}  # fmt: skip


@pytest.mark.parametrize("fault", sorted(FAULTS))
def test_files_that_do_not_belong_together_are_refused(tmp_path: Path, fault: str) -> None:
    change, message = FAULTS[fault]
    folder = Path(shutil.copytree(CHECKPOINT, tmp_path / "checkpoint"))
    change(folder)
    with pytest.raises(InputError, match=message):
        load_model(folder, family="nicheformer", options=OPTIONS)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        pytest.param({"species": None}, r"options.species: is not given.*human, mouse", id="none"),
        pytest.param({"species": "rat"}, r"options.species: 'rat' is not known", id="species"),
        pytest.param({"assay": "Visium"}, r"options.assay: 'Visium' is not known", id="assay"),
        pytest.param(
            {"technology_mean": None}, r"technology_mean: is not given.*\.npy", id="no mean"
        ),
        pytest.param(
            {"technology_mean": "here.npy"}, r"technology_mean: here.npy: does not exist", id="path"
        ),
        pytest.param({"colour": 1}, r"models.\*.options.colour", id="unknown"),
    ],
)
def test_options_that_decide_the_input_have_no_default(
    options: dict[str, Any], message: str
) -> None:
    with pytest.raises(InputError, match=message):
        load_model(CHECKPOINT, options=OPTIONS | options)


@pytest.mark.parametrize(
    ("mean", "message"),
    [
        pytest.param(np.ones(59), r"float64 \[59\]; the vocabulary has 60 genes", id="length"),
        pytest.param(np.full(60, np.nan), r"60 genes have no mean.*recipe: notebooks", id="NaN"),
        pytest.param(np.full(60, -1.0), "holds infinity or a value below 0", id="below 0"),
        pytest.param(np.array([{}] * 60), "cannot be read", id="pickled"),
    ],
)
def test_means_that_do_not_fit_are_refused(tmp_path: Path, mean: np.ndarray, message: str) -> None:
    np.save(tmp_path / "mean.npy", mean)
    with pytest.raises(InputError, match=message):
        load_model(CHECKPOINT, options=OPTIONS | {"technology_mean": str(tmp_path / "mean.npy")})
