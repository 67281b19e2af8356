"""What the chart promises of safety: namespaces of the level "restricted", no token, nothing in and out unasked, no key
in sight."""

from __future__ import annotations

import base64
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import triton_chart as chart

# What the Pod Security Standard "restricted" lets a volume be.
VOLUMES = {"configMap", "csi", "downwardAPI", "emptyDir", "ephemeral", "persistentVolumeClaim", "projected", "secret"}


def pods(values: chart.Values) -> Iterator[tuple[str, dict[str, Any]]]:
    """Every pod that the release can make: its owner's name and its spec."""
    for found in chart.objects(values):
        if "template" in found.get("spec", {}):
            yield found["metadata"]["name"], found["spec"]["template"]["spec"]


def violations(spec: dict[str, Any]) -> Iterator[str]:
    """Of the Pod Security Standards' restricted level, and of what we promise beyond it."""
    whole = spec["securityContext"]
    if spec.get("hostNetwork") or spec.get("hostPID") or spec.get("hostIPC"):
        yield "host namespaces"
    if not whole.get("runAsNonRoot") or not whole.get("runAsUser"):
        yield "root"
    if whole.get("seccompProfile") != {"type": "RuntimeDefault"}:
        yield "seccomp"
    if spec.get("automountServiceAccountToken") is not False:
        yield "token"
    for volume in spec["volumes"]:
        if not (volume.keys() - {"name"}) <= VOLUMES:
            yield f"volume {volume['name']}"
    for container in [*spec["containers"], *spec.get("initContainers", ())]:
        own = container["securityContext"]
        if own.get("privileged") or own.get("allowPrivilegeEscalation") is not False:
            yield f"{container['name']}: privilege"
        if own.get("capabilities") != {"drop": ["ALL"]}:
            yield f"{container['name']}: capabilities"
        if own.get("readOnlyRootFilesystem") is not True:
            yield f"{container['name']}: root file system"
        if any("hostPort" in port for port in container.get("ports", ())):
            yield f"{container['name']}: host port"


@chart.EVERY_CI
def test_every_pod_may_run_in_a_restricted_namespace(ci: Path) -> None:
    found = dict(pods(chart.read(ci)))
    assert found
    for name, spec in found.items():
        assert list(violations(spec)) == [], name


@chart.EVERY_CI
def test_what_has_to_be_written_is_a_volume_and_models_are_not(ci: Path) -> None:
    values = chart.read(ci)
    spec = chart.pod(values)["spec"]
    volumes = {volume["name"]: volume for volume in spec["volumes"]}
    mounts = chart.server(values)["volumeMounts"]
    written = {mount["mountPath"] for mount in mounts if not mount.get("readOnly")}
    # Python backends, TensorRT and libraries' caches write to /tmp, and HOME is there.
    assert written == {"/tmp", "/dev/shm"}
    assert {"name": "HOME", "value": "/tmp"} in chart.server(values)["env"]
    assert all("emptyDir" in volumes[mount["name"]] for mount in mounts if not mount.get("readOnly"))


def test_the_service_account_has_no_token_either() -> None:
    [account] = chart.of_kind("ServiceAccount", {})
    assert account["automountServiceAccountToken"] is False
    assert chart.of_kind("ServiceAccount", {"serviceAccount": {"create": False}}) == []
    assert chart.pod({"serviceAccount": {"create": False}})["spec"]["serviceAccountName"] == "default"


def policy(values: chart.Values) -> dict[str, Any]:
    """The server's NetworkPolicy."""
    labels = chart.pod(values)["metadata"]["labels"].items()
    policies = [found["spec"] for found in chart.of_kind("NetworkPolicy", values)]
    [found] = [spec for spec in policies if spec["podSelector"]["matchLabels"].items() <= labels]
    mine: dict[str, Any] = found
    return mine


def test_unasked_only_the_same_namespace_comes_in_and_nothing_goes_out() -> None:
    found = policy({})
    assert sorted(found["policyTypes"]) == ["Egress", "Ingress"]
    assert found["egress"] == []
    same = [{"podSelector": {}}]
    ports = {port["port"] for rule in found["ingress"] for port in rule["ports"]}
    assert ports == {"http", "grpc", "metrics"}
    assert all(rule["from"] == same for rule in found["ingress"])


def test_peers_that_are_named_are_the_only_ones() -> None:
    values = chart.read(chart.CHART / "ci" / "gateway-values.yaml")
    clients, metrics = policy(values)["ingress"]
    assert clients["from"] == values["networkPolicy"]["ingressFrom"]
    assert metrics["from"] == values["networkPolicy"]["metricsFrom"]
    assert [port["port"] for port in metrics["ports"]] == ["metrics"]


def test_names_are_looked_up_only_where_models_are_fetched() -> None:
    dns, store = policy(chart.read(chart.CHART / "ci" / "object-store-values.yaml"))["egress"]
    assert {(port["port"], port["protocol"]) for port in dns["ports"]} == {(53, "UDP"), (53, "TCP")}
    assert store == {"ports": [{"port": 443, "protocol": "TCP"}]}


def test_an_engine_is_built_without_a_network() -> None:
    values = chart.read(chart.CHART / "ci" / "everything-values.yaml")
    labels = [job["spec"]["template"]["metadata"]["labels"].items() for job in chart.of_kind("Job", values)]
    policies = [found["spec"] for found in chart.of_kind("NetworkPolicy", values)]
    for job in labels:
        [found] = [spec for spec in policies if spec["podSelector"]["matchLabels"].items() <= job]
        assert (found["ingress"], found["egress"]) == ([], [])
        assert sorted(found["policyTypes"]) == ["Egress", "Ingress"]


def test_a_policy_that_is_off_is_not_there() -> None:
    assert chart.of_kind("NetworkPolicy", {"networkPolicy": {"enabled": False}}) == []


def test_the_key_is_long_another_one_in_each_release_and_stands_once() -> None:
    keys = set()
    for release in ("demo", "other"):
        [secret] = chart.of_kind("Secret", {}, release=release)
        assert secret["metadata"].keys() == {"name", "labels"}  # it goes with its release
        assert len(base64.b64decode(secret["data"]["key"])) == 32
        assert chart.text({}, release=release).count(secret["data"]["key"]) == 1
        keys.add(secret["data"]["key"])
    assert len(keys) == 2


def test_the_server_gets_the_key_by_its_environment() -> None:
    container = chart.server({})
    [variable] = [entry for entry in container["env"] if entry["name"] == "TRITON_RESTRICTED_KEY"]
    assert variable["valueFrom"] == {"secretKeyRef": {"name": "demo-triton-restricted", "key": "key"}}
    rules = [word for word in container["args"] if "restricted" in word]
    apis = "shared-memory,model-config,model-repository,statistics,trace,logging"
    assert rules == [
        f"--http-restricted-api={apis}:tritonkit-key=$(TRITON_RESTRICTED_KEY)",
        f"--grpc-restricted-protocol={apis}:tritonkit-key=$(TRITON_RESTRICTED_KEY)",
    ]


def test_a_secret_that_exists_is_taken_and_none_is_made() -> None:
    values = chart.read(chart.CHART / "ci" / "explicit-values.yaml")
    assert chart.of_kind("Secret", values) == []
    [variable] = [entry for entry in chart.server(values)["env"] if entry["name"] == "TRITON_RESTRICTED_KEY"]
    assert variable["valueFrom"] == {"secretKeyRef": {"name": "vision", "key": "triton"}}
    assert any(word.endswith(":vision-key=$(TRITON_RESTRICTED_KEY)") for word in chart.server(values)["args"])


def test_nothing_restricted_means_no_key_at_all() -> None:
    values = {"restrictedApis": {"enabled": False}}
    assert chart.of_kind("Secret", values) == []
    assert "RESTRICTED" not in chart.text(values)


@pytest.mark.parametrize("path", ["/models", "/srv/models"])
def test_the_copy_of_an_object_store_is_written_by_its_own_container_alone(path: str) -> None:
    values = chart.merged(
        chart.read(chart.CHART / "ci" / "object-store-values.yaml"), {"modelRepository": {"path": path}}
    )
    spec = chart.pod(values)["spec"]
    [fetch], [server] = spec["initContainers"], spec["containers"]
    assert {"name": "model-repository", "mountPath": path} in fetch["volumeMounts"]
    assert {"name": "model-repository", "mountPath": path, "readOnly": True} in server["volumeMounts"]
    assert fetch["command"][:3] == ["aws", "s3", "sync"]
    assert {"name": "MODEL_URI", "value": "s3://models.example.com/production"} in fetch["env"]
    assert {"name": "MODEL_TARGET", "value": path} in fetch["env"]
    assert fetch["envFrom"] == [{"secretRef": {"name": "models-s3"}}]
    assert "nvidia.com/gpu" not in fetch["resources"].get("limits", {})
