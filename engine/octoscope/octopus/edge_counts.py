"""Counting what a table of assertions holds: by source, role, sign and release."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa

from octoscope.octopus.directory import codes_of
from octoscope.octopus.network_schema import ROLES, count_relations


def count_edges(table: pa.Table, vertices: int) -> dict[str, Any]:
    """Return vertices, assertions and what they say, each as a number or name -> number."""

    def by(column: str) -> dict[str, int]:
        counted = table[column].combine_chunks().value_counts()
        return {str(c["values"]): c["counts"].as_py() for c in counted}

    roles = (codes_of(table[c], ROLES) for c in ("role_src", "role_dst"))
    directed = int(np.count_nonzero(table["directed"].to_numpy()))
    return {
        "vertices": vertices,
        "assertions": table.num_rows,
        "directed": directed,
        "undirected": table.num_rows - directed,
        "by_source": dict(sorted(by("source").items())),
        "by_release": dict(sorted(by("release").items())),
        "by_relation": count_relations(*roles),
        "by_sign": dict(sorted(by("sign").items())),
    }
