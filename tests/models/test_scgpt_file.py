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
        (lambda v: {k: r for k, r in v.items() if k != "<pad>"}, "no <pad> or <cls>"),
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
