"""What is installed: one import name, its command, its families, its types."""

from __future__ import annotations

import configparser
import subprocess
import sys
import sysconfig
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
FAMILIES = {
    "aidocell", "geneformer", "nicheformer", "scfoundation", "scgpt", "scprint", "scprint2"
}  # fmt: skip
USER = """
from octoscope.errors import InputError

error = InputError("file", "is empty", "give another")
reveal_type(error.where)
InputError(1)
"""


def build(kind: str, into: Path) -> Path:
    """Build a wheel as pip does; returns its path."""
    code = f"import sys, hatchling.build as b; print(b.build_{kind}(sys.argv[1]))"
    done = subprocess.run(
        [sys.executable, "-c", code, str(into)],
        cwd=ROOT, capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return into / done.stdout.split()[-1]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build("wheel", tmp_path_factory.mktemp("wheel"))


def test_the_wheel_holds_one_package_and_its_metadata(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as files:
        names = files.namelist()
        (info,) = {n.split("/")[0] for n in names if ".dist-info/" in n}
        entries = configparser.ConfigParser()
        entries.read_string(files.read(f"{info}/entry_points.txt").decode())
    assert {n.split("/")[0] for n in names} == {"octoscope", info}
    assert "octoscope/py.typed" in names
    assert "octoscope/report/templates/report.html.j2" in names
    assert any(n.startswith("octoscope/demo/data/immune559.zarr/") for n in names)
    assert dict(entries["console_scripts"]) == {"octoscope": "octoscope.cli:main"}
    families = dict(entries["octoscope.models"])
    assert set(families) == FAMILIES
    for package in families.values():
        module = package.split(":")[0].replace(".", "/")
        assert f"{module}.py" in names


def test_an_editable_install_shows_the_same_package_alone(tmp_path: Path) -> None:
    with zipfile.ZipFile(build("editable", tmp_path)) as files:
        (pth,) = [n for n in files.namelist() if n.endswith(".pth")]
        folder = Path(files.read(pth).decode().strip())
    assert folder == ROOT / "engine"
    names = {p.name for p in folder.iterdir() if p.name != "__pycache__"}
    assert {n for n in names if not n.startswith(".")} == {"octoscope"}
    assert (folder / "octoscope" / "py.typed").is_file()


@pytest.mark.slow
def test_a_users_type_checker_sees_types(wheel: Path, tmp_path: Path) -> None:
    environment = tmp_path / "venv"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(environment)], check=True)
    packages = sysconfig.get_paths("venv", vars={"base": str(environment)})["purelib"]
    with zipfile.ZipFile(wheel) as files:
        files.extractall(packages)
    (tmp_path / "user.py").write_text(USER)
    done = subprocess.run(
        [
            sys.executable, "-m", "mypy", "--python-executable", f"{environment}/bin/python",
            "--config-file=", "--cache-dir", str(tmp_path / "cache"), "user.py",
        ],
        cwd=tmp_path, capture_output=True, text=True, timeout=300, check=False,
    )  # fmt: skip
    assert 'Revealed type is "str"' in done.stdout.replace("builtins.", ""), done.stdout
    assert "Missing positional arguments" in done.stdout
    assert 'incompatible type "int"' in done.stdout
    assert "py.typed" not in done.stdout
