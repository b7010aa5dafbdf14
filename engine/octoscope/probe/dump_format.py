"""``attention dump`` and ``attention diff``: hidden states and attention in one common schema."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from octoscope.errors import InputError, reading
from octoscope.json_values import parse_json
from octoscope.models.protocol import PAD, TOKEN_KINDS, FoundationModel, GeneMatch, Tokens
from octoscope.zip_parts import read_npz

_QUERY_CHUNK = 512
_EXACT = ("cell_id", "token_gene", "token_kind", "token_row", "mask", "positions")


def tokens_of_dump(path: Path) -> tuple[Tokens, np.ndarray, np.ndarray]:
    """Read the model input stored in a dump.

    Returns
    -------
    tokens
        Gene indices are -1: a dump names genes by id only.
    token_gene
        [cells, tokens] str.
    positions
        [cells, stored] int64.

    Raises
    ------
    InputError
        If the file is not a dump.
    """
    try:
        z = read_npz(path)
        kinds = np.array([TOKEN_KINDS.index(k) for k in z["token_kind"].ravel()], np.int8)
        tokens = Tokens(
            z["cell_id"],
            np.full(z["mask"].shape, -1, np.int32),
            kinds.reshape(z["mask"].shape),
            z["token_value"].astype(np.float32),
            z["token_row"].astype(np.int64, casting="safe"),
            z["mask"].astype(bool),
            z["cell_group"].astype(np.int32, casting="safe") if "cell_group" in z else None,
        )
        return tokens, z["token_gene"], z["positions"].astype(np.int64, casting="safe")
    except (OSError, KeyError, ValueError, TypeError, AttributeError) as error:
        raise InputError(
            str(path), f"not a dump ({error})", "give a file of `attention dump`"
        ) from None


def token_genes(tokens: Tokens, match: GeneMatch) -> np.ndarray:
    """Return [cells, tokens] Ensembl ids, '' at other tokens."""
    names = np.append(match.genes.ensembl, "").astype(str)
    return names[tokens.gene]


def dump(
    model: FoundationModel,
    tokens: Tokens,
    token_gene: np.ndarray,
    positions: np.ndarray | None = None,
) -> dict[str, Any]:
    """Run the model and collect the common schema.

    Parameters
    ----------
    positions
        [cells, stored] indices of the tokens to store; None: all. The softmax always runs over
        every attended token.

    Returns
    -------
    dict
        Arrays ``hidden_i, attn_i, logits_i, lse_i, output``, token arrays and ``meta_json``;
        zeros at padding, -inf for its logits.
    """
    cells, width = tokens.mask.shape
    if positions is None:
        positions = np.tile(np.arange(width), (cells, 1))
    kinds = np.array(TOKEN_KINDS)[tokens.kind]
    out: dict[str, Any] = {
        "cell_id": np.asarray(tokens.cell_ids).astype(str),
        "token_gene": token_gene.astype(str),
        "token_kind": kinds.astype(str),
        "token_value": tokens.value,
        "token_row": tokens.row,
        "mask": tokens.mask,
        "positions": positions.astype(np.int64),
    }
    if tokens.group is not None:
        out["cell_group"] = tokens.group
    stored = np.take_along_axis(tokens.mask, positions, 1)
    residual = model.embed(tokens)
    mask = torch.from_numpy(tokens.mask).to(residual.device)
    for i in range(model.n_layers):
        out[f"hidden_{i}"] = _at(residual, positions, stored)
        attention, residual = model.layer(i, residual, mask)
        for name, value in _scores(
            attention.q, attention.k, attention.scale, mask, positions
        ).items():
            out[f"{name}_{i}"] = value
    out["output"] = _at(model.output(residual), positions, stored)
    out["meta_json"] = np.array(
        json.dumps(
            {
                "schema": "octoscope-dump/1",
                "family": model.family,
                "variant": model.variant,
                "n_layers": model.n_layers,
                "n_heads": model.n_heads,
                "d": model.d,
                "tolerances": dict(model.tolerances),
                "options": dict(model.options),
                "absent": [],
                "notes": [],
            }
        )
    )
    return out


def _at(residual: torch.Tensor, positions: np.ndarray, stored: np.ndarray) -> np.ndarray:
    value = residual.float().cpu().numpy()
    value = np.take_along_axis(value, positions[:, :, None], 1)
    return np.where(stored[:, :, None], value, np.float32(0))


def _scores(
    q: torch.Tensor, k: torch.Tensor, scale: float, mask: torch.Tensor, positions: np.ndarray
) -> dict[str, np.ndarray]:
    """Return logits, lse and attn at the stored positions, computed in float64 cell by cell."""
    cells, heads, _, _ = q.shape
    p = positions.shape[1]
    logits = np.full((cells, heads, p, p), -np.inf, np.float32)
    lse = np.zeros((cells, heads, p), np.float32)
    attn = np.zeros((cells, heads, p, p), np.float32)
    for c in range(cells):
        at = torch.from_numpy(positions[c]).to(q.device)
        real = mask[c][at].cpu().numpy()
        keys = k[c].double()
        attended = keys[:, mask[c]]
        rows = np.flatnonzero(real)
        for start in range(0, len(rows), _QUERY_CHUNK):
            here = rows[start : start + _QUERY_CHUNK]
            query = q[c][:, at[torch.from_numpy(here).to(at.device)]].double() * scale
            total = torch.logsumexp(query @ attended.transpose(1, 2), -1)
            score = query @ keys[:, at[torch.from_numpy(rows).to(at.device)]].transpose(1, 2)
            block = np.ix_(np.arange(heads), here, rows)
            logits[c][block] = score.cpu().numpy()
            attn[c][block] = torch.exp(score - total[..., None]).cpu().numpy()
            lse[c][:, here] = total.cpu().numpy()
    return {"attn": attn, "logits": logits, "lse": lse}


@dataclass(frozen=True)
class Difference:
    """One compared array: the worst absolute difference and what is allowed."""

    name: str
    worst: float
    allowed: float
    note: str = ""

    @property
    def ok(self) -> bool:
        """Whether the difference is within tolerance (NaN is not)."""
        return self.worst <= self.allowed


def diff(ours: Path, theirs: Path) -> list[Difference]:
    """Compare two dumps on real tokens, with the tolerances of the second.

    Entries that the second file does not store (NaN, or arrays its meta lists as absent) are
    passed over; an array missing from the first counts as infinitely different.

    Raises
    ------
    InputError
        If a file is not a dump.
    """
    a, b = _loaded(ours), _loaded(theirs)
    with reading(f"{ours}, {theirs}", "give dumps as `attention dump` writes them"):
        return _differences(a, b, theirs)


def _differences(a: dict[str, Any], b: dict[str, Any], theirs: Path) -> list[Difference]:
    tolerances = parse_json(str(b["meta_json"]).encode())["tolerances"]
    rows, compared = [], False
    for name in b:
        if name == "meta_json":
            continue
        if name not in a:
            rows.append(Difference(name, np.inf, 0, "missing"))
        elif a[name].shape != b[name].shape:
            note = f"shape {a[name].shape} against {b[name].shape}"
            rows.append(Difference(name, np.inf, 0, note))
        elif name in _EXACT:
            differ = a[name] != b[name]
            if name in ("token_gene", "token_row"):  # padding may be filled with anything
                differ &= b["mask"]
            rows.append(Difference(name, float(differ.sum()), 0, "entries that differ"))
        elif name == "token_value":
            real = b["mask"] & ~np.isnan(b[name])
            rows.append(Difference(name, _worst(a[name][real], b[name][real]), 1e-5))
        else:
            rows.append(_compare(name, a[name], b[name], b, tolerances))
            compared |= not np.isnan(b[name]).all()
    if not compared:
        raise InputError(
            str(theirs), "stores no hidden states and no attention", "give a complete dump"
        )
    return rows


def _loaded(path: Path) -> dict[str, Any]:
    """Read a dump for comparison.

    Raises
    ------
    InputError
        If it is not one, or its meta names no tolerances.
    """
    try:
        content: dict[str, Any] = dict(read_npz(path))
        tolerances = parse_json(str(content["meta_json"]).encode())["tolerances"]
        for name in ("mask", "positions", "token_kind"):
            content[name]
        if not isinstance(tolerances, dict):
            raise TypeError("meta_json names no tolerances")
    except (OSError, KeyError, ValueError, TypeError, AttributeError) as error:
        raise InputError(str(path), f"not a dump ({error})", "give a dump file") from None
    return content


def _worst(x: np.ndarray, y: np.ndarray) -> float:
    if not x.size:
        return 0.0
    gap = np.abs(x.astype(np.float64) - y)
    return float("inf") if np.isnan(gap).any() else float(gap.max())


def _compare(
    name: str, x: np.ndarray, y: np.ndarray, reference: dict[str, Any], allowed: dict[str, float]
) -> Difference:
    kind = name.split("_")[0]
    kinds = np.take_along_axis(reference["token_kind"], reference["positions"], 1)
    real = np.take_along_axis(reference["mask"], reference["positions"], 1)
    real = real & (kinds != TOKEN_KINDS[PAD])
    if kind in ("attn", "logits"):
        keep = np.broadcast_to((real[:, None, :, None] & real[:, None, None, :]), y.shape)
    elif kind == "lse":
        keep = np.broadcast_to(real[:, None, :], y.shape)
    else:
        keep = np.broadcast_to(real[:, :, None], y.shape)
    keep = keep & ~np.isnan(y)
    if kind not in allowed:
        return Difference(name, np.inf, 0, "no tolerance in the second file")
    row = Difference(name, _worst(x[keep], y[keep]), allowed[kind])
    relative = allowed.get(f"{kind}_rel")
    if relative is None or not row.ok:
        return row
    # small probabilities are compared relatively as well
    scale = np.maximum(np.abs(y[keep]), np.finfo(np.float32).tiny)
    worst = float((np.abs(x[keep].astype(np.float64) - y[keep]) / scale).max(initial=0))
    if worst > relative:
        return Difference(name, worst, relative, "relative")
    return row
