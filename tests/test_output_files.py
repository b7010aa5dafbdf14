"""Outputs that a user names: not into a run, an atlas, a checkpoint, a network or over files."""

from __future__ import annotations

import hashlib
import os
import shutil
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import anndata as ad
import pytest
import typer
import yaml
from octoscope import output_files
from octoscope.cli.app import app
from octoscope.config import load_config, parse_config
from octoscope.demo.demo import data, demo_tree
from octoscope.errors import InputError, OctoscopeWarning
from octoscope.gnn_training.train_state import require_own
from octoscope.octopus.directory import new_directory
from octoscope.output_files import new_file, require_new, require_outside
from octoscope.planning.freeze import prepare

from tests.conftest import small_tree
from tests.here import here

STORES = Path(__file__).parent / "data/stores"
OCTOPUS = Path(__file__).parent / "data/octopus"
GNN = OCTOPUS / "models/relation_attention_mlp"
SCPRINT = Path(__file__).parent / "data/scprint"
SCGPT = Path(__file__).parent / "data/scgpt"


@pytest.fixture
def inputs(tmp_path: Path) -> dict[str, Path]:
    """A run, an atlas, a checkpoint and a network that nobody named to the guard."""
    paths = {
        "a run directory": STORES / "plan-3b",
        "a Zarr store": data("immune559.zarr"),
        "a checkpoint": data("checkpoints/geneformer-demo"),
        "a network directory": data("octopus"),
    }
    return {what: Path(shutil.copytree(p, tmp_path / p.name)) for what, p in paths.items()}


def write(
    path: Path, text: str | None, *, force: bool = False, meanwhile: Callable[[], object] = str
) -> None:
    with new_file(path, force=force) as file:
        file.write_text("half")
        meanwhile()
        file.write_text(text)  # type: ignore[arg-type]


def contents(folder: Path) -> dict[str, str]:
    return {
        str(p.relative_to(folder)): hashlib.sha256(p.read_bytes()).hexdigest()
        for p in sorted(folder.rglob("*"))
        if p.is_file()
    }


def test_places_that_are_read_are_recognised(inputs: dict[str, Path], tmp_path: Path) -> None:
    link = tmp_path / "link"
    for what, path in inputs.items():
        link.unlink(missing_ok=True)
        link.symlink_to(path)
        (path / "deeper").mkdir()
        for target in (path / "new.html", path / "deeper/new.html", link / "new.html",
                       path / "deeper/../new.html"):  # fmt: skip
            with pytest.raises(InputError, match=f"is in {path}, {what}"):
                require_outside(target)
            with pytest.raises(InputError, match="name a place outside it"):
                require_new(target, force=True)
        require_outside(path.with_name("new.html"))
    require_outside("s3://bucket/new.html")


@pytest.mark.parametrize(
    ("what", "names"),
    [
        ("a run directory", "plan.json config.yaml"),
        ("a run directory", "manifest.json _SUCCESS"),
        ("a Zarr store", "zarr.json"),
        ("a Zarr store", ".zgroup"),
        ("a Zarr store", ".zarray"),
        ("a Zarr store", ".zmetadata"),
        ("an unfinished conversion", "convert.json convert.lock"),
        ("a FoundationModelStore", "weights.npz metadata.json"),
        ("a network directory", "octopus.json"),
        ("a network directory", "registry.json napistu_data"),
        ("a checkpoint", "args.json vocab.json"),
        ("a checkpoint", "config.json model.safetensors"),
        ("a checkpoint", "config.json pytorch_model.bin"),
        ("a checkpoint", "config.json model.safetensors.index.json"),
        ("a checkpoint", "config.json pytorch_model.bin.index.json"),
        ("a checkpoint", "models.ckpt"),
        ("a checkpoint", "small-v1.ckpt"),
        ("a checkpoint", "medium-v1.ckpt"),
        ("a checkpoint", "medium-v1.5.ckpt"),
        ("a checkpoint", "large-v1.ckpt"),
        ("a checkpoint", "small-v2.ckpt"),
        ("a graph or checkpoint of `octoscope gnn`", "graph.json src.npy"),
        ("a graph or checkpoint of `octoscope gnn`", "gnn.json"),
        ("a graph or checkpoint of `octoscope gnn`", "model.ckpt config.json"),
    ],
)
def test_each_kind_of_folder_is_recognised_by_these_files_alone(
    what: str, names: str, tmp_path: Path
) -> None:
    """Red: a kind, or one of its groups of files, that the guard no longer knows."""
    require_outside(tmp_path / "new.html")
    for name in names.split():
        (tmp_path / name).write_bytes(b"")
    with pytest.raises(InputError, match=f"is in {tmp_path}, {what}"):
        require_outside(tmp_path / "new.html")


def test_inputs_that_are_named_are_not_written_to(tmp_path: Path) -> None:
    weights = tmp_path / "model.ckpt"
    weights.write_bytes(b"weights")
    other = tmp_path / "other"
    os.link(weights, other)
    for target in (weights, other, tmp_path / "." / "model.ckpt"):
        with pytest.raises(InputError, match="which is read"):
            require_new(target, force=True, inputs=[weights])
    require_new(weights, force=True)
    for url in ("s3://b/atlas.zarr", "s3://b/atlas.zarr/run"):
        with pytest.raises(InputError, match="which is read"):
            require_outside(url, ["s3://b/atlas.zarr"])
    require_outside("s3://b/atlas.zarr2", ["s3://b/atlas.zarr", "/local"])


def test_an_input_folder_under_another_name_is_not_written_to(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As on a file system without case: no name tells that two folders are one."""
    (tmp_path / "raw/deeper").mkdir(parents=True)
    (tmp_path / "RAW").symlink_to(tmp_path / "raw")
    monkeypatch.setattr(output_files, "_real", Path)
    for name in ("RAW", "RAW/new.tsv", "RAW/deeper/new.tsv"):
        with pytest.raises(InputError, match="which is read"):
            require_outside(tmp_path / name, [tmp_path / "raw"])
    require_outside(tmp_path / "new.tsv", [tmp_path / "raw"])


def test_a_file_is_replaced_only_where_that_is_asked_for(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    path.write_text("before")
    with pytest.raises(InputError, match=r"a\.txt: exists already\. Fix: .*--force"):
        write(path, "after")
    with pytest.raises(TypeError):
        write(path, None, force=True)  # fails in the middle
    assert path.read_text() == "before"
    write(path, "after", force=True)
    assert path.read_text() == "after"
    (tmp_path / "dangling").symlink_to(tmp_path / "nowhere")
    for name, force, message in (
        ("dangling", False, "exists already"),
        (".", True, "is no file"),
        ("/dev/null", True, "is no file"),
        ("none/b.txt", False, "is no folder"),
    ):
        with pytest.raises(InputError, match=message):
            require_new(tmp_path / name, force=force)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a.txt", "dangling"]


def test_another_writer_of_the_same_file_is_told(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    with pytest.raises(InputError, match="exists already"):
        write(path, "mine", meanwhile=lambda: path.write_text("theirs"))
    assert path.read_text() == "theirs"
    assert list(tmp_path.iterdir()) == [path]


def writers(run: Path, atlas: Path, stores: Path, folder: Path) -> dict[str, list[str]]:
    """Return every command that writes where the user says, with TARGET for that place."""
    pairs, genes = folder / "pairs.csv", folder / "genes.txt"
    pairs.write_text("query,key\nLYZ,CD74\n")
    genes.write_text("LYZ\nCD74\n")
    build, training = folder / "build.yaml", folder / "training.yaml"
    build.write_text(f"name: n\nsources: {{edge_lists: [{{name: own, path: {pairs}}}]}}\n")
    training.write_text("epochs: 1\n")
    evaluations = folder / "evaluations"
    evaluations.mkdir(exist_ok=True)
    config = folder / "run.yaml"
    config.write_text(yaml.safe_dump(small_tree(atlas)))
    both = ["--category", "T cell", "--category", "macrophage"]
    return {
        "report": ["report", str(run), "--view", "logit", "--out", "TARGET"],
        "export": ["export", str(run), "--format", "parquet", "--out", "TARGET"],
        "compare runs": ["compare", "runs", str(run), str(run), "--out", "TARGET"],
        "pool": ["pool", str(run), *both, "--out", "TARGET"],
        "attention dump": [
            "attention", "dump", str(SCGPT / "checkpoint"), str(SCGPT / "cells.h5ad"),
            "--out", "TARGET",
        ],
        "octopus lookup": ["octopus", "lookup", "demo", str(pairs), "TARGET"],
        "octopus genes": ["octopus", "genes", "demo", str(genes), "TARGET"],
        "octopus export": ["octopus", "export", "demo", "TARGET", "--format", "parquet"],
        "octopus report": ["octopus", "report", "demo", "TARGET"],
        "atlas convert": ["atlas", "convert", str(atlas), "TARGET", "--category", "cell_type"],
        "run": ["run", str(config), "--out", "TARGET"],
        "plan": ["plan", str(config), "--out", "TARGET", "--no-calibrate"],
        "demo": ["demo", "--small", "--out", "TARGET"],
        "import-napistu": ["import-napistu", str(stores / "scGPT"), "TARGET"],
        "octopus build": ["octopus", "build", str(build), "TARGET"],
        "octopus import": ["octopus", "import", str(OCTOPUS / "store"), "TARGET"],
        "gnn graph": ["gnn", "graph", "demo", "TARGET"],
        "gnn convert": ["gnn", "convert", str(GNN), "TARGET"],
        "gnn score": ["gnn", "score", str(GNN), "--graph", "demo", "--pairs", str(pairs),
                      "--out", "TARGET"],
        "gnn score --cache": ["gnn", "score", str(GNN), "--graph", "demo", "--pairs", str(pairs),
                              "--out", str(folder / "scores.tsv"), "--cache", "TARGET"],
        "gnn relations": ["gnn", "relations", str(GNN), "--out", "TARGET"],
        "gnn perturbations": ["gnn", "perturbations", str(pairs), "--out", "TARGET"],
        "gnn train": ["gnn", "train", str(training), "--graph", "demo", "--out", "TARGET"],
        "gnn report": ["gnn", "report", str(evaluations), "--out", "TARGET"],
        "gnn evaluate": ["gnn", "evaluate", "demo", "--out", "TARGET"],
    }  # fmt: skip


NAMES = (
    "report", "export", "compare runs", "pool", "attention dump", "octopus lookup",
    "octopus genes", "octopus export", "octopus report", "atlas convert", "run", "plan", "demo",
    "import-napistu", "octopus build", "octopus import", "gnn graph", "gnn convert", "gnn score",
    "gnn score --cache", "gnn relations", "gnn perturbations", "gnn train", "gnn report",
    "gnn evaluate",
)  # fmt: skip


def test_every_command_that_writes_where_the_user_says_is_tried() -> None:
    """Red: a command with a parameter for an output that no test gives a forbidden one."""

    def outputs(command: Any, name: str) -> Iterator[str]:
        for called, inner in getattr(command, "commands", {}).items():
            yield from outputs(inner, f"{name} {called}".strip())
        yield from (name for p in command.params if p.name in ("out_", "target"))

    written = {*outputs(typer.main.get_command(app), ""), "import-napistu", "gnn score --cache"}
    assert written == set(NAMES)


@pytest.mark.parametrize("name", NAMES)
def test_no_command_writes_into_what_is_read(
    name: str,
    finished_run: Path,
    small_atlas: Path,
    napistu_stores: Path,
    inputs: dict[str, Path],
    tmp_path: Path,
) -> None:
    commands = writers(finished_run, small_atlas, napistu_stores, tmp_path)
    assert set(commands) == set(NAMES)
    for path in inputs.values():
        before = contents(path)
        for target in (path / "new.parquet", next(p for p in path.rglob("*") if p.is_file())):
            words = [str(target) if x == "TARGET" else x for x in commands[name]]
            refused = here(*words)
            assert refused.returncode == 2, refused.stdout + refused.stderr
            assert f"is in {path}" in refused.stderr.replace("\n", "")
        assert contents(path) == before


@pytest.mark.parametrize("name", [n for n in NAMES if "cache" not in n])  # which holds many
def test_no_command_writes_over_a_file_unasked(
    name: str, finished_run: Path, small_atlas: Path, napistu_stores: Path, tmp_path: Path
) -> None:
    target = tmp_path / "mine.parquet"
    target.write_text("mine")
    words = writers(finished_run, small_atlas, napistu_stores, tmp_path)[name]
    words = [str(target) if x == "TARGET" else x for x in words]
    refused = here(*words)
    assert refused.returncode == 2, refused.stdout + refused.stderr
    assert str(target) in refused.stderr.replace("\n", "")
    assert target.read_text() == "mine"
    assert not list(tmp_path.glob("*.partial"))


@pytest.mark.parametrize("name", ["report", "export", "octopus genes", "octopus report", "pool"])
def test_force_replaces_files(
    name: str, finished_run: Path, small_atlas: Path, napistu_stores: Path, tmp_path: Path
) -> None:
    words = writers(finished_run, small_atlas, napistu_stores, tmp_path)[name]
    target = tmp_path / "target"
    words = [str(target) if x == "TARGET" else x for x in words]
    assert here(*words).returncode == 0
    before = contents(tmp_path)
    for file in [target, *target.rglob("*")]:
        if file.is_file():
            file.write_text("mine")
    done = here(*words, "--force")
    assert done.returncode == 0, done.stderr
    assert contents(tmp_path) == before


def test_inputs_of_a_run_are_not_replaced_by_force(
    finished_run: Path, small_atlas: Path, tmp_path: Path
) -> None:
    """Also those that are single files, which nothing tells from any other."""
    config = finished_run / "config.yaml"
    atlas = tmp_path / "cells.h5ad"
    ad.read_zarr(small_atlas).write_h5ad(atlas)
    run = Path(shutil.copytree(finished_run, tmp_path / "run"))
    (run / "config.yaml").write_text(config.read_text().replace(str(small_atlas), str(atlas)))
    before = atlas.read_bytes()
    for words in (["report", str(run), "--view", "logit"], ["export", str(run)]):
        with warnings.catch_warnings():
            warnings.simplefilter("always", OctoscopeWarning)
            refused = here(*words, "--out", str(atlas), "--force", "--unchecked")
        assert refused.returncode == 2, refused.stdout
        assert "which is read" in refused.stderr
    panel = tmp_path / "panel.txt"  # the plan keeps its genes, and its name
    panel.write_text("LYZ\n")
    tree = yaml.safe_load((run / "config.yaml").read_text())
    tree["gene_sets"][0]["genes_file"] = str(panel)
    (run / "config.yaml").write_text(yaml.safe_dump(tree))
    with warnings.catch_warnings():
        warnings.simplefilter("always", OctoscopeWarning)
        refused = here("report", str(run), "--view", "logit", "--out", str(panel), "--force",
                       "--unchecked")  # fmt: skip
    assert refused.returncode == 2
    assert f"is in {panel}, which is read" in refused.stderr
    pairs = tmp_path / "pairs.csv"
    pairs.write_text("query,key\nLYZ,CD74\n")
    refused = here("octopus", "lookup", "demo", str(pairs), str(pairs), "--force")
    assert refused.returncode == 2
    assert "which is read" in refused.stderr
    assert atlas.read_bytes() == before


def test_all_that_a_run_reads_is_among_its_inputs(tmp_path: Path) -> None:
    """Red: `--force` may write over aliases, a network or a file in a model's options."""
    tree = demo_tree()
    names = {name: str(tmp_path / name) for name in ("atlas", "aliases", "net", "weights", "means")}
    tree["atlas"] |= {"path": names["atlas"], "gene_aliases": names["aliases"]}
    tree["network"] = {"path": names["net"]}
    tree["models"][0] |= {"path": names["weights"], "options": {"embeddings": names["means"]}}
    assert set(names.values()) <= set(parse_config(tree, "c").input_paths())


def test_no_network_is_made_in_what_is_read(inputs: dict[str, Path]) -> None:
    for path in inputs.values():
        with pytest.raises(InputError, match=f"is in {path}"), new_directory(path / "net"):
            raise AssertionError
        assert not (path / "net").exists()


def test_a_run_inside_its_atlas_is_refused(small_config: Path, small_atlas: Path) -> None:
    before = contents(small_atlas)
    with pytest.raises(InputError, match=f"is in {small_atlas}"):
        prepare(load_config(small_config), str(small_atlas / "run"))
    assert contents(small_atlas) == before


def test_no_network_is_built_in_the_folder_of_a_source(tmp_path: Path) -> None:
    """Red: a network made among the SBML files of its own source."""
    (tmp_path / "raw").mkdir()
    (tmp_path / "raw/a.sbml").write_text("<sbml/>")
    config = tmp_path / "build.yaml"
    config.write_text("name: n\nsources: {Reactome: {sbml: raw}}\n")
    refused = here("octopus", "build", str(config), str(tmp_path / "raw/net"))
    assert refused.returncode == 2, refused.stdout
    assert f"is in {tmp_path}/raw, which is read" in refused.stderr.replace("\n", "")
    assert [p.name for p in (tmp_path / "raw").iterdir()] == ["a.sbml"]


def test_a_training_takes_no_folder_of_something_else(tmp_path: Path) -> None:
    """Red: a foreign checkpoint returned as the one that was trained, a file replaced."""
    require_own(tmp_path / "new")
    require_own(tmp_path)
    for name in ("checkpoint", "training.json"):
        (tmp_path / name).write_text("mine")
        with pytest.raises(InputError, match=f"{name}: exists already"):
            require_own(tmp_path)
        with pytest.raises(InputError, match="is no folder"):
            require_own(tmp_path / name)
        (tmp_path / "state/000001").mkdir(parents=True)  # of a training that can go on
        require_own(tmp_path)
        shutil.rmtree(tmp_path / "state")
        (tmp_path / name).unlink()
