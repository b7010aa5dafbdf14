"""STRING's aliases of every release, and rows without a mirror, against the raw files."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from octoscope.errors import InputError, OctoscopeWarning
from octoscope.octopus.sources.record import SourceRecord
from octoscope.octopus.sources.string import CHANNELS, read_string

N = 8
ENSP = [f"9606.ENSP00000990{i:03d}" for i in range(N)]
ACCESSION = [f"Q9ZA{i:02d}" for i in range(N)]
V11 = {"uniprot": ["Ensembl_UniProt_AC", "BLAST_UniProt_AC"]}
V12 = {"uniprot": ["UniProt_AC", "Ensembl_UniProt", "Ensembl_HGNC_uniprot_ids"]}
NEXT = {"uniprot": ["UniProtKB_accession"]}  # a release that does not exist yet


def aliases(path: Path, release: dict[str, list[str]], taxon: str = "9606.") -> Path:
    rows = []
    for i, protein in enumerate(ENSP):
        mine = protein.replace("9606.", taxon)
        rows += [
            (mine, f"ENSG00000990{i:03d}", "Ensembl_gene"),
            (mine, f"GNX{i}_HUMAN", "UniProt_ID"),
            (mine, f"GNX{i}", "Ensembl_HGNC_symbol"),
        ]
        # BLAST names another protein, which must not join
        rows += [(mine, "P00000" if s.startswith("BLAST") else ACCESSION[i], s)
                 for s in release["uniprot"]]  # fmt: skip
    frame = pd.DataFrame(rows, columns=["#string_protein_id", "alias", "source"])
    frame.to_csv(path, sep="\t", index=False)
    return path


def links(path: Path, pairs: list[tuple[int, int, int]]) -> Path:
    frame = pd.DataFrame(
        [[ENSP[i], ENSP[j], *([s % 900] * len(CHANNELS)), s] for i, j, s in pairs],
        columns=["protein1", "protein2", *CHANNELS, "combined_score"],
    )
    frame.to_csv(path, sep=" ", index=False)
    return path


def both(pairs: list[tuple[int, int, int]]) -> list[tuple[int, int, int]]:
    return sorted(pairs + [(j, i, s) for i, j, s in pairs])


PAIRS = [(i, (i + 1) % N, 200 + 10 * i) for i in range(N)]


def read(folder: Path, pairs: list[tuple[int, int, int]], release: dict[str, list[str]],
         mode: str = "corrected") -> SourceRecord:  # fmt: skip
    return read_string(
        links(folder / "links.txt", pairs), aliases(folder / "aliases.txt", release), "x",
        mode,  # type: ignore[arg-type]
    )  # fmt: skip


@pytest.mark.parametrize("release", [V11, V12, NEXT])
def test_accessions_are_read_under_every_name(
    release: dict[str, list[str]], tmp_path: Path
) -> None:
    """Red: with the names of v11.5 alone, v12 gives no accession."""
    record = read(tmp_path, both(PAIRS), release)
    ids = record.identifiers
    accessions = ids[ids["ontology"] == "uniprot"].drop_duplicates()
    table = pd.read_csv(tmp_path / "aliases.txt", sep="\t")
    want = table[table["alias"].isin(ACCESSION)].drop_duplicates(["#string_protein_id", "alias"])
    want = set(zip(want["#string_protein_id"], want["alias"], strict=True))
    assert {(record.species[s], x) for s, x in zip(accessions["species"], accessions["identifier"],
                                                   strict=True)} == want  # fmt: skip
    assert len(record.identified()) == N


def test_symbols_are_names_and_join_nothing(tmp_path: Path) -> None:
    ids = read(tmp_path, both(PAIRS), V12).identifiers
    symbols = ids[ids["ontology"] == "symbol"]
    assert symbols["identifier"].tolist() == [f"GNX{i}" for i in range(N)]
    assert set(symbols["bqb"]) == {"BQB_HAS_PROPERTY"}


def test_aliases_of_another_organism_stop(tmp_path: Path) -> None:
    """Red: a network of eight vertices and no gene, and exit code 0."""
    path = links(tmp_path / "links.txt", both(PAIRS))
    mouse = aliases(tmp_path / "mouse.txt", V12, taxon="10090.")
    with pytest.raises(InputError, match=r"mouse\.txt.*none of the 8.*9606\.ENSP.*10090\.ENSP"):
        read_string(path, mouse, "x", "corrected")


def test_hardly_any_alias_warns_with_the_sources_that_are_there(tmp_path: Path) -> None:
    path = links(tmp_path / "links.txt", both(PAIRS))
    table = pd.read_csv(aliases(tmp_path / "aliases.txt", V12), sep="\t")
    table[~table["source"].str.contains("niprot|UniProt")].to_csv(
        tmp_path / "few.txt", sep="\t", index=False
    )
    with pytest.warns(OctoscopeWarning, match="0 of 8.*uniprot.*Ensembl_HGNC_symbol"):
        record = read_string(path, tmp_path / "few.txt", "x", "corrected")
    assert record.counts.noted["protein without uniprot among its aliases"] == N


@pytest.mark.parametrize("order", ["first", "second", "mixed", "whole"])
def test_a_pair_of_one_row_is_kept_whatever_its_order(order: str, tmp_path: Path) -> None:
    """Red: rows whose mirror is missing and whose protein1 > protein2 were dropped."""
    low = [(min(i, j), max(i, j), s) for i, j, s in PAIRS]
    chosen = {
        "first": low,
        "second": [(j, i, s) for i, j, s in low],
        "mixed": [p if n % 2 else (p[1], p[0], p[2]) for n, p in enumerate(low)],
        "whole": both(low)[:-3],
    }[order]
    record = read(tmp_path, chosen, V12)
    p, t = record.pairs, record.counts
    assert p is not None
    raw = pd.read_csv(tmp_path / "links.txt", sep=" ")
    want = {
        frozenset((a, b)): s / 1000
        for a, b, s in zip(raw["protein1"], raw["protein2"], raw["combined_score"], strict=True)
    }
    got = {
        frozenset((record.species[a], record.species[b])): float(s)
        for a, b, s in zip(p.a, p.b, p.score, strict=True)
    }
    assert len(p) == len(got) == len(want)
    assert got == pytest.approx(want)
    assert t.read == t.kept + t.merged + sum(t.dropped.values()) == len(raw)
    assert record.evidence is not None
    # every pair has the line and the channels of its own row
    rows = raw.iloc[p.origin - 2]
    assert [{a, b} for a, b in zip(rows["protein1"], rows["protein2"], strict=True)] == [
        {record.species[a], record.species[b]} for a, b in zip(p.a, p.b, strict=True)
    ]
    channels = record.evidence.to_pandas()[list(CHANNELS)].to_numpy()
    np.testing.assert_array_equal(channels, rows[list(CHANNELS)].to_numpy())
    if order != "first":
        with pytest.raises(InputError, match="no mirrored row"):
            read(tmp_path, chosen, V12, mode="peer")


def test_rows_of_different_scores_are_one_pair(tmp_path: Path) -> None:
    record = read(tmp_path, [(0, 1, 300), (1, 0, 400), (2, 1, 500), (2, 1, 500)], V12)
    assert record.pairs is not None
    assert record.pairs.score.round(3).tolist() == [pytest.approx(0.3), pytest.approx(0.5)]
    t = record.counts
    assert t.read == t.kept + t.merged + sum(t.dropped.values()) == 4
    assert t.noted["pair whose two rows differ in score (protein1 < protein2 counts)"] == 1
    assert t.noted["pair whose mirrored row is missing or differs"] == 2
