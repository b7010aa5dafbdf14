"""Geneformer's weights, config and dictionaries: files that fit one another and do not belong."""

from __future__ import annotations

import hashlib
import json
import pickle
import re
import shutil
import warnings
from collections import Counter, OrderedDict, defaultdict
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from octoscope.errors import InputError, OctoscopeWarning
from octoscope.models import geneformer_belonging, load_model
from octoscope.models.geneformer_belonging import (
    GeneformerOptions,
    check_buffers,
    check_config,
    settle,
    warn_of_activation,
)
from octoscope.models.geneformer_files import Dictionaries, find_dictionaries
from octoscope.models.geneformer_medians import foreign_medians
from safetensors.torch import load_file, save_file

from tests.models.parity import DATA, differences

ORACLE = DATA / "geneformer"
V1, DUMP1 = ORACLE / "v1/checkpoint", ORACLE / "v1/dump.npz"
V2_DICTIONARIES = str(ORACLE / "dictionaries")
TOKENS = "token_dictionary_gc95M.pkl"


def grown(tmp_path: Path, rows: int) -> Path:
    """Return the V1 checkpoint with ``rows`` more rows in its table and config."""
    path = Path(shutil.copytree(V1, tmp_path / "grown"))
    state = load_file(path / "model.safetensors")
    config = json.loads((path / "config.json").read_text())
    name = "bert.embeddings.word_embeddings.weight"
    state[name] = torch.cat([state[name], torch.ones(rows, state[name].shape[1])])
    config["vocab_size"] += rows
    save_file(state, path / "model.safetensors")
    (path / "config.json").write_text(json.dumps(config))
    return path


def dictionaries(tmp_path: Path, change: Any) -> str:
    folder = Path(shutil.copytree(V2_DICTIONARIES, tmp_path / "changed"))
    tokens = pickle.loads((folder / TOKENS).read_bytes())
    (folder / TOKENS).write_bytes(pickle.dumps(change(tokens)))
    return str(folder)


def test_dictionaries_of_the_other_series_are_refused(tmp_path: Path) -> None:
    """Red: a table larger than the dictionary loads (attention off by 0.8)."""
    with pytest.raises(InputError, match=r"token_dictionary.*276 tokens.*config.json is 334"):
        load_model(grown(tmp_path, 60), options={"dictionaries": V2_DICTIONARIES})


def test_rows_in_another_order_than_that_of_genes_are_warned_of(tmp_path: Path) -> None:
    """Red: a dictionary of the same size with the rows of other genes loads without a word."""

    def shuffled(tokens: dict[str, int]) -> dict[str, int]:
        special = {t: row for t, row in tokens.items() if t.startswith("<")}
        genes = [t for t in tokens if t not in special]
        return special | dict(zip(genes, [tokens[t] for t in reversed(genes)], strict=True))

    with pytest.warns(OctoscopeWarning, match="token_dictionary.*not in the order of gene ids"):
        load_model(
            ORACLE / "checkpoint", options={"dictionaries": dictionaries(tmp_path, shuffled)}
        )
    with warnings.catch_warnings():
        warnings.simplefilter("error", OctoscopeWarning)
        load_model(ORACLE / "checkpoint", options={"dictionaries": V2_DICTIONARIES})


def test_a_dictionary_that_is_short_is_refused(tmp_path: Path) -> None:
    """Red: 20 tokens less, at the end or inside, pass for the whole dictionary."""
    path = ORACLE / "checkpoint"
    end = dictionaries(tmp_path / "a", lambda t: {k: v for k, v in t.items() if v < 256})
    with pytest.raises(InputError, match=r"256 tokens, vocab_size in config.json is 276.*padded"):
        load_model(path, options={"dictionaries": end})
    inside = dictionaries(
        tmp_path / "b", lambda t: {k: v for k, v in t.items() if not 100 <= v < 120}
    )
    for padded in (False, True):
        options = {"dictionaries": inside, "padded_table": padded}
        with pytest.raises(InputError, match=r"256 tokens up to row 275: 20 rows have no token"):
            load_model(path, options=options)


def test_a_padded_table_loads_where_it_is_declared(tmp_path: Path) -> None:
    """Red: the override is not read, or the padding changes what the model computes."""
    path = grown(tmp_path, 6)
    options: dict[str, Any] = {"dictionaries": str(ORACLE / "v1/dictionaries")}
    with pytest.raises(InputError, match="padded_table: true"):
        load_model(path, options=options)
    options["padded_table"] = True
    assert all(r.ok for r in differences(path, DUMP1, tmp_path, options=options))
    assert load_model(path, options=options).options["padded_table"] is True


class _Config:
    max_position_embeddings = 2048

    def __init__(self, rows: int, layers: int = 3, d: int = 64) -> None:
        self.vocab_size, self.num_hidden_layers, self.hidden_size = rows, layers, d


def _numbered(n: int) -> Dictionaries:
    tokens = {"<pad>": 0} | {f"g{i:05d}": i for i in range(1, n)}
    medians = dict.fromkeys(list(tokens)[1:], 1.0)
    return Dictionaries(Path("d"), (Path("d/token_dictionary.pkl"),), tokens, medians, {})


@pytest.mark.parametrize("padded", [False, True])
def test_published_sizes_are_told_apart_whatever_is_declared(padded: bool) -> None:
    """Red: 25,426 rows with 20,275 tokens pass as a padded table; own sizes are refused."""
    given = GeneformerOptions(padded_table=padded)
    with pytest.raises(InputError, match=r"20,275 tokens \(V2\).*25,426 \(V1\).*gc30M"):
        settle(given, _Config(25426), _numbered(20275))
    with pytest.raises(InputError, match="token row 25425, the checkpoint has 20275 rows"):
        settle(given, _Config(20275), _numbered(25426))
    for n in (20275, 25426):
        assert settle(given, _Config(n), _numbered(n)).max_input == 2048


@pytest.mark.parametrize(
    "change",
    [
        {"is_decoder": True},
        {"add_cross_attention": True},
        {"pruned_heads": {"0": [1]}},
        {"position_embedding_type": "relative_key"},
    ],
    ids=lambda c: next(iter(c)),
)
def test_settings_that_change_who_attends_are_refused(change: dict[str, Any]) -> None:
    """Red: a decoder (causal), or a model with heads cut off, passes for the published one."""
    config = json.loads((V1 / "config.json").read_text())
    check_config(config, "f")
    check_config({k: v for k, v in config.items() if k not in change}, "f")
    with pytest.raises(InputError, match=f"f: {next(iter(change))}: .*published models have"):
        check_config(config | change, "f")


def test_stored_positions_and_types_must_be_those_used() -> None:
    """Red: buffers that releases of transformers which store them also use are dropped unread."""
    state = {"embeddings.position_ids": torch.arange(9)[None], "x": torch.ones(1)}
    state["embeddings.token_type_ids"] = torch.zeros(1, 9, dtype=torch.long)
    check_buffers(state, "f")
    assert set(state) == {"x"}
    with pytest.raises(InputError, match=r"f: embeddings.position_ids: begins \[1, 2, 3, 4\]"):
        check_buffers({"embeddings.position_ids": torch.arange(1, 9)[None]}, "f")
    with pytest.raises(InputError, match="f: embeddings.token_type_ids: other than 0"):
        check_buffers({"embeddings.token_type_ids": torch.ones(1, 9)}, "f")


def test_dictionaries_in_json_give_the_same_tokens(tmp_path: Path) -> None:
    """Red: helical ships JSON dictionaries, and "no token_dictionary*.pkl" is found."""
    folder = tmp_path / "json"
    folder.mkdir()
    for file in Path(V2_DICTIONARIES).glob("*.pkl"):
        table = {
            k: v if isinstance(v, str | int) else float(v)
            for k, v in pickle.loads(file.read_bytes()).items()
        }
        (folder / file.name.replace("_gc95M.pkl", ".json")).write_text(json.dumps(table))
    gaps = differences(
        ORACLE / "checkpoint", ORACLE / "dump.npz", tmp_path, ORACLE / "cells.h5ad",
        options={"dictionaries": str(folder)},
    )  # fmt: skip
    assert all(r.ok for r in gaps)
    file = next(folder.glob("token_dictionary*"))
    for content, message in (
        ("{", "cannot be read"),
        ('{"a": "b"}', "not text -> int"),
        ("[1]", "not text -> int"),
    ):
        file.write_text(content)
        with pytest.raises(InputError, match=rf"{file.name}: {message}"):
            load_model(ORACLE / "checkpoint", options={"dictionaries": str(folder)})


@pytest.mark.parametrize("kind", [defaultdict, Counter, OrderedDict], ids=lambda k: k.__name__)
def test_dictionaries_of_other_classes_are_read(tmp_path: Path, kind: Any) -> None:
    """Red: "it names collections.defaultdict", download it again."""

    def rewritten(tokens: dict[str, int]) -> Any:
        dictionary = kind(int) if kind is defaultdict else kind()
        dictionary.update(tokens)
        return dictionary

    given = dictionaries(tmp_path, rewritten)
    ours = load_model(ORACLE / "checkpoint", options={"dictionaries": given})
    theirs = load_model(ORACLE / "checkpoint", options={"dictionaries": V2_DICTIONARIES})
    assert ours.genes.ensembl.tolist() == theirs.genes.ensembl.tolist()


@pytest.mark.parametrize("config", [{}, {"hidden_act": "gelu"}], ids=["absent", "gelu"])
def test_an_activation_that_no_published_model_has_is_said(config: dict[str, Any]) -> None:
    """Red: a config without the activation computes GELU in silence."""
    with pytest.warns(OctoscopeWarning, match=r"c: hidden_act: .*gelu.*published.*'relu'"):
        warn_of_activation(config, "c")


@pytest.mark.parametrize(
    ("names", "size", "message"),
    [
        (("a_gc30M.pkl", "b_gc104M.pkl"), (3, 64), "dictionaries of several corpora"),
        (("a_gc30M.pkl", "b_gc30M.pkl"), (12, 768), "12 layers, d 768 is published with .* gc104M"),
    ],
    ids=["mixed", "other corpus"],
)
def test_dictionaries_whose_names_tell_another_corpus_are_said(
    names: tuple[str, ...], size: tuple[int, int], message: str
) -> None:
    """Red: dictionaries of two corpora are read together, and nothing is said."""
    given = Dictionaries(Path("d"), tuple(Path("d", n) for n in names), {"<pad>": 0}, {}, {})
    with pytest.warns(OctoscopeWarning, match=message):
        settle(GeneformerOptions(), _Config(1, *size), given)


def test_the_files_of_gc95m_are_those_of_gc104m() -> None:
    """Red: the same bytes under their former name are said to be of another corpus."""
    for names in (("a_gc95M.pkl", "b_gc104M.pkl"), ("a_gc95M.pkl", "b_gc95M.pkl")):
        given = Dictionaries(Path("d"), tuple(Path("d", n) for n in names), {"<pad>": 0}, {}, {})
        with warnings.catch_warnings():
            warnings.simplefilter("error", OctoscopeWarning)
            settle(GeneformerOptions(), _Config(1, 12, 768), given)


def test_genes_without_a_median_are_said(tmp_path: Path) -> None:
    """Red: medians of another corpus lack genes, which are left out in silence."""
    folder = Path(shutil.copytree(V2_DICTIONARIES, tmp_path / "changed"))
    file = next(folder.glob("gene_median*"))
    medians = pickle.loads(file.read_bytes())
    genes = [t for t in pickle.loads((folder / TOKENS).read_bytes()) if t.startswith("ENSG")]
    for gene in genes[3:10]:
        del medians[gene]
    file.write_bytes(pickle.dumps(medians))
    text = rf"{file.name}: 7 of {len(genes)} genes with a token have no median \({genes[3]}, "
    with pytest.warns(OctoscopeWarning, match=text):
        model = load_model(ORACLE / "checkpoint", options={"dictionaries": str(folder)})
    assert not set(genes[3:10]) & set(model.genes.ensembl.tolist())


def test_other_medians_than_were_published_with_the_tokens_are_said(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Red: the medians of published tokens are changed, and nothing is said."""
    tokens, medians = {"<pad>": 0, "ENSG1": 1, "ENSG2": 2}, {"ENSG1": 1.5, "ENSG2": 2.0}
    # sha256 of "<pad>\t0\nENSG1\t1\nENSG2\t2" and of "ENSG1\t1.5\nENSG2\t2.0"
    known = ["\n".join(f"{k}\t{v}" for k, v in t.items()) for t in (tokens, medians)]
    digests = [hashlib.sha256(text.encode()).hexdigest() for text in known]
    monkeypatch.setitem(geneformer_belonging._PUBLISHED, digests[0], ("gc0M", digests[1]))
    file = Path("d/gene_median_dictionary.json")

    def settled(medians: dict[str, float]) -> None:
        given = Dictionaries(Path("d"), (Path("d/token_dictionary.pkl"), file), tokens, medians, {})
        settle(GeneformerOptions(), _Config(3), given)

    with warnings.catch_warnings():
        warnings.simplefilter("error", OctoscopeWarning)
        settled(medians | {"ENSG3": 4.0})  # of a gene without a token
    with pytest.warns(OctoscopeWarning, match=r"median_dictionary.json: not the medians .*gc0M"):
        settled(medians | {"ENSG2": 2.5})


@pytest.mark.parametrize(
    ("name", "message"),
    [
        (
            "_gc104M",
            r"_gc104M.pkl: at least [89] of 272 medians .* published for gc104M \(ENSG",
        ),
        (
            "",
            r"dictionary.pkl: at least [89] of 272 medians .* published for gc104M",
        ),
        ("_gc30M", r"named gc30M, and holds the medians of gc104M"),
        ("_ours", None),
    ],
)
def test_other_medians_of_a_part_of_the_published_tokens_are_said(
    tmp_path: Path, name: str, message: str | None
) -> None:
    """Red: a part of the published tokens with other medians passes as it is written."""
    folder = Path(shutil.copytree(V2_DICTIONARIES, tmp_path / "changed"))
    old = next(folder.glob("gene_median*"))
    medians = pickle.loads(old.read_bytes())
    old.unlink()
    if name != "_gc30M":
        tokens = pickle.loads((folder / TOKENS).read_bytes())
        for gene in [t for t in tokens if t.startswith("ENSG")][:9]:
            medians[gene] *= 1.25
    (folder / f"gene_median_dictionary{name}.pkl").write_bytes(pickle.dumps(medians))
    given = find_dictionaries(folder, None, mapped=False)
    with warnings.catch_warnings(record=True) as seen:
        warnings.simplefilter("always", OctoscopeWarning)
        geneformer_belonging._warn_of_medians(given)
    texts = [str(w.message) for w in seen]
    assert len(texts) == (message is not None)
    assert message is None or re.search(message, texts[0])


def test_published_medians_are_known_and_others_are_not() -> None:
    given = find_dictionaries(Path(V2_DICTIONARIES), None, mapped=False)
    medians = given.medians
    tokens = [g for g in given.tokens if g in medians]
    corpus, foreign = foreign_medians([(g, medians[g]) for g in tokens])
    assert (corpus, foreign) == ("gc104M", [])
    _, foreign = foreign_medians([(g, float(np.nextafter(medians[g], 9e9))) for g in tokens])
    assert len(foreign) >= 0.95 * len(tokens)
