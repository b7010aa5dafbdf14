"""scGPT's ``args.json``: sizes, and settings under which the encoder computes something else."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from octoscope.errors import InputError, warn
from octoscope.models.weights import MOST_LAYERS, read_json
from octoscope.models.whole_numbers import as_whole

# Names in args.json of published folders, then in the settings of the authors' tutorials.
_NAMES: Mapping[str, tuple[str, ...]] = {
    "nlayers": ("nlayers",),
    "nheads": ("nheads", "nhead"),
    "embsize": ("embsize", "layer_size"),
    "d_hid": ("d_hid", "layer_size"),
}
# What decides the encoder and its input, and the value in published folders.
_USUAL: Mapping[str, Any] = {
    "input_emb_style": "continuous",
    "input_style": "binned",
    "pre_norm": False,
}
PADDING = -2.0
_FIX = "give scGPT's own args.json"


@dataclass(frozen=True)
class ScGPTArgs:
    """Sizes of the encoder, the value of padding, the number of bins, the field of the heads."""

    n_layers: int
    n_heads: int
    d: int
    ff: int
    pad_value: float
    n_bins: int
    heads_field: str


def read_args(path: Path) -> ScGPTArgs:
    """Read ``args.json``.

    Raises
    ------
    InputError
        If the file is absent or damaged, a size missing or impossible, or a setting asks for
        another encoder or input than the published one.
    """
    args = read_json(path, "models.*.path")
    try:
        sizes = {
            name: as_whole(_first(args, names), name, str(path), _FIX)
            for name, names in _NAMES.items()
        }
        read = ScGPTArgs(
            n_layers=sizes["nlayers"],
            n_heads=sizes["nheads"],
            d=sizes["embsize"],
            ff=sizes["d_hid"],
            pad_value=float(args.get("pad_value", PADDING)),
            n_bins=as_whole(args.get("n_bins", 51), "n_bins", str(path), _FIX),
            heads_field=next(n for n in _NAMES["nheads"] if n in args),
        )
        fits = read.d % read.n_heads == 0 and 0 < read.n_layers <= MOST_LAYERS
    except (KeyError, TypeError, ValueError, ZeroDivisionError) as error:
        raise InputError(
            str(path),
            f"nlayers, nheads, embsize, d_hid or pad_value cannot be used ({error!r})",
            _FIX,
        ) from None
    if not fits:
        text = f"nlayers {read.n_layers}, embsize {read.d}, nheads {read.n_heads}"
        raise InputError(str(path), text, _FIX)
    for name, usual in _USUAL.items():
        value = args.get(name, usual)
        if isinstance(value, str):  # logged settings are text
            value = {"false": False, "true": True}.get(value.lower(), value)
        if value != usual:
            raise InputError(
                f"{path}: {name}",
                f"{args[name]!r}; only the published encoder is computed, which has {usual!r} "
                "(continuous values of bins, post-norm)",
                "give a checkpoint of the published kind",
            )
    return read


def warn_of_padding(args: ScGPTArgs, where: str) -> None:
    """Warn of another ``pad_value`` than that of published models: ``<cls>`` carries it, too."""
    if args.pad_value != PADDING:
        warn(f"{where}: pad_value: {args.pad_value:g}; published models have {PADDING:g}. <cls> "
             "carries it into every cell: compare it with the settings of the training, and set "
             "models.*.options.pad_value to confirm it")  # fmt: skip


def _first(args: Mapping[str, Any], names: tuple[str, ...]) -> Any:
    for name in names:
        if name in args:
            return args[name]
    raise KeyError(names[0])
