"""Settings that moved to ``execution.advanced``."""

from __future__ import annotations

import warnings
from pathlib import Path

import pytest
import yaml
from octoscope.config import apply_overrides, config_of_text, load_config, parse_config
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


def test_a_value_in_both_places_is_refused() -> None:
    tree = demo_tree() | {"execution": {"tile": 32, "advanced": {"tile": 64}}}
    with pytest.raises(InputError, match=r"execution\.tile.*did you mean execution.advanced.tile"):
        parse_config(tree, "c")
