"""scGPT's vocabulary and table: files that fit one another and do not belong together."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import torch
from octoscope.errors import InputError
from octoscope.models import load_model

from tests.models.parity import DATA, differences

CHECKPOINT, DUMP = DATA / "scgpt/checkpoint", DATA / "scgpt/dump.npz"
TABLE = "encoder.embedding.weight"


def copied(tmp_path: Path, *, rows: int = 0) -> Path:
    """Return the checkpoint with more rows in its table."""
    path = Path(shutil.copytree(CHECKPOINT, tmp_path / "checkpoint"))
    state = torch.load(path / "best_model.pt", weights_only=True)
    state[TABLE] = torch.cat([state[TABLE], torch.ones(rows, state[TABLE].shape[1])])
    torch.save(state, path / "best_model.pt")
    return path


def test_a_larger_table_is_refused_and_loads_where_it_is_declared(tmp_path: Path) -> None:
    """Red: it loads undeclared, or its padding changes what the model computes."""
    path = copied(tmp_path, rows=2)
    with pytest.raises(InputError, match=r"vocab.json: 291 tokens.* 293 rows.*padded_table: true"):
        load_model(path)
    options = {"padded_table": True}
    assert all(r.ok for r in differences(path, DUMP, tmp_path, options=options))


@pytest.mark.parametrize("padded", [False, True])
def test_a_vocabulary_larger_than_the_table_is_refused(tmp_path: Path, padded: bool) -> None:
    """Red: `padded_table` also lets tokens without a row pass."""
    path = copied(tmp_path)
    vocab = json.loads((path / "vocab.json").read_text())
    (path / "vocab.json").write_text(json.dumps(vocab | {"<mask>": 291}))
    with pytest.raises(InputError, match="292 tokens, and encoder.embedding.weight .* 291 rows"):
        load_model(path, options={"padded_table": padded})


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda v: {k: r for k, r in v.items() if not 100 <= r < 120}, "271 tokens on 271 of 291"),
        (lambda v: v | {"<mask>": 5}, "292 tokens on 291 of 291 rows"),
        (lambda v: v | {"<mask>": "x"}, "not token -> row"),
        (
            lambda v: {k: r for k, r in v.items() if k != "<pad>"},
            "no <pad> .special tokens there: <cls>, <eoc>",
        ),
    ],
    ids=["short", "twice", "text", "no pad"],
)
def test_vocabularies_with_holes_are_refused(tmp_path: Path, change: object, message: str) -> None:
    """Red: 20 tokens short, or two tokens on one row, pass for the checkpoint's vocabulary."""
    path = copied(tmp_path)
    vocab = json.loads((path / "vocab.json").read_text())
    (path / "vocab.json").write_text(json.dumps(change(vocab)))  # type: ignore[operator]
    with pytest.raises(InputError, match=message):
        load_model(path)


def rewritten(tmp_path: Path, rule: object) -> Path:
    path = copied(tmp_path)
    state = torch.load(path / "best_model.pt", weights_only=True)
    torch.save({rule(n): v for n, v in state.items()}, path / "best_model.pt")  # type: ignore[operator]
    return path


@pytest.mark.parametrize(
    "rule",
    [
        lambda n: n.replace("self_attn.", "self_attn._impl."),
        lambda n: n.replace("self_attn.Wqkv.", "self_attn.in_proj_"),
        lambda n: "module." + n.replace("self_attn.", "self_attn._impl."),
    ],
    ids=["_impl", "in_proj", "module, _impl"],
)
def test_every_layout_of_the_authors_gives_their_attention(tmp_path: Path, rule: object) -> None:
    """Red: the wrapper around flash attention (2026) is "3 weights are missing"."""
    assert all(r.ok for r in differences(rewritten(tmp_path, rule), DUMP, tmp_path))


def test_a_folder_without_args_takes_them_from_its_base(tmp_path: Path) -> None:
    """Red: a fine-tuned folder, which holds the weights alone, cannot be read."""
    path = copied(tmp_path)
    (path / "args.json").rename(tmp_path / "args.json")
    with pytest.raises(InputError, match=r"checkpoint/args.json: does not exist.*options\.base"):
        load_model(path)
    (path / "vocab.json").unlink()
    options = {"base": str(CHECKPOINT)}
    assert all(r.ok for r in differences(path, DUMP, tmp_path, options=options))
    model = load_model(path, options=options)
    assert {f.name for f in model.files} == {"args.json", "vocab.json"}
    assert model.options["base"] == str(CHECKPOINT.resolve())
    with pytest.raises(InputError, match=r"options.base: nowhere: no such folder"):
        load_model(path, options={"base": "nowhere"})


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"pre_norm": True}, "args.json: pre_norm: True"),
        ({"pre_norm": "True"}, "args.json: pre_norm: 'True'"),
        ({"input_emb_style": "scaling"}, "args.json: input_emb_style: 'scaling'"),
        ({"input_style": "log1p"}, "args.json: input_style: 'log1p'.*'binned'"),
        ({"pre_norm": "False", "input_style": "binned"}, None),
    ],
)
def test_settings_of_another_encoder_or_input_are_refused(
    tmp_path: Path, change: dict[str, object], message: str | None
) -> None:
    """Red: a model trained on logarithms gets bins; a logged "False" counts as pre-norm."""
    path = copied(tmp_path)
    args = json.loads((path / "args.json").read_text())
    (path / "args.json").write_text(json.dumps(args | change))
    if message is None:
        load_model(path)
        return
    with pytest.raises(InputError, match=message):
        load_model(path)


def test_sizes_under_the_names_of_the_tutorials_are_read(tmp_path: Path) -> None:
    path = copied(tmp_path)
    args = json.loads((path / "args.json").read_text())
    sizes = {"layer_size": args["d_hid"], "nhead": args["nheads"], "nlayers": args["nlayers"]}
    (path / "args.json").write_text(json.dumps(sizes | {"embsize": args["embsize"]}))
    assert all(r.ok for r in differences(path, DUMP, tmp_path))


def test_tokens_that_fine_tuning_appends_are_no_genes(tmp_path: Path) -> None:
    path = copied(tmp_path, rows=2)
    vocab = json.loads((path / "vocab.json").read_text())
    (path / "vocab.json").write_text(json.dumps(vocab | {"<mask>": 291, "<unk>": 292}))
    assert len(load_model(path).genes) == len(load_model(CHECKPOINT).genes)


def test_settings_and_vocabulary_under_the_names_of_ports(tmp_path: Path) -> None:
    path = copied(tmp_path)
    (path / "args.json").rename(path / "config.json")
    (path / "vocab.json").rename(path / "default_census_vocab.json")
    assert all(r.ok for r in differences(path, DUMP, tmp_path))
