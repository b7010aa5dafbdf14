"""HDF5 files on which the library loops or crashes are refused, in one line and soon."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import h5py
import pytest
from octoscope import hdf5_guard
from octoscope.atlas.open_root import open_root
from octoscope.errors import InputError
from octoscope.hdf5_guard import require_stored, require_walkable
from octoscope.link_prediction.perturbation_h5ad import read_h5ad

from tests.conftest import make_adata
from tests.here import here


@pytest.fixture
def endless(tmp_path: Path) -> Path:
    """A file on which HDF5 does not return: an object of size 0 in a heap of text."""
    path = tmp_path / "a.h5ad"
    make_adata().write_h5ad(path)
    raw = bytearray(path.read_bytes())
    at = raw.index(b"GCOL") + 16
    raw[at : at + 64] = bytes(64)
    path.write_bytes(raw)
    return path


def test_a_file_on_which_hdf5_does_not_return_is_named(
    endless: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hdf5_guard, "STEP", 0.5)
    monkeypatch.setattr(hdf5_guard, "_HELPERS", {})
    done = here("atlas", "info", str(endless), "--quick")
    assert done.returncode == 2
    (line,) = done.stderr.strip().splitlines()
    assert f"{endless}: is damaged: HDF5 was still at one object" in line
    sound = endless.with_name("b.h5ad")
    make_adata().write_h5ad(sound)
    require_walkable(sound, "b.h5ad")  # a new helper is started


def test_effects_of_perturbations_are_opened_behind_the_guard(
    endless: Path,
) -> None:
    """Red: without the guard HDF5 does not return, and only the end of the process stops it."""
    script = (
        "from octoscope import hdf5_guard; hdf5_guard.STEP = 0.5\n"
        "from octoscope.link_prediction.perturbation_h5ad import read_h5ad\n"
        f"read_h5ad(__import__('pathlib').Path({str(endless)!r}))"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, timeout=60, check=False
    )
    assert f"{endless}: is damaged: HDF5 was still at one object" in done.stderr


def test_an_array_that_states_more_than_it_stores_is_named_before_it_is_read(
    tmp_path: Path,
) -> None:
    path = tmp_path / "a.h5ad"
    make_adata().write_h5ad(path)
    require_stored(path, "a.h5ad", ("obs", "var", "X"))
    with h5py.File(path, "a") as file:
        del file["obs/cell_type/codes"]
        file.create_dataset("obs/cell_type/codes", shape=(1 << 40,), dtype="i1", chunks=(1 << 16,))
    with pytest.raises(InputError, match="obs/cell_type/codes: states 1,099,511,627,776 bytes"):
        read_h5ad(path)


def test_a_file_behind_a_url_on_which_hdf5_does_not_return_is_named(
    endless: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hdf5_guard, "STEP", 0.5)
    monkeypatch.setattr(hdf5_guard, "_HELPERS", {})
    url = f"file://{endless}"
    with pytest.raises(InputError, match=f"{url}: is damaged: HDF5 was still at one object"):
        open_root(url)
    sound = endless.with_name("b.h5ad")
    make_adata().write_h5ad(sound)
    assert "obs" in open_root(f"file://{sound}")


def test_a_file_on_which_hdf5_crashes_is_named_and_another_end_says_nothing_of_the_file(
    tmp_path: Path,
) -> None:
    path = tmp_path / "a.h5ad"
    make_adata().write_h5ad(path)
    require_walkable(path, "a.h5ad")
    for number in (signal.SIGSEGV, signal.SIGTERM):
        helper = hdf5_guard._HELPERS[os.getpid()]
        helper.stdout.close()  # type: ignore[union-attr]
        helper.stdout = os.fdopen(os.open(os.devnull, os.O_RDONLY), "rb")
        helper.send_signal(number)  # as if it ended while it was asked
        if number == signal.SIGSEGV:
            with pytest.raises(InputError, match=r"a\.h5ad: is damaged: HDF5 crashes.*SIGSEGV"):
                require_walkable(path, "a.h5ad")
            require_walkable(path, "a.h5ad")
        else:
            require_walkable(path, "a.h5ad")


def test_pipes_are_not_opened(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "a.h5ad")
    done = here("atlas", "info", str(tmp_path / "a.h5ad"), "--quick")
    assert done.returncode == 2
    assert "is no regular file" in done.stderr
