"""Reactome pathways and the Recon3D model: SBML files joined into one source."""

from __future__ import annotations

import re
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from functools import partial
from pathlib import Path
from typing import IO

import pandas as pd
import pyarrow as pa

from octoscope.bounded_reads import bounded
from octoscope.errors import InputError
from octoscope.octopus.sources.open_text import begins_with, open_binary
from octoscope.octopus.sources.record import SourceCounts, SourceRecord
from octoscope.octopus.sources.sbml import SbmlFile, join_files, read_sbml
from octoscope.octopus.sources.text import stream_table

# Organisms that Reactome publishes pathways of: number in NCBI's taxonomy -> its name in
# ReactomePathways.txt, and what stands in the ids of its pathways (R-HSA-...).
ORGANISMS = {
    "9606": ("Homo sapiens", "HSA"), "10090": ("Mus musculus", "MMU"),
    "10116": ("Rattus norvegicus", "RNO"), "9615": ("Canis familiaris", "CFA"),
    "9913": ("Bos taurus", "BTA"), "9823": ("Sus scrofa", "SSC"),
    "9031": ("Gallus gallus", "GGA"), "8364": ("Xenopus tropicalis", "XTR"),
    "7955": ("Danio rerio", "DRE"), "7227": ("Drosophila melanogaster", "DME"),
    "6239": ("Caenorhabditis elegans", "CEL"), "44689": ("Dictyostelium discoideum", "DDI"),
    "4932": ("Saccharomyces cerevisiae", "SCE"), "4896": ("Schizosaccharomyces pombe", "SPO"),
    "5833": ("Plasmodium falciparum", "PFA"), "1773": ("Mycobacterium tuberculosis", "MTU"),
}  # fmt: skip
_SBML = (".sbml", ".xml", ".sbml.gz", ".xml.gz")
_DAMAGED = (OSError, tarfile.TarError, zipfile.BadZipFile, EOFError, zlib.error)
_UNREADABLE = "pathway file that cannot be read"
Opener = Callable[[], AbstractContextManager[IO[bytes]]]


def read_reactome(
    sbml: Path, pathways: Path | None, release: str, taxon: str = "9606"
) -> SourceRecord:
    """Read Reactome's SBML export: the ``tgz`` of all species, a folder of ``*.sbml``, or one.

    Archives are tar or zip; files of a folder may be packed by gzip.

    Parameters
    ----------
    pathways
        ``ReactomePathways.txt`` (id, name, organism) or an index with columns file, name,
        organismal_species; only pathways of the organism that it lists are read, in its order.
        Without it, files named after the organism (``R-HSA-*``), or all if none is.
    taxon
        Organism, one of :data:`ORGANISMS`.

    Raises
    ------
    InputError
        If nothing readable is there, or its pathways are of another organism. A damaged pathway
        file among others is left out and named.
    """
    counts = SourceCounts()
    organism, code = ORGANISMS[taxon]
    listed = _listed(pathways, organism) if pathways else None
    files: list[SbmlFile] = []
    names: list[str] = []
    with _members(sbml) as members:
        available = dict(members)
        order = _order(sorted(available), listed, code)
        for name in order:
            try:
                with available[name]() as handle:
                    files.append(read_sbml(handle, f"{sbml}: {name}"))
                names.append(name)
            except InputError as error:
                counts.note(_UNREADABLE, 1, [f"{name}: {error.problem}"])
    if not files:
        why = "; ".join(counts.examples.get(_UNREADABLE, [])) or f"{len(available)} SBML files"
        raise InputError(str(sbml), f"holds no readable SBML of {organism} pathways ({why})",
                         "give the export")  # fmt: skip
    absent = [k for k in listed or () if k not in {_stem(n) for n in order}]
    counts.note("pathway of the list that has no file", len(absent), absent)
    joined = join_files(files, list(range(len(files))), counts)
    _require_organism(sbml, joined.identifiers, code)
    rows = []
    for name, species in zip(names, joined.of_file, strict=True):
        key = _stem(name)
        title = (listed or {}).get(key, key)
        rows += [(int(s), key, title) for s in sorted(set(species[species >= 0]))]
    counts.note("annotation address of no known kind", sum(f.unknown_addresses for f in files))
    return SourceRecord(
        "Reactome", release, joined.species, joined.identifiers, reactions=joined.reactions,
        pathways=pd.DataFrame(rows, columns=["species", "pathway", "name"]),
        files=[sbml, *([pathways] if pathways else [])], file_names=names, counts=counts,
    )  # fmt: skip


def read_recon3d(path: Path, release: str) -> SourceRecord:
    """Read BiGG's ``Recon3D.xml``: metabolites, and gene products as stimulators.

    Raises
    ------
    InputError
        If it is not SBML.
    """
    counts = SourceCounts()
    with open_binary(path) as handle:
        file = read_sbml(handle, str(path))
    joined = join_files([file], [0], counts)
    counts.note("annotation address of no known kind", file.unknown_addresses)
    return SourceRecord(
        "Recon3D", release, joined.species, joined.identifiers, reactions=joined.reactions,
        files=[path], file_names=[path.name], counts=counts,
    )  # fmt: skip


def _require_organism(path: Path, identifiers: pd.DataFrame, code: str) -> None:
    own = (identifiers["ontology"] == "reactome") & (identifiers["bqb"] == "BQB_IS")
    kinds = identifiers["identifier"][own].str.extract(r"^R-([A-Z]{3})-")[0].dropna()
    kinds = kinds[~kinds.isin(["ALL", "NUL"])]  # small molecules belong to no organism
    if len(kinds) and (kinds == code).mean() < 0.5:
        seen = kinds.mode()[0]
        taxa = {c: (t, name) for t, (name, c) in ORGANISMS.items()}
        fix = "or give ReactomePathways.txt to choose the pathways of one organism"
        if seen in taxa:
            fix = f"set taxon: {taxa[seen][0]} for {taxa[seen][1]}, {fix}"
        raise InputError(
            str(path), f"its pathways are of organism {seen!r}, expected {code!r}", fix
        )


def _listed(path: Path, organism: str) -> dict[str, str]:
    """Return pathway id (file stem) -> name of an organism's pathways, in the file's order."""
    with open_binary(path) as handle:
        header = handle.readline(1 << 20).decode(errors="replace").startswith("file\t")
    columns = {c: pa.string() for c in ("file", "name", "organismal_species")}
    batches = list(stream_table(path, columns, SourceCounts(), header=header))
    out: dict[str, str] = {}
    for batch in batches:
        for file, name, species in zip(*(batch[c].to_pylist() for c in columns), strict=True):
            if file and (species or "").strip() == organism:
                out[re.sub(r"\.(sbml|xml)$", "", file)] = name or file
    if not out:
        raise InputError(str(path), f"lists no pathway of {organism}", "give Reactome's own list")
    return out


def _order(available: list[str], listed: dict[str, str] | None, code: str) -> list[str]:
    if listed is not None:
        by_stem = {_stem(n): n for n in available}
        return [by_stem[k] for k in listed if k in by_stem]
    own = [n for n in available if Path(n).name.startswith(f"R-{code}-")]
    return own or available


def _stem(name: str) -> str:
    """Return the id of a pathway: the name of its file without its endings."""
    return re.sub(r"\.(sbml|xml)(\.gz)?$", "", Path(name).name)


@contextmanager
def _members(path: Path) -> Iterator[Iterator[tuple[str, Opener]]]:
    """Give name and opener of each SBML file: of a folder, a tar or zip archive, or one alone."""
    if path.is_dir():
        files = sorted(p for p in path.rglob("*") if p.name.endswith(_SBML))
        yield ((p.name, partial(open_binary, p)) for p in files)
        return
    try:
        if begins_with(path, b"PK"):
            with zipfile.ZipFile(path) as archive:
                yield ((Path(n).name, partial(_member, archive, n, path))
                       for n in archive.namelist()
                       if n.endswith(_SBML[:2]) and not n.startswith("__MACOSX/"))  # fmt: skip
        elif tarfile.is_tarfile(path):
            with tarfile.open(path, "r:*") as tar:
                yield (
                    (Path(m.name).name, partial(_extract, tar, m, path))
                    for m in tar.getmembers()
                    if m.isfile() and m.name.endswith(_SBML[:2])
                )
        else:
            yield iter([(path.name, partial(open_binary, path))])
    except _DAMAGED as error:
        raise InputError(str(path), f"cannot be read ({error})", "download it again") from None


def _member(archive: zipfile.ZipFile, name: str, path: Path) -> IO[bytes]:
    return bounded(archive.open(name), f"{path}: {name}", path.stat().st_size)


def _extract(archive: tarfile.TarFile, member: tarfile.TarInfo, path: Path) -> IO[bytes]:
    handle = archive.extractfile(member)
    if handle is None:
        raise InputError(member.name, "is not a file", "download the archive again")
    return bounded(handle, f"{path}: {member.name}", path.stat().st_size)
