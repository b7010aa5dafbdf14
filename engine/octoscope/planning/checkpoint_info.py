"""Properties of a checkpoint that planning needs, read here or in a plug-in's own environment.

python -m octoscope.planning.checkpoint_info    (JSON on stdin, JSON on stdout)
"""

from __future__ import annotations

import contextlib
import json
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.metadata import entry_points, version
from pathlib import Path
from typing import Any

import numpy as np

from octoscope.atlas import Atlas
from octoscope.config import AtlasConfig, ModelConfig
from octoscope.errors import InputError, OctoscopeError
from octoscope.genes import GeneTable
from octoscope.models import GeneMatch, load_model
from octoscope.models.cell_groups import group_digest
from octoscope.models.families import GROUP, plugin_errors
from octoscope.models.weights import file_digests
from octoscope.probe.gene_statistics import fixed_options

_DEADLINE = 1800.0  # seconds for another environment to load a checkpoint and read the atlas


@dataclass(frozen=True)
class CheckpointInfo:
    """A loaded checkpoint as the planner sees it; plain values, so it can cross environments.

    Attributes
    ----------
    match
        Under the atlas's gene names; with the panel, if there is one.
    options
        Given options, and those that the family fixes over the data set.
    max_tokens
        Upper bound over the selected cells.
    digests
        SHA-256 of files outside the checkpoint, and of a column of obs, that decide its results.
    package
        Distribution and version that provides the family.
    """

    n_layers: int
    n_heads: int
    d: int
    special_kinds: tuple[str, ...]
    options: dict[str, Any]
    max_tokens: int
    digests: dict[str, str]
    package: str
    match: GeneMatch


def describe(
    m: ModelConfig,
    atlas: Atlas,
    categories: Sequence[np.ndarray],
    panel: Sequence[str] | None,
    seed: int,
    *,
    match_only: bool = False,
) -> CheckpointInfo:
    """Load a checkpoint here and match it with the atlas.

    Parameters
    ----------
    categories
        Rows of the selected cells, one array per category.
    panel
        Atlas ids that may become tokens; None: the family's own recipe.
    match_only
        Skip what needs a pass over the cells, because the panel is not known yet.

    Raises
    ------
    InputError
        If the checkpoint or an option cannot be used.
    """
    model = load_model(m.path, family=m.family, options=m.options, seed=seed)
    with plugin_errors(m.family, m.path):
        match = model.match(atlas.genes).named_by(atlas.genes)
    match = match.with_panel(None if panel is None else list(panel))
    extra = {} if match_only else fixed_options(model, match, atlas, list(categories))
    options = {**m.options, **extra}
    if extra:
        model = load_model(m.path, family=m.family, options=options, seed=seed)
    groups = group_digest(model, atlas.column, categories)
    expressed = max((atlas.most_expressed(rows) for rows in categories), default=0)
    return CheckpointInfo(
        n_layers=model.n_layers,
        n_heads=model.n_heads,
        d=model.d,
        special_kinds=tuple(model.special_kinds),
        options=options,
        max_tokens=model.max_tokens(match, expressed),
        digests=file_digests(model.files) | groups,
        package=_package(m.family),
        match=match,
    )


def _package(family: str) -> str:
    for entry in entry_points(group=GROUP):
        if entry.name == family and entry.dist is not None:
            return f"{entry.dist.name} {entry.dist.version}, torch {version('torch')}"
    return ""


def describe_elsewhere(
    m: ModelConfig,
    atlas: AtlasConfig,
    categories: Sequence[np.ndarray],
    panel: Sequence[str] | None,
    seed: int,
    *,
    match_only: bool = False,
) -> CheckpointInfo:
    """Do the same in the environment of ``m.python``.

    Raises
    ------
    InputError
        If that Python cannot be started, lacks octoscope, or finds the input unusable.
    """
    where = f"models.{m.name}.python"
    request = {
        "model": m.model_dump(mode="json"),
        "atlas": atlas.model_dump(mode="json"),
        "categories": [rows.tolist() for rows in categories],
        "panel": None if panel is None else list(panel),
        "seed": seed,
        "match_only": match_only,
    }
    try:
        done = subprocess.run(
            [str(m.python), "-P", "-m", "octoscope.planning.checkpoint_info"],
            input=json.dumps(request),
            capture_output=True,
            text=True,
            timeout=_DEADLINE,
            check=False,
        )
    except OSError as error:
        raise InputError(where, f"{m.python}: {error.strerror}", "give a Python") from None
    except subprocess.TimeoutExpired:
        raise OctoscopeError(f"{where}: no answer within {_DEADLINE:g} s") from None
    try:
        answer = json.loads(done.stdout)
    except json.JSONDecodeError:
        last = (done.stderr.strip().splitlines() or ["no message"])[-1]
        raise InputError(
            where,
            f"{m.python} failed: {last}",
            "install octoscope and the plug-in there, under the same Python and Ray versions",
        ) from None
    if "error" in answer:
        raise InputError(*answer["error"])
    if "failed" in answer:
        raise OctoscopeError(answer["failed"])
    return _from_json(answer)


def _to_json(info: CheckpointInfo) -> dict[str, Any]:
    plain = {k: v for k, v in vars(info).items() if k != "match"}
    match = info.match
    return plain | {
        "ensembl": match.genes.ensembl.tolist(),
        "symbol": match.genes.symbol.tolist(),
        "model_gene": match.model_gene.tolist(),
        "report": match.report,
        "panel": None if match.panel is None else match.panel.tolist(),
    }


def _from_json(tree: dict[str, Any]) -> CheckpointInfo:
    genes = GeneTable(
        np.array(tree.pop("ensembl"), dtype=object), np.array(tree.pop("symbol"), dtype=object)
    )
    model_gene = np.array(tree.pop("model_gene"), np.int32)
    panel = tree.pop("panel")
    match = GeneMatch(
        genes, model_gene, tree.pop("report"), None if panel is None else np.array(panel, bool)
    )
    return CheckpointInfo(match=match, **tree | {"special_kinds": tuple(tree["special_kinds"])})


def main() -> None:
    """Answer one request."""
    request = json.load(sys.stdin)
    categories = [np.array(rows, np.int64) for rows in request["categories"]]
    try:
        with contextlib.redirect_stdout(sys.stderr):  # the answer alone goes to stdout
            info = describe(
                ModelConfig.model_validate(request["model"]),
                Atlas(AtlasConfig.model_validate(request["atlas"])),
                categories,
                request["panel"],
                request["seed"],
                match_only=request["match_only"],
            )
        answer = _to_json(info)
    except InputError as error:
        answer = {"error": [error.where, error.problem, error.fix]}
    except OctoscopeError as error:
        answer = {"failed": str(error)}
    json.dump(answer, sys.stdout)


def checkpoint_digests(path: Path, files: list[Path], extra: dict[str, str]) -> dict[str, str]:
    """Return name -> SHA-256 of a checkpoint's files and of those outside it."""
    own = file_digests(files)
    return own | {n if n not in own else f"{n} (outside {path.name})": d for n, d in extra.items()}


if __name__ == "__main__":
    main()
