"""Hidden states and attention of single cells, outside any run: to compare with other code."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from octoscope.api.model import require_dtype
from octoscope.errors import InputError

if TYPE_CHECKING:
    from octoscope.probe.dump_format import Difference


def dump_attention(
    checkpoint: str | Path,
    cells: str,
    path: str | Path,
    *,
    tokens: str | Path | None = None,
    positions: str | Path | None = None,
    options: Mapping[str, Any] | None = None,
    dtype: str = "float32",
    rng: str = "cell",
    seed: int = 0,
    force: bool = False,
) -> None:
    """Write hidden states and attention of all cells of a file, in one batch.

    Parameters
    ----------
    checkpoint
        Published checkpoint.
    cells
        h5ad or Zarr with raw counts.
    path
        npz file to write (docs/how-to/compare-with-authors-code.md).
    tokens, positions
        Dumps whose model inputs, or stored positions, are used.
    options
        The family's own settings.
    dtype
        float32, bfloat16 or float16.
    rng
        ``cell``: a stream per cell, seeded by ``seed``; ``upstream``: one stream, as the authors'
        code draws.
    force
        Replace a file that is there.

    Raises
    ------
    InputError
        If a file or option cannot be used, or the target may not be written.
    """
    if rng not in ("cell", "upstream"):
        raise InputError("rng", f"{rng!r}", "use cell or upstream")
    kind = require_dtype(dtype)
    from octoscope.probe.dump import write_dump

    write_dump(
        Path(checkpoint), cells, Path(path),
        tokens=None if tokens is None else Path(tokens),
        positions=None if positions is None else Path(positions),
        options=dict(options or {}), dtype=kind, upstream=rng == "upstream", seed=seed, force=force,
    )  # fmt: skip


def compare_attention(ours: str | Path, theirs: str | Path) -> list[Difference]:
    """Compare two dumps, array by array, with the tolerances that the second one states.

    Returns
    -------
    list
        Per array: ``name``, ``worst`` difference, ``allowed``, ``ok`` and a ``note``.

    Raises
    ------
    InputError
        If a file is no dump.
    """
    from octoscope.probe.dump_format import diff

    return diff(Path(ours), Path(theirs))
