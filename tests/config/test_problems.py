"""Errors of a configuration: the nearest name, the line of the file, values that make no sense."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from octoscope.config import apply_overrides, load_config, parse_config
from octoscope.config.run_config import RunConfig
from octoscope.demo.demo import demo_tree
from octoscope.errors import InputError
from octoscope.gnn_training.train_config import TrainConfig
from octoscope.octopus.build_config import OctopusConfig

TEXT = """\
title: lines
atlas:
  path: cells.zarr
  category_key: [kind]
models:
  - name: one
    family: scgpt
    path: checkpoint
  - name: two
    famly: scgpt
    path: checkpoint
"""


@pytest.mark.parametrize(
    ("key", "near"),
    [
        ("top_kk", "top_k"),
        ("unit_cells", "execution.unit_cells"),
        ("execution.bathc_cells", "execution.advanced.batch_cells"),
        ("execution.advanced.tiles", "execution.advanced.tile"),
        ("compare.pool", "compare.pools"),
        ("models.0.layer", "models.0.layers"),
        ("atlas.donor_group", "donor_groups"),
    ],
)
def test_unknown_names_suggest_the_nearest(key: str, near: str) -> None:
    """Red: suggestions from another section, or without difflib."""
    tree = apply_overrides(demo_tree(), [f"{key}=3"])
    with pytest.raises(InputError) as caught:
        parse_config(tree, "c")
    assert caught.value.where == f"c: {key}"
    assert caught.value.fix.endswith(f"did you mean {near}?")


def test_nothing_near_suggests_nothing() -> None:
    with pytest.raises(InputError, match=r"remove zzzzzz or correct its spelling$"):
        parse_config(demo_tree() | {"zzzzzz": 1}, "c")


def refused(path: Path, text: str, overrides: list[str] | None = None) -> InputError:
    path.write_text(text)
    with pytest.raises(InputError) as caught:
        load_config(path, overrides)
    return caught.value


def test_errors_name_the_line(tmp_path: Path) -> None:
    """Red: lines counted from 0, or those of another item of the list."""
    path = tmp_path / "c.yaml"
    # what is missing has the line of the item that it is missing from
    error = refused(path, TEXT.replace("famly", "family") + "    layer: [1]\n")
    assert error.where == f"{path}:12: models.1.layer"
    assert error.fix.endswith("did you mean models.1.layers?")
    assert refused(path, TEXT).where == f"{path}:9: models.1.family"
    good = TEXT.replace("famly", "family")
    assert refused(path, good + "top_k: 0\n").where == f"{path}:12: top_k"
    # a value in a former place is on its own line
    with pytest.warns(UserWarning, match="execution.advanced.tile"):
        error = refused(path, good + "execution:\n  threads: 1\n  tile: 3\n")
    assert error.where == f"{path}:14: execution.advanced.tile"
    # one that the command line gave is on none
    assert refused(path, good + "top_k: 5\n", ["top_k=0"]).where == f"{path}: top_k"
    assert refused(path, good, ["models.0.layers=[-1, a]"]).where.startswith(f"{path}: models.0")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ("execution.advanced.working_set=0GB", "'0GB' is zero"),
        ("execution.advanced.working_set=-1GB", "is negative"),
        ("execution.advanced.cache=-1MB", "is negative"),
        ("execution.memory=0GB", "is zero"),
        ("execution.memory=much", "'much' is not a size; write it like 8GB"),
        ("execution.device_memory=-80GB", "is negative"),
        ("permutations=100000001", "less than or equal to 10000000"),
        ("network.permutations=100000001", "less than or equal to 10000000"),
        ("models.0.layers=[1, 1]", "1 is listed twice"),
        ("heads=[mean, mean]", "'mean' is listed twice"),
        ("views=[lift, logit, lift]", "'lift' is listed twice"),
        ("estimators=[per_cell, per_cell]", "listed twice"),
        ("compare.k=[10, 10]", "10 is listed twice"),
        ("models.1.name=SCGPT-demo", "differ by case only"),
        ("donor_groups=-2", "greater than or equal to 0"),
        ("seed=-1", "greater than or equal to 0"),
        ("top_k=10000000000", "less than or equal to"),
        ("top_k=true", "True is no number"),
        ("seed=false", "False is no number"),
        ("heads=[true]", "is no number and no name"),
        ("heads=[-1]", "Input should be"),
        ("models.0.layers=[-1]", "greater than or equal to 0"),
        ("models.0.layers=[]", "at least 1 item"),
        ("compare.k=[]", "at least 1 item"),
        ("network.k=[0]", "greater than or equal to 1"),
        ("atlas.categories=[]", "at least 1 item"),
        ("gene_sets.1.genes=[]", "at least 1 item"),
        ("execution.memory=1000000000000000TB", "more than 1e+18 bytes"),
        ("execution.unit_timeout=.inf", "less than or equal to"),
        ("execution.unit_timeout=.nan", "Input should be"),
        ("execution.unit_timeout=1.0e-300", "greater than or equal to 1"),
        ("execution.start_timeout=1.0e-300", "greater than or equal to 1"),
        ("execution.advanced.lease=1.0e-300", "between 0 (no lease) and 1 second"),
        ("execution.gpus=1.0e-300", "greater than or equal to 0.01"),
        ("atlas.path=''", "is empty; name a file"),
        ("atlas.gene_aliases='  '", "is empty; name a file"),
        ("models.0.path=''", "is empty; name a file"),
        ("network.path=''", "is empty; name a file"),
        ("gene_sets.1.genes={file: ''}", "is empty; name a file"),
        ("execution.advanced.grace=.nan", "Input should be"),
        ("execution.attempts=1000000000000000", "less than or equal to 1000"),
        ("edges.threshold=.nan", "finite"),
        ("models.1.name=c0000", "a category's files are called 'c0000' too"),
        ("models.1.name=C0001", "a category's files are called 'C0001' too"),
        ("analyses=[hubs, hubs]", "listed twice"),
        ("network.sources=[OmniPath, OmniPath]", "listed twice"),
    ],
)
def test_impossible_values_are_refused(change: str, message: str) -> None:
    """Red: the bound of that field taken away."""
    tree: dict[str, Any] = apply_overrides(demo_tree(), [change])
    with pytest.raises(InputError) as caught:
        parse_config(tree, "c")
    assert message in caught.value.problem


def test_every_number_has_bounds() -> None:
    """Also those that are declared later: nobody means 10^15 of anything."""
    sections = []
    for config in (RunConfig, TrainConfig, OctopusConfig):
        schema = config.model_json_schema()
        sections += [(config.__name__, schema), *schema.get("$defs", {}).items()]
    unbounded = {
        f"{section}.{name}"
        for section, body in sections
        for name, declared in body.get("properties", {}).items()
        for part in numbers(declared)
        if not ({"minimum", "exclusiveMinimum"} & set(part))
        or not ({"maximum", "exclusiveMaximum"} & set(part))
    }
    assert unbounded == set(NO_BOUNDS)


NO_BOUNDS = {
    "EdgesConfig.threshold": "a value of a view: any finite number",
    "EdgeList.values": "what is written in a file",
}


def numbers(schema: Any) -> Iterator[dict[str, Any]]:
    if isinstance(schema, list):
        for part in schema:
            yield from numbers(part)
    elif isinstance(schema, dict):
        if schema.get("type") in ("integer", "number") and "enum" not in schema:
            yield schema
        for name in ("anyOf", "items", "additionalProperties", "prefixItems"):
            yield from numbers(schema.get(name))


def test_a_cache_of_nothing_is_a_choice() -> None:
    tree = demo_tree() | {"execution": {"advanced": {"cache": "0MB"}}}
    assert parse_config(tree, "c").execution.advanced.cache == "0MB"


def test_the_schema_for_editors_takes_what_is_read(
    capsys: pytest.CaptureFixture[str],
) -> None:
    import json

    import jsonschema
    from octoscope.cli.app import app

    app(["config", "schema"], standalone_mode=False)
    schema = json.loads(capsys.readouterr().out)
    jsonschema.validate(demo_tree(), schema)
    jsonschema.validate(yaml.safe_load(TEXT.replace("famly", "family")), schema)
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(demo_tree() | {"top_kk": 1}, schema)


def test_explain_says_what_a_setting_is(capsys: pytest.CaptureFixture[str]) -> None:
    import json

    from octoscope.cli.app import app

    def explanation(*arguments: str) -> list[dict[str, Any]]:
        app(["config", "explain", *arguments, "--json"], standalone_mode=False)
        answer: list[dict[str, Any]] = json.loads(capsys.readouterr().out)
        return answer

    (row,) = explanation("donor_groups")
    assert (row["type"], row["default"], row["decides_results"]) == ("integer", "0", "yes")
    assert row["meaning"] == RunConfig.model_fields["donor_groups"].description
    assert explanation("models.0.dtype")[0]["setting"] == "models.*.dtype"
    assert explanation("execution.tile")[0]["setting"] == "execution.advanced.tile"
    assert explanation("execution.memory")[0]["decides_results"] == "no"
    assert len(explanation("execution.advanced")) == 10
    assert len(explanation()) > 70
    with pytest.raises(InputError, match="try donor_groups"):
        app(["config", "explain", "donor_group"], standalone_mode=False)


@pytest.mark.parametrize(
    "name", ["title", "atlas.path", "atlas.gene_aliases", "models.0.path", "models.0.python"]
)
def test_the_character_0_is_in_no_text(name: str) -> None:
    """Red: as a path it was a ValueError of the system, with a traceback."""
    with pytest.raises(InputError, match="holds the character 0"):
        apply_overrides(demo_tree(), [f'{name}="a\\0b"'])
    tree: Any = demo_tree()
    *parts, last = name.split(".")
    node = tree
    for part in parts:
        node = node[int(part)] if isinstance(node, list) else node[part]
    node[last] = "a\0b"
    with pytest.raises(InputError, match=f"^c: {name}: holds the character 0"):
        parse_config(tree, "c")
    with pytest.raises(InputError, match="holds the character 0"):
        parse_config(demo_tree() | {"a\0b": 1}, "c")
