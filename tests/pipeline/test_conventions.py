"""The peer's conventions in a run's own tables, beside what their definition gives."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from octoscope.analysis.pairings import MatrixRef, reader
from octoscope.analysis.registry import Context
from octoscope.analysis.tables.agreement_tables import AGREEMENT, AGREEMENT_ANALYSIS
from octoscope.config import parse_config
from octoscope.extract.matrix_work import MatrixRunner
from octoscope.extract.unit_work import UnitRunner
from octoscope.planning.freeze import prepare
from octoscope.planning.frozen_config import run_config
from octoscope.results.run_matrices import RunMatrices
from octoscope.run_plan import Block

from tests.analysis.matrices import dense
from tests.conftest import small_tree

K = 30


@pytest.mark.parametrize("conventions", ["peer", "corrected"])
def test_ranks_of_a_run_count_what_its_conventions_say(
    small_atlas: Path, tmp_path: Path, conventions: str
) -> None:
    tree = small_tree(small_atlas) | {"views": ["logit"], "network": None, "edges": None}
    tree["compare"] = {"k": [K], "conventions": conventions, "consensus": False}
    root, plan = prepare(parse_config(tree, "c"), str(tmp_path / "run"))
    runner, matrices = UnitRunner(root, plan, run_config(root), "tiny"), MatrixRunner(root, plan)
    for unit in (u for u in plan.units if u.category == 0):
        runner.run(unit)
    matrices.pairs("tiny", 0)
    for layer in (0, 2):
        matrices.matrix("tiny", 0, layer)
    run = RunMatrices(root.url)
    context = Context(run, [Block("tiny", 0)], scheduler="synchronous")
    table = dict(AGREEMENT_ANALYSIS.compute(context))[AGREEMENT]
    row = table[(table["query_layer"] == 0) & (table["eval_layer"] == 2)].iloc[0]

    m = plan.model("tiny")
    genes = tuple(m.axis)
    of = [
        dense(reader(RunMatrices(root.url), 0, MatrixRef("tiny", y, "logit"), genes)())
        for y in (0, 2)
    ]
    off = ~np.eye(len(genes), dtype=bool)
    chosen = np.zeros(off.shape, bool)
    for values, eligible in of:
        kth = np.sort(values[eligible & off])[-plan.top_k]
        chosen |= (values >= kth) & eligible & off
    of_halves = []
    for values, eligible in of:
        counted = eligible if conventions == "peer" else eligible & off
        ranks = np.array([1 + (values[counted] > v).sum() for v in values[chosen]])
        of_halves.append((ranks, counted.sum()))
    strongest = of_halves[0][0] <= K
    assert row["n_pairs"] == strongest.sum()
    expected = np.median(of_halves[1][0][strongest] / of_halves[1][1])
    assert row["median_quantile"] == pytest.approx(expected, rel=1e-12)
    if conventions == "peer":
        assert strongest.sum() != K  # pairs of a gene with itself take places among the K
