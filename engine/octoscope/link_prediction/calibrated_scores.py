"""Calibrated probabilities beside the scores of ``octoscope gnn score``."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
from scipy.special import expit

from octoscope.errors import InputError
from octoscope.gnn.gnn_checkpoint import Checkpoint
from octoscope.link_prediction.calibration import ALL, Calibration, calibration_from
from octoscope.link_prediction.evaluation_files import read_evaluation

COLUMN = "calibrated"


def calibration_of(checkpoint: Checkpoint, folder: str | Path) -> Calibration:
    """Return the calibration of a checkpoint from an evaluation.

    Parameters
    ----------
    folder
        That ``octoscope gnn evaluate`` wrote.

    Raises
    ------
    InputError
        If the folder holds no evaluation, or none of this checkpoint (by the SHA-256 of its
        weights), or it had too few edges to calibrate.
    """
    about = read_evaluation(folder).about
    fix = "evaluate this checkpoint: `octoscope gnn evaluate NETWORK CHECKPOINT --out FOLDER`"
    names = [c["name"] for c in about["checkpoints"] if c["sha256"] == checkpoint.digest]
    if not names:
        raise InputError(str(folder), f"did not evaluate {checkpoint.path}", fix)
    if names[0] not in about["calibration"]:
        raise InputError(str(folder), "has too few validation or test edges for a calibration", fix)
    return calibration_from(about["calibration"][names[0]], str(folder))


def with_calibrated(
    table: pd.DataFrame, checkpoint: Checkpoint, calibration: Calibration
) -> pd.DataFrame:
    """Return scores of pairs with ``calibrated`` behind each ``probability``.

    Parameters
    ----------
    table
        Of :func:`octoscope.gnn.score_table.score_table`, in corrected mode. A column of the user's
        with the name of a new one gets ``_given`` behind its name.
    """
    # as in checkpoint_scores: raw scores of conditional RotatE do not compare across relations
    source = "probability" if checkpoint.head.kind == "conditional_rotate" else "raw"
    for ending in ("", "_all", "_train", "_left_out"):
        if f"probability{ending}" not in table:
            continue
        relation = table[f"relation{ending}"].astype(object).to_numpy()
        relation = np.where(pd.isna(relation), ALL, relation)
        score = table[f"{source}{ending}"].to_numpy(float)
        new, given = f"{COLUMN}{ending}", f"{COLUMN}{ending}_given"
        while given in table:
            given += "_given"
        table = table.rename(columns={new: given})
        at = list(table.columns).index(f"probability{ending}")
        table.insert(at + 1, new, expit(calibration.log_odds(score, relation)))
    return table
