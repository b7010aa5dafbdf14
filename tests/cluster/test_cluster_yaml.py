"""cluster.yaml against Ray's own schema, and what Ray's launcher does with it."""

from __future__ import annotations

import importlib.util
import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml

ROOT = Path(__file__).parents[2]
STAND_IN = Path(__file__).parent / "data" / "ray_up.py"
# Key ids and key material of AWS, private keys, tokens (Ray's have 64 hexadecimal digits).
SECRETS = re.compile(
    r"A(KIA|SIA)[0-9A-Z]{16}|secret_?access_?key|BEGIN [A-Z ]*PRIVATE KEY|[0-9a-f]{64}"
    r"|(password|token)\s*[:=]\s*['\"]?[\w+/-]{16,}",
    re.IGNORECASE,
)


@pytest.fixture(scope="module")
def cluster() -> dict[str, Any]:
    read: dict[str, Any] = yaml.safe_load((ROOT / "cluster.yaml").read_text())
    return read


@pytest.fixture(scope="module")
def launched(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What `ray up` and its autoscaler would do, with stand-ins for the machines."""
    home = tmp_path_factory.mktemp("home")
    (home / ".ray").mkdir()
    (home / ".ray" / "auth_token").write_text("t")
    done = subprocess.run(
        [sys.executable, str(STAND_IN), "cluster.yaml"],
        cwd=ROOT,  # its file_mounts are relative
        env={**os.environ, "HOME": str(home)},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    answer: dict[str, Any] = json.loads(done.stdout)
    return answer


def schema() -> dict[str, object]:
    spec = importlib.util.find_spec("ray")  # not imported: that would fix its settings
    assert spec is not None
    assert spec.submodule_search_locations
    path = Path(spec.submodule_search_locations[0]) / "autoscaler" / "ray-schema.json"
    read: dict[str, object] = json.loads(path.read_text())
    return read


def commands(cluster: dict[str, Any]) -> list[str]:
    return [c for name, value in cluster.items() if name.endswith("_commands") for c in value]


def test_cluster_yaml_fits_rays_schema(cluster: dict[str, Any]) -> None:
    jsonschema.validate(cluster, schema())


def test_an_unknown_key_would_be_seen(cluster: dict[str, Any]) -> None:
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(cluster | {"gpu_count": 3}, schema())


def test_the_head_takes_no_work(cluster: dict[str, Any]) -> None:
    head = cluster["available_node_types"][cluster["head_node_type"]]
    assert head["resources"] == {"CPU": 0}
    assert not re.match(r"[gp]\d", head["node_config"]["InstanceType"])  # AWS's GPU families
    assert "InstanceMarketOptions" not in head["node_config"]  # the run dies with its head


def test_workers_are_spot_first_and_cost_nothing_at_rest(cluster: dict[str, Any]) -> None:
    types = dict(cluster["available_node_types"])
    types.pop(cluster["head_node_type"])
    spot, on_demand = types["gpu_spot"], types["gpu_on_demand"]
    assert spot["node_config"]["InstanceMarketOptions"] == {"MarketType": "spot"}
    assert "InstanceMarketOptions" not in on_demand["node_config"]
    assert spot["resources"] == on_demand["resources"]  # else Ray does not compare priorities
    assert spot["resources"]["GPU"] >= 1
    assert spot["priority"] > on_demand["priority"]
    assert all(t["min_workers"] == 0 for t in types.values())
    assert cluster["provider"]["cache_stopped_nodes"] is False


def test_every_start_of_ray_asks_for_the_token(cluster: dict[str, Any]) -> None:
    starts = cluster["head_start_ray_commands"] + cluster["worker_start_ray_commands"]
    assert sum("ray start" in c for c in starts) == 2
    for command in starts:
        assert re.search(r"RAY_AUTH_MODE=token ray (start|stop)\b", command), command
    assert cluster["file_mounts"]["~/.ray/auth_token"] == "~/.ray/auth_token"


def test_the_dashboard_listens_on_the_head_alone(cluster: dict[str, Any]) -> None:
    hosts = [h for c in commands(cluster) for h in re.findall(r"--dashboard-host[= ](\S+)", c)]
    assert hosts == ["127.0.0.1"]


def test_packages_are_the_tested_ones(cluster: dict[str, Any]) -> None:
    installs = [c for c in commands(cluster) if "pip install" in c]
    assert len(installs) == 3
    for command in installs:
        assert "-c ~/octoscope/constraints.txt" in command
    for kind in ("head", "worker"):
        assert any("octoscope[run,s3]" in c for c in cluster[f"{kind}_setup_commands"])
    assert {m for m in cluster["file_mounts"].values() if "~" not in m} == {
        "engine", "pyproject.toml", "constraints.txt", "README.md", "LICENSE",
    }  # fmt: skip
    assert all((ROOT / m).exists() for m in cluster["file_mounts"].values() if "~" not in m)


def test_no_secret_is_in_it(cluster: dict[str, Any]) -> None:
    secret = SECRETS.search((ROOT / "cluster.yaml").read_text())
    assert secret is None, secret
    for node in cluster["available_node_types"].values():
        assert set(node["node_config"]["IamInstanceProfile"]) == {"Name"}
    assert "aws_credentials" not in cluster["provider"]
    assert set(cluster["auth"]) == {"ssh_user"}


@pytest.mark.parametrize(
    "secret",
    ["AKIA" + "ABCDEFGHIJKLMNOP", "aws_secret_access_key: x", "ab" * 32, "token: " + "x" * 20],
)
def test_a_secret_would_be_seen(secret: str) -> None:
    assert SECRETS.search(f"- export {secret}")


def test_every_command_is_shell(cluster: dict[str, Any]) -> None:
    for command in commands(cluster):
        done = subprocess.run(["bash", "-n", "-c", command], capture_output=True, check=False)
        assert done.returncode == 0, (command, done.stderr)


def test_ray_passes_token_and_resources_on(launched: dict[str, Any]) -> None:
    for kind, resources in (("head", {"CPU": 0}), ("worker", {"CPU": 8, "GPU": 1})):
        assert "~/.ray/auth_token" in launched["copied"][kind]
        (start,) = [c for c in launched["commands"][kind] if "ray start" in c]
        given = re.search(r"RAY_OVERRIDE_RESOURCES=\W*(\{.*?\})", start)
        assert given is not None
        assert json.loads(given[1]) == resources
        (install,) = [c for c in launched["commands"][kind] if "octoscope[run,s3]" in c]  # once
        assert launched["commands"][kind].index(install) < launched["commands"][kind].index(start)
    (head,) = [c for c in launched["commands"]["head"] if "ray start" in c]
    assert "RAY_enable_autoscaler_v2=1" in head  # the one that knows priorities
    (worker,) = [c for c in launched["commands"]["worker"] if "ray start" in c]
    assert "RAY_HEAD_IP=10.0.0.1" in worker


def test_ray_prefers_spot_as_cluster_yaml_says(launched: dict[str, Any]) -> None:
    expected, most = launched["wanted"], launched["types"]["gpu_spot"]["max_workers"]
    assert expected["one"] == {"gpu_spot": 1}
    assert expected["one beyond max"] == {"gpu_spot": most, "gpu_on_demand": 1}
    assert expected["refused"] == {"gpu_spot": 1}  # not the other: what the comment warns of
    assert expected["never up"] == {"gpu_on_demand": 1}  # so the line above can fail
