"""What napistu wrote and answered, and what is made of it here."""

from __future__ import annotations

import tarfile
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import yaml
from octoscope.errors import OctoscopeWarning
from octoscope.octopus.build import build_octopus
from octoscope.octopus.build_config import load_octopus_config
from octoscope.octopus.napistu.import_network import import_napistu
from octoscope.octopus.network import Network, open_network
from octoscope.octopus.network_schema import ROLE_CODE, ROLES
from octoscope.octopus.pairs import Edges
from octoscope.octopus.sources.annotation import Annotation
from octoscope.octopus.sources.annotation_files import read_annotation
from octoscope.octopus.sources.record import SourceRecord

FIXTURE = Path(__file__).parents[1] / "data" / "octopus"
BUNDLE = FIXTURE / "bundle" / "human_consensus_no_rxns.tar.gz"


def expected(name: str) -> pd.DataFrame:
    return pd.read_parquet(FIXTURE / "expected" / f"{name}.parquet")


@pytest.fixture(scope="session")
def raw(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("sources")
    with tarfile.open(FIXTURE / "raw.tar.gz") as archive:
        archive.extractall(folder, filter="data")
    return folder / "raw"


def build_tree(raw: Path, mode: str) -> dict[str, Any]:
    return {
        "name": "fixture",
        "mode": mode,
        "annotation": {"path": str(raw / "invented_id_map.tsv"), "as_source": False},
        "sources": {
            "STRING": {
                "links": str(raw / "string/9606.protein.links.full.v11.5.txt"),
                "aliases": str(raw / "string/9606.protein.aliases.v11.5.txt"),
                "release": "11.5",
            },
            "IntAct": {"path": str(raw / "intact")},
            "OmniPath": {"path": str(raw / "omnipath/omnipath_interactions.tsv")},
            "Reactome": {
                "sbml": str(raw / "reactome"),
                "pathways": str(raw / "reactome/pw_index.tsv"),
                "release": "73",
            },
            "Reactome-FI": {"path": str(raw / "reactome_fi/FIsInGene_with_annotations.txt")},
            "TRRUST": {"path": str(raw / "trrust/trrust_rawdata.human.tsv")},
        },
    }


def build_from(tree: dict[str, Any], folder: Path, loud: bool = False) -> Path:
    """Build; its warnings (the fixture's sources hardly meet its genes) are shown if asked for."""
    folder.mkdir(parents=True, exist_ok=True)
    config = folder / "build.yaml"
    config.write_text(yaml.safe_dump(tree))
    with warnings.catch_warnings():
        if not loud:
            warnings.simplefilter("ignore", OctoscopeWarning)
        build_octopus(load_octopus_config(config), folder / "octopus")
    return folder / "octopus"


@pytest.fixture(scope="session")
def built(raw: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    return {
        mode: build_from(build_tree(raw, mode), tmp_path_factory.mktemp(f"built-{mode}"))
        for mode in ("peer", "corrected")
    }


@pytest.fixture(scope="session")
def imported(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    top = tmp_path_factory.mktemp("imported")
    paths = {
        "bundle": BUNDLE,
        "reactions": FIXTURE / "bundle" / "human_consensus_reaction_vertices.tar.gz",
        "compartments": FIXTURE / "bundle" / "compartmentalized_reactome.tar.gz",
        "store": FIXTURE / "store",
    }
    out = {}
    for name, path in paths.items():
        for mode in ("peer", "corrected"):
            out[f"{name} {mode}"] = top / f"{name}-{mode}"
            with warnings.catch_warnings():  # one bundle has no genes
                warnings.simplefilter("ignore", OctoscopeWarning)
                import_napistu(path, top / f"{name}-{mode}", mode)  # type: ignore[arg-type]
    return out


@pytest.fixture(scope="session")
def peer(imported: dict[str, Path]) -> Network:
    return open_network(imported["bundle peer"])


@pytest.fixture(scope="session")
def annotation(raw: Path) -> Annotation:
    return read_annotation(raw / "invented_id_map.tsv")


def statements(record: SourceRecord) -> list[tuple[Any, ...]]:
    p = record.pairs
    assert p is not None
    return [
        tuple(sorted([(record.species[a], ROLES[r]), (record.species[b], ROLES[s])]))
        for a, b, r, s in zip(p.a, p.b, p.role_a, p.role_b, strict=True)
    ]


Row = tuple[int, int, str, str, bool, int, int, float]


def network_of(n: int, rows: list[Row], genes: list[tuple[str, int]] | None = None) -> Network:
    """A network in memory: src, dst, role of each, directed, sign, source (0 or 1), score."""
    columns = list(zip(*rows, strict=True)) if rows else [()] * 8
    size = len(rows)
    edges = Edges(
        np.array(columns[0], np.int32), np.array(columns[1], np.int32),
        np.array([ROLE_CODE[r] for r in columns[2]], np.uint8),
        np.array([ROLE_CODE[r] for r in columns[3]], np.uint8),
        np.array(columns[4], bool), np.array(columns[5], np.int8),
        np.array(columns[6], np.uint8), np.array(columns[7], np.float32),
        np.zeros(size, np.int32), np.arange(size, dtype=np.int32), np.full(size, -1, np.int32),
    )  # fmt: skip
    vertices = pd.DataFrame(
        {
            "vertex": range(n),
            "name": [f"v{i}" for i in range(n)],
            "label": [f"label {i}" for i in range(n)],
            "species_type": "protein",
        }
    )
    listed = genes if genes is not None else [(f"g{i}", i) for i in range(n)]
    table = pd.DataFrame(
        {"gene": [g for g, _ in listed], "vertex": [v for _, v in listed], "how": "x"}
    )
    return Network(vertices, table, edges, ["ONE", "TWO"])
