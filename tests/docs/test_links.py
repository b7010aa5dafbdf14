"""Every relative link and anchor of every Markdown file of the repository leads to something.

`mkdocs build --strict` checks the pages under docs/ among each other; the README, the changelog and
the files beside the code are read where they are.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from urllib.parse import unquote

from markdown_it import MarkdownIt

TOP = Path(__file__).parents[2]
PARSE = MarkdownIt("commonmark").enable("table").parse


def markdown_files() -> list[Path]:
    folders = ("docs", "engine", "benchmarks", "scripts", "jobs", "tests")
    return [*TOP.glob("*.md"), *(p for name in folders for p in (TOP / name).rglob("*.md"))]


def links(page: Path) -> Iterator[str]:
    for token in PARSE(page.read_text()):
        for child in token.children or []:
            target = child.attrGet("href" if child.type == "link_open" else "src")
            if target is not None:
                yield str(target)


@cache
def anchors(page: Path) -> set[str]:
    """Anchors of a page: its headings as Python-Markdown names them, and those written out."""
    text = page.read_text()
    ids = set(re.findall(r"""<a id="([^"]+)">""", text))
    tokens = PARSE(text)
    for heading, inline in zip(tokens, tokens[1:], strict=False):
        if heading.type != "heading_open":
            continue
        written = re.search(r"\{ ?#([\w-]+) ?\}$", inline.content)
        shown = (c for c in inline.children or [] if c.type in ("text", "code_inline"))
        words = "".join(c.content for c in shown)
        words = re.sub(r"[^\w\s-]", "", words.encode("ascii", "ignore").decode()).strip().lower()
        ids.add(written[1] if written else re.sub(r"[-\s]+", "-", words))
    return ids


def broken(page: Path) -> list[str]:
    wrong = []
    for link in links(page):
        if re.match(r"[a-z][a-z+.-]*:", link):
            continue
        path, _, anchor = unquote(link).partition("#")
        target = (page.parent / path).resolve() if path else page
        if not target.exists():
            wrong.append(f"{link}: no such file")
        elif anchor and target.suffix == ".md" and anchor not in anchors(target):
            wrong.append(f"{link}: no such anchor")
    return wrong


def test_links_lead_to_something() -> None:
    pages = markdown_files()
    assert TOP / "README.md" in pages
    assert sum(len(list(links(page))) for page in pages) > 150
    wrong = {str(page.relative_to(TOP)): absent for page in pages if (absent := broken(page))}
    assert not wrong


def test_a_broken_link_and_a_broken_anchor_are_found(tmp_path: Path) -> None:
    page = TOP / "docs/guide.md"
    assert "on-a-laptop" in anchors(page)
    assert "tried" in anchors(TOP / "docs/reliability.md")
    assert "donors" in anchors(TOP / "docs/science.md")
    bad = tmp_path / "bad.md"
    bad.write_text("# A page\n\n[a](gone.md), [b](#part), [c](#a-page), [d](https://a.b)\n")
    assert broken(bad) == ["gone.md: no such file", "#part: no such anchor"]
