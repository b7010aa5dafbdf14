"""IntAct (Orchard et al. 2014): PSI-MI XML 2.5 or 3.0, or PSI-MI TAB."""

from __future__ import annotations

import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Literal

from octoscope.bounded_reads import bounded
from octoscope.errors import InputError
from octoscope.octopus.sources.mitab import is_mitab, read_mitab
from octoscope.octopus.sources.open_text import begins_with, open_binary
from octoscope.octopus.sources.psi_mi import Collected, record_of
from octoscope.octopus.sources.psi_xml import XmlReader
from octoscope.octopus.sources.record import SourceCounts, SourceRecord

_XML = (".xml", ".xml.gz")
_NOTHING = (
    "holds no interaction in PSI-MI XML (2.5, 3.0) or PSI-MI TAB",
    "give psi30/species, psi25/species or psimitab of IntAct",
)


def read_intact(
    path: Path,
    release: str,
    mode: Literal["peer", "corrected"],
    ontology: Path | None = None,
    taxon: str = "9606",
) -> SourceRecord:
    """Read ``psi30/species/human.zip``, ``psi25``, its folder, one XML file, or PSI-MI TAB.

    Interactions of one bait and some preys become one pair per prey (spoke); two participants
    alone are a pair, whatever their roles. ``peer`` takes the method and publication of an entry's
    first experiment, knows an organism by its name's ending and counts an entry as a publication.
    Instead, ``corrected`` takes the interaction's own experiment, the stated organism, distinct
    publications, and leaves out negative interactions.

    Raises
    ------
    InputError
        If no file is PSI-MI; a damaged file among several is left out and named.
    """
    if _is_tab(path):
        if mode == "peer":
            raise InputError(str(path), "is PSI-MI TAB, which the peer does not read",
                             "give PSI-MI XML 3.0, or use mode corrected")  # fmt: skip
        return read_mitab(path, "IntAct", release, ontology, taxon)
    counts = SourceCounts()
    state = Collected(mode, taxon, counts)
    reader = XmlReader(state)
    names: list[str] = []
    for name, handle in _files(path):
        state.file = len(names)
        try:
            reader.read(handle, f"{path}: {name}")
        except InputError as error:
            if path.is_file() and not begins_with(path, b"PK"):
                raise
            lost = "in the unfinished entry of a file that breaks off"
            counts.drop(lost, reader.break_off())
            counts.note("XML file that cannot be read to its end", 1, [f"{name}: {error.problem}"])
        names.append(name)
    if not names or not counts.read:
        raise InputError(str(path), *_NOTHING)
    return record_of(state, "IntAct", path, names, release, ontology)


def _members(archive: zipfile.ZipFile) -> list[str]:
    names = (n for n in sorted(archive.namelist()) if not n.startswith("__MACOSX/"))
    return [n for n in names if n.endswith(".xml") and "negative" not in n]


def _is_tab(path: Path) -> bool:
    if path.is_dir():
        return False
    if begins_with(path, b"PK"):
        with _archive(path) as archive:
            if _members(archive):
                return False
    with open_binary(path) as handle:
        start = handle.peek(256)[:256].lstrip(b"\xef\xbb\xbf \r\n\t")
    if start.startswith(b"<"):
        return False
    if not is_mitab(path):
        raise InputError(str(path), *_NOTHING)
    return True


def _archive(path: Path) -> zipfile.ZipFile:
    try:
        return zipfile.ZipFile(path)
    except (OSError, zipfile.BadZipFile) as error:
        raise InputError(str(path), f"cannot be read ({error})", "download it again") from None


def _files(path: Path) -> Iterator[tuple[str, IO[bytes]]]:
    if path.is_file() and begins_with(path, b"PK"):
        with _archive(path) as archive:
            for name in _members(archive):
                with archive.open(name) as handle:
                    yield Path(name).name, bounded(handle, f"{path}: {name}", path.stat().st_size)
        return
    files = sorted(p for p in path.glob("*") if p.name.endswith(_XML)) if path.is_dir() else [path]
    for file in files:
        with open_binary(file) as handle:
            yield file.name, handle
