"""Sizes that derive from ``execution.memory``, and the settings that moved to ``advanced``."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import psutil
import pytest
import yaml
from octoscope.config import apply_overrides, config_of_text, dump_config, load_config, parse_config
from octoscope.config.byte_sizes import parse_bytes, size_text
from octoscope.config.execution_config import AdvancedConfig, ExecutionConfig
from octoscope.demo.demo import demo_tree
from octoscope.errors import InputError, OctoscopeWarning
from octoscope.planning.derive import result_fields, sizes
from octoscope.planning.freeze import run_config
from octoscope.store.run_dir import RunRoot

MOVED = {
    "tile": 64, "micro_batch": 3, "batch_cells": 2, "working_set": "1GB", "macro_batches": 2,
    "cache": "300MB", "readers": 3, "lease": 5.0, "grace": 7.0,
}  # fmt: skip


def of(**execution: Any) -> tuple[int, int]:
    return sizes(ExecutionConfig(**execution))


def test_without_memory_sizes_are_those_of_earlier_versions() -> None:
    """Red: any other constant in ``derive.sizes`` or default in ``AdvancedConfig``."""
    assert of() == (2_000_000_000, 256_000_000)
    a = AdvancedConfig()
    assert (a.tile, a.micro_batch, a.batch_cells, a.macro_batches) == (512, 32, 16, 1)
    assert (a.readers, a.lease, a.grace) == (2, 60, 60)


@pytest.mark.parametrize(
    ("memory", "working_set", "cache"),
    [
        ("1GB", 250_000_000, 256_000_000),
        ("8GB", 2_000_000_000, 256_000_000),
        ("64GB", 2_000_000_000, 1_000_000_000),
        ("256GB", 2_000_000_000, 4_000_000_000),
    ],
)
def test_sizes_follow_the_memory_that_is_given(
    memory: str, working_set: int, cache: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Red: a derivation that looks at what the machine has free."""
    monkeypatch.setattr(psutil, "virtual_memory", None)
    assert of(memory=memory) == (working_set, cache)
    given = {"working_set": "3GB", "cache": "1MB"}
    assert of(memory=memory, advanced=given) == (3_000_000_000, 1_000_000)


def test_another_limit_on_resume_leaves_the_sizes_of_the_run(tmp_path: Path) -> None:
    """Red: sizes that are not pinned before ``--set`` is applied."""
    tree = demo_tree() | {"execution": {"memory": "64GB"}}
    config = parse_config(tree, "c")
    (tmp_path / "config.yaml").write_text(dump_config(config))
    again = run_config(RunRoot(tmp_path), ["execution.memory=1GB"])
    assert again.execution.memory == "1GB"
    assert sizes(again.execution) == sizes(config.execution)
    assert result_fields(again) == result_fields(config)
    with pytest.raises(InputError, match=r"execution\.advanced\.cache.*another value"):
        run_config(RunRoot(tmp_path), ["execution.advanced.cache=1MB"])


def test_sizes_are_in_what_decides_results() -> None:
    small, large = (
        result_fields(parse_config(demo_tree() | {"execution": {"memory": m}}, "c"))
        for m in ("1GB", "64GB")
    )
    assert small["execution"]["advanced"]["working_set"] == "250MB"
    assert large["execution"]["advanced"]["cache"] == "1GB"
    assert "memory" not in small["execution"]


@pytest.mark.parametrize("n", [1, 999, 1000, 1_500_000, 256_000_000, 2 * 10**9, 3 * 10**12 + 1])
def test_sizes_read_back_exactly(n: int) -> None:
    assert parse_bytes(size_text(n)) == n


@pytest.mark.parametrize("name", [*MOVED, "hold"])
def test_former_places_are_read_with_a_warning(name: str, tmp_path: Path) -> None:
    """Red: a name missing from ``renamed._MOVED``."""
    new = "cache" if name == "hold" else name
    value = MOVED[new]
    tree = demo_tree() | {"execution": {"threads": 1, name: value}}
    path = tmp_path / "c.yaml"
    path.write_text(yaml.safe_dump(tree))
    said = rf"execution\.{name} is now called execution\.advanced\.{new};"
    with pytest.warns(OctoscopeWarning, match=said):
        config = load_config(path)
    assert getattr(config.execution.advanced, new) == value
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        stored = config_of_text(path.read_text(), "run")  # of a run: no warning
    assert getattr(stored.execution.advanced, new) == value
    # on the command line, over a file that has the old place or the new
    with pytest.warns(OctoscopeWarning) as told:
        config = load_config(path, [f"execution.{name}={MOVED[new]}"])
    assert [str(w.message).partition("execution.")[0] for w in told] == [f"{path}: ", "--set "]
    assert getattr(config.execution.advanced, new) == value
    present = parse_config(demo_tree(), "c").model_dump(mode="json")
    with pytest.warns(OctoscopeWarning, match=f"--set execution.advanced.{new}"):
        apply_overrides(present, [f"execution.{name}={value}"])
    assert getattr(parse_config(present, "c").execution.advanced, new) == value


def test_a_value_in_both_places_is_refused() -> None:
    tree = demo_tree() | {"execution": {"tile": 32, "advanced": {"tile": 64}}}
    with pytest.raises(InputError, match=r"execution\.tile.*did you mean execution.advanced.tile"):
        parse_config(tree, "c")
