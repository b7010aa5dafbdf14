"""What the page says about inputs that were changed on reading."""

from __future__ import annotations

import shutil
from pathlib import Path

import yaml
from octoscope.report.page import page
from octoscope.results.run_results import Results

RUN = Path(__file__).parents[1] / "data/stores/plan-3"


def test_rounded_counts_are_declared(tmp_path: Path) -> None:
    """Red: figures of corrected counts stand there like those of counts."""
    root = Path(shutil.copytree(RUN, tmp_path / "run"))
    assert "were rounded" not in page(Results.open(root)).decode()
    file = root / "config.yaml"
    settings = yaml.safe_load(file.read_text())
    settings["atlas"] |= {"counts": "X", "fractional_counts": "round"}
    file.write_text(yaml.safe_dump(settings))
    text = page(Results.open(root)).decode()
    assert "Counts in X are not whole numbers; they were rounded" in text
