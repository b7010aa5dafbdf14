"""TRRUST (Han et al. 2018): signed regulation of targets by transcription factors."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa

from octoscope.octopus.network_schema import ROLE_CODE
from octoscope.octopus.sources.annotation import Annotation
from octoscope.octopus.sources.record import SourceCounts, SourceRecord, pairs_of
from octoscope.octopus.sources.symbols import symbol_identifiers
from octoscope.octopus.sources.text import read_frame

_KINDS = ("Activation", "Repression", "Unknown")


def read_trrust(path: Path, annotation: Annotation | None, release: str) -> SourceRecord:
    """Read ``trrust_rawdata.human.tsv``; one pair per regulator and target.

    Rows of both signs make a modifier, Activation a stimulator, Repression an inhibitor, Unknown
    alone a modifier.

    Raises
    ------
    InputError
        If the file is not that table.
    """
    counts = SourceCounts()
    columns = {c: pa.string() for c in ("tf", "target", "kind", "pmid")}
    frame = read_frame(path, columns, counts, header=False)
    empty = frame[["tf", "target"]].isna().any(axis=1)
    counts.drop("without a regulator or target", int(empty.sum()))
    frame = frame[~empty]
    frame = frame.assign(kind=frame["kind"].str.capitalize())
    strange = ~frame["kind"].isin(_KINDS)
    counts.drop("kind is not Activation, Repression or Unknown", int(strange.sum()),
               frame["kind"][strange])  # fmt: skip
    frame = frame[~strange]
    grouped = frame.assign(
        up=frame["kind"] == "Activation", down=frame["kind"] == "Repression"
    ).groupby(["tf", "target"], sort=True)
    pairs = grouped.agg(up=("up", "any"), down=("down", "any"), row=("row", "min"))
    refs = grouped["pmid"].agg(lambda p: len({x for t in p.dropna() for x in t.split(";") if x}))
    counts.merged = len(frame) - len(pairs)
    counts.kept = len(pairs)
    role = np.select(
        [pairs["up"] & ~pairs["down"], pairs["down"] & ~pairs["up"]],
        [ROLE_CODE["stimulator"], ROLE_CODE["inhibitor"]],
        ROLE_CODE["modifier"],
    )
    tf, target = (pairs.index.get_level_values(i).astype(object) for i in (0, 1))
    codes, names = pd.factorize(np.concatenate([tf, target]))
    record = SourceRecord(
        "TRRUST", release, [str(n) for n in names],
        symbol_identifiers(names, annotation, ("uniprot", "ensembl_gene"), counts),
        pairs_of(codes[: len(pairs)], codes[len(pairs) :], role, "modified", False,
                 refs=refs.to_numpy(), origin=pairs["row"].to_numpy()),
        files=[path], file_names=[path.name], counts=counts,
    )  # fmt: skip
    return record
