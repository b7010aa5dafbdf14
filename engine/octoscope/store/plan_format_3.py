"""Plans of format 3, read as the present format; from the plan alone, with declared defaults.

Format 3 states some settings at the top of the plan, some under other names, and none of those that
act at planning only (donor groups, heads, ...): these are what its categories, models and units
are.
"""

from __future__ import annotations

from typing import Any

from octoscope.config.byte_sizes import size_text
from octoscope.config.execution_config import WORKING_SET
from octoscope.config.view_names import default_min_cells
from octoscope.run_plan.settings import CACHE_BYTES

PREVIOUS = "octoscope-plan/3"
_ADVANCED = ("tile", "cache")
_TOP = (
    "seed", "views", "top_k", "moments", "permutations", "max_permutation_factor", "edges",
    "compare", "analyses",
)  # fmt: skip
_MOVED = (*_TOP, "tile", "hold", "more_draws")
_PROJECTIONS = {"faithful": "full", "bare": "weights_only"}


def from_format_3(body: dict[str, Any], schema: str) -> dict[str, Any]:
    """Return a plan of format 3 in the layout of the present one."""
    settings = {name: body[name] for name in _TOP if name in body}
    if "more_draws" in body:
        settings["max_permutation_factor"] = body["more_draws"]
    if body.get("compare"):
        settings["compare"] = _compare(body)
    settings["min_cells"] = _min_cells(body)
    cache = size_text(body.get("hold", CACHE_BYTES))
    # what the sums were made with is in the models; no plan of format 3 says the bound itself
    advanced = {"tile": body["tile"], "cache": cache, "working_set": WORKING_SET}
    settings["execution"] = {"advanced": advanced}
    models = [
        m | {"projection": _PROJECTIONS.get(m.get("projection"), m.get("projection"))}
        for m in body["models"]
    ]
    kept = {k: v for k, v in body.items() if k not in _MOVED}
    return kept | {"schema_version": schema, "settings": settings, "models": models}


def stated_in_format_3(body: dict[str, Any]) -> dict[str, Any]:
    """Return a plan of the present layout with only the settings that format 3 states."""
    settings = body["settings"]
    advanced = settings["execution"]["advanced"]
    stated = {name: settings[name] for name in _TOP if name in settings}
    stated |= {name: advanced[name] for name in _ADVANCED if name in advanced}
    return body | {"settings": stated}


def _compare(body: dict[str, Any]) -> dict[str, Any]:
    compare = dict(body["compare"])
    of_model = compare.pop("kinship")
    groups: dict[str, list[str]] = {}
    for m in body["models"]:  # in the order of the plan, as groups are made
        if m["name"] in of_model:
            groups.setdefault(of_model[m["name"]], []).append(m["name"])
    names = [c["name"] for c in body["categories"]]
    pools = {pool: [names[i] for i in p["categories"]] for pool, p in compare.pop("pools").items()}
    return compare | {"model_groups": groups, "pools": pools}


def _min_cells(body: dict[str, Any]) -> int | None:
    """Return what ``min_cells`` was: the one number of all categories, unless each has its own."""
    cells = [sum(c["cells"]) for c in body["categories"]]
    numbers = [c["min_cells"] for c in body["categories"]]
    for pool in (body.get("compare") or {}).get("pools", {}).values():
        cells.append(sum(cells[i] for i in pool["categories"]))
        numbers.append(pool["min_cells"])
    if numbers == [default_min_cells(n) for n in cells]:
        return None
    return int(numbers[0])
