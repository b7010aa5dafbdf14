"""How many heads a checkpoint has, where only a settings file beside the weights tells it.

Heads share one weight, so its shape fits any number that divides d: 8 heads computed where the
model has 4 give another attention and no error.
"""

from __future__ import annotations

from collections.abc import Mapping

from octoscope.errors import InputError, warn

_OPTION = "models.*.options.n_heads"
Size = tuple[int, int]  # layers, d
# Sizes of published models and of the demonstration's, by family.
_KNOWN: Mapping[str, Mapping[Size, int]] = {
    "scgpt": {(12, 512): 8, (4, 64): 4},
    "geneformer": {
        (6, 256): 4, (12, 512): 8, (20, 896): 14, (12, 768): 12, (18, 1152): 18, (3, 64): 4,
    },
    "aidocell": {(6, 128): 4, (8, 256): 8, (18, 640): 20, (3, 32): 4},
    "nicheformer": {(12, 512): 16},
}  # fmt: skip


def heads_of(
    family: str, n_layers: int, d: int, stated: int, declared: int | None, *, where: str
) -> int:
    """Return the number of heads: the declared one, or that of the settings file.

    A size that is not known is warned of, as nothing else can confirm its heads.

    Parameters
    ----------
    family
        Family, by name.
    n_layers, d
        Size of the checkpoint.
    stated
        Heads of the settings file.
    declared
        Option ``n_heads``, or None.
    where
        Settings file and field, for messages.

    Raises
    ------
    InputError
        If the declared number does not divide d, or the file's is not that of the published model
        of this size and none is declared.
    """
    if declared is not None:
        if d % declared:
            raise InputError(_OPTION, f"{declared} do not divide d {d}", "correct the number")
        return declared
    known = _KNOWN[family].get((n_layers, d))
    confirm = f"set {_OPTION} to the number that the model was trained with"
    if known is None:
        warn(f"{where}: {stated}: no weight tells the number of heads, and {n_layers} layers with "
             f"d {d} are no published size. Compare it with the settings of the training, and "
             f"{confirm}")  # fmt: skip
    elif stated != known:
        raise InputError(
            where,
            f"{stated}; the published model of {n_layers} layers, d {d} has {known}, and no weight "
            "tells the number of heads",
            f"give the settings file of this checkpoint, or {confirm}",
        )
    return stated


def settled_heads(family: str, n_layers: int, d: int, n_heads: int) -> dict[str, int]:
    """Return the option that fixes the heads of a size that is not known, warned of once."""
    known = _KNOWN[family].get((n_layers, d))
    return {} if known == n_heads else {"n_heads": n_heads}
