"""Every setting and value that has a former name: it is read for one version, with a warning."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import pytest
import yaml
from octoscope.config import apply_overrides, config_of_text, load_config, parse_config
from octoscope.config.renamed import _MOVED, _VALUES
from octoscope.demo.demo import demo_tree
from octoscope.errors import InputError, OctoscopeWarning

MOVED = {
    "tile": 64, "micro_batch": 3, "batch_cells": 2, "working_set": "1GB", "macro_batches": 2,
    "cache": "300MB", "readers": 3, "lease": 5.0, "grace": 7.0,
}  # fmt: skip


@pytest.mark.parametrize("name", [*MOVED, "hold"])
def test_former_places_are_read_with_a_warning(name: str, tmp_path: Path) -> None:
    """Red: a name missing from ``renamed._MOVED``."""
    new = "cache" if name == "hold" else name
    value = MOVED[new]
    tree = demo_tree() | {"execution": {"threads": 1, name: value}}
    path = tmp_path / "c.yaml"
    path.write_text(yaml.safe_dump(tree))
    warning = rf"execution\.{name} is now called execution\.advanced\.{new};"
    with pytest.warns(OctoscopeWarning, match=warning):
        config = load_config(path)
    assert getattr(config.execution.advanced, new) == value
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        stored = config_of_text(path.read_text(), "run")  # of a run: no warning
    assert getattr(stored.execution.advanced, new) == value
    # on the command line, over a file that has the old place or the new
    with pytest.warns(OctoscopeWarning) as caught:
        config = load_config(path, [f"execution.{name}={MOVED[new]}"])
    assert [str(w.message).partition("execution.")[0] for w in caught] == [f"{path}: ", "--set "]
    assert getattr(config.execution.advanced, new) == value
    present = parse_config(demo_tree(), "c").model_dump(mode="json")
    with pytest.warns(OctoscopeWarning, match=f"--set execution.advanced.{new}"):
        apply_overrides(present, [f"execution.{name}={value}"])
    assert getattr(parse_config(present, "c").execution.advanced, new) == value


# former name -> its value, the present name, and the value that is read there
OTHERS = {
    "more_draws": (3, "max_permutation_factor", 3),
    "atlas.absent_chunks": ("zeros", "atlas.missing_chunks", "fill"),
    "compare.kinship": ({"one": ["scgpt-demo", "scprint-demo"]}, "compare.model_groups",
                        {"one": ["scgpt-demo", "scprint-demo"]}),
    "atlas.missing_chunks": ("zeros", "atlas.missing_chunks", "fill"),
    "projection": (["faithful", "bare"], "projection", ["full", "weights_only"]),
}  # fmt: skip


def test_every_former_name_is_tried() -> None:
    """Red: an alias that is deleted, or added without a case."""
    tried = {f"execution.{name}" for name in (*MOVED, "hold")} | set(OTHERS)
    assert set(_MOVED) | set(_VALUES) == tried
    assert _VALUES == {
        "projection": {"faithful": "full", "bare": "weights_only"},
        "atlas.missing_chunks": {"zeros": "fill"},
    }


@pytest.mark.parametrize("name", OTHERS)
def test_former_names_and_values_are_read_with_a_warning(name: str, tmp_path: Path) -> None:
    """Red: a line missing from ``renamed._MOVED`` or ``renamed._VALUES``."""
    value, new, want = OTHERS[name]
    tree = demo_tree()
    section, _, field = name.rpartition(".")
    of = tree[section] if section else tree
    of.pop(new.rpartition(".")[2], None)
    of[field] = value
    path = tmp_path / "c.yaml"
    path.write_text(yaml.safe_dump(tree))
    with pytest.warns(OctoscopeWarning) as caught:
        config = load_config(path)
    messages = " ".join(str(w.message) for w in caught)
    assert f"{name} is now called {new};" in messages or f"is now called {new}: " in messages
    read: Any = config
    for part in new.split("."):
        read = getattr(read, part)
    assert read == want


def test_a_value_in_both_places_is_refused() -> None:
    tree = demo_tree() | {"execution": {"tile": 32, "advanced": {"tile": 64}}}
    with pytest.raises(InputError, match=r"execution\.tile.*did you mean execution.advanced.tile"):
        parse_config(tree, "c")
