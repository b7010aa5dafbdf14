"""Stores of napistu-torch: read without running them, each fault named with file and field."""

from __future__ import annotations

import io
import json
import pickle
import shutil
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from octoscope.errors import InputError
from octoscope.models.foundation_store import FoundationStore

T_CELL = "residuals/immune_T_cell"


@pytest.fixture
def store(napistu_stores: Path, tmp_path: Path) -> Path:
    """A copy of a store that a test may change."""
    return Path(shutil.copytree(napistu_stores / "scGPT", tmp_path / "scGPT"))


def weights_of(path: Path) -> Any:
    """Return the weights as numpy unpickles them: an independent reader of our own file."""
    with np.load(path / "weights.npz", allow_pickle=True) as archive:
        return archive["attention_weights"].item()


@pytest.mark.parametrize("name", ["AIDOCell_aido_cell_3m", "scGPT"])
def test_a_store_is_read_as_numpy_reads_it(napistu_stores: Path, name: str) -> None:
    path = napistu_stores / name
    opened, weights = FoundationStore(path), weights_of(path)
    assert opened.label == name
    assert list(opened.datasets) == ["immune"]
    assert list(opened.datasets["immune"]) == ["T cell", "macrophage (2)"]
    assert opened.n_layers == len(weights)
    genes, streams = opened.genes("immune", "T cell"), opened.streams("immune", "T cell")
    raw = json.loads((path / f"{T_CELL}_metadata.json").read_text())
    assert genes.names == raw[0]["ordered_genes"]
    assert genes.ensembl == [row["ensembl_gene"] for row in raw[0]["gene_annotations"]]
    assert genes.symbol == [row["symbol"] for row in raw[0]["gene_annotations"]]
    assert genes.dataset_uri == "immune.h5ad"
    with np.load(path / f"{T_CELL}.npz") as arrays:
        for layer in range(opened.n_layers):
            for projection, what in zip(opened.projections(layer), ("W_q", "W_k"), strict=True):
                assert projection.shape == (opened.n_heads, opened.d // opened.n_heads, opened.d)
                assert np.array_equal(
                    projection.reshape(opened.d, opened.d), weights[f"layer_{layer}"][what]
                )
            projection = streams.layer(layer, len(genes.names))
            assert np.array_equal(projection, arrays[f"layer_{layer}"])


def test_layers_have_their_own_weights_or_those_that_the_peer_gives_them(
    napistu_stores: Path,
) -> None:
    opened = FoundationStore(napistu_stores / "AIDOCell_aido_cell_3m")
    own = [opened.projections(i)[0] for i in range(11)]
    peers = [opened.projections(i, "text")[0] for i in range(11)]
    # layer_0, layer_1, layer_10, layer_2, ...
    for position, layer in enumerate([0, 1, 10, *range(2, 10)]):
        assert np.array_equal(peers[position], own[layer])
    assert not np.array_equal(peers[2], own[2])


class Harmful:
    """Its pickle writes a file when it is loaded by Python's own reader."""

    def __init__(self, file: Path) -> None:
        self.file = file

    def __reduce__(self) -> tuple[Any, ...]:
        return (Path.touch, (self.file,))


def with_weights(path: Path, value: Any) -> None:
    array = np.empty((), object)
    array[()] = value
    np.savez(path / "weights.npz", attention_weights=array)


def test_no_code_of_a_store_is_run(store: Path, tmp_path: Path) -> None:
    mark = tmp_path / "ran"
    with_weights(store, {"layer_0": Harmful(mark)})
    with pytest.raises(InputError, match=r"weights.npz: attention_weights: .* which is not run"):
        FoundationStore(store).projections(0)
    assert not mark.exists()
    weights_of(store)  # what the peer's own loading does
    assert mark.exists()


def edited(file: Path, change: Callable[[Any], Any]) -> None:
    value = json.loads(file.read_text())
    changed = change(value)
    file.write_text(json.dumps(value if changed is None else changed))


def with_array(file: Path, name: str, change: Callable[[np.ndarray], np.ndarray | None]) -> None:
    with np.load(file) as archive:
        arrays = {key: archive[key] for key in archive.files}
    changed = change(arrays[name])
    arrays = {k: v for k, v in arrays.items() if k != name}
    if changed is not None:
        arrays[name] = changed
    np.savez(file, **arrays)  # type: ignore[arg-type]


def nan_in_part(values: np.ndarray) -> np.ndarray:
    values[0, 0] = np.nan
    return values


def infinite(values: np.ndarray) -> np.ndarray:
    values[0, 0] = np.inf
    return values


def truncated(file: Path) -> None:
    file.write_bytes(file.read_bytes()[:-40])


def read_whole(path: Path) -> None:
    opened = FoundationStore(path)
    genes = opened.genes("immune", "T cell")
    for layer in range(opened.n_layers):
        opened.streams("immune", "T cell").layer(layer, len(genes.names))
        opened.projections(layer)


FAULTS: dict[str, tuple[Callable[[Path], Any], str]] = {
    "annotations without Ensembl": (
        lambda s: edited(
            s / f"{T_CELL}_metadata.json",
            lambda x: [r["gene_annotations"][0].pop("ensembl_gene") for r in x] and None,
        ),
        r"immune_T_cell_metadata.json: gene_annotations: lacks the field ensembl_gene",
    ),
    "another category": (
        lambda s: edited(s / f"{T_CELL}_metadata.json", lambda x: x[0].update(category="B cell")),
        r"layer 0: category: 'B cell', but residuals_index.yaml says 'T cell'",
    ),
    "another model": (
        lambda s: edited(
            s / f"{T_CELL}_metadata.json", lambda x: x[1].update(model_name="scPRINT")
        ),
        r"layer 1: model_name: 'scPRINT', not 'scGPT'",
    ),
    "damaged streams": (lambda s: truncated(s / f"{T_CELL}.npz"), r"immune_T_cell.npz: is no .npz"),
    "gene twice": (
        lambda s: edited(
            s / f"{T_CELL}_metadata.json",
            lambda x: (
                [
                    r["gene_annotations"][1].update(
                        ensembl_gene=r["gene_annotations"][0]["ensembl_gene"]
                    )
                    for r in x
                ]
                and None
            ),
        ),
        r"gene_annotations.ensembl_gene: ENSG\d+ stands for two rows",
    ),
    "genes of a layer differ": (
        lambda s: edited(s / f"{T_CELL}_metadata.json", lambda x: x[2]["ordered_genes"].reverse()),
        r"layer 2: ordered_genes: other genes than those of the first layer",
    ),
    "heads do not divide": (
        lambda s: edited(s / "metadata.json", lambda x: x["model_metadata"].update(n_heads=5)),
        r"metadata.json: model_metadata.n_heads: 5 heads do not divide embed_dim 16",
    ),
    "index absent": (
        lambda s: (s / "residuals_index.yaml").unlink(),
        r"residuals_index.yaml: does not exist: the store has weights but no residual streams",
    ),
    "index leads out": (
        lambda s: (s / "residuals_index.yaml").write_text("datasets: {immune: {T cell: ../x}}"),
        r"residuals_index.yaml: datasets.immune.T cell: '../x' is no file name",
    ),
    "infinite stream": (
        lambda s: with_array(s / f"{T_CELL}.npz", "layer_1", infinite),
        r"immune_T_cell.npz: layer_1: holds infinity",
    ),
    "layer of streams absent": (
        lambda s: with_array(s / f"{T_CELL}.npz", "layer_1", lambda _: None),
        r"immune_T_cell.npz: has no layer_1",
    ),
    "layers of weights absent": (
        lambda s: edited(s / "metadata.json", lambda x: x["model_metadata"].update(n_layers=2)),
        r"attention_weights: expected layer_0 to layer_1, found .*layer_2.*n_layers",
    ),
    "metadata of streams absent": (
        lambda s: (s / f"{T_CELL}_metadata.json").unlink(),
        r"immune_T_cell_metadata.json: does not exist; residuals_index.yaml names it for 'T cell'",
    ),
    "no layers": (
        lambda s: edited(s / "metadata.json", lambda x: x["model_metadata"].update(n_layers=0)),
        r"metadata.json: model_metadata.n_layers: 0 is no count",
    ),
    "not a store": (
        lambda s: [(s / name).unlink() for name in ("metadata.json", "weights.npz")],
        r"is no napistu-torch FoundationModelStore: it has no metadata.json and weights.npz",
    ),
    "part of a row": (
        lambda s: with_array(s / f"{T_CELL}.npz", "layer_0", nan_in_part),
        r"layer_0: holds infinity, or NaN in part of a row",
    ),
    "rows are not the genes": (
        lambda s: with_array(s / f"{T_CELL}.npz", "layer_0", lambda x: x[1:]),
        r"layer_0: float32 \[29, 16\], but its genes and model are \[30, 16\]",
    ),
    "shape of weights": (
        lambda s: with_weights(
            s,
            {f"layer_{i}": {"W_q": np.ones((16, 4)), "W_k": np.ones((16, 16))} for i in range(3)},
        ),
        r"attention_weights.layer_0.W_q: expected \[16, 16\], found float64 \[16, 4\]",
    ),
    "weights absent": (
        lambda s: (s / "weights.npz").unlink(),
        r"weights.npz: does not exist",
    ),
    "weights not finite": (
        lambda s: with_weights(
            s,
            {
                f"layer_{i}": {w: np.full((16, 16), np.nan) for w in ("W_q", "W_k")}
                for i in range(3)
            },
        ),
        r"attention_weights.layer_0.W_q: holds NaN or infinity",
    ),
}


@pytest.mark.parametrize("fault", sorted(FAULTS))
def test_a_fault_is_refused_with_file_and_field(store: Path, fault: str) -> None:
    break_it, message = FAULTS[fault]
    break_it(store)
    with pytest.raises(InputError, match=message):
        read_whole(store)


def test_a_pickle_that_is_damaged_is_refused(store: Path) -> None:
    part = io.BytesIO()
    np.lib.format.write_array_header_1_0(part, {"descr": "|O", "fortran_order": False, "shape": ()})
    part.write(pickle.dumps({"layer_0": 1}, protocol=4)[:-3])
    with zipfile.ZipFile(store / "weights.npz", "w") as archive:
        archive.writestr("attention_weights.npy", part.getvalue())
    with pytest.raises(InputError, match=r"weights.npz: attention_weights: cannot be read"):
        FoundationStore(store).projections(0)


def test_genes_without_ids_and_rows_without_means_are_kept_apart(store: Path) -> None:
    def unknown(records: list[dict[str, Any]]) -> None:
        for r in records:
            r["gene_annotations"][3]["ensembl_gene"] = None
            r["gene_annotations"][4]["ensembl_gene"] += ".7"

    plain = FoundationStore(store).genes("immune", "T cell").ensembl
    edited(store / f"{T_CELL}_metadata.json", unknown)

    def nothing(values: np.ndarray) -> np.ndarray:
        values[5] = np.nan
        return values

    with_array(store / f"{T_CELL}.npz", "layer_0", nothing)
    opened = FoundationStore(store)
    genes = opened.genes("immune", "T cell")
    assert genes.ensembl == [*plain[:3], None, *plain[4:]]
    stream = opened.streams("immune", "T cell").layer(0, 30)
    assert np.flatnonzero(np.isnan(stream).all(1)).tolist() == [5]
