"""Geneformer against its authors' code: both series, gene ids, dictionaries, caught mistakes."""

from __future__ import annotations

import json
import os
import pickle
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from octoscope.errors import InputError
from octoscope.genes import GeneTable
from octoscope.models import load_model
from octoscope.models.geneformer import Geneformer
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

ORACLE = DATA / "geneformer"
CELLS = ORACLE / "cells.h5ad"
GENE = "ENSG00000003756"
V2, V1 = ORACLE / "checkpoint", ORACLE / "v1/checkpoint"
DUMP2, DUMP1 = ORACLE / "dump.npz", ORACLE / "v1/dump.npz"


def atlas() -> tuple[sparse.csr_matrix, GeneTable, np.ndarray]:
    return read_cells(CELLS)


@pytest.mark.parametrize(
    ("checkpoint", "dump", "given"),
    [
        pytest.param(V2, DUMP2, [], id="V2 from cells"),
        pytest.param(
            V2, DUMP2, ["--tokens", str(DUMP2)], id="V2 from tokens", marks=pytest.mark.slow
        ),
        pytest.param(
            V1,
            DUMP1,
            ["--option", "convention=V1", "--option", "dictionaries=v1/dictionaries",
             "--option", "max_input=64", "--option", "special_tokens=false"],
            id="V1 from cells",
            marks=pytest.mark.slow,
        ),
        pytest.param(
            V1, DUMP1, ["--tokens", str(DUMP1)], id="V1 from tokens", marks=pytest.mark.slow
        ),
    ],
)  # fmt: skip
def test_dump_equals_the_authors_code(
    tmp_path: Path, checkpoint: Path, dump: Path, given: list[str]
) -> None:
    judge_by_command(checkpoint, CELLS, dump, tmp_path / "ours.npz", *given)


def _interleaved_heads(w: Weights) -> None:
    """Read q and k rows as [d_head, heads] instead of [heads, d_head]."""
    for name in w:
        if name.endswith(("query.weight", "key.weight", "query.bias", "key.bias")):
            x = w[name]
            w[name] = x.view(16, 4, *x.shape[1:]).transpose(0, 1).reshape(x.shape)


def _shifted_positions(w: Weights) -> None:
    w["embeddings.position_embeddings.weight"] = w["embeddings.position_embeddings.weight"].roll(
        1, 0
    )


@pytest.mark.parametrize(
    "mistake",
    [
        pytest.param(zero("query.bias"), id="no q bias"),
        pytest.param(zero("key.bias"), id="no k bias"),
        pytest.param(zero("value.bias"), id="no v bias"),
        pytest.param(zero("attention.output.dense.bias"), id="no output bias"),
        pytest.param(zero("token_type_embeddings.weight"), id="no token type"),
        pytest.param(no_affine("embeddings.LayerNorm"), id="embedding norm without affine"),
        pytest.param(no_affine("attention.output.LayerNorm"), id="LayerNorm without affine"),
        pytest.param(_interleaved_heads, id="wrong head layout"),
        pytest.param(_shifted_positions, id="position of the next rank"),
    ],
)
def test_parity_turns_red_on(mistake: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    change_weights(monkeypatch, Geneformer, mistake)
    assert not all(r.ok for r in differences(V2, DUMP2, tmp_path))


@pytest.mark.filterwarnings("ignore::octoscope.errors.OctoscopeWarning")
@pytest.mark.parametrize(
    ("field", "value"), [("hidden_act", "gelu"), ("layer_norm_eps", 1e-3)], ids=["gelu", "eps"]
)
def test_parity_turns_red_on_another_setting(tmp_path: Path, field: str, value: Any) -> None:
    path = copied(tmp_path)
    config = json.loads((path / "config.json").read_text())
    (path / "config.json").write_text(json.dumps(config | {field: value}))
    assert not all(r.ok for r in differences(path, DUMP2, tmp_path))


@pytest.mark.parametrize(
    "options",
    [{"collapse_ensembl": False}, {"special_tokens": False}],
    ids=["ids not collapsed", "no special tokens"],
)
def test_parity_from_cells_turns_red_on_another_recipe(
    tmp_path: Path, options: dict[str, Any]
) -> None:
    rows = differences(V2, DUMP2, tmp_path, CELLS, options=options)
    assert any(not r.ok for r in rows if r.name in ("token_gene", "token_row"))


def test_positions_of_another_length_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"up to 79; here are 6 cells of at most 79 tokens"):
        differences(V2, DUMP2, tmp_path, CELLS, options={"max_input": 79})


def test_parity_from_cells_turns_red_without_medians(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = Geneformer.__init__

    def flat(self: Geneformer, *args: Any) -> None:
        whole(self, *args)
        self._median = np.ones_like(self._median)

    monkeypatch.setattr(Geneformer, "__init__", flat)
    rows = differences(V2, DUMP2, tmp_path, CELLS)
    assert {"token_row", "hidden_0"} <= {r.name for r in rows if not r.ok}


def test_ids_are_resolved_and_every_gene_is_accounted_for() -> None:
    counts, genes, ids = atlas()
    model = load_model(V2)
    match = model.match(genes)
    reported: dict[str, list[str]] = {}
    for row in match.report:
        reported.setdefault(row["what"], []).append(row["id"])
    assert len(reported["merged"]) == 2  # two pairs of retired and current id
    assert len(reported["renamed"]) >= 3  # retired ids that stand alone
    assert len(reported["dropped"]) == 16  # no token, seven of them with a median
    # merged genes add up: counts equal the sum of both columns
    merged = [list(genes.ensembl).index(g) for g in reported["merged"]]
    for column in merged:
        model_row = match.model_gene[column]
        both = np.flatnonzero(match.model_gene == model_row)
        assert len(both) == 2
        got = match.model_counts(counts)[:, [model_row]].toarray().ravel()
        assert (got == counts[:, both].toarray().sum(1)).all()
    # in a run, genes go by the atlas's names, so that models agree; the current id wins
    named = match.named_by(genes)
    assert set(named.genes.ensembl[named.matched]) <= set(genes.ensembl)
    for column in merged:
        other = named.genes.ensembl[match.model_gene[column]]
        assert other == match.genes.ensembl[match.model_gene[column]]
    assert len(set(named.genes.ensembl[named.matched])) == len(named.matched)


def test_tokens_do_not_depend_on_other_cells_and_ranks_follow_the_values() -> None:
    counts, genes, ids = atlas()
    model = load_model(V2)
    match = model.match(genes)
    whole = model.tokenize(counts, match, ids)
    assert TOKEN_KINDS[whole.kind[0, 0]] == "cls"
    order = np.array([5, 2, 0, 4, 1, 3])
    again = model.tokenize(counts[order], match, ids[order])
    for at, c in enumerate(order):
        real = whole.mask[c]
        assert (again.row[at][again.mask[at]] == whole.row[c][real]).all()
        assert TOKEN_KINDS[whole.kind[c][real][-1]] == "eos"
    assert whole.mask.sum(1).max() == model.max_tokens(match, 10**6) == 80
    assert model.max_tokens(match, 30) == 32
    few = match.with_panel([str(g) for g in match.genes.ensembl[match.allowed][:10]])
    reduced = model.tokenize(counts, few, ids)
    assert reduced.mask.sum(1).max() <= 12
    nothing = model.tokenize(sparse.csr_matrix(counts.shape, dtype=np.float32), match, ids)
    assert (nothing.kind == PAD).all()


def test_ties_are_broken_by_token_row() -> None:
    model = load_model(V2)
    names = model.genes.ensembl[:4]
    genes = GeneTable(names, np.array(["", "", "", ""], object))
    median = model._median[:4]  # type: ignore[attr-defined]
    counts = sparse.csr_matrix((median * 8)[None].astype(np.float32))
    model._median = (median * 8).astype(np.float32).astype(float)  # type: ignore[attr-defined]
    match = model.match(genes)
    tokens = model.tokenize(counts, match, np.array(["c"]))
    rows = tokens.row[0][tokens.kind[0] == 0]
    assert rows.tolist() == sorted(rows.tolist())
    assert len(rows) >= 3


def copied(tmp_path: Path) -> Path:
    shutil.copytree(ORACLE / "dictionaries", tmp_path / "dictionaries")
    return Path(shutil.copytree(V2, tmp_path / "checkpoint"))


def test_older_files_with_heads_buffers_and_bin_load(tmp_path: Path) -> None:
    path = copied(tmp_path)
    state = load_file(path / "model.safetensors")
    state |= {
        "bert.embeddings.position_ids": torch.arange(80)[None],
        "bert.pooler.dense.weight": torch.ones(64, 64),
        "bert.pooler.dense.bias": torch.ones(64),
        "cls.predictions.decoder.weight": state["bert.embeddings.word_embeddings.weight"].clone(),
        "cls.predictions.decoder.bias": torch.zeros(276),
    }
    (path / "model.safetensors").unlink()
    torch.save(state, path / "pytorch_model.bin")
    assert all(r.ok for r in differences(path, DUMP2, tmp_path))


def test_settings_of_training_and_old_names_change_nothing(tmp_path: Path) -> None:
    path = copied(tmp_path)
    config = json.loads((path / "config.json").read_text())
    config |= {"gradient_checkpointing": True, "chunk_size_feed_forward": 7}
    (path / "config.json").write_text(json.dumps(config))
    state = load_file(path / "model.safetensors")
    for name in list(state):
        for new, old in (("LayerNorm.weight", "gamma"), ("LayerNorm.bias", "beta")):
            if name.endswith(new):
                state[name.rsplit(".", 1)[0] + f".{old}"] = state.pop(name)
    save_file(state, path / "model.safetensors")
    assert all(r.ok for r in differences(path, DUMP2, tmp_path))


@pytest.mark.parametrize(
    "change", [{"hidden_size": "64"}, {"hidden_size": 65}, {"vocab_size": -1},
               {"pad_token_id": 999}, {"hidden_act": "nosuch"}],
)  # fmt: skip
def test_configs_that_cannot_be_used_are_named(tmp_path: Path, change: dict[str, Any]) -> None:
    path = copied(tmp_path)
    config = json.loads((path / "config.json").read_text())
    (path / "config.json").write_text(json.dumps(config | change))
    with pytest.raises(InputError, match=r"config.json: cannot be used"):
        load_model(path)


def test_dictionaries_are_found_from_a_relative_checkpoint(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(V1)
    for given in (None, "v1/dictionaries", "../dictionaries"):
        load_model(Path("."), options={"dictionaries": given})


class _Runs:
    """Would run a command when unpickled by an ordinary reader."""

    def __reduce__(self) -> tuple[Any, tuple[str]]:
        return os.system, ("touch executed",)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("token_dictionary_gc95M.pkl", {"a": _Runs()}, r"it names \w+.system, which is not run"),
        ("gene_median_dictionary_gc95M.pkl", {"a": "x"}, "not text -> float"),
        ("gene_median_dictionary_gc95M.pkl", {GENE: -1.0}, f"median of {GENE}: -1.0"),
        ("token_dictionary_gc95M.pkl", {"<pad>": 0, "ENSG1": 900}, "token row 900.*has 276 rows"),
        ("token_dictionary_gc95M.pkl", {"<pad>": 0, "ENSG1": 0}, "used twice"),
        ("token_dictionary_gc95M.pkl", [1, 2], "not text -> int"),
        ("ensembl_mapping_dict_gc95M.pkl", {"A": 3}, "not text -> str"),
        ("ensembl_mapping_dict_gc95M.pkl", None, "needs one ensembl_mapping_dict"),
        ("token_dictionary_gc95M.pkl", b"\x80\x04broken", "cannot be read"),
    ],
)
def test_dictionaries_never_run_code_and_are_checked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, content: Any, message: str
) -> None:
    path = copied(tmp_path)
    file = tmp_path / "dictionaries" / name
    if content is None:
        file.unlink()
    else:
        file.write_bytes(content if isinstance(content, bytes) else pickle.dumps(content))
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InputError, match=message):
        load_model(path)
    assert not (tmp_path / "executed").exists()


def test_an_ordinary_reader_would_have_run_the_code(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # what the test above guards against, shown once
    monkeypatch.chdir(tmp_path)
    pickle.loads(pickle.dumps(_Runs()))
    assert (tmp_path / "executed").exists()


def test_other_mistakes_are_named(tmp_path: Path) -> None:
    path = copied(tmp_path)
    for options, message in (
        ({"max_input": 81}, "max_input: 81, the checkpoint has 80 positions"),
        ({"dictionaries": "nowhere"}, "token_dictionary.* in nowhere"),
        ({"convention": "V3"}, "options.convention"),
    ):
        with pytest.raises(InputError, match=message):
            load_model(path, options=options)
    with pytest.raises(InputError, match="no <cls> and <eos>"):
        load_model(V1, options={"convention": "V2"})
    state = load_file(path / "model.safetensors")
    state["bert.encoder.layer.0.crossattention.self.query.weight"] = torch.ones(2)
    save_file(state, path / "model.safetensors")
    with pytest.raises(InputError, match="unexpected.*crossattention"):
        load_model(path)
    shutil.rmtree(tmp_path / "dictionaries")
    with pytest.raises(InputError, match="code package"):
        load_model(path)
    genes = GeneTable(np.array(["ENSG99999999999"], object), np.array([""], object))
    with pytest.raises(InputError, match="none of the atlas's 1 genes has a token"):
        load_model(V2).match(genes)
