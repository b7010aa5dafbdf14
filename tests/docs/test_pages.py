"""The tutorial on files of one's own, and the how-to pages that go on from its run."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import igraph
import pytest
import yaml
from octoscope.demo.demo import checkpoint, data
from octoscope.octopus.network import open_network

from tests.docs.follow import DOCS, follow, run_commands
from tests.here import here, without_ray

pytestmark = pytest.mark.slow


@contextmanager
def inside(folder: Path) -> Iterator[None]:
    before = Path.cwd()
    os.chdir(folder)
    try:
        yield
    finally:
        os.chdir(before)


@pytest.fixture(scope="module")
def followed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Path, str]]:
    """The folder of the tutorial and what its commands printed."""
    folder = tmp_path_factory.mktemp("own-data")
    with pytest.MonkeyPatch.context() as patch, inside(folder):
        patch.setenv("MPLBACKEND", "agg")
        yield folder, follow("tutorials/own_data.md")


def test_the_tutorial_ends_with_a_figure(followed: tuple[Path, str]) -> None:
    folder, text = followed
    assert (folder / "verdict.png").read_bytes().startswith(b"\x89PNG")
    assert "verified" in text
    assert len(re.findall(r"^\d +macrophage +\d ", text, flags=re.M)) == 4  # verdicts of the layers


def test_exports_open_in_other_tools(followed: tuple[Path, str]) -> None:
    folder, _ = followed
    follow("how-to/export.md")
    alone = here("export", "runs/mine", "--out", "all.parquet")
    assert alone.returncode == 2
    assert "write --model scgpt" in alone.stderr
    graph = igraph.Graph.Read_GraphML(str(folder / "macrophage.graphml"))
    assert 0 < graph.ecount() <= 500
    assert (folder / "net.tsv").read_text().startswith("source\ttarget\n")
    assert (folder / "curated.tsv").read_text().splitlines()[1].endswith(("\t1", "\t-1"))


def test_a_damaged_run_is_repaired(followed: tuple[Path, str]) -> None:
    folder, _ = followed
    damaged = folder / "runs/mine/report/index.html"
    before = damaged.read_bytes()
    damaged.write_bytes(before[:-1])
    printed = follow("how-to/damaged-run.md")
    assert printed.count(damaged.name) >= 2
    assert damaged.read_bytes() == before


def test_a_network_of_ones_own_is_built_and_used(followed: tuple[Path, str]) -> None:
    folder, _ = followed
    follow("how-to/own-network.md")
    assert len(open_network(str(folder / "my_network")).edges) == 3
    assert (folder / "found.tsv").read_text().count("\n") == 4


def require_installable(line: str) -> None:
    """Ask pip what it would install."""
    words = shlex.split(line)
    assert words[:2] == ["pip", "install"]
    done = subprocess.run(
        [sys.executable, "-m", *words, "--dry-run"],
        cwd=DOCS.parent, capture_output=True, text=True, timeout=300, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "does not provide the extra" not in done.stdout + done.stderr


def test_the_readme_can_be_followed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its two commands are those of CI; every other command and line runs here, in their order."""
    text = (DOCS.parent / "README.md").read_text()
    blocks = re.findall(r"^```(\w+)\n(.*?)^```$", text, flags=re.M | re.S)
    assert [kind for kind, _ in blocks] == ["bash", "bash", "bash", "python", "bash", "bash"]
    scripts, install, commands, python, networks, cluster = [block for _, block in blocks]
    ci = (DOCS.parent / ".ci/run").read_text()
    for line in scripts.splitlines():
        assert line.partition("#")[0].strip() in ci
    require_installable(install)
    (job,) = cluster.splitlines()
    assert job.startswith("ray job submit ")  # tests/jobs/test_submit.py submits this line
    atlas, model = str(data("immune559.zarr")), str(checkpoint("scgpt-demo"))
    instead = {
        "my_atlas.zarr": atlas,
        "checkpoints/scGPT_human": model,
        "--config": "--config --small",
    }
    for old, new in instead.items():
        assert old in commands
        commands = commands.replace(old, new)
    monkeypatch.chdir(tmp_path)
    run_commands(commands.splitlines())
    (tmp_path / "runs/first/_SUCCESS").stat()
    instead = {
        '"scgpt"': '"scgpt-demo"',
        "T cell": "macrophage",
        "layer=4": "layer=2",
        "octopus/": "demo",
    }
    for old, new in instead.items():
        assert old in python
        python = python.replace(old, new)
    names: dict[str, Any] = {}
    with without_ray():
        exec(compile(python, "README.md", "exec"), names)
    assert len(names["top"]) == 500
    assert list(names["values"]) == ["STAT1", "IRF1"]
    assert set(names["pairs"]["direction"]) <= {"attends to", "attended to by"}
    assert len(names["edges"])
    assert (tmp_path / "runs/second/_SUCCESS").exists()
    run_commands(networks.splitlines())


def test_a_run_lives_in_a_bucket(small_config: Path, bucket: str, tmp_path: Path) -> None:
    tree = yaml.safe_load(small_config.read_text())
    tree["models"][0]["layers"] = [0]
    tree |= {"compare": None, "network": None, "edges": None, "execution": {"threads": 1}}
    (tmp_path / "run.yaml").write_text(yaml.safe_dump(tree))
    with inside(tmp_path):
        printed = follow(
            "how-to/object-store.md", {"s3://my-bucket": bucket, "--view lift": "--view logit"}
        )
    assert "verified" in printed
    assert (tmp_path / "lift.html").exists()
