"""What pages show: every command and its options exist, every setting is known, Python compiles.

Pages that can be followed are run elsewhere (``test_pages``, ``test_tutorials``, ``test_guide``).
"""

from __future__ import annotations

import ast
import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import typer
import yaml
from octoscope.cli.app import app
from octoscope.config import RunConfig
from octoscope.gnn_training.train_config import TrainConfig

TOP = Path(__file__).parents[2]
# decisions and the changelog also name what was
OLD = ("decisions", "changelog.md")
PAGES = [
    p
    for p in [TOP / "README.md", *sorted((TOP / "docs").rglob("*.md"))]
    if not set(OLD) & set(p.relative_to(TOP).parts)
]


def blocks(kind: str) -> Iterator[tuple[str, str]]:
    for page in PAGES:
        text = re.findall(rf"^```{kind}\n(.*?)^```$", page.read_text(), flags=re.M | re.S)
        yield from ((str(page.relative_to(TOP)), block) for block in text)


def commands() -> Iterator[tuple[str, list[str]]]:
    """Page and words of every command of ours in the blocks and lines of code of the pages."""
    for page, block in blocks("bash"):
        for line in block.replace("\\\n", " ").splitlines():
            if re.match(r"\s*octoscope ", line):
                words = shlex.split(re.sub(r"\s[|>&]{1,2}\s.*|;.*", "", line), comments=True)
                yield page, words[1:]


def refusal(words: list[str]) -> str | None:
    """Return why the command line would not take these words; None if it would."""
    command: Any = typer.main.get_command(app)
    while groups := getattr(command, "commands", None):
        if words == ["--help"]:
            return None
        if not words or words[0] not in groups:
            return f"no command {' '.join(words[:2])}"
        command, words = groups[words[0]], words[1:]
    known = {opt for p in command.params for opt in [*p.opts, *p.secondary_opts]} | {"--help"}
    unknown = [w for w in words if w.startswith("-") and w.partition("=")[0] not in known]
    return f"no option {unknown}" if unknown else None


def test_every_command_on_a_page_exists_with_its_options() -> None:
    shown = list(commands())
    assert len(shown) > 100
    wrong = [(page, words, why) for page, words in shown if (why := refusal(words))]
    assert not wrong


@pytest.mark.parametrize(
    "words",
    [["octopuss", "info"], ["run", "c.yaml", "--output", "x"], ["status", "x", "--of"]],
)
def test_what_does_not_exist_is_seen(words: list[str]) -> None:
    assert refusal(words)


def schema(model: Any) -> dict[str, Any]:
    """Return its JSON schema without what a block may leave out."""

    def relaxed(node: Any) -> Any:
        if isinstance(node, dict):
            return {k: relaxed(v) for k, v in node.items() if k != "required"}
        return [relaxed(v) for v in node] if isinstance(node, list) else node

    return dict(relaxed(model.model_json_schema()))


def test_every_setting_on_a_page_is_known() -> None:
    """Red: a setting that was renamed; a value of another type."""
    schemas = [schema(RunConfig), schema(TrainConfig)]
    seen, wrong = 0, []
    for page, block in blocks("yaml"):
        tree = yaml.safe_load(block)
        fitting = [s for s in schemas if set(tree) & set(s["properties"])]
        if not fitting:
            # options of a model; what a network is built of, which its builder reads strictly
            assert set(tree) == {"options"} or page == "docs/octopus.md", (page, block)
            continue
        seen += 1
        best = max(fitting, key=lambda s: len(set(tree) & set(s["properties"])))
        errors = jsonschema.Draft202012Validator(best).iter_errors(tree)
        wrong += [(page, e.json_path, e.message[:200]) for e in errors]
    assert seen > 10
    assert not wrong


def test_python_on_every_page_compiles() -> None:
    shown = list(blocks("python"))
    assert len(shown) > 15
    for page, block in shown:
        try:
            ast.parse(block)
        except SyntaxError as error:
            raise AssertionError(f"{page}: {error}\n{block}") from None
