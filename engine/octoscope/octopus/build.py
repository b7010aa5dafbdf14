"""Building an Octopus directory from the files of its sources."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from octoscope.digests import file_digest
from octoscope.errors import InputError, reading
from octoscope.octopus.build_config import OctopusConfig
from octoscope.octopus.directory import DirectoryWriter, new_directory
from octoscope.octopus.gene_vertices import map_genes
from octoscope.octopus.identifiers import cleaned_identifiers
from octoscope.octopus.matching import (
    require_genes,
    require_identified,
    require_known,
    with_symbols,
)
from octoscope.octopus.merge import Consensus, Statements, join_sources
from octoscope.octopus.network_info import count_edges
from octoscope.octopus.network_schema import ROLES, coded
from octoscope.octopus.sources.annotation import Annotation, dogma, require_organism
from octoscope.octopus.sources.annotation_files import read_annotation
from octoscope.octopus.sources.edge_list import read_edge_list
from octoscope.octopus.sources.intact import read_intact
from octoscope.octopus.sources.locations import without_shared_location
from octoscope.octopus.sources.omnipath import read_omnipath
from octoscope.octopus.sources.psi_mi import NO_PUBLICATION
from octoscope.octopus.sources.reactome import read_reactome, read_recon3d
from octoscope.octopus.sources.reactome_fi import read_reactome_fi
from octoscope.octopus.sources.record import SourceRecord
from octoscope.octopus.sources.string import read_string
from octoscope.octopus.sources.trrust import read_trrust

_CHUNK = 1 << 20
_AGAIN = "download the file again"
Say = Callable[[str], None]


def build_octopus(
    config: OctopusConfig, target: str | Path, say: Say = lambda _: None
) -> dict[str, Any]:
    """Read the sources, join them and write the directory.

    Parameters
    ----------
    config
        Files, mode and rules.
    target
        Directory to make.
    say
        Called with a line when a source has been read.

    Returns
    -------
    dict
        What ``octopus.json`` says.

    Raises
    ------
    InputError
        Naming the file and what is wrong with it, before anything is written under the target;
        also if no vertex of the network is a gene.
    """
    with new_directory(target, _existing_files(config)) as writer:
        records, annotation = read_sources(config, say)
        digests = {str(f): _digest(f) for r in records for f in r.files}
        consensus = join_sources(records, config.mode, config.cofactors == "drop")
        say(f"{len(consensus.vertices):,} vertices")
        require_genes(records, consensus, map_genes(consensus.identifiers))
        consensus.identifiers = with_symbols(consensus.identifiers, annotation)
        return _write(writer, config, records, consensus, digests, annotation)


def _digest(path: Path) -> dict[str, Any]:
    if path.is_file():
        return {"name": path.name, **file_digest(path)}
    inside = sorted(p for p in path.rglob("*") if p.is_file())
    digests = {str(p.relative_to(path)): file_digest(p)["sha256"] for p in inside}
    return {"name": path.name, "files": digests}


def _existing_files(config: OctopusConfig) -> list[Path]:
    """Return the files and folders that a configuration names; refuse one that does not exist."""
    files = []
    sections = [config.annotation, *config.sources.edge_lists]
    sections += [getattr(config.sources, n) for n in type(config.sources).model_fields
                 if n != "edge_lists"]  # fmt: skip
    for section in sections:
        for name in type(section).model_fields if section is not None else ():
            value = getattr(section, name)
            if not isinstance(value, Path):
                continue
            if not value.exists():
                raise InputError(f"{type(section).__name__}.{name}: {value}", "does not exist",
                                 "correct the path")  # fmt: skip
            files.append(value)
    return files


def read_sources(
    config: OctopusConfig, say: Say = lambda _: None
) -> tuple[list[SourceRecord], Annotation | None]:
    """Read every source of a configuration, in a fixed order, and the annotation.

    Raises
    ------
    InputError
        If a file is damaged or of another organism, or nothing of a source can be used.
    """
    s, mode, taxon = config.sources, config.mode, str(config.taxon)
    annotation: Annotation | None = None
    records: list[SourceRecord] = []

    def add(record: SourceRecord, checked: str | None = None, stop: bool = False) -> None:
        if mode == "corrected":
            record.identifiers = cleaned_identifiers(record.identifiers)
        if annotation is not None and checked is not None:
            require_organism(record, annotation, checked)
        records.append(record)
        t = record.counts
        if not t.kept:
            why = "; ".join(f"{n} {reason}" for reason, n in t.dropped.items()) or "no rows"
            fix = "check that it is that source's file, and that the annotation knows its ids"
            if t.dropped.get(NO_PUBLICATION) == sum(t.dropped.values()):
                fix = ("scores count publications: give the file with them (column 9), or "
                       "its pairs as a table with columns source and target")  # fmt: skip
            raise InputError(
                str(record.files[0]), f"nothing of {record.name} can be used: {why}", fix
            )
        require_identified(record, annotation)
        if annotation is not None and record.name != "Dogma" and checked is None:
            require_known(record, annotation, stop)
        say(f"{record.name}: {t.read:,} read, {t.kept:,} kept, {t.merged:,} merged, "
            f"{sum(t.dropped.values()):,} dropped")  # fmt: skip

    if config.annotation is not None:
        with reading(config.annotation.path, _AGAIN):
            annotation = read_annotation(config.annotation.path)
    if s.Reactome is not None:
        with reading(s.Reactome.sbml, _AGAIN):
            add(read_reactome(s.Reactome.sbml, s.Reactome.pathways, s.Reactome.release, taxon))
    if s.STRING is not None:
        f = s.STRING
        with reading(f.links, _AGAIN):
            record = read_string(f.links, f.aliases, f.release, mode, taxon)
            if f.locations is not None:
                without_shared_location(record, f.locations)
            add(record, stop=True)
    if s.OmniPath is not None:
        o = s.OmniPath
        with reading(o.path, _AGAIN):
            add(read_omnipath(o.path, annotation, o.release, mode, taxon), "uniprot")
    if s.IntAct is not None:
        x = s.IntAct
        with reading(x.path, _AGAIN):
            add(read_intact(x.path, x.release, mode, x.ontology, taxon))
    if s.TRRUST is not None:
        with reading(s.TRRUST.path, _AGAIN):
            add(read_trrust(s.TRRUST.path, annotation, s.TRRUST.release), "symbol")
    if s.reactome_fi is not None:
        fi = s.reactome_fi
        with reading(fi.path, _AGAIN):
            add(read_reactome_fi(fi.path, annotation, fi.release, mode), "symbol")
    if s.Recon3D is not None:
        with reading(s.Recon3D.path, _AGAIN):
            add(read_recon3d(s.Recon3D.path, s.Recon3D.release))
    for e in s.edge_lists:
        with reading(e.path, _AGAIN):
            add(read_edge_list(e.path, e.name, e.ids, annotation, e.release, e.layout(), taxon),
                stop=True)  # fmt: skip
    if annotation is not None and config.annotation is not None and config.annotation.as_source:
        joined = dogma(annotation, config.annotation.release, proteins_only=mode == "peer")
        if joined.counts.kept:
            add(joined)
        else:
            say("the annotation has one id of each gene: it looks symbols up, and joins nothing")
    return records, annotation


def _write(
    writer: DirectoryWriter,
    config: OctopusConfig,
    records: list[SourceRecord],
    consensus: Consensus,
    digests: dict[str, dict[str, Any]],
    annotation: Annotation | None,
) -> dict[str, Any]:
    n = len(consensus.vertices)
    vertices = consensus.vertices.assign(
        node_type="species", species=consensus.vertices["name"], compartment=None
    )
    writer.write("vertices", pa.Table.from_pandas(vertices, preserve_index=False))
    writer.write("identifiers", pa.Table.from_pandas(consensus.identifiers, preserve_index=False))
    genes = map_genes(consensus.identifiers)
    writer.write("genes", pa.Table.from_pandas(genes, preserve_index=False))
    writer.write("pathways", pa.Table.from_pandas(consensus.pathways, preserve_index=False))
    stating = [r.name for r, s in zip(records, consensus.statements, strict=True) if len(s.src)]
    names = sorted(stating)
    releases = sorted({r.release for r in records})
    counted: list[pa.Table] = []
    for record, statements in zip(records, consensus.statements, strict=True):
        if record.evidence is not None and record.name in names:
            writer.write(f"evidence/{record.name}", record.evidence)
        for at in range(0, len(statements.src), _CHUNK):
            table = _table(statements, slice(at, at + _CHUNK), record, names, releases)
            writer.write("edges", table)
            counted.append(table.select(["role_src", "role_dst", "directed", "sign", "source",
                                         "release"]))  # fmt: skip
    every = pa.concat_tables(counted) if counted else None
    body: dict[str, Any] = {
        "name": config.name,
        "mode": config.mode,
        "made_from": {"kind": "source files", "cofactors": config.cofactors,
                      "cofactor_participants_removed": consensus.cofactors_removed},
        "counts": (count_edges(every.unify_dictionaries(), n) if every is not None
                   else {"vertices": n, "assertions": 0}) | {"genes": genes["gene"].nunique()},
        "sources": {r.name: _source_entry(r, digests, len(s.src)) for r, s in
                    zip(records, consensus.statements, strict=True) if r.name in names},
        "annotation": _annotation(config, annotation),
        "without_statements": [_source_entry(r, digests, 0) for r in records
                               if r.name not in names],
        "corrections": [d for r in records for d in r.defects],
        "notes": [],
    }  # fmt: skip
    body["sources"] = dict(sorted(body["sources"].items()))
    writer.close(body)
    return body


def _annotation(config: OctopusConfig, read: Annotation | None) -> dict[str, Any] | None:
    if config.annotation is None or read is None:
        return None
    files = [_digest(config.annotation.path)]
    rows = read.counts.as_json()
    return {"release": config.annotation.release, "files": files, "rows": rows}


def _source_entry(
    record: SourceRecord, digests: dict[str, dict[str, Any]], assertions: int
) -> dict[str, Any]:
    identified = len(record.identified())
    return {
        "name": record.name,
        "release": record.release,
        "species": len(record.species),
        "mapped": identified,
        "assertions": assertions,
        "rows": record.counts.as_json(),
        "files": [digests[str(f)] for f in record.files],
    }


def _table(
    s: Statements, rows: slice, record: SourceRecord, names: list[str], releases: list[str]
) -> pa.Table:
    role_src = s.role_src[rows].astype(np.uint8)
    size = len(role_src)
    return pa.table(
        {
            "src": s.src[rows].astype(np.int32),
            "dst": s.dst[rows].astype(np.int32),
            "role_src": coded(role_src, ROLES),
            "role_dst": coded(s.role_dst[rows], ROLES),
            "directed": s.directed[rows],
            "sign": s.sign[rows].astype(np.int8),
            "source": coded(np.full(size, names.index(record.name)), names),
            "release": coded(np.full(size, releases.index(record.release)), releases),
            "score": s.score[rows].astype(np.float32),
            "refs": s.refs[rows].astype(np.int32),
            "origin_file": coded(s.file[rows], record.file_names or [""], wide=True),
            "origin": s.origin[rows].astype(np.int32),
            "reaction": s.reaction[rows].astype(np.int32),
            "evidence": s.evidence[rows].astype(np.int32),
        }
    )
