# ruff: noqa: E501
"""Bad input ends with exit code 2 and a line that names the field and the fix; nothing is left."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import anndata as ad
import numpy as np
import pytest
import yaml
from octoscope.cli.app import app
from octoscope.cli.shared import guarded
from scipy import sparse

from tests.conftest import small_tree
from tests.here import here


def call(*arguments: str) -> int:
    return guarded(lambda: app(list(arguments), standalone_mode=False))


def changed(atlas: Path, to: Path, change: Callable[[ad.AnnData], Any]) -> Path:
    a = ad.read_zarr(atlas)
    change(a)
    a.write_h5ad(to / "changed.h5ad")
    return to / "changed.h5ad"


def put(value: float) -> Callable[[ad.AnnData], None]:
    def change(a: ad.AnnData) -> None:
        a.X.data = a.X.data.astype(np.float32)
        a.X.data[5] = value

    return change


def log(a: ad.AnnData) -> None:
    a.X = sparse.csr_matrix(np.log1p(a.X.toarray()))


def duplicate(a: ad.AnnData) -> None:
    a.var_names = [a.var_names[1], *a.var_names[1:]]


def foreign(a: ad.AnnData) -> None:
    a.var["feature_name"] = [f"not{i}" for i in range(a.n_vars)]


CASES: dict[str, tuple[Any, list[str], list[str]]] = {
    # name: (change of the atlas, --set, texts that the error must hold)
    "log-normalised X": (log, [], ["counts", "not a whole number", "layers/counts"]),
    "negative": (put(-3), [], ["counts", "-3 (negative)"]),
    "NaN": (put(float("nan")), [], ["counts", "nan (not finite)"]),
    "fraction": (put(1.5), [], ["counts", "1.5 (not a whole number)"]),
    "missing category column": (
        None, ["atlas.category_key=[kind]"], ["no column 'kind'", "atlas.category_key"],
    ),
    "missing donor column": (
        None, ["atlas.replicate_key=donor"], ["no column 'donor'", "atlas.replicate_key"],
    ),
    "duplicated gene ids": (duplicate, [], ["var[index]", "more than once", "duplicate_genes: sum"]),
    "no gene in common": (
        foreign,
        ["gene_sets=[{name: panel, kind: model}]"],
        ["none of the atlas's", "vocab.json", "atlas.symbol_key"],
    ),
    "no genes of a panel": (
        None, ["gene_sets=[{name: panel, kind: panel, genes: [NOPE]}]"], ["gene_sets.panel", "none of its 1"],
    ),
    "unknown YAML key": (None, ["execution.bathc_cells=3"], ["execution.bathc_cells", "spelling"]),
    "wrong value": (None, ["top_k=0"], ["top_k", "greater than or equal to 1"]),
    "gene set not declared": (None, ["accumulate=immune"], ["accumulate", "'immune' is not declared"]),
    "unknown family": (None, ["models.0.family=gpt5"], ["models.*.family", "'gpt5' is not installed"]),
    "layer that is not there": (None, ["models.0.layers=[9]"], ["models.tiny.layers", "0 to 3"]),
    "not a Zarr store": (None, ["atlas.path=/etc"], ["/etc", "not a Zarr group"]),
    "a password in a path": (
        None, ["atlas.path=s3://key:hidden@bucket/a.zarr"], ["atlas.path", "holds credentials"],
    ),
    "no atlas": (None, ["atlas.path=/nowhere.zarr"], ["/nowhere.zarr", "does not exist"]),
    "name that leaves the run": (None, ["models.0.name=../../x"], ["models.0.name", "A-Z"]),
    "too little memory": (None, ["execution.memory=100MB"], ["actors needs", "execution.unit_cells"]),
    "no network": (None, ["network.path=/nowhere"], ["octopus.json", "network.path"]),
}  # fmt: skip


@pytest.mark.parametrize("name", CASES)
def test_bad_input_is_refused_before_anything_runs(
    name: str, small_atlas: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    change, overrides, texts = CASES[name]
    atlas = small_atlas if change is None else changed(small_atlas, tmp_path, change)
    config = tmp_path / "c.yaml"
    config.write_text(yaml.safe_dump(small_tree(atlas)))
    run = tmp_path / "run"
    flags = [x for o in overrides for x in ("--set", o)]
    assert call("run", str(config), "--out", str(run), *flags) == 2
    error = capsys.readouterr().err
    for text in [*texts, "Fix: "]:
        assert text in error
    assert not run.exists()


def _truncate(path: Path) -> None:
    weights = path / "best_model.pt"
    weights.write_bytes(weights.read_bytes()[:1000])


def _wrong_size(path: Path) -> None:
    args = json.loads((path / "args.json").read_text())
    (path / "args.json").write_text(json.dumps(args | {"nlayers": 5}))


@pytest.mark.parametrize(
    ("damage", "text"),
    [
        (_truncate, "cannot be read as weights"),
        (_wrong_size, "weights are missing"),
        (lambda p: (p / "vocab.json").unlink(), "vocab.json"),
        (shutil.rmtree, "does not exist"),
    ],
    ids=["truncated", "other size", "no vocabulary", "absent"],
)
def test_bad_checkpoints_are_refused(
    damage: Callable[[Path], Any],
    text: str,
    small_atlas: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    tree = small_tree(small_atlas)
    path = Path(shutil.copytree(tree["models"][0]["path"], tmp_path / "checkpoint"))
    damage(path)
    tree["models"][0]["path"] = str(path)
    config = tmp_path / "c.yaml"
    config.write_text(yaml.safe_dump(tree))
    assert call("run", str(config), "--out", str(tmp_path / "run")) == 2
    error = capsys.readouterr().err
    assert text in error
    assert "Fix: " in error
    assert not (tmp_path / "run").exists()


def test_configuration_files_that_are_none(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config = tmp_path / "c.yaml"
    for text, message in (
        ("a: [", "not YAML"),
        ("- 1", "not a mapping"),
        ("x: !!python/object/apply:os.system ['true']", "not YAML"),
        ("title: x", "atlas"),
    ):
        config.write_text(text)
        assert call("run", str(config), "--out", str(tmp_path / "run")) == 2
        assert message in capsys.readouterr().err
    assert call("run", str(tmp_path / "none.yaml"), "--out", str(tmp_path / "run")) == 2
    assert call("resume", str(tmp_path)) == 2
    assert call("models", "inspect", str(tmp_path)) == 2
    (tmp_path / "full").mkdir()
    (tmp_path / "full/x").write_text("mine")
    config.write_text(yaml.safe_dump({"title": "x"}))


def test_a_source_that_the_network_lacks_is_named(small_atlas: Path, tmp_path: Path) -> None:
    tree = small_tree(small_atlas)
    tree["network"] = {"path": "demo", "sources": ["KEGG"]}
    config = tmp_path / "run.yaml"
    config.write_text(yaml.safe_dump(tree))
    done = here("plan", str(config), "--out", str(tmp_path / "run"), "--no-calibrate")
    assert done.returncode == 2
    assert "'KEGG' is not in this network" in done.stderr
    assert not (tmp_path / "run").exists()
