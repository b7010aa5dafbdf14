"""What ends a run before it begins: one line that names cause and fix, soon, and `status` shows it.

Real Ray; workers fail in the ways that a broken installation makes them fail.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from octoscope.cluster.connect import ray_cluster
from octoscope.cluster.fleet import Group, RayFleet
from octoscope.config import parse_config
from octoscope.errors import OctoscopeError
from octoscope.models.families import load_model
from octoscope.planning.freeze import prepare

from tests.conftest import octoscope, small_tree
from tests.ports import free_ports

# An installed family: scGPT, but where and how it fails is written beside it.
PLUGIN = """
import os, sys
from pathlib import Path
from octoscope.models.scgpt import ScGPT

class Broken(ScGPT):
    @classmethod
    def load(cls, *given, **named):
        where, _, how = Path(__file__).with_name("fails").read_text().partition(" ")
        in_worker = Path(sys.argv[0]).name == "default_worker.py"
        if where == "everywhere" or (where == "worker" and in_worker):
            if how == "exit":
                os._exit(7)
            raise {"ValueError": ValueError, "ImportError": ImportError, "SystemExit": SystemExit,
                   "own": Own}[how]("no such layer\\nin this file")
        return super().load(*given, **named)

    def layer(self, *given, **named):
        if Path(__file__).with_name("fails").read_text() == "in layers":
            raise Own("no such layer\\nin this model")
        return super().layer(*given, **named)

class Own(Exception):  # the driver cannot read it
    def __init__(self, text):
        super().__init__(text, 1)
"""


def one_line(error: BaseException) -> str:
    text = str(error)
    assert "\n" not in text
    return text


@pytest.fixture(scope="module")
def plugin(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder for PYTHONPATH with the family `broken`, as pip would install it."""
    folder = tmp_path_factory.mktemp("plugin")
    (folder / "broken.py").write_text(PLUGIN)
    info = folder / "broken-0.1.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: broken\nVersion: 0.1\n")
    (info / "entry_points.txt").write_text("[octoscope.models]\nbroken = broken:Broken\n")
    (folder / "fails").write_text("nowhere")
    return folder


def broken_tree(atlas: Path) -> dict[str, Any]:
    tree = small_tree(atlas)
    tree["models"][0]["family"] = "broken"
    return tree


@pytest.fixture(scope="module")
def run(plugin: Path, small_atlas: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A planned run, and a connected local Ray whose workers find the plug-in."""
    before = os.environ.get("PYTHONPATH")
    os.environ["PYTHONPATH"] = os.pathsep.join([str(plugin), *filter(None, [before])])
    sys.path.insert(0, str(plugin))
    try:
        folder = tmp_path_factory.mktemp("start") / "run"
        root, _ = prepare(parse_config(broken_tree(small_atlas), "c"), str(folder))
        with ray_cluster():
            yield root.url
    finally:
        sys.path.remove(str(plugin))
        os.environ.pop("PYTHONPATH")
        if before is not None:
            os.environ["PYTHONPATH"] = before


def start(run: str, python: str | None = None, model: str | None = "tiny") -> tuple[str, float]:
    """Start a fleet that cannot start; returns what it says and how long it took."""
    import ray

    begun = time.monotonic()
    with pytest.raises(OctoscopeError) as caught:
        RayFleet(ray, run, {"tiny": Group(model, 1, python=python)}, start_timeout=120)
    return one_line(caught.value), time.monotonic() - begun


def wrapper(folder: Path, path: Path) -> str:
    """Return a Python whose modules of that folder come first."""
    program = folder / "python"
    program.write_text(f'#!/bin/sh\nPYTHONPATH="{path}:$PYTHONPATH" exec {sys.executable} "$@"\n')
    program.chmod(0o755)
    return str(program)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("how", "message"),
    [
        ("ValueError", "ValueError: no such layer in this file"),
        ("ImportError", "ImportError: no such layer in this file"),
        ("SystemExit", "SystemExit: no such layer in this file"),
        ("own", "Own: "),
    ],
)
def test_a_plug_in_that_raises_in_a_worker(run: str, plugin: Path, how: str, message: str) -> None:
    (plugin / "fails").write_text(f"worker {how}")
    text, seconds = start(run)
    assert "the plug-in broken failed: " + message in text
    assert "Check that the files are whole" in text
    assert "a worker of" not in text  # as the plug-in's failure is told, once
    assert seconds < 40


@pytest.mark.slow
def test_a_worker_whose_process_ends_as_it_starts(run: str, plugin: Path) -> None:
    (plugin / "fails").write_text("worker exit")
    text, seconds = start(run)
    assert "a worker of tiny cannot start: its process ended 3 times before it was ready" in text
    assert "Ray's logs of it (worker-*.err in /" in text
    assert seconds < 90


@pytest.mark.slow
def test_a_worker_that_imports_another_octoscope(run: str, tmp_path: Path) -> None:
    package = tmp_path / "path" / "octoscope"
    package.mkdir(parents=True)
    (package / "__init__.py").write_text("raise RuntimeError('a folder of mine')")
    text, seconds = start(run, wrapper(tmp_path, tmp_path / "path"))
    assert (
        "a worker of tiny cannot start: RuntimeError: a folder of mine. Install octoscope" in text
    )
    assert f"for {tmp_path}/python on every node" in text
    assert seconds < 40


@pytest.mark.slow
@pytest.mark.parametrize(
    ("python", "cause"),
    [("bare", "ModuleNotFoundError: No module named 'ray'"), ("none", "No such file or directory")],
)
def test_a_python_that_ray_cannot_start(run: str, tmp_path: Path, python: str, cause: str) -> None:
    python_path = str(tmp_path / "bare/bin/python")
    if python == "bare":
        command = [sys.executable, "-m", "venv", "--without-pip", str(tmp_path / "bare")]
        subprocess.run(command, check=True)
    text, seconds = start(run, python_path)
    assert f"a worker of tiny cannot start: {python_path}: {cause}" in text
    assert f"Install octoscope and what it needs for {python_path} on every node" in text
    assert seconds < 60


@pytest.mark.slow
def test_a_worker_that_starts_slowly_is_waited_for(run: str, plugin: Path, tmp_path: Path) -> None:
    import ray

    (plugin / "fails").write_text("nowhere")
    # beyond the time after which its Python is tried: that try succeeds
    program = tmp_path / "python"
    program.write_text(f'#!/bin/sh\nsleep 6\nexec {sys.executable} "$@"\n')
    program.chmod(0o755)
    fleet = RayFleet(ray, run, {"tiny": Group("tiny", 1, python=str(program))}, start_timeout=120)
    assert fleet.idle("tiny") == ["tiny.0"]
    fleet.stop()


def test_a_plug_in_that_raises_is_named_while_planning(
    plugin: Path, small_atlas: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(plugin)
    tree = broken_tree(small_atlas)
    for how in ("ValueError", "SystemExit"):
        (plugin / "fails").write_text(f"everywhere {how}")
        with pytest.raises(OctoscopeError, match=f"plug-in broken failed: {how}") as caught:
            prepare(parse_config(tree, "c"), str(tmp_path / "run"))
        one_line(caught.value)
        assert not (tmp_path / "run").exists()
    (plugin / "fails").write_text("nowhere")


def test_a_plug_in_that_cannot_be_imported_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    info = tmp_path / "absent-0.1.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: absent\nVersion: 0.1\n")
    (info / "entry_points.txt").write_text("[octoscope.models]\nabsent = absent_module:It\n")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(
        OctoscopeError, match=r"plug-in absent \(absent_module:It\) cannot be impor"
    ):
        load_model(tmp_path, family="absent")
    checkpoint = Path(small_tree(tmp_path)["models"][0]["path"])
    assert load_model(checkpoint, family="scgpt").n_layers  # the others work


# -- Ray itself


def failed(done: subprocess.CompletedProcess[str], run: Path) -> str:
    """Check that a command ended with 1 and one line; return the line, which `status` shows too."""
    assert done.returncode == 1, done.stdout + done.stderr
    (line,) = done.stderr.strip().splitlines()
    assert line.startswith("error: ")
    status = json.loads(octoscope("status", str(run), "--json").stdout)
    assert status["last driver"].startswith("failed, ")
    assert line == "error: " + status["error"]
    assert status["progress"]["error"] == status["error"]
    return line


@pytest.mark.slow
def test_the_command_line_ends_with_1_and_status_shows_why(
    small_atlas: Path, plugin: Path, tmp_path: Path
) -> None:
    config = tmp_path / "run.yaml"
    config.write_text(yaml.safe_dump(broken_tree(small_atlas)))
    run, (port,) = tmp_path / "run", free_ports(1)
    path = os.pathsep.join([str(plugin), *filter(None, [os.environ.get("PYTHONPATH")])])
    given = ("run", str(config), "--out", str(run))
    nowhere = octoscope(*given, env={"PYTHONPATH": path, "RAY_ADDRESS": f"127.0.0.1:{port}"})
    assert nowhere.returncode == 1
    assert not run.exists()  # before planning
    file = tmp_path / "file"
    file.write_text("")
    (plugin / "fails").write_text("nowhere")
    no_folder = octoscope(*given, env={"PYTHONPATH": path, "RAY_TMPDIR": str(file)})
    assert no_folder.returncode == 1
    assert not run.exists()
    folder = tmp_path / "place"  # can be written, but Ray's own folder in it cannot be made
    folder.mkdir()
    (folder / "ray").write_text("")
    no_ray = octoscope(*given, env={"PYTHONPATH": path, "RAY_TMPDIR": str(folder)})
    assert "Ray cannot start on this machine: " in failed(no_ray, run)
    nowhere = octoscope(
        "resume", str(run), "--address", f"127.0.0.1:{port}", env={"PYTHONPATH": path}
    )
    assert f"Ray at 127.0.0.1:{port}: no connection" in failed(nowhere, run)
    (plugin / "fails").write_text("worker ValueError")
    raised = octoscope(*given, env={"PYTHONPATH": path})
    assert "the plug-in broken failed: ValueError: no such layer" in failed(raised, run)
    (plugin / "fails").write_text("in layers")
    raised = octoscope("resume", str(run), env={"PYTHONPATH": path})
    assert "tiny: the first 3 tries failed, the last at units/tiny.c0" in (
        line := failed(raised, run)
    )
    assert "no such layer" in line
    (plugin / "fails").write_text("everywhere ValueError")
    planning = octoscope("resume", str(run), env={"PYTHONPATH": path})
    assert "the plug-in broken failed: ValueError: no such layer" in failed(planning, run)
    (plugin / "fails").write_text("nowhere")
