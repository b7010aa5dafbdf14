"""cluster.yaml against Ray's own schema."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path

import jsonschema
import pytest
import yaml

ROOT = Path(__file__).parents[2]


def schema() -> dict[str, object]:
    spec = importlib.util.find_spec("ray")  # not imported: that would fix its settings
    assert spec is not None
    assert spec.submodule_search_locations
    path = Path(spec.submodule_search_locations[0]) / "autoscaler" / "ray-schema.json"
    return json.loads(path.read_text())  # type: ignore[no-any-return]


def test_cluster_yaml_fits_rays_schema() -> None:
    cluster = yaml.safe_load((ROOT / "cluster.yaml").read_text())
    jsonschema.validate(cluster, schema())
    types = cluster["available_node_types"]
    assert cluster["head_node_type"] in types
    assert "GPU" not in types[cluster["head_node_type"]]["resources"]
    commands = cluster["head_start_ray_commands"] + cluster["worker_start_ray_commands"]
    assert all("RAY_AUTH_MODE=token" in c for c in commands if "ray start" in c)


def test_an_unknown_key_would_be_seen() -> None:
    cluster = yaml.safe_load((ROOT / "cluster.yaml").read_text()) | {"gpu_count": 3}
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(cluster, schema())
