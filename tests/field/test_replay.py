"""What the replay of field cases calls a fault, and what it compares."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import anndata as ad
import numpy as np
import pandas as pd
import pytest
import yaml
from scipy import sparse

from tests.field import atlas_values, network_values
from tests.field.__main__ import faults_of, result_of
from tests.field.replay import Call, Case
from tests.here import here

REFUSED = "bad input: /d/x.h5ad: obs: no column 'a'. Fix: name one of b"


def case(code: int = 0, err: str = "", **of_call: Any) -> Case:
    call = Call(["atlas", "info", "/d/x.h5ad"], code, "", err, **of_call)
    return Case("atlas/c.py", "a case", [call])


@pytest.mark.parametrize(
    ("wrong", "fault"),
    [
        (case(99, "Traceback"), "crashed"),
        (case(2, REFUSED.replace(" Fix:", " Do:")), "does not say what to do"),
        (case(2, REFUSED.replace("/d/x.h5ad: ", "")), "does not name the file"),
        (case(), "nothing compares its values"),
        (case(values={"cells": False, "genes": True}), "cells differ"),
    ],
    ids=["a crash", "no fix", "no file", "nothing compared", "another value"],
)
def test_each_kind_of_fault_is_told(wrong: Case, fault: str) -> None:
    assert [fault in f for f in faults_of(wrong)] == [True]


def test_a_refusal_in_full_and_an_equal_value_are_no_faults() -> None:
    assert faults_of(case(2, REFUSED)) == []
    assert faults_of(case(values={"cells": True})) == []


def test_a_file_that_only_the_configuration_names_counts_as_named(tmp_path: Path) -> None:
    config = tmp_path / "build.yaml"
    config.write_text(yaml.safe_dump({"sources": {"TRRUST": {"path": "/d/trrust.tsv"}}}))
    call = Call(["octopus", "build", str(config), str(tmp_path / "net")], 2, "", "")
    call.err = "bad input: /d/trrust.tsv: is empty. Fix: download it again"
    assert faults_of(Case("t.py", "a case", [call])) == []


def test_warnings_stand_in_the_table() -> None:
    warned = case(values={"cells": True}, err="warning: /d/x.h5ad: 3 names are unknown\n")
    assert result_of(warned) == "equal: cells; warns: x.h5ad: 3 names are unknown"


def test_another_answer_of_an_atlas_is_seen(tmp_path: Path) -> None:
    path = tmp_path / "a.h5ad"
    obs = pd.DataFrame({"kind": pd.Categorical(["p", "q", "q"])}, index=["c0", "c1", "c2"])
    counts = sparse.csr_matrix(np.array([[1, 0], [2, 1], [0, 5]], np.float32))
    ad.AnnData(counts, obs, pd.DataFrame(index=["g0", "g1"])).write_h5ad(path)
    answer = (
        '{"cells": 3, "genes": 2, "counts": "X", "genes dropped or merged": 0, '
        '"mean counts per cell": 3.0, "mean genes per cell": 1.3, '
        '"cells of p": 1, "cells of q": 2}'
    )
    arguments = ["atlas", "info", str(path), "--category", "kind"]
    assert all(atlas_values.compared(arguments, answer).values())
    for right, wrong in [
        ('cells": 3', 'cells": 4'),
        ('genes": 2', 'genes": 3'),
        ("3.0", "3.1"),
        ("1.3", "1.4"),
        ('p": 1', 'p": 3'),
    ]:
        other = atlas_values.compared(arguments, answer.replace(right, wrong))
        assert list(other.values()).count(False) == 1, other


def test_another_edge_or_sign_of_a_network_is_seen(tmp_path: Path) -> None:
    """The list of the case ``plus`` has two signed rows; each change below is another network."""
    genes = pd.DataFrame({"symbol": ["GNX00", "GNX01", "GNX02", "GNX03"]})
    genes["ensembl_gene"] = [f"ENSG00000990{i:03d}" for i in range(4)]
    genes.to_csv(tmp_path / "ids.tsv", sep="\t", index=False)
    rows = ["source\ttarget\tsign", "GNX00\tGNX01\t+", "GNX02\tGNX03\t-"]
    answers = []
    for change in (("", ""), ("GNX03\t-", "GNX03\t+"), ("GNX02\tGNX03", "GNX03\tGNX02")):
        (tmp_path / "net.tsv").write_text("\n".join(rows).replace(*change) + "\n")
        config, network = tmp_path / "build.yaml", tmp_path / "oct-plus"
        settings = {
            "name": "t",
            "sources": {"edge_lists": [{"name": "mine", "path": str(tmp_path / "net.tsv")}]},
            "annotation": {"path": str(tmp_path / "ids.tsv")},
        }
        config.write_text(yaml.safe_dump(settings))
        arguments = ["octopus", "build", str(config), str(network)]
        assert here(*arguments).returncode == 0
        answers.append(network_values.compared(arguments, here))
        shutil.rmtree(network)
    assert answers == [
        {"edges": True, "signs": True},
        {"edges": True, "signs": False},
        {"edges": False, "signs": True},
    ]
