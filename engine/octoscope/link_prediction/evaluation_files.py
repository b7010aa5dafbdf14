"""An evaluation as files: tables (``metrics.parquet`` and others) and ``evaluation.json``."""

from __future__ import annotations

from pathlib import Path

from octoscope.bounded_reads import read_bounded, read_parquet
from octoscope.errors import InputError, reading, reads
from octoscope.json_values import parse_json, to_json
from octoscope.link_prediction.calibration import CALIBRATION_COLUMNS, RELIABILITY_COLUMNS
from octoscope.link_prediction.evaluate_links import Evaluation
from octoscope.output_files import new_folder

FORMAT = "octoscope-link-evaluation/2"


def write_evaluation(evaluation: Evaluation, folder: str | Path) -> None:
    """Write an evaluation into a new folder, whole or not at all.

    Raises
    ------
    InputError
        If the folder exists or lies in something that is read.
    """
    with new_folder(folder) as hidden:
        for name in _COLUMNS:
            getattr(evaluation, name).to_parquet(hidden / f"{name}.parquet", index=False)
        about = {"format": FORMAT, **evaluation.about}
        (hidden / "evaluation.json").write_bytes(to_json(about))


_AGAIN = "evaluate again: `octoscope gnn evaluate ... --out FOLDER`"
_ABOUT = ("network", "split", "leak", "negatives", "test_edges", "checkpoints", "settings",
          "calibration")  # fmt: skip
_COLUMNS = {
    "metrics": (
        "negatives", "stratum", "group", "scorer", "kind", "metric", "value", "low", "high",
        "best_floor", "gain", "gain_low", "gain_high", "n_positives", "n_negatives", "n_vertices",
    ),
    "signs": (),
    "calibration": CALIBRATION_COLUMNS,
    "reliability": RELIABILITY_COLUMNS,
}  # fmt: skip


@reads(_AGAIN)
def read_evaluation(folder: str | Path) -> Evaluation:
    """Read an evaluation that :func:`write_evaluation` wrote.

    Raises
    ------
    InputError
        If the folder holds no evaluation, or a damaged one.
    """
    about_file = Path(folder) / "evaluation.json"
    if not about_file.is_file():
        raise InputError(str(folder), "is not the folder of an evaluation: no evaluation.json",
                         _AGAIN)  # fmt: skip
    about = parse_json(read_bounded(about_file))
    if not isinstance(about, dict) or about.get("format") != FORMAT:
        stated = about.get("format") if isinstance(about, dict) else type(about).__name__
        raise InputError(f"{about_file}: format", f"{stated!r} is not {FORMAT}", _AGAIN)
    if absent := [name for name in _ABOUT if name not in about]:
        raise InputError(f"{about_file}", f"{', '.join(absent)} missing", _AGAIN)
    tables = {}
    for name, columns in _COLUMNS.items():
        file = Path(folder) / f"{name}.parquet"
        with reading(file, _AGAIN):
            tables[name] = read_parquet(file)
        if absent := [c for c in columns if c not in tables[name]]:
            raise InputError(str(file), f"no column {', '.join(absent)}", _AGAIN)
    return Evaluation(about=about, **tables)
