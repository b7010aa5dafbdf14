"""Check the prose of the documentation: python scripts/check_prose.py [FILE ...]

Without files: the README, the pages under docs/, and the present version of the changelog.
markdown-it takes out code, tables, HTML and the addresses of links. What is left is checked by
proselint, by a list of words, and by a bound on the length of sentences. Each finding is printed
as `file:line: what`. The exit code is 1 if there is one.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from pathlib import Path

from markdown_it import MarkdownIt
from markdown_it.token import Token
from proselint.checks import __register__ as checks
from proselint.config import DEFAULT
from proselint.registry import CheckRegistry
from proselint.tools import LintFile

TOP = Path(__file__).parents[1]
LONGEST = 40  # words of a sentence; a semicolon does not end one
CODE = "@"  # stands for inline code: one word, unknown to every check

# Left out of proselint: typographic signs (the docs are typed), and dates and times of day, which
# it sees in names of columns and versions.
CONFIG = DEFAULT | {"checks": DEFAULT["checks"] | {"typography": False, "dates_times": False}}
CheckRegistry().register_many(checks)

# What the project no longer writes, and what it writes instead. Terms are those of the glossary's
# column "formerly" that mean nothing else in prose.
WORDS = {
    r"kin|kinship|voices?": "model group",
    r"layers as one": "combined layers",
    r"rivals?": "closest category",
    r"set aside": "quarantined",
    r"tally|tallies": "run statistics",
    r"(?-i:Who) (?!is|are|was|were|has|have|did)[a-z]+s": "the subject: a driver that …",
    r"(?-i:Of) (?:[\w-]+ ){1,3}what": "the subject first",
    r"is its own|in none is": "a full sentence about the noun that is meant",
    r"no reading of": "the glossary's term, such as attention variant",
}


def text_of(token: Token) -> str:
    if token.type in ("softbreak", "hardbreak"):
        return "\n"
    return CODE if token.type == "code_inline" else token.content * (token.type == "text")


def passages(markdown: str) -> Iterator[tuple[int, str]]:
    """First line and plain text of every heading, paragraph and list item."""
    in_table = False
    for token in MarkdownIt("commonmark").enable("table").parse(markdown):
        if token.type in ("table_open", "table_close"):
            in_table = token.type == "table_open"
        if token.type == "inline" and token.map and not in_table:
            yield token.map[0] + 1, "".join(map(text_of, token.children or []))


def faults(prose: str) -> Iterator[tuple[int, str]]:
    """Position and message of every fault of a passage."""
    for result in LintFile("", prose).lint(CONFIG):
        # proselint puts a line end in front of what it reads
        yield result.check_result.span[0] - 1, result.check_result.message
    for words, instead in WORDS.items():
        pattern = words.replace(" ", r"\s")  # a phrase may go over the end of a line
        for match in re.finditer(rf"\b(?:{pattern})\b", prose, flags=re.I):
            yield match.start(), f"'{' '.join(match[0].split())}': write {instead}"
    start = 0
    for end in re.finditer(rf"[.!?][)\"*]*\s+(?=\(?[A-Z{CODE}]|\d)|$", prose):
        n = len(prose[start : end.end()].split())
        if n > LONGEST:
            yield start, f"a sentence of {n} words; at most {LONGEST}"
        start = end.end()


def findings(markdown: str) -> list[tuple[int, str]]:
    """Line and message of every fault of a page, in order."""
    return sorted(
        (first + prose.count("\n", 0, at), message)
        for first, prose in passages(markdown)
        if prose.strip()
        for at, message in faults(prose)
    )


def pages() -> Iterator[tuple[str, str]]:
    """Name and text of what is checked without arguments."""
    for path in (TOP / "README.md", *sorted((TOP / "docs").rglob("*.md"))):
        yield str(path.relative_to(TOP)), path.read_text()
    # versions that are out stay as they were written
    yield "CHANGELOG.md", (TOP / "CHANGELOG.md").read_text().partition("\n## 0.1.0")[0]


def main(files: list[str]) -> int:
    given = [(name, Path(name).read_text()) for name in files] or list(pages())
    lines = [f"{name}:{n}: {what}" for name, text in given for n, what in findings(text)]
    print("\n".join(lines) if lines else f"{len(given)} files: no findings")
    return 1 if lines else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
