"""Sizes that derive from ``execution.memory``."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import psutil
import pytest
from octoscope.config import dump_config, parse_config
from octoscope.config.execution_config import AdvancedConfig, ExecutionConfig
from octoscope.demo.demo import demo_tree
from octoscope.errors import InputError
from octoscope.planning.derive import result_fields, sizes
from octoscope.planning.frozen_config import run_config
from octoscope.store.run_dir import RunRoot


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
