"""Check the prose of the project: python scripts/check_prose.py [FILE ...]

Without files: the README, the pages under docs/, the present version of the changelog, the help
texts of every command, and of every module of the package the messages that it raises and its
public docstrings. markdown-it takes out code, tables, HTML and the addresses of links. What is left
is checked by proselint, by a list of words, and by a bound on the length of sentences. Each finding
is printed as `file:line: what`. The exit code is 1 if there is one.
"""

from __future__ import annotations

import ast
import inspect
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
TOO_LONG = "a sentence of"
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
            yield start, f"{TOO_LONG} {n} words; at most {LONGEST}"
        start = end.end()


def findings(markdown: str) -> list[tuple[int, str]]:
    """Line and message of every fault of a page, in order."""
    return sorted(
        (first + prose.count("\n", 0, at), message)
        for first, prose in passages(markdown)
        if prose.strip()
        for at, message in faults(prose)
    )


def paragraphs(docstring: str) -> Iterator[tuple[int, str, bool]]:
    """Line, text and whether it is indented of a docstring's paragraphs.

    Names of parameters, headings, examples and tables are none.
    """
    lines = inspect.cleandoc(docstring).splitlines()
    first, paragraph, depth, example = 0, [], 0, False
    for n, line in enumerate([*lines, ""]):
        indent = len(line) - len(line.lstrip())
        example = line.lstrip().startswith(">>>") or (example and bool(line.strip()))
        rule = bool(line.strip()) and set(line.strip()) <= set("-= ")
        ends = not line.strip() or example or indent != depth or rule
        if ends and paragraph:
            # what stands above a deeper line or a rule is a name or a heading
            if indent <= depth and not rule:
                yield first, "\n".join(paragraph), depth > 0
            paragraph = []
        if line.strip() and not example and not rule and "   " not in line.strip():
            if not paragraph:
                first, depth = n, indent
            paragraph.append(line.strip())


def literal(node: ast.AST) -> str:
    """Text of a string in the code; what is filled in is a word that no check knows."""
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        return node.value
    if isinstance(node, ast.JoinedStr):
        return "".join(literal(part) or CODE for part in node.values)
    return ""


def code_findings(source: str) -> list[tuple[int, str]]:
    """Line and message of every fault of a module: public docstrings, messages it raises."""
    faulty = []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            text = ast.get_docstring(node, clean=False)
            if text is None or getattr(node, "name", "").startswith("_"):
                continue
            line = node.body[0].lineno
            for first, part, indented in paragraphs(text):
                faulty += [
                    (line + first + n - 1, what)
                    for n, what in findings(part)
                    # below a name there may be a list of columns
                    if not (indented and what.startswith(TOO_LONG))
                ]
        elif isinstance(node, ast.Raise) and node.exc is not None:
            parts = list(ast.walk(node.exc))
            filled = [part for part in parts if isinstance(part, ast.JoinedStr)]
            within = {id(x) for part in filled for x in part.values}
            for part in parts:
                if id(part) not in within and " " in (text := literal(part)):
                    faulty += [(part.lineno, what) for _, what in findings(text)]
    return sorted(faulty)


def help_findings() -> Iterator[str]:
    """Findings of the help texts, by command and option."""
    import typer
    from octoscope.cli.app import app

    commands = [("octoscope", typer.main.get_command(app))]
    while commands:
        name, command = commands.pop(0)
        texts = {name: command.help, f"{name} (end)": command.epilog}
        texts |= {f"{name} {p.opts[0]}": getattr(p, "help", None) for p in command.params}
        for label, text in texts.items():
            for _, what in findings(inspect.cleandoc(text or "")):
                yield f"{label}: {what}"
        commands += [(f"{name} {k}", c) for k, c in getattr(command, "commands", {}).items()]


def pages() -> Iterator[tuple[str, str]]:
    """Name and text of what is checked without arguments."""
    for path in (TOP / "README.md", *sorted((TOP / "docs").rglob("*.md"))):
        yield str(path.relative_to(TOP)), path.read_text()
    # versions that are out stay as they were written
    yield "CHANGELOG.md", (TOP / "CHANGELOG.md").read_text().partition("\n## 0.1.0")[0]


def modules() -> Iterator[tuple[str, str]]:
    """Name and source of every module of the package."""
    for path in sorted((TOP / "engine/octoscope").rglob("*.py")):
        yield str(path.relative_to(TOP)), path.read_text()


def main(files: list[str]) -> int:
    given = [(name, Path(name).read_text()) for name in files] or [*pages(), *modules()]
    lines = []
    for name, text in given:
        of_file = code_findings(text) if name.endswith(".py") else findings(text)
        lines += [f"{name}:{n}: {what}" for n, what in of_file]
    lines += [] if files else help_findings()
    print("\n".join(lines) if lines else f"{len(given)} files: no findings")
    return 1 if lines else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
