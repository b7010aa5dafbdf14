"""docs/cluster: the RayJob manifest and the image."""

from __future__ import annotations

import json
import re
import shlex
import subprocess
import sys
import warnings
from pathlib import Path
from typing import Any

import pytest
import yaml
from octoscope.config import apply_overrides
from octoscope.config.declared import settings_of
from octoscope.config.execution_config import ExecutionConfig

from tests.cluster.test_cluster_yaml import SECRETS

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs" / "cluster"

# Field names of ray.io/v1 in KubeRay 1.6.2 (its API reference, types RayJobSpec, RayClusterSpec,
# AuthOptions, AutoscalerOptions, HeadGroupSpec, WorkerGroupSpec). Listed here by hand: kubectl
# refuses a field that the server does not know.
FIELDS = {
    "job": {
        "activeDeadlineSeconds", "backoffLimit", "rayClusterSpec", "submitterPodTemplate",
        "metadata", "clusterSelector", "submitterConfig", "managedBy", "deletionStrategy",
        "entrypoint", "runtimeEnvYAML", "jobId", "submissionMode", "entrypointResources",
        "entrypointNumCpus", "entrypointNumGpus", "ttlSecondsAfterFinished",
        "preRunningDeadlineSeconds", "shutdownAfterJobFinishes", "suspend",
    },
    "cluster": {
        "upgradeStrategy", "authOptions", "suspend", "managedBy", "autoscalerOptions",
        "headServiceAnnotations", "enableInTreeAutoscaling", "gcsFaultToleranceOptions",
        "headGroupSpec", "rayVersion", "workerGroupSpecs",
    },
    "auth": {"enableK8sTokenAuth", "secretName", "mode"},
    "autoscaler": {
        "resources", "image", "imagePullPolicy", "securityContext", "idleTimeoutSeconds",
        "upscalingMode", "version", "env", "envFrom", "volumeMounts",
    },
    "head": {
        "template", "headService", "enableIngress", "resources", "labels", "rayStartParams",
        "serviceType",
    },
    "worker": {
        "suspend", "groupName", "replicas", "minReplicas", "maxReplicas", "idleTimeoutSeconds",
        "resources", "labels", "rayStartParams", "template", "scaleStrategy", "numOfHosts",
    },
}  # fmt: skip
# Of Kubernetes' PodSpec and Container, only what the manifest uses.
POD = {"restartPolicy", "containers", "volumes", "nodeSelector", "tolerations"}
CONTAINER = {"name", "image", "resources", "securityContext", "envFrom", "volumeMounts"}


@pytest.fixture(scope="module")
def job() -> dict[str, Any]:
    read: dict[str, Any] = yaml.safe_load((DOCS / "rayjob.yaml").read_text())
    return read


def groups(job: dict[str, Any]) -> list[dict[str, Any]]:
    cluster = job["spec"]["rayClusterSpec"]
    return [cluster["headGroupSpec"], *cluster["workerGroupSpecs"]]


def test_rayjob_has_only_fields_that_kuberay_knows(job: dict[str, Any]) -> None:
    assert (job["apiVersion"], job["kind"]) == ("ray.io/v1", "RayJob")
    assert set(job) == {"apiVersion", "kind", "metadata", "spec"}
    cluster = job["spec"]["rayClusterSpec"]
    for kind, part in (
        ("job", job["spec"]),
        ("cluster", cluster),
        ("auth", cluster["authOptions"]),
        ("autoscaler", cluster["autoscalerOptions"]),
        ("head", cluster["headGroupSpec"]),
        *(("worker", w) for w in cluster["workerGroupSpecs"]),
    ):
        assert set(part) <= FIELDS[kind], kind
    for group in groups(job):
        pod = group["template"]["spec"]
        assert set(pod) <= POD
        assert all(set(c) <= CONTAINER for c in pod["containers"])
        assert all(isinstance(v, str) for v in group["rayStartParams"].values())  # as KubeRay asks


def test_rayjob_continues_when_it_is_retried_and_ends(job: dict[str, Any]) -> None:
    spec = job["spec"]
    assert spec["submissionMode"] == "K8sJobMode"
    assert spec["backoffLimit"] >= 1
    assert spec["shutdownAfterJobFinishes"] is True
    assert spec["activeDeadlineSeconds"] > 0
    words = shlex.split(spec["entrypoint"])
    assert words[:2] == ["octoscope", "run"]
    assert words[words.index("--out") + 1].startswith("s3://")  # outlives the cluster
    assert "--steal" in words  # the head before may have died with the lease
    settings = [w for w, before in zip(words[1:], words, strict=False) if before == "--set"]
    tree: dict[str, Any] = {}
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # present names only
        apply_overrides(tree, settings)
    read = ExecutionConfig(**tree["execution"])
    assert read.device == "cuda"  # asks for GPUs though none is up yet
    assert read.start_timeout > ExecutionConfig().start_timeout


@pytest.mark.slow
def test_the_job_understands_the_entrypoint(job: dict[str, Any], tmp_path: Path) -> None:
    words = shlex.split(job["spec"]["entrypoint"])
    words[0] = str(Path(sys.executable).parent / "octoscope")
    words[2] = str(tmp_path / "none.yaml")
    done = subprocess.run(words, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 2, done.stderr
    assert "bad input" in done.stderr  # the command line's own refusals have the same code
    assert "none.yaml" in done.stderr


@pytest.mark.parametrize(
    "file", ["cluster/README.md", "cluster/rayjob.yaml", "cluster/slurm.sh", "../cluster.yaml"]
)
def test_settings_that_are_named_exist(file: str) -> None:
    named = re.findall(r"execution\.([a-z_]+(?:\.[a-z_]+)?)", (ROOT / "docs" / file).read_text())
    assert set(named) <= {s.name for s in settings_of(ExecutionConfig)}
    assert named or file == "../cluster.yaml"


def test_rayjob_is_closed_and_costs_nothing_at_rest(job: dict[str, Any]) -> None:
    cluster = job["spec"]["rayClusterSpec"]
    assert cluster["authOptions"] == {"mode": "token"}
    assert cluster["enableInTreeAutoscaling"] is True
    assert cluster["autoscalerOptions"]["version"] == "v2"
    head, *workers = groups(job)
    assert head["rayStartParams"]["num-cpus"] == "0"
    assert not {"enableIngress", "serviceType", "headService"} & set(head)
    assert not {"nodeSelector", "tolerations"} & set(head["template"]["spec"])  # not on spot
    for worker in workers:
        assert worker["replicas"] == worker["minReplicas"] == 0 < worker["maxReplicas"]
        assert worker["template"]["spec"]["nodeSelector"]
        assert worker["template"]["spec"]["tolerations"]
    for group in groups(job):
        assert group["template"]["spec"]["restartPolicy"] == "Never"
        (container,) = group["template"]["spec"]["containers"]
        resources = container["resources"]
        assert resources["requests"] == resources["limits"]
        assert {"cpu", "memory"} <= set(resources["limits"])
        assert ("nvidia.com/gpu" in resources["limits"]) == (group is not head)
        assert container["securityContext"]["allowPrivilegeEscalation"] is False
        assert container["envFrom"] == [{"secretRef": {"name": "octoscope-s3"}}]
        mounted = {m["name"] for m in container["volumeMounts"]}
        assert mounted == {v["name"] for v in group["template"]["spec"]["volumes"]}
        assert all(m["readOnly"] for m in container["volumeMounts"])
    assert SECRETS.search((DOCS / "rayjob.yaml").read_text()) is None


def test_rays_autoscaler_reads_the_groups_as_meant(job: dict[str, Any], tmp_path: Path) -> None:
    cluster = {
        "metadata": {"name": "octoscope", "namespace": "default"},
        "spec": job["spec"]["rayClusterSpec"],
    }
    # a process of its own: one that has imported Ray has fixed Ray's settings
    code = (
        "import json, sys\n"
        "from ray.autoscaler._private.kuberay import autoscaling_config as read\n"
        "told = read._derive_autoscaling_config_from_ray_cr(json.loads(sys.argv[1]))\n"
        "print(json.dumps(told['available_node_types']))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, json.dumps(cluster)],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    types = json.loads(done.stdout)
    head, worker = types.pop("headgroup"), types.pop("gpu-spot")
    assert not types
    assert head["resources"]["CPU"] == 0
    assert "GPU" not in head["resources"]
    assert (worker["resources"]["CPU"], worker["resources"]["GPU"]) == (7, 1)
    assert worker["min_workers"] == 0


def test_versions_agree(job: dict[str, Any]) -> None:
    pins = dict(line.split("==") for line in (ROOT / "constraints.txt").read_text().split("\n")[1:]
                if "==" in line)  # fmt: skip
    assert job["spec"]["rayClusterSpec"]["rayVersion"] == pins["ray"]
    images = {c["image"] for g in groups(job) for c in g["template"]["spec"]["containers"]}
    assert len(images) == 1
    version = re.search(r'^version = "(.+)"', (ROOT / "pyproject.toml").read_text(), re.MULTILINE)
    assert version is not None
    assert images.pop() == f"REGISTRY/octoscope:{version[1]}"


def test_the_image_installs_the_tested_set() -> None:
    text = (DOCS / "Dockerfile").read_text().replace("\\\n", " ")
    lines = [line for line in text.split("\n") if line and not line.startswith("#")]
    installs = [line for line in lines if "pip install" in line]
    assert installs
    assert all("-c constraints.txt" in line for line in installs)
    copied = [w for line in lines if line.startswith("COPY") for w in line.split()[1:-1]]
    assert {"pyproject.toml", "constraints.txt", "engine"} <= set(copied)
    assert all((ROOT / name).exists() for name in copied)
    user = [line.split()[1] for line in lines if line.startswith("USER")]
    assert user
    assert user[-1].isdigit()  # runAsNonRoot needs a number
    assert int(user[-1]) > 0
    assert SECRETS.search(text) is None
