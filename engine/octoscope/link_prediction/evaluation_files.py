"""An evaluation as files: ``metrics.parquet``, ``signs.parquet``, ``evaluation.json``."""

from __future__ import annotations

from pathlib import Path

from octoscope.json_values import to_json
from octoscope.link_prediction.evaluate_links import Evaluation
from octoscope.output_files import new_folder

FORMAT = "octoscope-link-evaluation/1"


def write_evaluation(evaluation: Evaluation, folder: str | Path) -> None:
    """Write an evaluation into a new folder, whole or not at all.

    Raises
    ------
    InputError
        If the folder exists or lies in something that is read.
    """
    with new_folder(folder) as hidden:
        evaluation.metrics.to_parquet(hidden / "metrics.parquet", index=False)
        evaluation.signs.to_parquet(hidden / "signs.parquet", index=False)
        about = {"format": FORMAT, **evaluation.about}
        (hidden / "evaluation.json").write_bytes(to_json(about))
