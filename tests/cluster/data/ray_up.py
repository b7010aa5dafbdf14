"""What Ray makes of cluster.yaml, without a cloud: `python ray_up.py cluster.yaml` prints JSON.

Ray's launcher runs on a provider that knows two machines and a runner that notes commands down.
A program of its own: a process that has imported Ray has fixed Ray's settings.
"""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import yaml
from ray.autoscaler._private.commands import get_or_create_head_node
from ray.autoscaler._private.util import prepare_config, validate_config
from ray.autoscaler.node_provider import NodeProvider
from ray.autoscaler.v2.instance_manager.config import AutoscalingConfig
from ray.autoscaler.v2.instance_manager.ray_installer import RayInstaller
from ray.autoscaler.v2.instance_manager.subscribers.cloud_resource_monitor import (
    CloudResourceMonitor,
)
from ray.autoscaler.v2.scheduler import ResourceDemandScheduler, SchedulingRequest
from ray.autoscaler.v2.utils import ResourceRequestUtil
from ray.core.generated.instance_manager_pb2 import Instance, InstanceUpdateEvent


class Machines(NodeProvider):
    """A head, once it is asked for, and one worker."""

    def __init__(self) -> None:
        super().__init__({}, "octoscope")
        self.tags: dict[str, dict[str, str]] = {"worker": {}}

    def non_terminated_nodes(self, tag_filters: dict[str, str]) -> list[str]:
        return [n for n, tags in self.tags.items() if tag_filters.items() <= tags.items()]

    def create_node(self, node_config: Any, tags: dict[str, str], count: int) -> None:
        self.tags["head"] = dict(tags)

    def is_running(self, node_id: str) -> bool:
        return True

    def is_terminated(self, node_id: str) -> bool:
        return False

    def node_tags(self, node_id: str) -> dict[str, str]:
        return self.tags[node_id]

    def set_node_tags(self, node_id: str, tags: dict[str, str]) -> None:
        self.tags[node_id] |= tags

    def external_ip(self, node_id: str) -> str:
        return node_id

    def internal_ip(self, node_id: str) -> str:
        return node_id


class Runner:
    """Stands in for ``subprocess``; rsync copies a file's name, ssh does nothing."""

    PIPE, DEVNULL = subprocess.PIPE, subprocess.DEVNULL
    CalledProcessError = subprocess.CalledProcessError

    def __init__(self) -> None:
        self.commands: dict[str, list[str]] = {"head": [], "worker": []}
        self.copied: dict[str, dict[str, str]] = {"head": {}, "worker": {}}
        self.bootstrap: dict[str, Any] = {}

    def check_call(self, command: list[str], **_: Any) -> int:
        if command[0] == "rsync":
            source, target = command[-2:]
            machine, folder = target.split("@")[1].split(":")
            self.copied[machine][folder] = source
            if folder.endswith("ray_bootstrap_config.yaml"):
                self.bootstrap = json.loads(Path(source).read_text())
            else:  # the head passes it on
                Path(os.path.expanduser(folder)).parent.mkdir(parents=True, exist_ok=True)
                Path(os.path.expanduser(folder)).touch()
        else:
            machine = next(w.split("@")[1] for w in command if "@" in w and "=" not in w)
            self.commands[machine].append(command[-1])
        return 0

    def check_output(self, command: list[str], **_: Any) -> bytes:
        self.check_call(command)
        return b""


def nodes_requested(
    config: AutoscalingConfig, monitor: CloudResourceMonitor, n: int
) -> dict[str, int]:
    """Return which node types Ray would start for ``n`` GPU actors."""
    request = ResourceRequestUtil.make({"CPU": 8, "GPU": 1})
    reply = ResourceDemandScheduler().schedule(
        SchedulingRequest(
            disable_launch_config_check=True,
            node_type_configs=config.get_node_type_configs(),
            max_num_nodes=config.get_max_num_nodes(),
            resource_requests=ResourceRequestUtil.group_by_count([request] * n),
            cloud_resource_availabilities=monitor.get_resource_availabilities(),
            recoverable_resource_availabilities=monitor.get_recoverable_resource_availabilities(),
        )
    )
    return {r.instance_type: r.count for r in reply.to_launch}


def main(path: str) -> dict[str, Any]:
    prepared = prepare_config(yaml.safe_load(Path(path).read_text()))
    validate_config(prepared)
    machines, runner = Machines(), Runner()
    get_or_create_head_node(
        prepared, path, False, False, True, None, _provider=machines, _runner=runner
    )
    config = AutoscalingConfig(runner.bootstrap)
    worker = Instance(instance_type="gpu_spot", cloud_instance_id="worker")
    RayInstaller(machines, config, runner).install_ray(worker, "10.0.0.1")

    monitor = CloudResourceMonitor()
    most = prepared["available_node_types"]["gpu_spot"]["max_workers"]
    answers = {
        "one": nodes_requested(config, monitor, 1),
        "one beyond max": nodes_requested(config, monitor, most + 1),
    }
    spot = {"instance_id": "i", "instance_type": "gpu_spot"}
    for name, status in (
        ("refused", Instance.ALLOCATION_FAILED),
        ("never up", Instance.ALLOCATION_TIMEOUT),
    ):
        monitor.notify([InstanceUpdateEvent(new_instance_status=status, **spot)])
        answers[name] = nodes_requested(config, monitor, 1)
    return {
        "types": prepared["available_node_types"],
        "commands": runner.commands,
        "copied": runner.copied,
        "wanted": answers,
    }


if __name__ == "__main__":
    with contextlib.redirect_stdout(sys.stderr):
        answer = main(sys.argv[1])
    print(json.dumps(answer))
