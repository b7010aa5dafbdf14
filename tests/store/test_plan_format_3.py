"""Plans of format 3: the same settings in another layout; resumed as what they are, or refused."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from octoscope.config import dump_config, parse_config
from octoscope.config.byte_sizes import parse_bytes
from octoscope.errors import DamagedRunError, InputError
from octoscope.json_values import hash_json, to_json
from octoscope.planning.freeze import replan
from octoscope.planning.resolve import make_plan
from octoscope.run_plan.values import Plan
from octoscope.store.plan_file import changed, load_plan
from octoscope.store.run_dir import RunRoot

from tests.conftest import small_tree


def as_format_3(plan: Plan) -> dict[str, Any]:
    """Return a plan as version 0.1.0 wrote it."""
    body = plan.model_dump(mode="json")
    settings = body.pop("settings")
    body.pop("instruction_set")
    body.pop("count_files")
    advanced = settings["execution"]["advanced"]
    for name in ("seed", "views", "top_k", "moments", "permutations", "edges"):
        body[name] = settings[name]
    body["tile"] = advanced["tile"]
    if "cache" in advanced:
        body["hold"] = int(parse_bytes(advanced["cache"]))
    if "max_permutation_factor" in settings:
        body["more_draws"] = settings["max_permutation_factor"]
    if plan.compare is not None:
        body["compare"] = {k: v for k, v in settings["compare"].items() if k != "model_groups"}
        body["compare"]["kinship"] = plan.model_groups
        body["compare"]["pools"] = {k: v._asdict() for k, v in plan.pools.items()}
    former = {"full": "faithful", "weights_only": "bare", None: None}
    for m in body["models"]:
        m["projection"] = former[m["projection"]]
    return body | {"schema_version": "octoscope-plan/3"}


def every_setting(atlas: Path) -> dict[str, Any]:
    tree = small_tree(atlas) | {
        "views": ["lift", "logit"], "centred": ["lift"], "absolute": ["logit"],
        "estimators": ["per_cell", "mean_residual"], "projection": ["full", "weights_only"],
        "max_permutation_factor": 3, "moments": 2,
        "compare": {"consensus": False, "pools": {"both": ["T cell", "macrophage"]}},
    }  # fmt: skip
    tree["models"].append(tree["models"][0] | {"name": "again"})
    tree["execution"]["advanced"]["cache"] = "7MB"
    return tree


def stored(plan: Plan, config: Any, to: Path) -> tuple[RunRoot, dict[str, Any]]:
    root, body = RunRoot(str(to)), as_format_3(plan)
    root.create_once("config.yaml", dump_config(config).encode())
    root.create_once("plan.json", to_json(body))
    return root, body


@pytest.mark.parametrize("full", [False, True])
def test_a_run_of_format_3_is_resumed_as_it_is(
    full: bool, small_atlas: Path, tmp_path: Path
) -> None:
    """Red: a setting that ``from_format_3`` leaves out, or that is compared though not stated."""
    tree = every_setting(small_atlas) if full else small_tree(small_atlas) | {"compare": None}
    config = parse_config(tree, "c")
    plan = make_plan(config, None)
    root, body = stored(plan, config, tmp_path / "run")
    read = load_plan(root)
    assert read.hash == hash_json(body)
    for name in ("seed", "views", "top_k", "moments", "edges", "compare", "tile", "cache_bytes"):
        assert getattr(read, name) == getattr(plan, name), name
    assert (read.model_groups, read.pools) == (plan.model_groups, plan.pools)
    assert read.settings.min_cells == config.min_cells
    assert (read.units, read.categories) == (plan.units, plan.categories)
    again = replan(root)
    assert again.hash == hash_json(body)
    assert json.loads(root.read("plan.json") or b"") == json.loads(json.dumps(body))


@pytest.mark.parametrize(
    ("field", "value", "named"),
    [
        ("top_k", 51, "settings.top_k"),
        ("tile", 64, "settings.tile"),
        ("hold", 1, "settings.cache"),
        ("more_draws", 9, "settings.max_permutation_factor"),
        ("permutations", 51, "settings.permutations"),
        ("edges", None, "settings.edges"),
    ],
)
def test_another_value_in_format_3_is_another_plan(
    field: str, value: Any, named: str, small_atlas: Path, tmp_path: Path
) -> None:
    config = parse_config(small_tree(small_atlas), "c")
    plan = make_plan(config, None)
    body = as_format_3(plan)
    assert changed(body, plan) == []
    assert changed(body | {field: value}, plan) == [named]
    root, _ = stored(plan, config, tmp_path / "run")
    root.replace("plan.json", to_json(body | {field: value}))
    with pytest.raises(InputError, match=rf"differs in {named}"):
        replan(root)


def test_half_a_plan_of_format_3_is_damaged(small_atlas: Path, tmp_path: Path) -> None:
    config = parse_config(small_tree(small_atlas), "c")
    root, body = stored(make_plan(config, None), config, tmp_path / "run")
    del body["tile"]
    root.replace("plan.json", to_json(body))
    with pytest.raises(DamagedRunError, match=r"plan\.json: not a plan.*tile"):
        load_plan(root)
