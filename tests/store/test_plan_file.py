"""The frozen plan: what may differ from it, and what may not."""

from __future__ import annotations

from pathlib import Path

import pytest
from octoscope.config import parse_config
from octoscope.errors import InputError
from octoscope.planning.resolve import make_plan
from octoscope.store.plan_file import load_plan, save_plan
from octoscope.store.run_dir import RunRoot

from tests.conftest import small_tree


def test_another_projection_is_the_same_plan_and_anything_else_is_not(
    small_atlas: Path, tmp_path: Path
) -> None:
    plan = make_plan(parse_config(small_tree(small_atlas), "c"), None)
    root = RunRoot(str(tmp_path / "run"))
    save_plan(root, plan)
    less = plan.model_copy(update={"needs": plan.needs | {"actor_bytes": 1.0}})
    save_plan(root, less)
    assert load_plan(root) == plan  # the first stays: records carry its hash
    assert load_plan(root).hash == plan.hash != less.hash
    assert plan.network is not None
    remark = {"not_known_independent": ["OmniPath"]}
    save_plan(root, plan.model_copy(update={"network": plan.network | remark}))
    assert load_plan(root).hash == plan.hash  # written by a version without the remark
    more = plan.settings.model_copy(update={"top_k": 51})
    with pytest.raises(InputError, match=r"differs in settings\.top_k"):
        save_plan(root, plan.model_copy(update={"settings": more}))
