"""Parts of a network: by source, by kind of evidence, by direction, sign and confidence."""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from octoscope.errors import InputError
from octoscope.octopus.directory import read_table
from octoscope.octopus.network import Network, open_network
from octoscope.octopus.network_schema import NOT_KNOWN, UNNAMED
from octoscope.octopus.omnipath_resources import inferred_from_expression
from octoscope.octopus.reading_notes import reading_notes
from octoscope.octopus.string_rescore import CHANNELS, COEXPRESSION, PUBLISHED, combined_score


@dataclass(frozen=True)
class View:
    """Which assertions count.

    Attributes
    ----------
    sources, without_sources
        Sources to keep (None: all) and to leave out.
    string_without
        Channels taken out of STRING's scores; pairs that fall below STRING's own threshold of
        0.15 go.
    curated_only
        Leave out Reactome-FI's predicted interactions (score below 1), which rest on co-expression
        among other things.
    without_inferred
        Leave out OmniPath rows that all their resources infer from gene expression.
    directed, signed
        Keep only assertions that state an order, a sign.
    min_score
        Keep only scores of at least this; assertions without a score stay.
    """

    sources: tuple[str, ...] | None = None
    without_sources: tuple[str, ...] = ()
    string_without: tuple[str, ...] = ()
    curated_only: bool = False
    without_inferred: bool = False
    directed: bool = False
    signed: bool = False
    min_score: float | None = None


# The network against which "molecular wiring or only co-expression?" may be asked, as far as the
# evidence of its sources is known.
INDEPENDENT = View(
    string_without=tuple(sorted(COEXPRESSION)), curated_only=True, without_inferred=True
)
# Sources that rest on experiments, curation or reconstruction, and those whose co-expression
# evidence a view takes out. Of OmniPath that depends on the directory.
_EXAMINED = ("Dogma", "IntAct", "Reactome", "Reactome-FI", "Recon3D", "STRING", "TRRUST")


def view(network: Network, what: View) -> Network:
    """Return the same vertices and genes with the assertions that count.

    With ``without_inferred``, ``meta`` names under :data:`network_schema.NOT_KNOWN` the sources
    left of which it is not known whether they rest on co-expression; without any, no such key.

    Raises
    ------
    InputError
        If a source or channel does not exist, or STRING's channels are not in the directory.
    """
    known = set(network.sources)
    for name in (*(what.sources or ()), *what.without_sources):
        if name not in known:
            raise InputError(
                "source", f"{name!r} is not in this network",
                f"choose among {', '.join(network.sources)}",
            )  # fmt: skip
    edges = network.edges
    keep = np.ones(len(edges), bool)
    if what.sources is not None:
        keep &= np.isin(edges.source, _codes(network, what.sources))
    if what.without_sources:
        keep &= ~np.isin(edges.source, _codes(network, what.without_sources))
    score = edges.score
    if what.string_without:
        _check_channels(what.string_without)
    unnamed = UNNAMED in known and keep[edges.source == network.sources.index(UNNAMED)].any()
    if (what.string_without or what.curated_only) and unnamed:
        raise InputError(
            UNNAMED, "the sources of its edges are not known, so evidence cannot be taken out",
            "import a bundle with sbml_dfs.pkl, or build from source files",
        )  # fmt: skip
    if what.string_without and "STRING" in known:
        score, below = _rescored(network, what.string_without)
        keep &= ~below
    if what.curated_only and "Reactome-FI" in known:
        # without a score a prediction cannot be told from a curated interaction
        curated = edges.score >= 1
        keep &= curated | (edges.source != network.sources.index("Reactome-FI"))
    noted = [s for s in network.meta.get(NOT_KNOWN, ()) if s in known]
    unknown = np.isin(edges.source, _codes(network, noted))
    if what.without_inferred:
        inferred, not_stated = _inferred(network)
        keep &= ~inferred
        unknown |= not_stated
    if what.directed:
        keep &= edges.directed
    if what.signed:
        keep &= edges.sign != 0
    if what.min_score is not None:
        keep &= ~(score < what.min_score)
    meta = {k: v for k, v in network.meta.items() if k != NOT_KNOWN}
    if (unknown & keep).any():
        meta[NOT_KNOWN] = [network.sources[i] for i in np.unique(edges.source[unknown & keep])]
    return replace(network, edges=replace(edges, score=score).select(keep), meta=meta)


def not_known_text(names: Sequence[str]) -> str:
    """Return in one line what is not known of sources under ``NOT_KNOWN``."""
    others = [name for name in names if name != "OmniPath"]
    parts = []
    if len(others) < len(names):
        parts.append(
            "the resources of OmniPath's rows are not known in this directory; rows inferred from "
            "expression may be among them (build it from a table with the column `sources`)"
        )
    if others:
        parts.append(
            f"what {', '.join(others)} rests on is not known; co-expression may be part of it"
        )
    return f"independent: {'; '.join(parts)}"


def open_view(
    path: str, sources: Sequence[str] | None = None, independent: bool = False
) -> Network:
    """Open a directory and take the part of it that a run asks for.

    Raises
    ------
    InputError
        If the directory cannot be used, or lacks a requested source or evidence.
    """
    what = replace(INDEPENDENT if independent else View(), sources=tuple(sources or ()) or None)
    network = open_network(path)
    return network if what == View() else view(network, what)


def network_summary(
    path: str, sources: Sequence[str] | None = None, independent: bool = False
) -> dict[str, Any]:
    """Read a view once and return its name, sizes and a digest, for plan and provenance.

    ``notes`` are the accounts of the files of its sources, where they are known. An independent
    view also has the key ``NOT_KNOWN`` if a source's evidence is not known.

    Raises
    ------
    InputError
        If it cannot be used.
    """
    network = open_view(path, sources, independent)
    digest = hashlib.sha256(network.pair_keys.tobytes())
    digest.update("\n".join(network.genes["gene"].astype(str)).encode())
    digest.update(network.genes["vertex"].to_numpy(np.int64).tobytes())
    name = str(network.meta.get("name", path))
    parts = [", ".join(sources)] if sources else []
    parts += ["without co-expression evidence"] if independent else []
    noted = {NOT_KNOWN: network.meta[NOT_KNOWN]} if NOT_KNOWN in network.meta else {}
    notes = reading_notes(network.meta, network.sources)
    return {
        "name": f"{name} ({'; '.join(parts)})" if parts else name,
        "vertices": len(network.vertices),
        "pairs": len(network.pair_keys),
        "sha256": digest.hexdigest(),
        **({"notes": notes} if notes else {}),
        **noted,
    }


def _check_channels(names: Collection[str]) -> None:
    for name in names:
        if name not in CHANNELS:
            raise InputError(
                "STRING channels", f"{name!r} is unknown", f"choose among {', '.join(CHANNELS)}"
            )


def _codes(network: Network, names: Sequence[str]) -> list[int]:
    return [network.sources.index(n) for n in names]


def _rescored(network: Network, without: Collection[str]) -> tuple[np.ndarray, np.ndarray]:
    """Return [assertions] scores, and which STRING assertions fall below the threshold."""
    edges = network.edges
    rows = np.flatnonzero(edges.source == network.sources.index("STRING"))
    if network.folder is None or (edges.evidence[rows] < 0).any():
        raise InputError(
            "STRING", "its channels are not in this directory, so it cannot be rescored",
            "build from STRING's full links, or leave the source out",
        )  # fmt: skip
    table = read_table(network.folder, "evidence/STRING").to_pandas()
    if "homology" not in table:  # links and links.detailed
        raise InputError(
            "STRING", "its links have not the channels that its rule of scores needs",
            "build from links.full (or physical.links.full), or leave the source out (--without)",
        )  # fmt: skip
    try:
        rescored = combined_score(table, without)
    except KeyError as error:
        raise InputError(
            f"{network.folder}/evidence/STRING.parquet", f"no column {error}", "build it again"
        ) from None
    score = edges.score.copy()
    score[rows] = rescored[edges.evidence[rows]]
    below = np.zeros(len(edges), bool)
    # STRING cuts to three digits before it compares.
    below[rows] = np.floor(1000 * rescored[edges.evidence[rows]] + 1e-9) < 1000 * PUBLISHED
    return score.astype(np.float32), below


def _inferred(network: Network) -> tuple[np.ndarray, np.ndarray]:
    """Return [assertions] which OmniPath infers from expression alone; of which nothing tells."""
    edges = network.edges
    inferred = np.zeros(len(edges), bool)
    examined = [name for name in _EXAMINED if name in network.sources]
    unknown = ~np.isin(edges.source, _codes(network, examined))
    if "OmniPath" not in network.sources or network.folder is None:
        return inferred, unknown
    rows = np.flatnonzero(
        (edges.source == network.sources.index("OmniPath")) & (edges.evidence >= 0)
    )
    table = read_table(network.folder, "evidence/OmniPath") if len(rows) else None
    if table is not None and "sources" in table.column_names:
        from_expression = inferred_from_expression(table["sources"].to_pandas())[
            edges.evidence[rows]
        ]
        inferred[rows], unknown[rows] = from_expression.fillna(False), from_expression.isna()
    return inferred, unknown
