"""Geneformer's dictionaries, pickled or JSON, read without executing code: tokens, medians, ids."""

from __future__ import annotations

import io
import pickle
from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from octoscope.bounded_reads import read_bounded
from octoscope.errors import InputError
from octoscope.json_values import parse_json
from octoscope.models.weight_files import refuse_stand_in
from octoscope.safe_pickle import Inert, numpy_names

_KINDS = {
    "tokens": "token_dictionary*",
    "medians": "gene_median_dictionary*",
    "mapping": "ensembl_mapping_dict*",
}
_SUFFIXES = (".pkl", ".pickle", ".json")
_FIX = (
    "give the folder of Geneformer's dictionaries (in its code package, not beside the weights) "
    "in models.*.options.dictionaries, or put it beside the checkpoint as `dictionaries`"
)


@dataclass(frozen=True)
class Dictionaries:
    """Tables that turn counts into ranked tokens.

    Attributes
    ----------
    folder
        Where the files are.
    files
        The files that were read.
    tokens
        Gene or special token -> row of the embedding.
    medians
        Gene -> median of its non-zero values over the training corpus.
    mapping
        Upper-case symbol or Ensembl id, retired ones too -> current Ensembl id.
    """

    folder: Path
    files: tuple[Path, ...]
    tokens: dict[str, int]
    medians: dict[str, float]
    mapping: dict[str, str]

    @property
    def special_tokens(self) -> bool:
        """Whether the dictionary has <cls> and <eos> (second series)."""
        return "<cls>" in self.tokens and "<eos>" in self.tokens


def find_dictionaries(checkpoint: Path, given: str | None, *, mapped: bool) -> Dictionaries:
    """Find and read the dictionaries of a checkpoint.

    Parameters
    ----------
    given
        Folder; relative ones are tried from the checkpoint, its two parents and the working
        directory. None: the checkpoint's folder, its ``dictionaries``, or those of its parent.
    mapped
        Whether the mapping of gene ids is needed.

    Raises
    ------
    InputError
        If there is no such folder, a file is absent, there are several, or one cannot be read.
    """
    checkpoint = checkpoint.resolve()  # "." has no parent of its own
    near = [checkpoint, checkpoint.parent, checkpoint.parent.parent]
    if given is None:
        folders = [p for base in near[:2] for p in (base, base / "dictionaries")]
    else:
        folders = [base / given for base in (*near, Path.cwd())]
    folder = next((p for p in folders if _files(p, _KINDS["tokens"])), None)
    if folder is None:
        file = f"{_KINDS['tokens']}.pkl or .json"
        what = f"no {file} in {given}" if given else f"no {file} beside it"
        raise InputError(str(checkpoint), what, _FIX)
    kinds = [k for k in _KINDS if mapped or k != "mapping"]
    files = {kind: _only(folder, _KINDS[kind]) for kind in kinds}
    tokens = _read(files["tokens"], int)
    rows = sorted(tokens.values())
    if len(set(rows)) != len(rows) or not rows or rows[0] < 0 or "<pad>" not in tokens:
        raise InputError(
            str(files["tokens"]), "rows below 0 or used twice, or no <pad>", "download it again"
        )
    medians = _read(files["medians"], float)
    used = {g: medians[g] for g in tokens if g in medians}
    bad = [g for g, m in used.items() if not (np.isfinite(m) and m > 0)]
    if bad:
        raise InputError(str(files["medians"]), f"median of {bad[0]}: {medians[bad[0]]}", _FIX)
    return Dictionaries(
        folder=folder.resolve(),
        files=tuple(files.values()),
        tokens=tokens,
        medians=medians,
        mapping=_read(files["mapping"], str) if mapped else {},
    )


def _files(folder: Path, pattern: str) -> list[Path]:
    return sorted(f for f in folder.glob(pattern) if f.suffix in _SUFFIXES)


def _only(folder: Path, pattern: str) -> Path:
    files = _files(folder, pattern)
    if len(files) != 1:
        names = ", ".join(f.name for f in files) or "none"
        fix = _FIX if not files else (
            "copy the files of one series (token dictionary, medians, mapping) into a folder of "
            "their own and name it in models.*.options.dictionaries"
        )  # fmt: skip
        if pattern == _KINDS["mapping"] and not files:
            fix += "; without it, set models.*.options.collapse_ensembl: false (ids as they are)"
        raise InputError(str(folder), f"needs one {pattern}, found {names}", fix)
    return files[0]


# Dictionaries of other classes are read as plain ones; a default and its type are left out.
_PLAIN = {
    ("collections", "OrderedDict"): OrderedDict,
    ("collections", "Counter"): OrderedDict,
    ("collections", "defaultdict"): Inert,
    ("builtins", "int"): Inert,
    ("builtins", "float"): Inert,
    ("builtins", "str"): Inert,
}


class _Unpickler(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        known = numpy_names() | _PLAIN
        if (module, name) not in known:
            raise pickle.UnpicklingError(f"it names {module}.{name}, which is not run")
        return known[(module, name)]


def _read(path: Path, kind: Callable[[Any], Any]) -> dict[str, Any]:
    """Read a pickled or JSON dictionary of text to numbers or text.

    Raises
    ------
    InputError
        If the file is damaged, holds anything else, or names code.
    """
    try:
        raw = read_bounded(path)
        refuse_stand_in(path)
        value = parse_json(raw) if path.suffix == ".json" else _Unpickler(io.BytesIO(raw)).load()
    except (pickle.UnpicklingError, EOFError, AttributeError, ImportError, IndexError) as error:
        fix = "download it again, or write it as JSON ({name: number}) if it is your own"
        raise InputError(str(path), f"cannot be read: {error}", fix) from None
    except (
        TypeError, ValueError, KeyError, OSError, MemoryError, OverflowError, AssertionError,
    ) as error:  # fmt: skip
        raise InputError(str(path), f"cannot be read: {error!r}", "download it again") from None
    plain = (str, int, float, np.number)
    if not isinstance(value, Mapping) or not all(
        isinstance(k, str) and isinstance(v, plain) and isinstance(v, str) == (kind is str)
        for k, v in value.items()
    ):
        raise InputError(str(path), f"not text -> {kind.__name__}", "download it again")
    return {k: kind(v) for k, v in value.items()}
