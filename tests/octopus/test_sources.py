"""Each reader against what the peer's converter made of the same files."""

from __future__ import annotations

import gzip
import tarfile
import zipfile
from collections import Counter
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import yaml
from octoscope.errors import InputError
from octoscope.octopus.build_config import load_octopus_config
from octoscope.octopus.network_schema import ROLES
from octoscope.octopus.reading_notes import reading_notes
from octoscope.octopus.sources.annotation import Annotation
from octoscope.octopus.sources.intact import read_intact
from octoscope.octopus.sources.omnipath import read_omnipath
from octoscope.octopus.sources.reactome import read_reactome
from octoscope.octopus.sources.reactome_fi import read_reactome_fi
from octoscope.octopus.sources.record import SourceRecord
from octoscope.octopus.sources.string import read_string
from octoscope.octopus.sources.trrust import read_trrust

from tests.octopus.conftest import expected, statements


def read(name: str, raw: Path, annotation: Annotation, mode: Any) -> SourceRecord:
    folder = raw / "string"
    return {
        "STRING": lambda: read_string(
            folder / "9606.protein.links.full.v11.5.txt",
            folder / "9606.protein.aliases.v11.5.txt", "11.5", mode,
        ),
        "TRRUST": lambda: read_trrust(raw / "trrust/trrust_rawdata.human.tsv", annotation, "2"),
        "Reactome-FI": lambda: read_reactome_fi(
            raw / "reactome_fi/FIsInGene_with_annotations.txt", annotation, "2025", mode
        ),
        "OmniPath": lambda: read_omnipath(
            raw / "omnipath/omnipath_interactions.tsv", annotation, "web", mode
        ),
        "IntAct": lambda: read_intact(raw / "intact", "2025", mode),
    }[name]()  # fmt: skip


def test_every_row_is_kept_merged_or_dropped(raw: Path, annotation: Annotation) -> None:
    for name in ("STRING", "TRRUST", "Reactome-FI", "OmniPath", "IntAct"):
        for mode in ("peer", "corrected"):
            t = read(name, raw, annotation, mode).counts
            assert t.read == t.kept + t.merged + sum(t.dropped.values()) > 0, (name, mode)
    t = read_reactome(raw / "reactome", raw / "reactome/pw_index.tsv", "73").counts
    assert t.read == t.kept + t.merged + sum(t.dropped.values()) == 111


@pytest.mark.parametrize("name", ["STRING", "TRRUST", "Reactome-FI", "OmniPath", "IntAct"])
def test_pairs_equal_the_peers(name: str, raw: Path, annotation: Annotation) -> None:
    record = read(name, raw, annotation, "peer")
    want = expected(f"source_reaction_species_{name}")
    theirs = [
        tuple(sorted(zip(g["s_name"], g["sbo_name"], strict=True)))
        for _, g in want.groupby("r_id", sort=True)
    ]
    assert Counter(statements(record)) == Counter(theirs)
    assert len(record.species) == want["s_id"].nunique()
    flags = want.drop_duplicates("r_id")["r_isreversible"]
    assert record.pairs is not None
    assert record.pairs.reversible.sum() == flags.sum()


@pytest.mark.parametrize("name", ["STRING", "Reactome-FI", "OmniPath", "IntAct"])
def test_evidence_equals_the_peers(name: str, raw: Path, annotation: Annotation) -> None:
    record = read(name, raw, annotation, "peer")
    assert record.evidence is not None
    ours = record.evidence.to_pandas()
    members = expected(f"source_reaction_species_{name}").groupby("r_id", sort=True)
    keys = {r: tuple(sorted(zip(g["s_name"], g["sbo_name"], strict=True))) for r, g in members}
    data = expected(f"source_reactions_data_{name}").set_index("r_id")
    columns = list(data.columns)
    assert set(columns) <= set(ours.columns)

    def rounded(row: Any) -> tuple[float, ...]:
        return tuple(round(float(x), 5) for x in row)

    mine = Counter(zip(statements(record), map(rounded, ours[columns].to_numpy()), strict=True))
    theirs = Counter((keys[r], rounded(row)) for r, row in zip(data.index, data.to_numpy(),
                                                               strict=True))  # fmt: skip
    assert mine == theirs


def test_reactome_equals_the_peers_row_by_row(raw: Path) -> None:
    record = read_reactome(raw / "reactome", raw / "reactome/pw_index.tsv", "73")
    x, want = record.reactions, expected("source_reaction_species_Reactome")
    assert x is not None
    ours = Counter(
        (x.name[r], record.species[s], ROLES[o], a)
        for r, s, o, a in zip(x.reaction, x.species, x.role, x.stoichiometry, strict=True)
    )
    theirs = Counter(
        zip(want["r_name"], want["s_name"], want["sbo_name"], want["stoichiometry"], strict=True)
    )
    assert ours == theirs
    assert len(x.name) == 83
    assert len(record.species) == 129
    assert record.pathways is not None
    assert record.pathways["pathway"].nunique() == 4


def test_corrected_readers_state_each_row_once(raw: Path, annotation: Annotation) -> None:
    omnipath = read("OmniPath", raw, annotation, "corrected")
    assert omnipath.pairs is not None
    assert len(omnipath.pairs) == 200
    fi = read("Reactome-FI", raw, annotation, "corrected")
    table = pd.read_csv(raw / "reactome_fi/FIsInGene_with_annotations.txt", sep="\t")
    undirected = table["Direction"] == "-"
    assert fi.pairs is not None
    assert fi.pairs.reversible.sum() == undirected.sum()
    two = table["Direction"].isin(["<->", "|-|", "|->", "<-|"]).sum()
    assert len(fi.pairs) == len(table) + two


def test_compressed_files_and_parquet_read_the_same(
    raw: Path, annotation: Annotation, tmp_path: Path
) -> None:
    links = raw / "string/9606.protein.links.full.v11.5.txt"
    packed = tmp_path / "links.txt.gz"
    packed.write_bytes(gzip.compress(links.read_bytes()))
    aliases = raw / "string/9606.protein.aliases.v11.5.txt"
    a, b = (read_string(p, aliases, "11.5", "peer") for p in (links, packed))
    assert statements(a) == statements(b)
    archive = tmp_path / "human.zip"
    with zipfile.ZipFile(archive, "w") as z:
        for file in sorted((raw / "intact").glob("*.xml")):
            z.writestr(f"human/{file.name}", file.read_bytes())
    one, two = (read_intact(p, "x", "corrected") for p in (raw / "intact", archive))
    assert statements(one) == statements(two)
    table = pd.read_csv(raw / "omnipath/omnipath_interactions.tsv", sep="\t")
    table.to_parquet(tmp_path / "omnipath.parquet")
    read_again = read_omnipath(tmp_path / "omnipath.parquet", annotation, "x", "corrected")
    assert statements(read_again) == statements(read("OmniPath", raw, annotation, "corrected"))


def test_a_pathway_cut_in_half_is_left_out_and_named(raw: Path, tmp_path: Path) -> None:
    folder = tmp_path / "reactome"
    folder.mkdir()
    for file in (raw / "reactome").glob("*.sbml"):
        (folder / file.name).write_bytes(file.read_bytes())
    cut = folder / "reactome_tca.sbml"
    cut.write_bytes(cut.read_bytes()[: cut.stat().st_size // 2])
    record = read_reactome(folder, raw / "reactome/pw_index.tsv", "73")
    assert record.counts.noted["pathway file that cannot be read"] == 1
    entry = {"rows": record.counts.as_json()}
    lines = reading_notes({"sources": {"Reactome": entry}})
    assert any("reactome_tca.sbml" in line for line in lines)
    assert record.pathways is not None
    assert record.pathways["pathway"].nunique() == 3


@pytest.mark.parametrize("form", ["tgz", "zip", "gz", "xml"])
def test_pathways_packed_in_any_way(form: str, raw: Path, tmp_path: Path) -> None:
    """Red: only a tar archive, or a folder of plain .sbml, was read."""
    files = sorted((raw / "reactome").glob("*.sbml"))
    path = tmp_path / f"all.{form}"
    if form == "tgz":
        with tarfile.open(path, "w:gz") as tar:
            for file in files:
                tar.add(file, f"sbml/{file.name}")
    elif form == "zip":
        with zipfile.ZipFile(path, "w") as archive:
            for file in files:
                archive.writestr(f"sbml/{file.name}", file.read_bytes())
    else:
        path.mkdir()
        for file in files:
            content, name = file.read_bytes(), file.with_suffix(".xml").name
            if form == "gz":
                content, name = gzip.compress(content), f"{file.name}.gz"
            (path / name).write_bytes(content)
    index = raw / "reactome/pw_index.tsv"
    want, record = (read_reactome(p, index, "73") for p in (raw / "reactome", path))
    assert want.reactions is not None
    assert record.reactions is not None
    assert record.reactions.name == want.reactions.name
    assert want.pathways is not None
    pd.testing.assert_frame_equal(record.pathways, want.pathways)


def test_one_pathway_alone_and_what_is_no_pathway(raw: Path, tmp_path: Path) -> None:
    alone = read_reactome(raw / "reactome/reactome_tca.sbml", None, "73")
    assert alone.pathways is not None
    assert set(alone.pathways["pathway"]) == {"reactome_tca"}
    index = raw / "reactome/pw_index.tsv"
    few = read_reactome(raw / "reactome/reactome_tca.sbml", index, "73")
    assert few.counts.noted["pathway of the list that has no file"] == 3
    (tmp_path / "x.sbml").write_text("nothing")
    with pytest.raises(InputError, match=r"no readable SBML of Homo sapiens pathways \(x\.sbml: "):
        read_reactome(tmp_path / "x.sbml", None, "73")


def test_pathways_of_the_organism_that_is_asked_for(raw: Path, tmp_path: Path) -> None:
    """Red: "Reactome is read for human (9606) only"."""
    text = (raw / "reactome/reactome_tca.sbml").read_text()
    (tmp_path / "R-HSA-1.sbml").write_text(text)
    (tmp_path / "R-MMU-1.sbml").write_text(text.replace("R-HSA-", "R-MMU-"))
    listed = tmp_path / "ReactomePathways.txt"
    listed.write_text("R-HSA-1\tTCA\tHomo sapiens\nR-MMU-1\tTCA cycle\tMus musculus\n")
    human = read_reactome(tmp_path, None, "92")
    mouse = read_reactome(tmp_path, None, "92", "10090")
    assert mouse.file_names == ["R-MMU-1.sbml"]
    ids = human.identifiers["identifier"].str.replace("R-HSA-", "R-MMU-")
    assert ids.str.startswith("R-MMU-").any()
    assert set(mouse.identifiers["identifier"]) == set(ids)
    named = read_reactome(tmp_path, listed, "92", "10090")
    assert named.pathways is not None
    assert set(named.pathways["name"]) == {"TCA cycle"}
    with pytest.raises(InputError, match=r"'MMU', expected 'HSA'. Fix: set taxon: 10090 for Mus"):
        read_reactome(tmp_path / "R-MMU-1.sbml", None, "92")
    with pytest.raises(InputError, match="lists no pathway of Danio rerio"):
        read_reactome(tmp_path, listed, "92", "7955")


@pytest.mark.parametrize(
    ("taxon", "source", "message"),
    [
        (3702, {"Reactome": {"sbml": "x"}}, "Reactome publishes pathways of 9606, 10090"),
        (10090, {"Reactome-FI": {"path": "x"}}, "Reactome-FI is published for human"),
        (10090, {"Recon3D": {"path": "x"}}, "Recon3D is published for human"),
    ],
    ids=["Reactome", "Reactome-FI", "Recon3D"],
)
def test_organisms_that_a_source_has_not(
    taxon: int, source: dict[str, Any], message: str, tmp_path: Path
) -> None:
    config = tmp_path / "build.yaml"
    config.write_text(yaml.safe_dump({"taxon": taxon, "sources": source}))
    with pytest.raises(InputError, match=message):
        load_octopus_config(config)
