"""A setting is declared once: what follows from the declaration, for every setting there is."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import pytest
from octoscope.config import RunConfig, parse_config
from octoscope.config.declared import (
    Setting,
    absent_value,
    result_tree,
    settings_of,
    with_absent,
)
from octoscope.config.inputs_config import InputsConfig
from octoscope.config.run_settings import RunSettings
from octoscope.config.types import UNSTATED, setting
from octoscope.demo.demo import demo_tree
from octoscope.planning import resolved_settings as module
from octoscope.planning.derive import result_fields
from octoscope.planning.resolved_settings import resolved_settings
from octoscope.run_plan.settings import ResolvedSettings
from octoscope.run_plan.values import CategoryPlan, Plan
from pydantic import TypeAdapter

EVERY = list(settings_of(RunConfig))
DECIDING = [s for s in settings_of(RunSettings) if s.decides_results]
# where another value of the type alone would not do
OTHERS: dict[str, Any] = {
    "network.gnn": {"other": {"path": "checkpoint"}},
    "donor_groups": 6,
    "centred": ["marginal"],
    "absolute": ["marginal"],
    "compare.k": [7],
    "compare.gene_sets": ["second"],
    "compare.views": ["marginal"],
    "compare.model_groups": {"one": ["tiny"]},
    "compare.pools": {"both": ["A", "B"]},
    "edges.gene_set": "second",
    "edges.view": "lift",
    "views": ["marginal", "lift"],
    "execution.advanced.working_set": "1GB",
    "execution.advanced.cache": "1GB",
    "execution.memory": "1GB",
    "execution.device_memory": "1GB",
}
NAMED: Any = pytest.mark.parametrize("declared", EVERY, ids=[s.name for s in EVERY])
PLANNED: Any = pytest.mark.parametrize("declared", DECIDING, ids=[s.name for s in DECIDING])


class Unchecked(RunSettings, InputsConfig):
    """A run's configuration without the checks between sections, which are not at issue here."""


def base_tree() -> dict[str, Any]:
    return {
        "atlas": {"path": "cells.zarr", "category_key": ["kind"], "replicate_key": "donor"},
        "models": [{"name": "tiny", "family": "scgpt", "path": "checkpoint"}],
        "gene_sets": [{"name": "first", "kind": "model"}, {"name": "second", "kind": "model"}],
        "edges": {},
        "network": {"path": "demo"},
    }


def another(declared: Setting, present: Any) -> Any:
    """Return a value of the setting's type that is not the present one."""
    if declared.name in OTHERS:
        return OTHERS[declared.name]
    return _other(TypeAdapter(declared.field.annotation).json_schema(), present)


def _other(schema: dict[str, Any], present: Any) -> Any:
    if "anyOf" in schema:
        return next(_other(s, present) for s in schema["anyOf"] if s.get("type") != "null")
    if "enum" in schema:
        return next(v for v in schema["enum"] if v != present)
    if "const" in schema:
        return schema["const"]
    kind = schema.get("type")
    if kind == "array":
        return [_other(schema["items"], (present or [None])[0])]
    if kind == "integer":
        return (present or 0) + 3
    if kind == "number":
        return (present or 0) + 0.5
    if kind == "boolean":
        return not present
    if kind == "string":
        return f"{present or ''}other"
    return {"a": 1}


def changed(body: dict[str, Any], declared: Setting) -> dict[str, Any]:
    """Return a configuration in which one setting has another value."""
    body = copy.deepcopy(body)
    *parents, name = declared.name.split(".")
    node: Any = body
    for part in parents:
        node = node[0] if part == "*" else node[part]
    node[name] = another(declared, node.get(name))
    return body


def test_there_are_settings() -> None:
    assert len(EVERY) > 70
    assert {"seed", "models.*.dtype", "execution.advanced.tile"} <= {s.name for s in EVERY}


@NAMED
def test_every_setting_says_what_it_is_for(declared: Setting) -> None:
    assert declared.field.description
    assert isinstance(declared.field.json_schema_extra, dict)  # declared by setting()


@NAMED
def test_a_setting_is_in_the_hash_exactly_if_it_decides_results(declared: Setting) -> None:
    """Red: a setting that is dropped by name in ``result_tree``, or _free on ``tile``."""
    full = parse_config(base_tree(), "c").model_dump(mode="json")
    base, given = Unchecked(**full), Unchecked(**changed(full, declared))
    assert given != base
    assert (result_tree(given) != result_tree(base)) is declared.decides_results


def plan_of(settings: ResolvedSettings) -> Plan:
    return Plan(
        config_hash="", settings=settings, atlas={}, network=None, categories=[],
        refused_cells={}, models=[], units=[], threads=1, versions={}, needs={},
    )  # fmt: skip


def resolved(config: RunConfig) -> ResolvedSettings:
    """Resolve for a run of two categories whose one model is ``tiny``."""
    categories = [
        CategoryPlan(name=name, cells=(5, 5), donors=None, min_cells=20) for name in ("A", "B")
    ]
    models: Any = [SimpleNamespace(name="tiny", family="scgpt")]
    return resolved_settings(config, models, categories)


@PLANNED
def test_a_setting_reaches_the_plan_and_its_hash(
    declared: Setting, monkeypatch: pytest.MonkeyPatch
) -> None:
    """From the configuration, by its declaration alone.

    Red: a result-deciding setting that ``resolved_settings`` or the plan's serialiser leaves out.
    """

    class Installed:
        def __init__(self, name: str) -> None:
            self.name = name

    monkeypatch.setattr(module, "analyses", lambda names=(): [Installed(n) for n in names])
    full = parse_config(base_tree(), "c").model_dump(mode="json")
    before = plan_of(resolved(parse_config(full, "c")))
    after = plan_of(resolved(parse_config(changed(full, declared), "c")))
    assert before.hash != after.hash
    values: list[Any] = [before.settings, after.settings]
    for part in declared.name.split("."):
        values = [getattr(node, part) for node in values]
    assert values[0] != values[1]
    assert Plan.model_validate(after.model_dump(mode="json")) == after


def test_what_decides_nothing_is_not_in_the_plan() -> None:
    config = parse_config(base_tree(), "c")
    body = plan_of(resolved(config)).model_dump(mode="json")["settings"]
    names = set(_leaves(body))
    free = {s.name for s in EVERY if not s.decides_results}
    assert {"execution.memory", "execution.actors", "execution.advanced.readers"} <= free
    assert not names & free
    tree = base_tree() | {"execution": {"actors": 7, "advanced": {"readers": 9, "grace": 1}}}
    assert plan_of(resolved(parse_config(tree, "c"))) == plan_of(resolved(config))


def _leaves(tree: dict[str, Any], prefix: str = "") -> Iterator[str]:
    for name, value in tree.items():
        if isinstance(value, dict):
            yield from _leaves(value, f"{prefix}{name}.")
        yield prefix + name


def test_later_settings_are_left_out_where_they_are_not_used() -> None:
    """The value that stands for absence is what a plan without the setting is read with."""
    later = [s for s in settings_of(ResolvedSettings) if absent_value(s.field) is not UNSTATED]
    assert {s.name for s in later} >= {"donor_groups", "centred", "compare.consensus", "analyses"}
    for s in later:
        assert s.field.get_default(call_default_factory=True) == absent_value(s.field), s.name
    tree = base_tree() | {"compare": None}
    body = result_fields(parse_config(tree, "c"))
    names = {"absolute", "analyses", "centred", "compare", "donor_groups", "max_permutation_factor"}
    assert not names & set(body)
    assert "cache" not in body["execution"]["advanced"]


def test_a_stored_configuration_has_what_stood_for_a_setting_when_it_was_written() -> None:
    stored = with_absent(RunConfig, {"models": [], "execution": {"memory": "64GB"}})
    assert stored["compare"] is None
    assert stored["execution"]["advanced"]["cache"] == "256MB"  # not a 64th of its memory
    assert "network" not in stored
    config = parse_config(base_tree(), "c", stored=True)
    assert config.compare is None
    assert parse_config(base_tree(), "c").compare is not None


def test_a_new_setting_takes_its_declaration_alone() -> None:
    """Here: one that is added to the settings, seen by resume and hash without another edit."""

    class Later(RunSettings):
        patience: int = setting(3, "How often to ask again", absent=3, ge=1)
        colour: str = setting("red", "Of the page", decides_results=False)

    plain = result_tree(Later())
    assert plain == result_tree(RunSettings())
    assert result_tree(Later(patience=4)) == plain | {"patience": 4}
    assert result_tree(Later(colour="blue")) == plain


def test_the_demonstration_decides_the_same_in_any_order() -> None:
    tree = demo_tree()
    backwards = dict(reversed(tree.items()))
    assert result_fields(parse_config(tree, "c")) == result_fields(parse_config(backwards, "c"))
