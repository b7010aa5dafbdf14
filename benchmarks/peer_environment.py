"""Virtual environments of peers: made once, apart from ours (their pins conflict with ours)."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

NAPISTU = ("torch==2.13.0", "napistu-torch==0.4.0", "torch-geometric", "lightning")


def python_of(name: str, requirements: tuple[str, ...]) -> Path:
    """Return the Python of a peer's environment, made under the user's cache if it is not there."""
    home = Path(os.environ.get("OCTOSCOPE_PEERS", Path.home() / ".cache/octoscope/peers"))
    folder = home / name
    python, done = folder / "bin/python", folder / "installed"
    if not done.exists():
        print(f"installing {' '.join(requirements)} into {folder}", file=sys.stderr)
        subprocess.run([sys.executable, "-m", "venv", str(folder)], check=True)
        install = [str(python), "-m", "pip", "install", "-q", *requirements]
        subprocess.run(install, check=True, timeout=900)
        done.touch()
    return python


def napistu() -> Path:
    """Return the Python that has napistu-torch 0.4.0."""
    return python_of("napistu-torch-0.4.0", NAPISTU)
