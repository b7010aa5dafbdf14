"""OmniPath's resources that infer from expression, and what the independent view makes of them."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest
import yaml
from octoscope.errors import InputError
from octoscope.octopus.build import build_octopus
from octoscope.octopus.build_config import load_octopus_config
from octoscope.octopus.network import Network, open_network
from octoscope.octopus.network_info import summary
from octoscope.octopus.network_schema import NOT_KNOWN
from octoscope.octopus.network_views import (
    INDEPENDENT,
    View,
    network_summary,
    not_known_text,
    view,
)
from octoscope.octopus.omnipath_resources import inferred_from_expression

from tests.here import here

A, B, C, D = "P35557", "O95336", "P35558", "P04637"
ARACNE = "ARACNe-GTEx_DoRothEA;DoRothEA"
# source, target, stimulation, resources; whether the independent view keeps the row
ROWS = [
    (A, B, 1, "HPRD;SIGNOR", True),
    (A, C, 1, ARACNE, False),
    (A, D, 1, f"{ARACNE};TRRUST_DoRothEA", True),
    (B, C, 1, "DoRothEA", False),
    (B, D, 1, "DoRothEA_A", True),
    (C, A, 1, "ARACNe-GTEx", False),
    (C, B, 1, "DoRothEA-A_CollecTRI;CollecTRI", True),
    (C, D, 1, ARACNE, False),  # the next row states it too: the reaction stays, with that evidence
    (C, D, 1, "PAZAR_DoRothEA;DoRothEA", True),
    (D, A, 1, ARACNE, False),
    (D, A, 0, "ORegAnno", True),  # another role: another reaction
    (f"COMPLEX:{A}_{B}", C, 1, "SIGNOR", True),
]


def table_of(folder: Path, rows: list[tuple[str, str, int, str, bool]], sources: bool) -> Path:
    head = ["source", "target", "is_directed", "is_stimulation", "is_inhibition"]
    lines = [
        [a, b, "1", str(up), "0", *([names] if sources else [])] for a, b, up, names, _ in rows
    ]
    path = folder / "omnipath.tsv"
    path.write_text("".join("\t".join(x) + "\n" for x in [head + ["sources"] * sources, *lines]))
    return path


def built(
    folder: Path, rows: list[tuple[str, str, int, str, bool]] = ROWS, *, sources: bool = True,
    mode: str = "corrected", own: bool = False,
) -> Path:  # fmt: skip
    """Build a network of OmniPath rows and, on request, of an edge list ``mine``."""
    folder.mkdir(exist_ok=True)
    tree: dict[str, object] = {"OmniPath": {"path": str(table_of(folder, rows, sources))}}
    if own:
        (folder / "mine.tsv").write_text(f"source\ttarget\tdirected\n{A}\t{D}\ttrue\n")
        tree["edge_lists"] = [{"name": "mine", "path": str(folder / "mine.tsv"), "ids": "uniprot"}]
    ids = folder / "ids.tsv"
    genes = [f"{x}\tENSG0000000000{i}" for i, x in enumerate((A, B, C, D))]
    ids.write_text("\n".join(["uniprot\tensembl_gene", *genes]) + "\n")
    config = folder / "build.yaml"
    body = {"name": "small", "mode": mode, "annotation": {"path": str(ids)}, "sources": tree}
    config.write_text(yaml.safe_dump(body))
    build_octopus(load_octopus_config(config), folder / "octopus")
    return folder / "octopus"


def stated(network: Network) -> list[tuple[str, str, str]]:
    """Return source, target and resources of OmniPath's assertions."""
    table = pd.read_parquet(network.folder / "evidence/OmniPath.parquet")  # type: ignore[operator]
    label = network.vertices["label"].to_numpy()
    e = network.edges
    return sorted(zip(label[e.src], label[e.dst], table["sources"][e.evidence], strict=True))


@pytest.mark.parametrize(
    ("names", "inferred"),
    [
        ("ARACNe-GTEx_DoRothEA", True),
        ("DoRothEA; ARACNe-GTEx_DoRothEA", True),
        ("ARACNe-GTEx", True),
        ("DoRothEA_E", True),
        ("DoRothEA", True),
        ("DoRothEA_D", False),
        ("DoRothEA-A_CollecTRI", False),
        ("DoRothEA-reviews_DoRothEA", False),
        ("TRRUST_DoRothEA", False),
        ("ReMap_DoRothEA;ARACNe-GTEx_DoRothEA", False),
        ("HOCOMOCO_DoRothEA;DoRothEA", False),
        ("CollecTRI", False),
        ("", False),
    ],
)
def test_a_resource_of_another_keeps_its_own_kind(names: str, inferred: bool) -> None:
    flags = inferred_from_expression(pd.Series([names, None, names]))
    assert flags.isna().tolist() == [False, True, False]
    assert [bool(flags[0]), bool(flags[2])] == [inferred, inferred]
    assert len(inferred_from_expression(pd.Series([], dtype=object))) == 0


@pytest.mark.parametrize("mode", ["corrected", "peer"])
def test_rows_inferred_from_expression_alone_leave(tmp_path: Path, mode: str) -> None:
    network = open_network(built(tmp_path, mode=mode))
    kept = view(network, INDEPENDENT)
    complexed = f"COMPLEX:{A}_{B}"
    members = [(x, complexed, "") for x in (A, B)]  # stated by the complex's name
    expected = [(a, b, names) for a, b, _, names, keep in ROWS if keep]
    remaining = stated(kept)
    if mode == "peer":  # each directed row also in reverse, with the same resources
        expected += [(b, a, names) for a, b, names in expected]
    assert remaining == sorted(expected + members)
    assert len(network.edges) > len(remaining)
    assert NOT_KNOWN not in kept.meta
    assert stated(view(network, View(curated_only=True))) == stated(network)
    rows = network.meta["sources"]["OmniPath"]["rows"]
    assert rows["noted"]["row inferred from expression alone"] == sum(not r[4] for r in ROWS)
    assert rows["read"] == rows["kept"] == len(ROWS)


def test_what_is_not_known_is_said(tmp_path: Path) -> None:
    without = built(tmp_path / "without", sources=False)
    kept = view(open_network(without), INDEPENDENT)
    assert len(kept.edges) == len(open_network(without).edges)  # nothing tells what to leave out
    assert kept.meta[NOT_KNOWN] == ["OmniPath"]
    assert summary(kept)["not known to be independent"] == "OmniPath"
    assert "not known to be independent" not in summary(open_network(without))
    rows = [*ROWS[:3], (*ROWS[3][:3], "", True)]
    blank = view(open_network(built(tmp_path / "blank", rows)), INDEPENDENT)
    assert blank.meta[NOT_KNOWN] == ["OmniPath"]  # of one row
    assert len(blank.edges) == 3
    assert view(blank, View(signed=True)).meta[NOT_KNOWN] == ["OmniPath"]


def test_own_edge_lists_are_not_known(tmp_path: Path) -> None:
    network = open_network(built(tmp_path / "one", own=True))
    kept = view(network, INDEPENDENT)
    assert kept.meta[NOT_KNOWN] == ["mine"]
    assert NOT_KNOWN not in view(kept, View(without_sources=("mine",))).meta
    assert NOT_KNOWN not in view(network, View(directed=True)).meta
    assert NOT_KNOWN not in network.meta
    both = view(open_network(built(tmp_path / "two", sources=False, own=True)), INDEPENDENT)
    assert both.meta[NOT_KNOWN] == ["OmniPath", "mine"]
    text = not_known_text(both.meta[NOT_KNOWN])
    assert text.startswith("independent: the resources of OmniPath's rows are not known")
    assert text.endswith("what mine rests on is not known; co-expression may be part of it")
    assert "OmniPath" not in not_known_text(["mine"])


def test_a_summary_names_what_is_not_known_and_else_is_as_before(tmp_path: Path) -> None:
    path = str(built(tmp_path, own=True))
    plain = {"name", "vertices", "pairs", "sha256", "notes"}
    assert network_summary(path, None, True)[NOT_KNOWN] == ["mine"]
    assert set(network_summary(path, None, False)) == plain
    assert set(network_summary(path, ["OmniPath"], True)) == plain
    assert set(network_summary("demo", None, False)) == plain
    assert network_summary("demo", None, True)[NOT_KNOWN] == ["OmniPath"]


def test_an_imported_bundle_does_not_tell_omnipaths_resources(
    peer: Network, imported: dict[str, Path]
) -> None:
    assert view(peer, INDEPENDENT).meta[NOT_KNOWN] == ["OmniPath"]
    with pytest.raises(InputError, match="sources of its edges are not known"):
        view(open_network(imported["reactions corrected"]), INDEPENDENT)


@pytest.mark.slow
@pytest.mark.filterwarnings("default::octoscope.errors.OctoscopeWarning")
def test_the_command_line_says_what_is_not_known(tmp_path: Path) -> None:
    known = here("octopus", "info", str(built(tmp_path)), "--independent", "--json")
    assert known.returncode == 0, known.stderr
    assert "independent" not in known.stdout + known.stderr
    completed = here("octopus", "info", "demo", "--independent")
    assert "not known to be independent" in completed.stdout
    assert (
        "warning: independent: the resources of OmniPath's rows are not known" in completed.stderr
    )
