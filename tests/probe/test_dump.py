"""`attention dump` and `attention diff`: settings as dumps name them, and files that are none."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from octoscope.cli.app import app
from octoscope.cli.shared import guarded
from octoscope.errors import InputError
from octoscope.probe.dump import write_dump
from octoscope.probe.dump_format import diff

from tests.models.parity import DATA

SCPRINT = DATA / "scprint"


def call(*arguments: str) -> int:
    return guarded(lambda: app(list(arguments), standalone_mode=False))


@pytest.mark.parametrize(
    ("checkpoint", "dump"),
    [
        ("scgpt/checkpoint", "scgpt/dump.npz"),
        ("scprint/checkpoint", "scprint/dump.npz"),
        ("aidocell/checkpoint", "aidocell/dump_sub.npz"),
        ("aidocell/checkpoint_bias", "aidocell/dump_bias.npz"),
        ("scfoundation/checkpoint", "scfoundation/dump.npz"),
        ("scfoundation/checkpoint", "scfoundation/dump_cell.npz"),
        ("geneformer/checkpoint", "geneformer/dump.npz"),
        ("geneformer/v1/checkpoint", "geneformer/v1/dump.npz"),
    ],
)
def test_options_of_a_dump_can_be_given_as_they_are(
    checkpoint: str, dump: str, tmp_path: Path
) -> None:
    meta = json.loads(str(np.load(DATA / dump)["meta_json"]))
    given = [x for k, v in meta["options"].items() for x in ("--option", f"{k}={json.dumps(v)}")]
    cells = DATA / dump.split("/")[0] / "cells.h5ad"
    out = str(tmp_path / "ours.npz")
    assert call(
        "attention", "dump", str(DATA / checkpoint), str(cells), "--out", out,
        "--positions", str(DATA / dump), "--rng", "upstream", *given,
    ) == 0  # fmt: skip
    rows = diff(Path(out), DATA / dump)
    assert all(r.ok for r in rows), [r for r in rows if not r.ok]


def changed(tmp_path: Path, **arrays: Any) -> Path:
    content = dict(np.load(SCPRINT / "dump.npz"))
    for name, value in arrays.items():
        if value is None:
            del content[name]
        else:
            content[name] = value
    np.savez(tmp_path / "changed.npz", **content)
    return tmp_path / "changed.npz"


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"token_row": None}, "not a dump"),
        ({"token_row": np.full((6, 86), 10**6)}, "do not fit this model"),
        ({"token_row": np.full((6, 86), 0.5)}, "not a dump"),
        ({"positions": np.full((6, 4), -1)}, "positions of shape"),
        ({"positions": np.full((6, 4), 86)}, "up to 86; here are 6 cells of at most 86 tokens"),
        ({"positions": np.zeros((6, 0), np.int64)}, "positions of shape"),
        ({"token_kind": np.full((6, 86), "strange")}, "not a dump"),
    ],
)
def test_tokens_that_cannot_be_used_are_refused(
    tmp_path: Path, arrays: dict[str, Any], message: str
) -> None:
    with pytest.raises(InputError, match=message):
        write_dump(
            SCPRINT / "checkpoint", "", tmp_path / "o.npz", tokens=changed(tmp_path, **arrays)
        )
    assert not (tmp_path / "o.npz").exists()  # nothing half-written


def test_other_files_and_folders_are_refused(tmp_path: Path) -> None:
    np.save(tmp_path / "plain.npy", np.zeros(3))
    for other in (tmp_path / "plain.npy", tmp_path / "absent.npz", tmp_path):
        with pytest.raises(InputError, match="not a dump"):
            write_dump(SCPRINT / "checkpoint", "", tmp_path / "o.npz", tokens=other)
        with pytest.raises(InputError, match="not a dump"):
            diff(other, SCPRINT / "dump.npz")
    with pytest.raises(InputError, match="is no folder"):
        write_dump(SCPRINT / "checkpoint", "", tmp_path / "no/o.npz", tokens=SCPRINT / "dump.npz")
    assert call("attention", "dump", "x", "y", "--out", "z", "--option", "context=[a") == 2


def test_the_whole_attention_of_19266_tokens_is_refused(tmp_path: Path) -> None:
    aidocell = DATA / "aidocell"
    with pytest.raises(InputError, match=r"19266 tokens takes \d+ GB.*--positions"):
        write_dump(aidocell / "checkpoint", str(aidocell / "cells.h5ad"), tmp_path / "o.npz")


def test_a_comparison_that_compares_nothing_is_refused(tmp_path: Path) -> None:
    content = dict(np.load(SCPRINT / "dump.npz"))
    judged = [
        n for n in content if n.split("_")[0] in ("attn", "hidden", "logits", "lse", "output")
    ]
    nothing = changed(tmp_path, **{n: np.full_like(content[n], np.nan) for n in judged})
    with pytest.raises(InputError, match="stores no hidden states"):
        diff(SCPRINT / "dump.npz", nothing)
    meta = json.loads(str(content["meta_json"]))
    del meta["tolerances"]["lse"]
    rows = diff(SCPRINT / "dump.npz", changed(tmp_path, meta_json=np.array(json.dumps(meta))))
    assert {r.name for r in rows if not r.ok} == {f"lse_{i}" for i in range(3)}
    del meta["tolerances"]
    with pytest.raises(InputError, match="not a dump"):
        diff(SCPRINT / "dump.npz", changed(tmp_path, meta_json=np.array(json.dumps(meta))))


def test_padding_may_be_filled_with_anything(tmp_path: Path) -> None:
    dump = DATA / "geneformer/dump.npz"
    content = dict(np.load(dump))
    content["token_row"] = np.where(content["mask"], content["token_row"], 7)
    np.savez(tmp_path / "other.npz", **content)
    assert all(r.ok for r in diff(dump, tmp_path / "other.npz"))
    content["token_row"][0, 1] += 1
    np.savez(tmp_path / "other.npz", **content)
    assert not all(r.ok for r in diff(dump, tmp_path / "other.npz"))
