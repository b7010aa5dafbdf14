"""Which file of a folder holds the weights, and what they are called, without reading them."""

from __future__ import annotations

import pickletools
import re
import zipfile
from collections import Counter
from collections.abc import Iterable
from io import BytesIO
from pathlib import Path
from typing import BinaryIO

from octoscope.bounded_reads import read_bounded
from octoscope.errors import InputError
from octoscope.json_values import parse_json
from octoscope.zip_parts import part_of

_SUFFIXES = (".safetensors", ".bin", ".pt", ".pth", ".ckpt")
_TORCH = (".ckpt", ".pt", ".pth")
# what training scripts leave beside the weights
_NO_WEIGHTS = re.compile(
    r"^(training_args|optimizer|scheduler|scaler|rng_state\w*)\.|^adapter_model\."
)
_SHARD = re.compile(r"-\d{5}-of-\d{5}\.(safetensors|bin)$")
_INDEX = ".index.json"
_HEAD = 1 << 20  # bytes of a file in torch's older format that are searched
_SKELETON = 1 << 26  # bytes of a pickle without its tensors, at most
_LONGEST_HEADER = 100_000_000  # of safetensors, by its own definition
_NAME = re.compile(r"(\w+\.)+(weight|bias|\w+_(weight|bias|mean|var|tracked|ids|A|B)|pe)")


def checkpoint_in(path: Path) -> Path | None:
    """Return the torch file that holds settings beside weights: ``path``, or one in the folder.

    Of a folder its only ``.ckpt``, else its only ``.pt`` or ``.pth``; None if there is none.

    Raises
    ------
    InputError
        If the folder holds several ``.ckpt``.
    """
    if path.is_file():
        return path if path.suffix in _TORCH else None
    published = sorted(path.glob(f"*{_TORCH[0]}"))
    renamed = [f for s in _TORCH[1:] for f in path.glob(f"*{s}") if not _NO_WEIGHTS.match(f.name)]
    return _only(path, published) if published or len(renamed) != 1 else renamed[0]


def require_checkpoint_in(path: Path, advice: str) -> Path:
    """Return the file of :func:`checkpoint_in`.

    Raises
    ------
    InputError
        If there is none, with the advice; or there are several.
    """
    file = checkpoint_in(path)
    if file is None:
        raise InputError(str(path), "holds no .ckpt, nor one .pt or .pth", advice)
    return file


def _only(folder: Path, files: list[Path]) -> Path | None:
    if len(files) > 1:
        what = f"holds several checkpoints: {', '.join(f.name for f in files)}"
        raise InputError(str(folder), what, "give one of the files")
    return files[0] if files else None


def weights_in(path: Path, names: tuple[str, ...]) -> Path | None:
    """Return the weights file of a folder, or the index of its shards; a file is returned as it is.

    Parameters
    ----------
    names
        Published names, the preferred first; each also as ``NAME.index.json`` with shards. Without
        any of them: the only file with a suffix of weights.

    Raises
    ------
    InputError
        If there are several and none has a published name, or shards without their index.
    """
    if path.is_file():
        return path
    for name in names:
        for file in (path / name, path / (name + _INDEX)):
            if file.is_file():
                return file
    candidates = [
        f
        for f in sorted(path.glob("*"))
        if f.is_file() and f.suffix in _SUFFIXES and not _NO_WEIGHTS.match(f.name)
    ]
    shards = [f for f in candidates if _SHARD.search(f.name)]
    if shards:
        stem = _SHARD.sub(r".\1" + _INDEX, shards[0].name)
        problem = f"holds parts of a checkpoint ({shards[0].name}, ...) and not their index"
        raise InputError(str(path), problem, f"add {stem}, which stands beside the parts")
    return _only(path, candidates)


def holds_weight(path: Path, names: tuple[str, ...], weight: str) -> bool:
    """Tell whether the weights file of a checkpoint has a weight of this name, under any prefix."""
    try:
        file = weights_in(path, names)
    except InputError:  # several files: nothing distinguishes them
        return False
    inside = [] if file is None else text_inside(file)
    return any(n == weight or n.endswith(f".{weight}") for n in inside)


def outside(path: Path, *files: Path) -> tuple[Path, ...]:
    """Return the files that a checkpoint, given as a folder or as a file, does not hold itself."""
    if path.is_file():
        return tuple(f for f in files if f.resolve() != path.resolve())
    return tuple(f for f in files if f.parent.resolve() != path.resolve())


# First bytes of what stands in the place of a file that was not fetched.
_STAND_INS = {
    b"version https://git-lfs": ("a Git LFS pointer", "fetch the file itself: git lfs pull"),
    b"<!DOCTYPE": ("a web page", "download the file itself, by its direct link"),
    b"<html": ("a web page", "download the file itself, by its direct link"),
}


def refuse_stand_in(file: Path) -> None:
    """Refuse a file that only stands for the one that was meant.

    Raises
    ------
    InputError
        Saying what it is, and how to get the file.
    """
    if file.exists() and not file.is_file():
        raise InputError(str(file), "is no regular file", "give the published file")
    with file.open("rb") as handle:
        head = handle.read(64)
    for start, (what, fix) in _STAND_INS.items():
        if head.startswith(start):
            raise InputError(str(file), f"is {what}, not the file", fix)


def folder_of(path: Path) -> Path:
    """Return the folder of a checkpoint that is given as a folder or as one of its files."""
    return path if path.is_dir() else path.parent


def shards_of(index: Path) -> dict[Path, list[str]]:
    """Return file -> names of its weights, of an index of Hugging Face (``*.index.json``).

    Raises
    ------
    InputError
        If it is no such index, names a file outside its folder, or a file is absent.
    """
    try:
        weight_map = parse_json(read_bounded(index))["weight_map"]
        files = {str(name): str(file) for name, file in weight_map.items()}
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        problem = f"not an index of parts ({type(error).__name__}: {error})"
        raise InputError(str(index), problem, "download it again") from None
    weights_of: dict[Path, list[str]] = {}
    for name, file in files.items():
        if Path(file).name != file:
            raise InputError(str(index), f"names {file!r}", "give an index of files beside it")
        weights_of.setdefault(index.parent / file, []).append(name)
    missing = [f.name for f in weights_of if not f.is_file()]
    if missing or not weights_of:
        what = (
            f"{len(missing)} of {len(weights_of)} parts are absent (first: {(missing or ['-'])[0]})"
        )
        raise InputError(str(index), what, "complete the folder")
    return weights_of


def text_inside(path: Path) -> list[str]:
    """Return the text of a weights file's skeleton: names of weights, of classes, settings.

    Nothing is unpickled and no weights are read. Of a file in torch's older format, what the first
    megabyte holds. Empty where the file cannot be read.
    """
    if not path.is_file():  # zipfile would look for the end of a device
        return []
    try:
        if path.name.endswith(_INDEX):
            return list(parse_json(read_bounded(path))["weight_map"])
        if path.suffix == ".safetensors":
            with path.open("rb") as handle:
                size = min(int.from_bytes(handle.read(8), "little"), _LONGEST_HEADER)
                return [n for n in parse_json(handle.read(size)) if n != "__metadata__"]
        if zipfile.is_zipfile(path):
            return _strings(BytesIO(part_of(path, "/data.pkl", _SKELETON)))
        with path.open("rb") as handle:
            return _strings(BytesIO(handle.read(_HEAD)))
    except (OSError, ValueError, KeyError, TypeError, AttributeError, zipfile.BadZipFile):
        return []


def _strings(stream: BinaryIO) -> list[str]:
    """Return the text constants of consecutive pickles, up to what is no pickle."""
    constants: list[str] = []
    try:
        while True:
            for _, value, _ in pickletools.genops(stream):
                if isinstance(value, str):
                    constants.append(value)
    except (ValueError, IndexError, OverflowError, MemoryError):
        return constants


def beginnings(names: Iterable[str]) -> str:
    """Return how names of weights begin, the most frequent first, for a message."""
    counts = Counter(".".join(n.split(".")[:2]) for n in names)
    shown = ", ".join(f"{name} ({n})" for name, n in counts.most_common(6))
    return shown + (", ..." if len(counts) > 6 else "")


def look(names: Iterable[str]) -> str:
    """Say in a message how many weights a file holds and what their names look like."""
    names = list(names)
    return f"its {len(names)} weights begin with {beginnings(names)}" if names else "it holds none"


def weight_names(path: Path) -> list[str]:
    """Return what looks like a name of weights in a file (``a.b.weight``), not read."""
    return [n for n in text_inside(path) if _NAME.fullmatch(n)]


# pattern in the folder of a checkpoint, what saves such parts, and how they are joined
_PARTS = (
    ("**/*mp_rank_*.pt", "DeepSpeed", "python zero_to_fp32.py FOLDER OUT, of its own"),
    (
        "**/*.distcp", "torch.distributed",
        "python -m torch.distributed.checkpoint.format_utils dcp_to_torch FOLDER weights.pt",
    ),
)  # fmt: skip


def require_file(path: Path) -> None:
    """Refuse a stand-in, or a file that is absent; say what is in its folder instead.

    Raises
    ------
    InputError
        Parts that a distributed training saved are named, with how to join them.
    """
    if path.exists():
        return refuse_stand_in(path)
    for pattern, saved_by, fix in _PARTS:
        parts = sorted(p.relative_to(path.parent) for p in path.parent.glob(pattern))
        if parts:
            problem = f"does not exist; {parts[0]} is a part that {saved_by} saved"
            raise InputError(str(path), problem, f"join the parts first ({fix})")
    names = sorted(p.name for p in path.parent.glob("*"))
    inside = (
        f"the folder holds {', '.join(names[:8])}" if names else "the folder is empty or absent"
    )
    raise InputError(str(path), f"does not exist; {inside}", "check models.*.path")
