"""The configuration: one source for YAML, overrides and the saved file."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest
import yaml
from octoscope.config import dump_config, load_config, parse_config
from octoscope.demo.demo import demo_tree
from octoscope.errors import InputError
from octoscope.planning.frozen_config import run_config
from octoscope.planning.resolve import result_fields
from octoscope.store.run_dir import RunRoot

from tests.conftest import octoscope
from tests.here import here

STORES = Path(__file__).parents[1] / "data/stores"
# every line merges the line before ten times: 10 to the 8 keys
MERGES = "x0: &x0 {a: 1}\n" + "".join(
    f"x{i}: &x{i} {{<<: [{', '.join([f'*x{i - 1}'] * 10)}]}}\n" for i in range(1, 9)
)


def test_the_saved_file_reads_back_equal(tmp_path: Path) -> None:
    config = parse_config(demo_tree(), "c")
    (tmp_path / "c.yaml").write_text(dump_config(config))
    assert load_config(tmp_path / "c.yaml") == config


def test_relative_paths_belong_to_the_file_or_to_the_command_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tree = demo_tree()
    tree["atlas"]["path"], tree["models"][0]["path"] = "cells.zarr", "/abs/model"
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub/c.yaml").write_text(yaml.safe_dump(tree))
    monkeypatch.chdir(tmp_path)
    config = load_config("sub/c.yaml")
    assert config.atlas.path == str(tmp_path / "sub/cells.zarr")
    assert config.models[0].path == "/abs/model"
    assert config.network is not None
    assert config.network.path == "demo"
    config = load_config("sub/c.yaml", ["atlas.path=other.zarr", "models.0.path=s3://b/m"])
    assert config.atlas.path == str(tmp_path / "other.zarr")
    assert config.models[0].path == "s3://b/m"


def test_a_home_stands_for_its_folder_wherever_a_path_is_given(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    home = tmp_path / "home"
    monkeypatch.setenv("HOME", str(home))
    tree = demo_tree()
    tree["atlas"] |= {"path": "~/cells.zarr", "gene_aliases": "~/aliases.tsv"}
    tree["models"][0]["path"], tree["network"]["path"] = "~/models/m", "~/net"
    (tmp_path / "c.yaml").write_text(yaml.safe_dump(tree))
    config = load_config(tmp_path / "c.yaml", ["models.1.path=~/other"])
    assert config.atlas is not None
    assert config.network is not None
    paths = [config.atlas.path, config.atlas.gene_aliases, config.network.path]
    paths += [m.path for m in config.models[:2]]
    assert paths == [
        str(home / name) for name in ("cells.zarr", "aliases.tsv", "net", "models/m", "other")
    ]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("top_k", "no '='"),
        ("models.7.name=x", "models.7.name"),
        ("title.a.b=x", "title.a.b"),
        ("atlas.path=[", "atlas.path"),
    ],
)
def test_overrides_that_cannot_be_applied_are_named(
    tmp_path: Path, text: str, message: str
) -> None:
    (tmp_path / "c.yaml").write_text(yaml.safe_dump(demo_tree()))
    with pytest.raises(InputError, match=message):
        load_config(tmp_path / "c.yaml", [text])


def test_cross_references_are_checked() -> None:
    tree = demo_tree()
    tree["gene_sets"].append({"name": "common", "kind": "model"})
    with pytest.raises(InputError, match="'common' is used twice"):
        parse_config(tree, "c")
    tree = demo_tree()
    tree["gene_sets"] = [{"name": "common", "kind": "intersection", "models": ["nobody"]}]
    with pytest.raises(InputError, match="'nobody' is not one of"):
        parse_config(tree, "c")
    tree = demo_tree()
    tree["models"][0]["tokens"] = "panel"
    with pytest.raises(InputError, match="set panel exactly when"):
        parse_config(tree, "c")
    tree = demo_tree()
    tree["atlas"]["category_key"] = []
    with pytest.raises(InputError, match="at least one obs column"):
        parse_config(tree, "c")


@pytest.mark.parametrize(
    ("section", "message"),
    [
        ({"k": [501]}, "501 is not between 1 and top_k"),
        ({"model_groups": {"one": ["nobody"]}}, "'nobody' is not one of"),
        ({"model_groups": {"a": ["scgpt-demo"], "b": ["scgpt-demo"]}}, "is in two groups"),
        ({"pools": {"lymphocytes": ["T cell"]}}, "at least two categories"),
        ({"gene_sets": ["none"]}, "'none' is not one of"),
        ({"views": ["logit.centred"]}, "'logit.centred' is not one of"),
    ],
)
def test_comparisons_name_what_is_not_there(section: dict[str, object], message: str) -> None:
    tree = demo_tree()
    tree["compare"] = section
    with pytest.raises(InputError, match=message):
        parse_config(tree, "c")


def test_a_centred_view_is_one_of_the_views() -> None:
    tree = demo_tree() | {"centred": ["marginal"], "compare": None}
    with pytest.raises(InputError, match="'marginal' is not one of the views"):
        parse_config(tree, "c")


def test_a_configuration_from_before_comparisons_has_none(tmp_path: Path) -> None:
    """A run that was started without them is resumed without them, under the same hash."""
    tree = parse_config(demo_tree(), "c").model_dump(mode="json")
    del tree["compare"], tree["centred"]
    (tmp_path / "config.yaml").write_text(yaml.safe_dump(tree))
    stored = run_config(RunRoot(tmp_path))
    assert stored.compare is None
    assert not {"compare", "centred"} & set(result_fields(stored))
    (tmp_path / "config.yaml").write_text(dump_config(parse_config(demo_tree(), "c")))
    assert run_config(RunRoot(tmp_path)) == parse_config(demo_tree(), "c")
    assert "compare" in result_fields(parse_config(demo_tree(), "c"))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[" * 3000, "nested too deeply"),
        ("a: " * 3000, "mapping values are not allowed"),
        ("{a: " * 60 + "1" + "}" * 60, "more than 50 levels"),
        ("top_k: " + "9" * 5000, "digits"),
        ("title: a\ntitle: b\n", "the key 'title' is there twice"),
        ("a: &a [1, 2]\nb: &b [*a, *a]\n" + "".join(
            f"{chr(99 + i)}: &{chr(99 + i)} [{', '.join(['*' + chr(98 + i)] * 9)}]\n"
            for i in range(9)), "more than 1,000,000 values"),
        ("a: &a [*a]", "more than 50 levels"),
        (MERGES, "merges more than 10,000 keys"),
        ("a: 2001-99-99", "month must be"),
        ("? [1, 2]\n: 3", "unhashable"),
        ("a: !!binary x", "not YAML"),
    ],
)  # fmt: skip
def test_files_that_nobody_wrote_are_told_in_one_line(
    tmp_path: Path, text: str, message: str
) -> None:
    path = tmp_path / "c.yaml"
    path.write_text(text)
    refused = here("plan", str(path), "--out", str(tmp_path / "run"))
    assert refused.returncode == 2
    assert message in refused.stderr
    assert len(refused.stderr.splitlines()) == 1
    assert refused.stderr.startswith(f"bad input: {path}: ")


def test_pipes_devices_and_huge_files_are_not_read(tmp_path: Path) -> None:
    pipe, huge = tmp_path / "pipe", tmp_path / "huge"
    os.mkfifo(pipe)
    with huge.open("wb") as handle:
        handle.truncate(1 << 40)
    for path, message in ((Path("/dev/zero"), "no regular file"), (pipe, "no regular file"),
                        (huge, "more than 67,108,864 bytes"), (tmp_path, "directory")):  # fmt: skip
        refused = here("plan", str(path), "--out", str(tmp_path / "run"))
        assert refused.returncode == 2
        assert message in refused.stderr


def test_names_of_files_are_no_markup_and_may_be_of_any_bytes(tmp_path: Path) -> None:
    markup, bytes_ = tmp_path / "[/red]", tmp_path / "a\udcff"
    for run in (markup, bytes_):
        shutil.copytree(STORES / "plan-3b", run)
    for command in ("status", "report", "verify"):
        assert here(command, str(markup)).returncode == 0
    assert here("plan", str(markup / "none.yaml"), "--out", "x").returncode == 2
    done = octoscope("status", str(bytes_))  # to a real stream
    assert done.returncode == 0, done.stderr
    assert "finished" in done.stdout
