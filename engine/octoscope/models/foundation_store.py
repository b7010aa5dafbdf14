"""A napistu-torch ``FoundationModelStore``: weights, and mean residual streams per category.

Layout on disk, as napistu-torch 0.4.0 writes it:

- ``metadata.json``: ``model_metadata`` (name, variant, layers, heads, width).
- ``weights.npz``: ``attention_weights``, a pickled dictionary ``layer_<i>`` -> ``W_q``, ``W_k``,
  ``W_v``, ``W_o``, each [d, d]; a row is an output, head after head.
- ``residuals_index.yaml``: data set -> category -> stem of its files.
- ``residuals/<stem>.npz``: ``layer_<i>`` [genes, d], the mean stream before that layer;
  ``<stem>_metadata.json``: per layer the genes of its rows, with Ensembl ids.

Nothing in a store is run: the dictionary of weights is rebuilt from checked arrays.
"""

from __future__ import annotations

import pickle
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import IO, Any, Literal

import numpy as np

from octoscope.bounded_reads import read_bounded
from octoscope.errors import InputError
from octoscope.genes import strip_version
from octoscope.json_values import parse_json
from octoscope.models.weights import MOST_LAYERS, read_json
from octoscope.safe_pickle import Array, numpy_names
from octoscope.yaml_values import parse_yaml
from octoscope.zip_parts import archive_fault, read_array

METADATA, WEIGHTS, INDEX = "metadata.json", "weights.npz", "residuals_index.yaml"
_LARGEST_JSON = 1 << 30  # bytes: the genes of every layer are written out
_REWRITE = "write the store again with napistu-torch 0.4.0"
_BROKEN = (
    pickle.UnpicklingError, EOFError, ValueError, KeyError, OSError, AttributeError, TypeError,
    IndexError, OverflowError, MemoryError, RecursionError, zipfile.BadZipFile,
)  # fmt: skip

LayerOrder = Literal["number", "text"]


class _Unpickler(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        known = numpy_names()
        if (module, name) not in known:
            raise pickle.UnpicklingError(f"it names {module}.{name}, which is not run")
        return known[(module, name)]


@dataclass(frozen=True)
class StoredGenes:
    """Genes of the rows of a category.

    Attributes
    ----------
    names
        [rows] name of each row in the store.
    ensembl
        [rows] Ensembl id without version; None where the store has none.
    symbol
        [rows] symbol, '' where the store has none.
    dataset_uri
        Where the cells came from, as the store says; None: it does not.
    """

    names: list[str]
    ensembl: list[str | None]
    symbol: list[str]
    dataset_uri: str | None


class FoundationStore:
    """One model's store.

    Attributes
    ----------
    label
        Name and variant of the model, as the peer joins them.
    model_name
        Name of the model alone.
    n_layers, n_heads, d
        Its size.

    Raises
    ------
    InputError
        If the folder is no store, or a file is absent, damaged or inconsistent.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        if not (self.path / METADATA).is_file() and not (self.path / WEIGHTS).is_file():
            raise InputError(
                str(path),
                f"is no napistu-torch FoundationModelStore: it has no {METADATA} and {WEIGHTS}",
                "give the folder of one model, which holds them",
            )
        file = self.path / METADATA
        metadata = read_json(file, "the store").get("model_metadata")
        if not isinstance(metadata, Mapping):
            raise InputError(f"{file}: model_metadata", "is absent", _REWRITE)
        self.model_name = str(metadata.get("model_name") or "")
        if not self.model_name:
            raise InputError(f"{file}: model_metadata.model_name", "is absent", _REWRITE)
        variant = metadata.get("model_variant")
        self.label = f"{self.model_name}_{variant}" if variant else self.model_name
        self.n_layers, self.n_heads, self.d = (
            _positive(metadata, name, file) for name in ("n_layers", "n_heads", "embed_dim")
        )
        if self.n_layers > MOST_LAYERS:
            problem = f"{self.n_layers} is more than any model has"
            raise InputError(f"{file}: model_metadata.n_layers", problem, _REWRITE)
        if self.d % self.n_heads:
            raise InputError(
                f"{file}: model_metadata.n_heads",
                f"{self.n_heads} heads do not divide embed_dim {self.d}",
                _REWRITE,
            )

    @cached_property
    def datasets(self) -> dict[str, dict[str, str]]:
        """Return data set -> category -> stem of its files.

        Raises
        ------
        InputError
            If the index is absent, damaged, empty, or leads out of the store.
        """
        file = self.path / INDEX
        try:
            index = parse_yaml(read_bounded(file).decode())
        except FileNotFoundError:
            raise InputError(
                str(file),
                "does not exist: the store has weights but no residual streams",
                "save them with FoundationModelStore.save_residuals",
            ) from None
        except (OSError, ValueError) as error:
            raise InputError(str(file), f"cannot be read: {error}", _REWRITE) from None
        sets = index.get("datasets") if isinstance(index, dict) else None
        if not isinstance(sets, dict) or not any(sets.values()):
            raise InputError(f"{file}: datasets", "lists no category", _REWRITE)
        out: dict[str, dict[str, str]] = {}
        for dataset, categories in sets.items():
            if not isinstance(categories, dict):
                raise InputError(f"{file}: datasets.{dataset}", "is no table", _REWRITE)
            for category, stem in categories.items():
                if not isinstance(stem, str) or Path(stem).name != stem or stem in ("", ".."):
                    raise InputError(
                        f"{file}: datasets.{dataset}.{category}", f"{stem!r} is no file name",
                        _REWRITE,
                    )  # fmt: skip
                out.setdefault(str(dataset), {})[str(category)] = stem
        return out

    def _stem(self, dataset: str, category: str) -> Path:
        return self.path / "residuals" / self.datasets[dataset][category]

    def files(self, dataset: str, categories: list[str]) -> list[Path]:
        """Return the files that these categories are read from."""
        own = [self.path / name for name in (METADATA, WEIGHTS, INDEX)]
        for category in categories:
            stem = self._stem(dataset, category)
            own += [
                stem.with_name(f"{stem.name}.npz"),
                stem.with_name(f"{stem.name}_metadata.json"),
            ]
        return own

    def genes(self, dataset: str, category: str) -> StoredGenes:
        """Return the genes of a category's rows, which all layers share.

        Raises
        ------
        InputError
            If the file is absent, is of another category, or its layers differ in their genes.
        """
        stem = self._stem(dataset, category)
        file = stem.with_name(f"{stem.name}_metadata.json")
        try:
            layers = parse_json(read_bounded(file, _LARGEST_JSON))
        except FileNotFoundError:
            raise InputError(
                str(file), f"does not exist; {INDEX} names it for {category!r}",
                "copy the whole store",
            ) from None  # fmt: skip
        except (OSError, ValueError) as error:
            raise InputError(str(file), f"cannot be read: {error}", _REWRITE) from None
        if (
            not isinstance(layers, list)
            or not all(isinstance(x, dict) for x in layers)
            or not layers
        ):
            raise InputError(str(file), "is no list of layers", _REWRITE)
        first = layers[0]
        for record in layers:
            at = f"{file}: layer {record.get('layer_idx')}"
            for name, expected in (("dataset_name", dataset), ("category", category)):
                if record.get(name) not in (None, expected):
                    raise InputError(
                        f"{at}: {name}",
                        f"{record[name]!r}, but {INDEX} says {expected!r}",
                        _REWRITE,
                    )
            if record.get("model_name") not in (None, self.model_name):
                raise InputError(
                    f"{at}: model_name", f"{record['model_name']!r}, not {self.model_name!r}",
                    "give each model its own store",
                )  # fmt: skip
            if record.get("ordered_genes") != first.get("ordered_genes"):
                raise InputError(
                    f"{at}: ordered_genes", "other genes than those of the first layer", _REWRITE
                )
        return _genes(first, file)

    def streams(self, dataset: str, category: str) -> StreamFile:
        """Open the mean residual streams of a category.

        Raises
        ------
        InputError
            If the file is absent or damaged, or lacks a layer.
        """
        stem = self._stem(dataset, category)
        return StreamFile(stem.with_name(f"{stem.name}.npz"), self.n_layers, self.d)

    @cached_property
    def _weights(self) -> dict[str, Mapping[str, Any]]:
        file = self.path / WEIGHTS
        _require_archive(file)
        try:
            with zipfile.ZipFile(file) as archive, archive.open("attention_weights.npy") as part:
                value = _object(part)
        except KeyError:
            raise InputError(str(file), "has no attention_weights", _REWRITE) from None
        except _BROKEN as error:
            raise InputError(
                f"{file}: attention_weights", f"cannot be read: {error}", _REWRITE
            ) from None
        expected = {f"layer_{i}" for i in range(self.n_layers)}
        if not isinstance(value, dict) or set(value) != expected:
            seen = sorted(map(str, value)) if isinstance(value, dict) else type(value).__name__
            raise InputError(
                f"{file}: attention_weights",
                f"expected layer_0 to layer_{self.n_layers - 1}, found {seen}",
                f"check n_layers in {METADATA}",
            )
        return value

    def projections(
        self, layer: int, order: LayerOrder = "number"
    ) -> tuple[np.ndarray, np.ndarray]:
        """Return W_q and W_k of a layer, each [heads, d_head, d] float32.

        Parameters
        ----------
        order
            ``number``: the layer's own weights. ``text``: those that napistu-torch 0.4.0 takes
            after loading a store: it sorts the names as text (layer_10 before layer_2) and counts
            along. The two differ with more than ten layers.

        Raises
        ------
        InputError
            If they are absent, of another shape, or not finite.
        """
        name = f"layer_{layer}" if order == "number" else sorted(self._weights)[layer]
        matrices = []
        for what in ("W_q", "W_k"):
            where = f"{self.path / WEIGHTS}: attention_weights.{name}.{what}"
            layer_weights = self._weights[name]
            matrix = layer_weights.get(what) if isinstance(layer_weights, Mapping) else None
            try:
                values = matrix.value if isinstance(matrix, Array) else None
            except pickle.UnpicklingError as error:
                raise InputError(where, f"cannot be read: {error}", _REWRITE) from None
            if values is None or values.dtype.kind != "f" or values.shape != (self.d, self.d):
                seen = "nothing" if values is None else f"{values.dtype} {list(values.shape)}"
                raise InputError(where, f"expected [{self.d}, {self.d}], found {seen}", _REWRITE)
            if not np.isfinite(values).all():
                raise InputError(where, "holds NaN or infinity", _REWRITE)
            split = values.reshape(self.n_heads, self.d // self.n_heads, self.d)
            matrices.append(np.ascontiguousarray(split, np.float32))
        return matrices[0], matrices[1]


class StreamFile:
    """Mean residual streams of a category: one array per layer."""

    def __init__(self, file: Path, n_layers: int, d: int) -> None:
        self._file, self._d = file, d
        _require_archive(file)
        with zipfile.ZipFile(file) as archive:
            names = {name.removesuffix(".npy") for name in archive.namelist()}
        missing = sorted({f"layer_{i}" for i in range(n_layers)} - names)
        if missing:
            raise InputError(str(file), f"has no {', '.join(missing)}", _REWRITE)

    def layer(self, layer: int, rows: int) -> np.ndarray:
        """Return [rows, d] float32, NaN throughout in rows of genes that have no mean.

        Raises
        ------
        InputError
            If the array has another shape, holds infinity, or NaN in part of a row.
        """
        where = f"{self._file}: layer_{layer}"
        try:
            values = read_array(self._file, f"layer_{layer}")
        except _BROKEN as error:
            raise InputError(where, f"cannot be read: {error}", _REWRITE) from None
        if values.dtype.kind != "f" or values.shape != (rows, self._d):
            raise InputError(
                where,
                f"{values.dtype} {list(values.shape)}, but its genes and model are "
                f"[{rows}, {self._d}]",
                _REWRITE,
            )
        values = values.astype(np.float32)
        unknown = np.isnan(values)
        if np.isinf(values).any() or (unknown.any(1) != unknown.all(1)).any():
            raise InputError(where, "holds infinity, or NaN in part of a row", _REWRITE)
        return values


def _positive(metadata: Mapping[str, Any], name: str, file: Path) -> int:
    value = metadata.get(name)
    if not isinstance(value, int) or isinstance(value, bool) or value < 1:
        raise InputError(f"{file}: model_metadata.{name}", f"{value!r} is no count", _REWRITE)
    return value


def _require_archive(file: Path) -> None:
    if not file.is_file():
        raise InputError(str(file), "does not exist", "copy the whole store")
    if not zipfile.is_zipfile(file):
        raise InputError(str(file), "is no .npz archive", "copy it again")
    fault = archive_fault(file)
    if fault is not None:
        raise InputError(str(file), f"damaged: {fault}", "copy it again")


def _object(part: IO[bytes]) -> Any:
    """Return the one object of an .npy file without running what it names."""
    version = np.lib.format.read_magic(part)
    header = getattr(np.lib.format, f"read_array_header_{version[0]}_{version[1]}")
    shape, _, dtype = header(part)
    if shape != () or not dtype.hasobject:
        raise ValueError(f"expected one dictionary, found {dtype} {list(shape)}")
    loaded = _Unpickler(part).load()
    return loaded.value[()] if isinstance(loaded, Array) else loaded


def _genes(record: Mapping[str, Any], file: Path) -> StoredGenes:
    names, rows = record.get("ordered_genes"), record.get("gene_annotations")
    if not isinstance(names, list) or not isinstance(rows, list) or len(names) != len(rows):
        raise InputError(
            f"{file}: gene_annotations", "is absent, or has another length than ordered_genes",
            _REWRITE,
        )  # fmt: skip
    if not all(isinstance(row, Mapping) and "ensembl_gene" in row for row in rows):
        raise InputError(f"{file}: gene_annotations", "lacks the field ensembl_gene", _REWRITE)
    ensembl = [
        strip_version(x) if isinstance(x := row["ensembl_gene"], str) else None for row in rows
    ]
    known = [gene for gene in ensembl if gene is not None]
    if not known:
        seen = rows[0]["ensembl_gene"] if rows else "nothing"
        raise InputError(
            f"{file}: gene_annotations.ensembl_gene", f"no Ensembl id in it ({seen!r})",
            "annotate the store with Ensembl ids",
        )  # fmt: skip
    if len(set(known)) < len(known):
        twice = next(gene for gene in known if known.count(gene) > 1)
        raise InputError(
            f"{file}: gene_annotations.ensembl_gene", f"{twice} stands for two rows",
            "keep one of them",
        )  # fmt: skip
    symbols = [s if isinstance(s := row.get("symbol"), str) else "" for row in rows]
    uri = record.get("dataset_uri")
    return StoredGenes([str(n) for n in names], ensembl, symbols, uri if uri else None)
