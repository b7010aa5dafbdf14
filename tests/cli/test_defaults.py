"""Defaults of options are those of the Python API and of the configuration, which declare them."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

import pytest
from octoscope.api import atlas as atlas_api
from octoscope.api import attention, gnn, links, model, plan
from octoscope.api.network import Network
from octoscope.api.run import Run
from octoscope.cli import app
from octoscope.cli import atlas as atlas_commands
from octoscope.cli import compare as compare_commands
from octoscope.cli import gnn as gnn_commands
from octoscope.cli import models as model_commands
from octoscope.cli import octopus as octopus_commands
from octoscope.config import AtlasConfig
from octoscope.link_prediction.evaluate_links import Settings

RENAMED = {"gene_id": "gene_id_key", "donor": "replicate_key"}
# what an option says when it is not given, where the API has a value: the command passes that
FILLED = {"negatives", "floors", "message_passing", "checkpoints", "stores", "cache", "overrides"}


def defaults(call: Callable[..., Any]) -> dict[str, Any]:
    """Return parameter -> default of those that have one."""
    parameters = inspect.signature(call).parameters.values()
    return {p.name: p.default for p in parameters if p.default is not p.empty}


PAIRS = [
    (atlas_commands.atlas_info, atlas_api.atlas_info),
    (atlas_commands.atlas_check, atlas_api.check_atlas),
    (atlas_commands.atlas_convert, atlas_api.convert_atlas),
    (compare_commands.export, Run.export),
    (compare_commands.models, Run.agreement),
    (compare_commands.pool, Run.pool),
    (gnn_commands.evaluate, links.evaluate_links),
    (gnn_commands.evaluate, Network.evaluate_links),
    (gnn_commands.relations, gnn.Gnn.relations),
    (gnn_commands.score, gnn.Gnn.score),
    (model_commands.attention_dump, attention.dump_attention),
    (model_commands.models_check, model.check_model),
    (octopus_commands.export, Network.export),
    (octopus_commands.lookup, Network.annotate),
    (octopus_commands.rate, Network.rate),
    (app.demo, plan.demo_config),
]


@pytest.mark.parametrize(
    ("command", "method"), PAIRS, ids=[f"{c.__name__}-{m.__qualname__}" for c, m in PAIRS]
)
def test_an_option_and_its_argument_have_one_default(
    command: Callable[..., Any], method: Callable[..., Any]
) -> None:
    given, meant = defaults(command), defaults(method)
    both = (given.keys() & meant.keys()) - FILLED
    assert both
    assert {name: given[name] for name in both} == {name: meant[name] for name in both}


@pytest.mark.parametrize("command", ["atlas_info", "atlas_check", "atlas_convert"])
def test_options_of_an_atlas_have_the_defaults_of_the_configuration(command: str) -> None:
    given = defaults(getattr(atlas_commands, command))
    fields = AtlasConfig.model_fields
    named = {RENAMED.get(name, name): value for name, value in given.items()}
    own = {name: value for name, value in named.items() if name in fields}
    assert len(own) >= 6
    assert own == {name: fields[name].default for name in own}
    assert given["all_data"] is not fields["primary_only"].default


def test_link_prediction_has_its_defaults_once() -> None:
    meant = defaults(links.evaluate_links)
    assert {name: meant[name] for name in meant.keys() & defaults(Settings)} == {
        name: value for name, value in defaults(Settings).items() if name in meant
    }
