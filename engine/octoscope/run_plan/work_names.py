"""Names in a run: folders of work, arrays of a unit."""

from __future__ import annotations


def pairs_work(model: str, category: int) -> str:
    """Return the folder of the pair counts of a model and category."""
    return f"pairs/{model}.c{category:04d}"


def matrix_work(model: str, category: int, layer: int) -> str:
    """Return the folder of one matrix."""
    return f"matrices/{model}.c{category:04d}.l{layer:03d}"


def residual_work(model: str, category: int) -> str:
    """Return the folder of what a model attends with for the mean cell of a category."""
    return f"residuals/{model}.c{category:04d}"


def block_of(work: str) -> tuple[str, int]:
    """Return the (model, category) that a piece of work belongs to."""
    kind, name = work.split("/", 1)
    rest = {"units": 3, "matrices": 2}.get(kind, 1)
    model, category = name.rsplit(".", rest)[:2]
    return model, int(category[1:])


def sums_name(layer: int, heads: str | int, what: str = "sums") -> str:
    """Return the array name in a unit of a layer's sums, mass or m2 for a head reduction."""
    return layer_name(layer, f"{heads if isinstance(heads, str) else f'h{heads:02d}'}_{what}")


def layer_name(layer: int, what: str) -> str:
    """Return the array name in a unit of a layer's ``cells`` or ``residual``."""
    return f"layer_{layer:03d}_{what}"
