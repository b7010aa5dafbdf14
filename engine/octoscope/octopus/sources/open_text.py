"""Opening text files as people have them: compression, delimiter, quotes and column names."""

from __future__ import annotations

import csv
import io
import lzma
import zipfile
import zlib
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

from octoscope.bounded_reads import bounded, open_bounded, require_regular
from octoscope.errors import InputError

_BUFFER = 1 << 20
_MARK = b"\xef\xbb\xbf"  # byte order mark of UTF-8
_LONGEST_LINE = 1 << 20  # bytes of a header or comment
_DAMAGED = (OSError, EOFError, zlib.error, zipfile.BadZipFile, lzma.LZMAError)
_WORKBOOK = "is an Excel workbook", "save the sheet as tab-delimited text, or as CSV UTF-8"
_REFUSED = (  # first bytes -> what that is, what to do
    (b"\xd0\xcf\x11\xe0", _WORKBOOK),
    ((b"\xff\xfe", b"\xfe\xff"), ("is UTF-16 text", "save it as UTF-8 text")),
)
_ROWS = "write it as a table with one row per pair"
_NO_TABLE = (  # what a line of names never begins with -> what that is, what to do
    ((b"<",), "is XML, not a table", f"{_ROWS} (networkx: to_pandas_edgelist)"),
    ((b"{", b"["), "is JSON, not a table", _ROWS),
    ((b"ARROW1", b"FEA1"), "is a feather file", "write it as Parquet, or as tab-delimited text"),
    ((b"RDX2\n", b"RDX3\n", b"X\n"), "is an object of R", f"{_ROWS} (write.table)"),
    ((b"\x93NUMPY", b"\x80\x02", b"\x80\x03", b"\x80\x04", b"\x80\x05"),
     "is an object of Python (pickle, numpy)", f"{_ROWS} (to_csv)"),
    ((b"\x89HDF",), "is an HDF5 file", _ROWS),
    ((b"graph [", b"graph\n", b"graph\r\n", b'Creator "'), "is a graph in GML", _ROWS),
    ((b"digraph ", b"strict ", b"graph {", b'graph "'), "is a graph in DOT (Graphviz)", _ROWS),
    ((b"*",), "is a network of Pajek", _ROWS),
)  # fmt: skip
_WEB_PAGE = (b"<!doctype html", b"<html")


@contextmanager
def open_binary(path: Path, most: int | None = None) -> Iterator[io.BufferedReader]:
    """Open a file, or what is packed in it: gzip, bzip2, xz, or the only member of a zip.

    The first bytes tell what it is, not the name. Hidden files that macOS adds to archives do not
    count as members. What is packed is bounded, see :mod:`octoscope.bounded_reads`.

    Parameters
    ----------
    most
        Bytes of text that it may hold; None: any number, where it is not packed.

    Raises
    ------
    InputError
        If it does not exist, is damaged or empty, has more bytes than it may, or is a workbook,
        UTF-16 text or a web page.
    """
    try:
        with ExitStack() as stack:
            if begins_with(path, b"PK\x03\x04"):
                archive = stack.enter_context(zipfile.ZipFile(path))
                member = stack.enter_context(archive.open(_only_member(path, archive)))
                handle = bounded(member, str(path), path.stat().st_size, most)
            else:
                handle = stack.enter_context(open_bounded(path, most))
            _refuse(path, handle.peek(64)[:64])
            yield handle
    except _DAMAGED as error:
        raise InputError(str(path), f"cannot be read ({error})", "download it again") from None


def _only_member(path: Path, archive: zipfile.ZipFile) -> str:
    members = [
        m for m in archive.namelist()
        if not m.endswith("/") and not m.startswith("__MACOSX/") and Path(m).name[:1] != "."
    ]  # fmt: skip
    if any(m.startswith("xl/") for m in members):
        raise InputError(str(path), *_WORKBOOK)
    if len(members) > 1:  # IntAct packs negative interactions beside the others
        members = [m for m in members if "negative" not in m]
    if len(members) != 1:
        raise InputError(str(path), f"holds {len(members)} files", "unpack it, and name one")
    return members[0]


def _refuse(path: Path, start: bytes) -> None:
    if not start:
        raise InputError(str(path), "is empty", "download it again")
    for signature, problem in _REFUSED:
        if start.startswith(signature):
            raise InputError(str(path), *problem)
    if start.lstrip().lower().startswith(_WEB_PAGE):
        raise InputError(str(path), "is a web page, not a table (perhaps an error page)",
                         "download the file again")  # fmt: skip


def begins_with(path: Path, start: bytes) -> bool:
    """Return whether a file has these first bytes; False if it cannot be read."""
    try:
        require_regular(path)
        with path.open("rb") as handle:
            return handle.read(len(start)) == start
    except OSError:
        return False


def is_parquet(path: Path) -> bool:
    """Return whether a file begins as Parquet does."""
    return begins_with(path, b"PAR1")


def delimiter_of(line: str) -> str:
    """Return what separates the fields of a table: a tab, else the more frequent of ``,`` ``;``.

    Without any of them a space.

    Parameters
    ----------
    line
        The first line.
    """
    if "\t" in line:
        return "\t"
    comma, semicolon = line.count(","), line.count(";")
    if comma or semicolon:
        return "," if comma >= semicolon else ";"
    return " "


def is_quoted(line: str, delimiter: str) -> bool:
    """Return whether ``"`` quotes fields: always in comma files, else if the first line says so.

    In other tables a quote is a character like any other, such as the sign for inches.
    """
    return delimiter in ",;" or line.startswith('"')


def decoded(line: bytes, where: str) -> str:
    """Return a line of a file without its end and byte order mark.

    Raises
    ------
    InputError
        If it begins what is no table, is not UTF-8, or holds several lines that end as on old Macs.
    """
    for start, problem, fix in _NO_TABLE:
        if line.removeprefix(_MARK).startswith(start):
            raise InputError(where, problem, fix)
    try:
        text = line.decode("utf-8-sig").rstrip("\r\n")
    except UnicodeDecodeError:
        raise InputError(
            f"{where}: line 1", "is not UTF-8 text", "unpack it, download it, or save it as UTF-8"
        ) from None
    if "\r" in text:
        raise InputError(
            f"{where}: line 1", "lines end with a carriage return alone (CSV for Macintosh)",
            "save it with Unix or Windows line ends",
        )  # fmt: skip
    return text


def header_after_comments(handle: io.BufferedReader, where: str) -> tuple[str, int]:
    """Return the line that names the columns, and how many comment lines stood before it.

    Comments begin with ``#``. So do the headers of some tables (STRING's aliases, BioGRID, MITAB):
    the last of such lines is the header where it has as many fields as the line below it.
    """
    line, n = decoded(handle.readline(_LONGEST_LINE), where), 0
    while line.startswith("#"):
        below = handle.peek(_BUFFER)[:_BUFFER].partition(b"\n")[0].decode("utf-8", "replace")
        delimiter = delimiter_of(below)
        same = len(fields_of(line, delimiter)) == len(fields_of(below, delimiter)) > 1
        if not below or (same and not below.startswith("#")):
            break
        line, n = decoded(handle.readline(_LONGEST_LINE), where), n + 1
    return line, n


def named_columns(
    handle: io.BufferedReader, where: str, delimiter: str | None = None
) -> tuple[list[str], str, str, int]:
    """Read the line that names the columns.

    R names every column but that of its row numbers, and pandas does with ``index_label=False``:
    such a column gets the name ''. It is one if the rows have one field more than the line, and
    begin with consecutive numbers from 0 or 1.

    Returns
    -------
    tuple
        Names, the line, what separates its fields, how many comment lines stood before it.
    """
    line, before = header_after_comments(handle, where)
    delimiter = delimiter or delimiter_of(line)
    names = fields_of(line, delimiter)
    below = handle.peek(_BUFFER)[:_BUFFER].decode("utf-8", "replace").split("\n")[:2]
    rows = [fields_of(row, delimiter) for row in below if row.strip()]
    numbers = [row[0] for row in rows if len(row) == len(names) + 1]
    if len(numbers) == len(rows) and numbers in (["0"], ["1"], ["0", "1"], ["1", "2"]):
        names.insert(0, "")
    return names, line, delimiter, before


def skip_comments(handle: io.BufferedReader) -> int:
    """Read over lines that begin with ``#``, of a table without a header; return their number."""
    n = 0
    while handle.peek(4)[:4].removeprefix(_MARK)[:1] == b"#":
        handle.readline(_LONGEST_LINE)
        n += 1
    return n


def fields_of(line: str, delimiter: str) -> list[str]:
    """Return the fields of a header line without quotes and spaces around them."""
    fields = line.split(delimiter)
    if is_quoted(line, delimiter):  # a quoted field may hold what separates fields
        fields = next(csv.reader([line], delimiter=delimiter), fields)
    return [f.strip().strip('"').strip() for f in fields]


def column_positions(
    names: Sequence[str],
    columns: Collection[str],
    optional: Collection[str],
    called: Mapping[str, Collection[str]],
    where: str,
    fix: str,
) -> dict[str, int]:
    """Return wanted column -> its position among the columns of a file.

    Case and spaces around a name do not matter. Of several names that a column may have, the first
    that is there counts.

    Parameters
    ----------
    called
        Wanted column -> further names of it, in order.

    Raises
    ------
    InputError
        If a column that is not optional is missing, or is there twice.
    """
    plain = [n.strip().casefold() for n in names]
    out: dict[str, int] = {}
    for column in columns:
        exact = [i for i, n in enumerate(names) if n == column]
        for name in (column, *called.get(column, ())):
            at = [i for i, n in enumerate(plain) if n == name.casefold()]
            at = exact if name == column and exact else at
            if len(at) > 1:
                raise InputError(f"{where}: line 1", f"column {name!r} twice", "keep one of them")
            if at:
                out[column] = at[0]
                break
    missing = [c for c in columns if c not in out and c not in optional]
    if missing:
        listed = ", ".join(names)[:200]
        raise InputError(f"{where}: line 1", f"no column {missing[0]!r}; found {listed}", fix)
    return out
