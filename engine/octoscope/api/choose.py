"""Chooses among declared names and genes; errors list the choices and the nearest one."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from difflib import get_close_matches

import numpy as np

from octoscope.errors import InputError


def one_of(what: str, value: str, names: Sequence[str]) -> str:
    """Return the value if it is one of the names.

    Raises
    ------
    InputError
        Naming the nearest name.
    """
    if value in names:
        return value
    near = get_close_matches(str(value), names, 1)
    fix = f"did you mean {near[0]!r}?" if near else f"choose among {', '.join(map(str, names))}"
    raise InputError(what, f"{value!r} is not one of {', '.join(map(str, names))}", fix)


def positions_of(
    genes: Iterable[str], ensembl: Sequence[str], symbols: Sequence[str]
) -> np.ndarray:
    """Return [genes] int64 positions of Ensembl ids or symbols in a list of genes.

    Raises
    ------
    InputError
        If a name is none of the genes, or a symbol stands for several.
    """
    by_id = {e: i for i, e in enumerate(ensembl)}
    by_symbol: dict[str, list[int]] = {}
    for i, symbol in enumerate(symbols):
        if symbol:
            by_symbol.setdefault(symbol, []).append(i)
    positions = []
    for gene in genes:
        plain = str(gene).partition(".")[0] if str(gene).startswith("ENS") else str(gene)
        if plain in by_id:
            positions.append(by_id[plain])
            continue
        at = by_symbol.get(plain) or by_symbol.get(plain.upper()) or []
        if len(at) > 1:
            ids = ", ".join(ensembl[i] for i in at)
            raise InputError("gene", f"the symbol {gene!r} stands for {ids}", "give one of the ids")
        if not at:
            near = get_close_matches(plain.upper(), list(by_symbol), 1)
            hint = f"did you mean {near[0]}?" if near else "see the genes of the model"
            raise InputError("gene", f"{gene!r} is not among the {len(by_id)} genes", hint)
        positions.append(at[0])
    return np.array(positions, np.int64)
