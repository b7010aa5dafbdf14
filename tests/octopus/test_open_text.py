"""Files as people have them: packed under any name, quoted, with other delimiters, or no table."""

from __future__ import annotations

import bz2
import gzip
import lzma
import zipfile
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pytest
from octoscope.errors import InputError
from octoscope.octopus.sources.record import SourceCounts
from octoscope.octopus.sources.text import first_line, read_frame

TEXT = "Gene1\tGene2\tScore\nA\tB\t1\nC\tD\t0.5\n"
COLUMNS = {"Gene1": pa.string(), "Gene2": pa.string(), "Score": pa.float32()}


def packed(path: Path, members: dict[str, bytes]) -> Path:
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return path


def rows(path: Path) -> list[tuple[str, str, float]]:
    frame = read_frame(path, COLUMNS, SourceCounts())
    return list(frame[["Gene1", "Gene2", "Score"]].itertuples(index=False, name=None))


@pytest.mark.parametrize("name", ["t.txt", "t.tsv", "t.gz", "t.zip", "t.parquet", "t"])
@pytest.mark.parametrize("pack", [bytes, gzip.compress, bz2.compress, lzma.compress])
def test_the_first_bytes_tell_how_a_file_is_packed(
    name: str, pack: Callable[[bytes], bytes], tmp_path: Path
) -> None:
    """Red: gzip under ``.txt`` was "not text", text under ``.gz`` "not a gzipped file"."""
    path = tmp_path / name
    path.write_bytes(pack(TEXT.encode()))
    assert rows(path) == [("A", "B", 1), ("C", "D", 0.5)]


def test_archives_of_macos_have_one_member(tmp_path: Path) -> None:
    """Red: ``__MACOSX/._name`` counted as a second file."""
    path = packed(tmp_path / "a.zip", {
        "net/": b"", "net/net.txt": TEXT.encode(), "__MACOSX/net/._net.txt": b"\0\5",
        "net/.DS_Store": b"\0",
    })  # fmt: skip
    assert len(rows(path)) == 2
    with pytest.raises(InputError, match="holds 2 files"):
        rows(packed(tmp_path / "b.zip", {"a.txt": b"x", "b.txt": b"y"}))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (TEXT.encode("utf-16"), "is UTF-16 text. Fix: save it as UTF-8"),
        (b"\xd0\xcf\x11\xe0 old workbook", "is an Excel workbook"),
        (b"<!DOCTYPE html>\n<html>404</html>", "is a web page"),
        (b'<?xml version="1.0"?><graphml/>', "is XML, not a table. Fix: write it as a table with"),
        (b'[{"Gene1": "A"}]', "is JSON, not a table"),
        (b"ARROW1\0\0", "is a feather file. Fix: write it as Parquet"),
        (gzip.compress(b"X\n\0\0\0\3", mtime=0), "is an object of R"),
        (b"\x80\x04\x95", "is an object of Python"),
        (b"\x89HDF\r\n", "is an HDF5 file"),
        (b"", "is empty"),
        (gzip.compress(TEXT.encode(), mtime=0)[:20], "cannot be read"),
        ("Gène1\tGene2\tScore\n".encode("latin-1"), "is not UTF-8"),
        (TEXT.replace("\n", "\r").encode(), "lines end with a carriage return alone"),
        (TEXT.encode() + "Ä\tB\t1\n".encode("latin-1"), "save it as UTF-8"),
    ],
)
def test_what_is_no_table_says_what_it_is(content: bytes, message: str, tmp_path: Path) -> None:
    path = tmp_path / "t.txt"
    path.write_bytes(content)
    with pytest.raises(InputError, match=message):
        rows(path)


def test_a_workbook_is_named(tmp_path: Path) -> None:
    path = packed(tmp_path / "net.xlsx", {"xl/workbook.xml": b"", "[Content_Types].xml": b""})
    with pytest.raises(InputError, match="is an Excel workbook"):
        rows(path)


@pytest.mark.parametrize("delimiter", ["\t", ",", ";", " "])
@pytest.mark.parametrize("quoted", [False, True])
@pytest.mark.parametrize("end", ["\n", "\r\n"])
@pytest.mark.parametrize("head", ["Gene1|Gene2|Score", "gene1|GENE2|score"])
def test_delimiters_quotes_line_ends_and_case(
    delimiter: str, quoted: bool, end: str, head: str, tmp_path: Path
) -> None:
    """Red: the name decided on the delimiter, quotes of R stayed in ids, names had one case."""
    lines = [line.split("\t") for line in TEXT.splitlines()]
    lines[0] = head.split("|")
    if quoted:
        lines = [[f'"{x}"' for x in line] for line in lines]
    path = tmp_path / "net.txt"
    path.write_bytes(b"\xef\xbb\xbf" + (end.join(delimiter.join(x) for x in lines) + end).encode())
    assert rows(path) == [("A", "B", 1), ("C", "D", 0.5)]


def test_names_of_columns_with_spaces_and_columns_without_a_name(tmp_path: Path) -> None:
    path = tmp_path / "net.csv"
    path.write_text(",Gene1 , Gene2,Score ,more\n0,A,B,1,x\n")
    counts = SourceCounts()
    frame = read_frame(path, COLUMNS, counts)
    assert frame["Gene2"].tolist() == ["B"]
    assert counts.unread == ["more"]


@pytest.mark.parametrize(
    "text",
    ['"Gene1"\t"Gene2"\t"Score"\n"1"\t"A"\t"B"\t1\n"2"\t"C"\t"D"\t0.5\n',
     "Gene1 Gene2 Score\r\n1 A B 1\r\n2 C D 0.5\r\n", "Gene1,Gene2,Score\n0,A,B,1\n1,C,D,0.5\n"],
)  # fmt: skip
def test_row_numbers_without_a_name_are_no_column(text: str, tmp_path: Path) -> None:
    """Red: R's write.table names no column of row numbers; every row was left out."""
    path = tmp_path / "net.txt"
    path.write_bytes(text.encode())
    counts = SourceCounts()
    frame = read_frame(path, COLUMNS, counts)
    got = list(frame[["Gene1", "Gene2", "Score"]].itertuples(index=False, name=None))
    assert got == [("A", "B", 1), ("C", "D", 0.5)]
    assert (counts.read, counts.dropped, counts.unread) == (2, {}, [])
    assert first_line(path)[1:] == ["Gene1", "Gene2", "Score"]


@pytest.mark.parametrize(
    "rows", ["A\tB\t1\t\nC\tD\t0.5\t\n", "7157\tA\tB\t1\n", "1\tA\tB\t1\n5\tC\tD\t1\n"]
)
def test_rows_that_never_fit_the_names_say_what_was_seen(rows: str, tmp_path: Path) -> None:
    path = tmp_path / "net.tsv"
    path.write_text("Gene1\tGene2\tScore\n" + rows)
    with pytest.raises(InputError, match="names 3 columns.*another number of fields.*first 4.*"
                                         "row.names = FALSE"):  # fmt: skip
        read_frame(path, COLUMNS, SourceCounts())


def test_a_quoted_name_may_hold_what_separates_fields(tmp_path: Path) -> None:
    """Red: the name was two, so that every row had another number of fields."""
    path = tmp_path / "net.csv"
    path.write_text('Gene1,"more, ""said""",Gene2,Score\nA,"x, y",B,1\n')
    counts = SourceCounts()
    frame = read_frame(path, COLUMNS, counts)
    assert (frame["Gene2"].tolist(), counts.dropped) == (["B"], {})
    assert counts.unread == ['more, "said']


def test_a_quote_inside_a_tab_delimited_field_is_a_character(tmp_path: Path) -> None:
    path = tmp_path / "net.tsv"
    path.write_text('Gene1\tGene2\tScore\nA\t5"\t1\nC\tD\t0.5\n')
    assert rows(path) == [("A", '5"', 1), ("C", "D", 0.5)]


@pytest.mark.parametrize(
    ("kind", "value", "message"),
    [(pa.float32(), "high", "'high' is no number"), (pa.int16(), "0.9", "'0.9' is no whole number"),
     (pa.bool_(), "maybe", "'maybe' is no truth value")],
)  # fmt: skip
def test_a_value_of_another_kind_names_column_and_row(
    kind: pa.DataType, value: str, message: str, tmp_path: Path
) -> None:
    """Red: "In CSV column #3: Row #2: CSV conversion error"."""
    path = tmp_path / "t.tsv"
    path.write_text(f"more\tGene1\tother\tScore\nx\tA\ty\t1\nx\tB\ty\t{value}\n")
    with pytest.raises(InputError, match=rf"t\.tsv: Score, row 3: {message}"):
        read_frame(path, {"Gene1": pa.string(), "Score": kind}, SourceCounts())


@pytest.mark.parametrize(
    ("above", "n"),
    [
        ("# one\n", 1),
        ("# made by: us, 2024\n#\n## two\n", 3),
        ("# with\ta tab\n", 1),
    ],
    ids=["one", "three", "tab"],
)
def test_comment_lines_stand_before_the_columns(tmp_path: Path, above: str, n: int) -> None:
    """Red: "no column 'Gene1'; found # one", or rows named by a line too early."""
    path = tmp_path / "t.tsv"
    path.write_text(above + TEXT)
    counts = SourceCounts()
    frame = read_frame(path, COLUMNS, counts)
    assert frame["Gene1"].tolist() == ["A", "C"]
    assert frame["row"].tolist() == [2 + n, 3 + n]
    assert (counts.read, counts.noted) == (2, {"comment line before the columns (#)": n})
    path.write_text(above + TEXT.replace("0.5", "half"))
    with pytest.raises(InputError, match=rf"Score, row {3 + n}: 'half' is no number"):
        read_frame(path, COLUMNS, SourceCounts())


def test_a_header_that_begins_as_comments_do_is_the_header(tmp_path: Path) -> None:
    """STRING's aliases, BioGRID and MITAB name their columns in such a line."""
    path = tmp_path / "t.tsv"
    path.write_text("# release 12\n#Gene1\tGene2\tScore\nA\tB\t1\n")
    called = {"Gene1": ("#Gene1",)}
    frame = read_frame(path, COLUMNS, SourceCounts(), called=called)
    assert frame["Gene1"].tolist() == ["A"]
    assert first_line(path) == ["#Gene1", "Gene2", "Score"]
    path.write_text("# nothing but a comment\n")
    with pytest.raises(InputError, match=r"no column 'Gene1'; found #"):
        read_frame(path, COLUMNS, SourceCounts())
