"""Octoscope: read the attention of single-cell foundation models at atlas scale.

    import octoscope as oc

    run = oc.open_run("runs/first")
    run.topk(model="scgpt", category="T cell", layer=4, view="lift", k=500)

Names are imported when they are first used, so that reading a finished run needs neither torch,
transformers, ray nor numba.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from octoscope.api.atlas import Atlas, open_atlas
    from octoscope.api.matrix import Matrix
    from octoscope.api.model import Model, open_model
    from octoscope.api.network import Network, open_network
    from octoscope.api.plan import PlannedRun, plan
    from octoscope.api.run import Run, open_run
    from octoscope.api.run_directory import RunDirectory
    from octoscope.errors import InputError, OctoscopeError

__version__ = "0.2.0"

_HOME = {
    "Atlas": "octoscope.api.atlas",
    "InputError": "octoscope.errors",
    "Matrix": "octoscope.api.matrix",
    "Model": "octoscope.api.model",
    "Network": "octoscope.api.network",
    "OctoscopeError": "octoscope.errors",
    "PlannedRun": "octoscope.api.plan",
    "Run": "octoscope.api.run",
    "RunDirectory": "octoscope.api.run_directory",
    "open_atlas": "octoscope.api.atlas",
    "open_model": "octoscope.api.model",
    "open_network": "octoscope.api.network",
    "open_run": "octoscope.api.run",
    "plan": "octoscope.api.plan",
}

__all__ = [
    "Atlas",
    "InputError",
    "Matrix",
    "Model",
    "Network",
    "OctoscopeError",
    "PlannedRun",
    "Run",
    "RunDirectory",
    "__version__",
    "open_atlas",
    "open_model",
    "open_network",
    "open_run",
    "plan",
]


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module 'octoscope' has no attribute {name!r}")
    value = getattr(import_module(_HOME[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
