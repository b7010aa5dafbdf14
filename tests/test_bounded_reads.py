"""What is read has a bound: sizes are known before room is made, and no module goes around it."""

from __future__ import annotations

import ast
import bz2
import gzip
import lzma
import resource
import time
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from octoscope import bounded_reads
from octoscope.bounded_reads import open_bounded, read_npy, read_parquet, read_whole
from octoscope.errors import InputError
from octoscope.genes import read_aliases
from octoscope.json_values import parse_json
from octoscope.link_prediction import p_value_tables
from octoscope.link_prediction.p_value_tables import p_values_of
from octoscope.octopus.pair_files import read_genes, read_pairs
from octoscope.octopus.sources.open_text import open_binary
from octoscope.octopus.sources.record import SourceCounts
from octoscope.octopus.sources.text import read_frame
from octoscope.yaml_values import parse_yaml

MANY_LISTS = b"[" + b"[]," * 20_000_000 + b"[]]"
# Where files are opened or parsed, and why no bound is gone around. Everything else goes through
# the readers of `bounded_reads`, `json_values`, `yaml_values`, `zip_parts` and `hdf5_guard`.
READ_HERE = {
    "api/plan.py": ({"yaml.safe_load"}, "a copy of what Python code gave"),
    "atlas/count_files.py": ({"open"}, "chunks of an atlas, each of the size that is stored"),
    "atlas/open_root.py": ({"file.open", "fsspec.open", "h5py.File"}, "64 bytes; behind the guard"),
    "atlas/other_files.py": ({"gzip.open"}, "64 bytes"),
    "atlas/partial_store.py": ({"os.open"}, "a folder, to flush it"),
    "bounded_reads.py": ({"np.load", "path.open", "pq.ParquetFile"}, "the readers themselves"),
    "cli/link_table.py": ({"json.loads"}, "what pandas has just written"),
    "cli/shared.py": ({"json.loads"}, "what pandas has just written"),
    "config/problems.py": ({"yaml.compose"}, "a text that the loader has read"),
    "digests.py": ({"path.open"}, "in blocks, of a regular file"),
    "extract/ranked_cells.py": ({"np.memmap"}, "a file that it has written"),
    "genes.py": ({"files().open", "pd.read_csv", "pd.read_parquet"}, "of the package; a handle"),
    "gnn/embeddings.py": ({"load_file"}, "safetensors, whose header is checked by the file"),
    "gnn_training/train_state.py": ({"json.loads", "load_file"}, "its own values; safetensors"),
    "hdf5_guard.py": ({"h5py.File"}, "the guard itself"),
    "hdf5_walk.py": ({"h5py.File", "system.open"}, "the guard's process"),
    "json_values.py": ({"json.loads"}, "the loader itself"),
    "link_prediction/p_value_tables.py": ({"pd.read_csv"}, "a bounded handle"),
    "link_prediction/perturbation_h5ad.py": ({"anndata.read_h5ad"}, "behind the guard"),
    "link_prediction/perturbation_tables.py": ({"read_h5ad"}, "the function above"),
    "models/foundation_store.py": ({"zipfile.ZipFile"}, "stated sizes are compared before"),
    "models/gene_list.py": ({"files().open"}, "of the package"),
    "models/geneformer_medians.py": ({"np.load"}, "of the package"),
    "models/weight_files.py": ({"file.open", "path.open"}, "64 bytes, a megabyte, or a header"),
    "models/weights.py": ({"load_file", "torch.load"}, "archives are checked before"),
    "octopus/directory.py": ({"pq.ParquetFile"}, "the footer alone"),
    "octopus/napistu/bundle.py": ({"pd.read_csv", "tarfile.open"}, "bytes; sizes are compared"),
    "octopus/pair_files.py": ({"pd.read_csv"}, "a bounded handle"),
    "octopus/sources/annotation_files.py": ({"sqlite3.connect"}, "rows one by one, read only"),
    "octopus/sources/intact.py": ({"zipfile.ZipFile"}, "members are bounded"),
    "octopus/sources/open_text.py": ({"path.open", "zipfile.ZipFile"}, "first bytes; bounded"),
    "octopus/sources/reactome.py": ({"tarfile.open", "zipfile.ZipFile"}, "members are bounded"),
    "octopus/sources/text.py": (
        {"pc.open_csv", "pq.ParquetFile", "pq.read_schema"}, "a bounded handle; sizes are compared",
    ),
    "octopus/sources/xml.py": ({"etree.iterparse"}, "a bounded handle, element by element"),
    "planning/checkpoint_info.py": ({"json.load", "json.loads"}, "answers of its own process"),
    "report/embedded.py": ({"bundle.read_text"}, "of the package"),
    "safe_pickle.py": ({"torch.load", "zipfile.ZipFile"}, "archives are checked before"),
    "store/backends.py": ({"path.open", "self.system.cat_file", "self.system.open"}, "of a run"),
    "store/lease.py": ({"open"}, "the boot id of this machine"),
    "yaml_values.py": ({"yaml.load"}, "the loader itself"),
    "zip_parts.py": ({"np.load", "zipfile.ZipFile"}, "stated sizes are compared before"),
}  # fmt: skip
_READERS = {
    "ParquetDataset", "ParquetFile", "ZipFile", "cat_file", "fromfile", "genfromtxt", "load_file",
    "loadtxt", "memmap", "read_bytes", "read_h5ad", "read_text", "safe_open", "iterparse",
}  # fmt: skip
_PARSERS = ("load", "safe_load", "unsafe_load", "full_load", "compose", "parse", "scan")


def reads(call: ast.Call) -> str | None:
    """Return the name of a call that opens a file for reading, or parses one; None: of another."""
    name = ast.unparse(call.func)
    before, _, last = name.rpartition(".")
    given = [*call.args, *(k.value for k in call.keywords if k.arg == "mode")]
    texts = [a.value for a in given if isinstance(a, ast.Constant) and isinstance(a.value, str)]
    modes = [text for text in texts if text and set(text) <= set("rwaxbt+:*")]
    if last in ("open", "fdopen"):
        if any(set(mode) & set("wax+") for mode in modes):
            return None
        if "(" in before:
            return "files().open" if before.startswith("files(") else None
        libraries = ("", "gzip", "bz2", "lzma", "os", "io", "fsspec", "tarfile")
        return name if before in libraries or modes or not given else None
    of_tables = before in ("pd", "pq", "pc", "pa") and last.startswith(("read_", "open_"))
    parses = before in ("np", "json", "yaml", "torch", "pickle") and last.startswith(_PARSERS)
    other = name in ("h5py.File", "sqlite3.connect")
    return name if last in _READERS or of_tables or parses or other else None


def test_files_are_read_by_the_bounded_readers() -> None:
    """Red: any module that opens or parses a file otherwise, or in a further way."""
    package = Path(bounded_reads.__file__).parent
    read_here = {}
    for path in sorted(package.rglob("*.py")):
        calls = (n for n in ast.walk(ast.parse(path.read_text())) if isinstance(n, ast.Call))
        if names := {name for call in calls if (name := reads(call))}:
            read_here[str(path.relative_to(package))] = names
    assert read_here == {module: names for module, (names, _) in READ_HERE.items()}
    for text in ("p.read_text()", "p.open()", "open(p)", "pd.read_csv(p)", "json.load(h)"):
        assert reads(ast.parse(text, mode="eval").body)  # type: ignore[arg-type]
    for text in ("p.open('wb')", "open(p, 'w')", "root.open(name)"):
        assert not reads(ast.parse(text, mode="eval").body)  # type: ignore[arg-type]


def test_json_of_few_bytes_and_many_values_is_refused_before_it_is_parsed() -> None:
    """Red: 60 MB of empty lists take 1.6 GB."""
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(ValueError, match="values that take more than 600 MB"):
        parse_json(MANY_LISTS)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 1 << 19  # kB
    commas = b'["' + b"," * 12_000_000 + b'"]'  # of a text, which count for nothing
    assert len(parse_json(commas)[0]) == 12_000_000


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[" + "[]," * 400_000 + "[]]", "more than 150,000 values and keys"),
        ("#" * (1 << 22) + "\na: 1", "more than 4,194,304 characters"),
    ],
    ids=["values", "characters"],
)
def test_yaml_that_takes_long_is_refused_soon(text: str, message: str) -> None:
    """Red: a list of 1.3 MB takes 12 s."""
    started = time.process_time()
    with pytest.raises(ValueError, match=message):
        parse_yaml(text)
    assert time.process_time() - started < 10


def many_rows(path: Path, names: tuple[str, ...]) -> Path:
    """Write run-length codes: 100 million equal rows in some kB."""
    part = pa.table({name: pa.array(["G"] * 1_000_000).dictionary_encode() for name in names})
    with pq.ParquetWriter(path, part.schema, compression="zstd", store_schema=False) as writer:
        for _ in range(100):
            writer.write_table(part)
    return path


def long_text(path: Path, names: tuple[str, ...]) -> Path:
    """Write one text of 1 MB, which 10,000 rows repeat."""
    codes = pa.array(np.zeros(10_000, np.int32))
    column = pa.DictionaryArray.from_arrays(codes, pa.array(["G" * (1 << 20)]))
    pq.write_table(pa.table(dict.fromkeys(names, column)), path, store_schema=False)
    return path


def of_source(path: Path) -> pd.DataFrame:
    return read_frame(path, {"a": pa.string(), "b": pa.string()}, SourceCounts())


READERS: dict[str, tuple[tuple[str, ...], Callable[[Path], object]]] = {
    "pairs": (("a", "b"), lambda path: read_pairs(path, ("a", "b"))),
    "aliases": (("alias", "ensembl"), read_aliases),
    "source": (("a", "b"), of_source),
}


@pytest.mark.parametrize("reader", READERS)
@pytest.mark.parametrize("write", [many_rows, long_text], ids=["rows", "text"])
def test_a_table_that_inflates_is_named_before_it_takes_memory(
    tmp_path: Path, reader: str, write: Callable[[Path, tuple[str, ...]], Path]
) -> None:
    """Red: each of these files of less than 1 MB would take 2 to 20 GB."""
    columns, read = READERS[reader]
    path = write(tmp_path / "t.parquet", columns)
    assert path.stat().st_size < 1 << 20
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(InputError, match=r"t\.parquet: has .* rows take .* in memory\. Fix: "):
        read(path)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 1 << 20  # kB


@pytest.mark.parametrize("kind", ["list", "struct", "map"])
def test_text_inside_nested_columns_counts(tmp_path: Path, kind: str) -> None:
    """Red: only text of plain columns counts. One text of 1 MB, 3,000 times: 3 GB of 0.1 MB."""
    text = pa.DictionaryArray.from_arrays(
        pa.array(np.zeros(3_000, np.int32)), pa.array(["G" * (1 << 20)])
    )
    numbers = pa.array(np.arange(3_000))
    ends = pa.array(np.arange(3_001, dtype=np.int32))
    nested = {
        "list": lambda: pa.ListArray.from_arrays(ends, text),
        "struct": lambda: pa.StructArray.from_arrays([text, numbers], ["k", "v"]),
        "map": lambda: pa.MapArray.from_arrays(ends, numbers, text),
    }
    path = tmp_path / "t.parquet"
    pq.write_table(pa.table({"a": nested[kind](), "b": numbers}), path, store_schema=False)
    assert path.stat().st_size < 1 << 20
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(
        InputError, match=r"t\.parquet: has .* 3,000 rows take .* in memory\. Fix: "
    ):
        read_parquet(path)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 1 << 19  # kB


def test_a_sound_table_is_read_as_pandas_does(tmp_path: Path) -> None:
    frame = pd.DataFrame({
        "text": ["a", None, "b", "a"], "number": [1.5, 2, np.nan, 4], "whole": [1, 2, 3, 4],
        "coded": pd.Categorical(["x", "y", "x", "x"]), "lists": [["a"], [], None, ["b", "c"]],
        "words": [{"k": "a", "v": ["x", "y"]}, None, {"k": None, "v": []}, {"k": "b", "v": ["x"]}],
        "nothing": [None] * 4, "bytes": [b"a", b"b", b"c", None],
    }, index=["k", "l", "m", "n"])  # fmt: skip
    frame.to_parquet(tmp_path / "t.parquet")
    read = read_parquet(tmp_path / "t.parquet")
    pd.testing.assert_frame_equal(read, pd.read_parquet(tmp_path / "t.parquet"))
    content = read_parquet((tmp_path / "t.parquet").read_bytes(), "t")
    pd.testing.assert_frame_equal(content, read)


def packed_by_zip(path: Path, text: bytes) -> None:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("t.tsv", text)


PACKED: dict[str, Callable[[Path, bytes], Any]] = {
    "gz": lambda path, text: path.write_bytes(gzip.compress(text, 1)),
    "bz2": lambda path, text: path.write_bytes(bz2.compress(text, 1)),
    "xz": lambda path, text: path.write_bytes(lzma.compress(text, preset=0)),
    "zip": packed_by_zip,
}


@pytest.mark.parametrize("ending", PACKED)
def test_text_that_inflates_is_named_as_it_is_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, ending: str
) -> None:
    monkeypatch.setattr(bounded_reads, "FREE", 1 << 20)
    path = tmp_path / f"t.tsv.{ending}"
    PACKED[ending](path, b"a\tb\n" + b"G\tH\n" * 10_000)
    with open_binary(path) as handle:
        assert len(handle.read()) == 40_004
    PACKED[ending](path, b"perturbed\tG\n" + b"H\t1\n" * 1_000_000)
    frame = pd.DataFrame({"perturbed": ["G"], "target": ["H"]})
    readers: list[Callable[[], object]] = [
        lambda: read_pairs(path, ("perturbed",)),
        lambda: p_values_of(path, frame),
        lambda: read_frame(path, {"perturbed": pa.string()}, SourceCounts()),
    ]
    if ending != "zip":
        readers.append(lambda: read_aliases(path))
    for read in readers:
        with pytest.raises(InputError, match=rf"t\.tsv\.{ending}: has more than .* unpack it"):
            read()


def test_a_table_of_p_values_in_plain_text_has_a_bound(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "p.tsv"
    path.write_bytes(b"perturbed\tG\n" + b"H\t1\n" * 1000)
    frame = pd.DataFrame({"perturbed": ["G"], "target": ["H"]})
    assert p_values_of(path, frame) == [1.0]
    monkeypatch.setattr(p_value_tables, "TEXT_TABLE", 1000)
    with pytest.raises(InputError, match=r"p\.tsv: has more than 1,000 .*as Parquet"):
        p_values_of(path, frame)


@pytest.mark.parametrize("reader", ["pairs", "aliases", "p-values"])
def test_a_line_without_end_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, reader: str
) -> None:
    """Red: a line of 3 GB is read whole, because the table may have 4 GB."""
    monkeypatch.setattr(bounded_reads, "MOST", 4 << 20)
    path, frame = tmp_path / "t.tsv", pd.DataFrame({"perturbed": ["G"], "target": ["H"]})
    read, header = {
        "pairs": (lambda: read_pairs(path, ("a", "b")), b"a\tb\n"),
        "aliases": (lambda: read_aliases(path), b"alias\tensembl\n"),
        "p-values": (lambda: p_values_of(path, frame), b"perturbed\tG\n"),
    }[reader]
    path.write_bytes(header + b"G\t1\n" * 1000 + b"H\t" + b"1" * (6 << 20) + b"\n")
    with pytest.raises(InputError, match=r"t\.tsv: has a line of more than 4,194,304 bytes"):
        read()


def test_plain_text_has_a_bound_where_it_is_read_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "genes.txt"
    path.write_bytes(b"G\n" * (bounded_reads.MOST // 2) + b"G\n")
    with pytest.raises(InputError, match=r"genes\.txt: .*has more than 67,108,864 bytes"):
        read_genes(path)
    with (
        pytest.raises(InputError, match=r"genes\.txt: has more than 1,000 .*as Parquet"),
        open_bounded(path, 1000) as handle,
    ):
        handle.read()
    import psutil

    free = type("Free", (), {"available": 1000})
    monkeypatch.setattr(psutil, "virtual_memory", lambda: free)
    with pytest.raises(OSError, match=r"takes 0\.1 GB, 0\.0 GB of memory are free"):
        read_whole(path)


def test_an_array_that_states_more_than_its_file_holds_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.npy"
    np.save(path, np.arange(10.0))
    assert read_npy(path).tolist() == list(range(10))
    raw = path.read_bytes()
    for stated in (b"(99999999999,)", b"(1" + b"0" * 25 + b",)", b"((((((((", b"(10**12,)"):
        old = b"(10,)" + b", }" + b" " * 40
        assert old in raw
        path.write_bytes(raw.replace(old, (stated + b", }").ljust(len(old))))
        with pytest.raises(ValueError, match=r"."):
            read_npy(path)
    np.savez(path.with_suffix(".npz"), a=np.arange(3))
    path.with_suffix(".npz").rename(path)
    with pytest.raises(ValueError, match="archive of arrays"):
        read_npy(path)
