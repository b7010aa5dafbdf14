"""Which of OmniPath's resources infer interactions from gene expression."""

from __future__ import annotations

import numpy as np
import pandas as pd

# OmniPath's column `sources` joins the names of a row's resources with semicolons. RESOURCE_OTHER
# is what OTHER took from RESOURCE: TRRUST_DoRothEA is curated, ARACNe-GTEx_DoRothEA is inferred.
#
# ARACNe-GTEx is the mutual information of expression in GTEx (ARACNe), the one component of
# DoRothEA of the evidence "inferred": inst/scripts/04_inferred.R, 05_consensus.R of
# saezlab/dorothea. pypath/inputs/dorothea.py gives it this name; OmnipathR's list of resources has
# it as ARACNe-GTEx_DoRothEA, tables before 2020 as ARACNe-GTEx.
FROM_EXPRESSION = ("ARACNe-GTEx",)
# DoRothEA without a component does not tell curated from inferred. Level E is predictions alone:
# motifs or expression. Every pair of the levels A to D is curated or from ChIP-seq
# (05_consensus.R), so DoRothEA_A to DoRothEA_D and DoRothEA-A_CollecTRI are not in the list.
UNDIVIDED = ("DoRothEA", "DoRothEA_E")


def inferred_from_expression(sources: pd.Series[str]) -> pd.arrays.BooleanArray:
    """Tell of each row whether all of its resources infer interactions from expression.

    Parameters
    ----------
    sources
        [rows] text: names joined by semicolons. Null: not known. Empty: no resource states the row.

    Returns
    -------
    BooleanArray
        [rows]; NA where the resources are not known.
    """
    codes, distinct = pd.factorize(sources.to_numpy(dtype=object))
    # the last entry answers the code -1 of rows without resources
    answers = np.array([*(_only_expression(str(names)) for names in distinct), False])
    return pd.arrays.BooleanArray(answers[codes], codes < 0)


def _only_expression(names: str) -> bool:
    resources = [name.strip() for name in names.split(";") if name.strip()]
    return bool(resources) and all(
        name in UNDIVIDED or any(name == x or name.startswith(f"{x}_") for x in FROM_EXPRESSION)
        for name in resources
    )
