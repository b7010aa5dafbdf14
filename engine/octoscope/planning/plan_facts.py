"""Facts that every plan records: versions of libraries, and the network."""

from __future__ import annotations

import platform
from importlib.metadata import version
from typing import Any

from octoscope.config.analysis_config import NetworkConfig
from octoscope.errors import warn
from octoscope.octopus.network_schema import NOT_KNOWN
from octoscope.octopus.network_views import network_summary, not_known_text
from octoscope.planning.gnn_facts import gnn_facts

_LIBRARIES = (
    "octoscope", "torch", "numpy", "pandas", "zarr", "anndata", "pyarrow", "ray", "dask", "scipy",
    "numba", "transformers",
)  # fmt: skip


def library_versions() -> dict[str, str]:
    """Return the versions of Python and of the libraries that decide results."""
    return {"python": platform.python_version(), **{n: version(n) for n in _LIBRARIES}}


def network_facts(config: NetworkConfig) -> dict[str, Any]:
    """Return what the plan keeps of a network; warns where independence is not known.

    Raises
    ------
    InputError
        If the network, or a graph neural network, cannot be used.
    """
    facts = network_summary(config.path, config.sources, config.independent)
    if NOT_KNOWN in facts:
        warn(not_known_text(facts[NOT_KNOWN]))
    if config.gnn:
        facts["gnn"] = gnn_facts(config)
    if config.parts:
        facts["parts"] = True
    return facts
