"""A page that compares the sources of a network, from its Octopus directory alone."""

from __future__ import annotations

from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from octoscope import __version__
from octoscope.errors import InputError
from octoscope.octopus.network import Network
from octoscope.octopus.network_info import source_overlap, source_table, summary
from octoscope.octopus.network_schema import NOT_KNOWN, UNNAMED
from octoscope.octopus.network_views import INDEPENDENT, view
from octoscope.octopus.reading_notes import reading_notes
from octoscope.report import source_figures


def network_page(network: Network) -> bytes:
    """Return one self-contained HTML page as UTF-8."""
    environment = Environment(
        loader=PackageLoader("octoscope.report"), autoescape=True, undefined=StrictUndefined
    )
    sources, overlap = source_table(network), source_overlap(network)
    several = len(network.sources) > 1
    bars = {"pairs": "pairs", "private_pairs": "pairs that no other source states"}
    drawn = {"bars": Markup(source_figures.source_bars(sources, bars, "unordered pairs"))}
    for name in ("pairs", "vertices") if several else ():
        drawn[name] = Markup(
            source_figures.source_heatmap(overlap, f"{name}_jaccard", f"Jaccard index of {name}")
        )
    return (
        environment.get_template("network.html.j2")
        .render(
            version=__version__,
            meta=network.meta,
            summary=summary(network),
            sources=sources.to_dict("records"),
            figures=drawn,
            independent=_independent(network),
            notes=reading_notes(network.meta),
        )
        .encode()
    )


def _independent(network: Network) -> dict[str, Any] | None:
    """Return pairs with and without co-expression evidence; None if that cannot be told."""
    known = {"STRING", "Reactome-FI", "OmniPath"} & set(network.sources)
    code = network.sources.index("STRING") if "STRING" in known else 255
    string = network.edges.source == code
    if not known or UNNAMED in network.sources or (network.edges.evidence[string] < 0).any():
        return None
    try:
        kept = view(network, INDEPENDENT)
    except InputError:  # STRING's links without the channels that its rule needs
        return None
    return {
        "all": len(network.pair_keys),
        "kept": len(kept.pair_keys),
        "not_known": kept.meta.get(NOT_KNOWN, []),
    }
