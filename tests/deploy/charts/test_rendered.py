"""The chart with every set of values in ci/: lint, what Kubernetes knows of each object, and what it rendered before.

After a wanted change: `TRITONKIT_UPDATE_GOLDEN=1 .venv/bin/python -m pytest tests/deploy/charts/test_rendered.py`,
then read the diff.
"""

from __future__ import annotations

import os
import re
import shutil
from pathlib import Path

import kubernetes_validate
import pytest
import triton_chart as chart

GOLDEN = Path(__file__).parent / "golden"
# These are checked with their own definitions, beside a cluster.
CUSTOM = {"PodMonitor", "ServiceMonitor", "PrometheusRule", "ScaledObject", "GRPCRoute", "HTTPRoute"}
KUBES = ("1.29.0", "1.31.0", "1.36.0")


@chart.EVERY_CI
def test_lint_finds_nothing(ci: Path) -> None:
    done = chart.ran(chart.read(ci), "lint")
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("kube", KUBES)
@chart.EVERY_CI
def test_kubernetes_knows_every_field_of_every_object(ci: Path, kube: str) -> None:
    checked = 0
    for found in chart.objects(chart.read(ci), kube=kube):
        if found["kind"] not in CUSTOM:
            kubernetes_validate.validate(found, kube.removesuffix(".0"), strict=True)
            checked += 1
    assert checked >= 6  # a workload, its Services, account, policy and budget


@chart.EVERY_CI
def test_it_renders_as_before(ci: Path) -> None:
    # What goes to Prometheus and Grafana is long, and has tests of its own.
    quiet = {"metrics": {"dashboards": {"enabled": False}, "prometheusRule": {"enabled": False}}}
    found = chart.text(chart.merged(chart.KEPT_KEY, chart.read(ci), quiet))
    golden = GOLDEN / f"{ci.stem.removesuffix('-values')}.yaml"
    if os.environ.get("TRITONKIT_UPDATE_GOLDEN"):
        GOLDEN.mkdir(exist_ok=True)
        golden.write_text(found, encoding="utf-8")
    assert found == golden.read_text(encoding="utf-8")


def test_every_golden_file_has_its_values() -> None:
    assert {path.stem for path in GOLDEN.glob("*")} == {ci.stem.removesuffix("-values") for ci in chart.CI}


@chart.EVERY_CI
def test_no_name_is_given_twice_and_none_is_empty(ci: Path) -> None:
    names = [(found["kind"], found["metadata"]["name"]) for found in chart.objects(chart.read(ci))]
    assert len(set(names)) == len(names)
    assert all(re.fullmatch(r"[a-z0-9]([-a-z0-9.]*[a-z0-9])?", name) for _, name in names)


@chart.EVERY_CI
def test_selectors_never_change_with_the_chart_or_the_image(ci: Path) -> None:
    values = chart.merged(chart.read(ci), {"image": {"release": "26.09", "tag": "26.09-py3"}})
    ours = {"app.kubernetes.io/name", "app.kubernetes.io/instance"}
    checked = 0
    for found in chart.objects(values):
        selector = found.get("spec", {}).get("selector")
        if selector is not None and found["kind"] not in CUSTOM:
            assert selector.get("matchLabels", selector).keys() == ours
            checked += 1
    assert checked >= 5  # the workload, its budget and three Services


@chart.EVERY_CI
def test_selectors_find_the_servers_pods_and_no_other(ci: Path) -> None:
    values = chart.read(ci)
    ours = chart.pod(values)["metadata"]["labels"]
    others = [job["spec"]["template"]["metadata"]["labels"] for job in chart.of_kind("Job", values)]
    for found in chart.of_kind("Service", values):
        selector = found["spec"]["selector"].items()
        assert selector <= ours.items()
        assert not any(selector <= other.items() for other in others)


def test_a_new_version_of_the_chart_alone_starts_no_pod_again(tmp_path: Path) -> None:
    newer = tmp_path / "triton"
    shutil.copytree(chart.CHART, newer)
    about = newer / "Chart.yaml"
    about.write_text(about.read_text().replace("version: 0.1.0", "version: 9.9.9+build"))
    [before] = chart.of_kind("Deployment", chart.KEPT_KEY)
    [after] = chart.of_kind("Deployment", chart.KEPT_KEY, chart=newer)
    assert after["metadata"]["labels"]["helm.sh/chart"] == "triton-9.9.9_build"
    assert after["spec"] == before["spec"]


def test_names_of_releases_that_look_like_numbers_stay_text() -> None:
    for found in chart.objects({"fullnameOverride": "digits"}, release="123"):
        labels = found["metadata"]["labels"]
        assert labels["app.kubernetes.io/instance"] == "123"
        kubernetes_validate.validate(found, "1.31", strict=True)


NUMBER_LIKE = {
    "workload": {
        "priorityClassName": "1", "runtimeClassName": "null", "nodeSelector": {"a": "true"},
        "topologySpread": {"topologyKey": "on"},
    },
    "image": {"pullSecrets": ["1e3"], "repository": "7", "tag": "8"},
    "restrictedApis": {"existingSecret": "007", "secretKey": "1"},
    "modelRepository": {"source": "persistentVolumeClaim", "persistentVolumeClaim": {"claimName": "12", "subPath": "0"}},
    "serviceAccount": {"name": "5"},
    "engineBuild": {
        "enabled": True, "claimName": "3", "image": "9",
        "jobs": [
            {"name": "1", "gpuProduct": "2", "command": ["3"], "subPath": "4", "memory": 1, "cpu": 1},
            {"name": "2", "gpuProduct": "", "command": ["3"], "modelFolder": "5", "request": "6", "memory": 1, "cpu": 1},
        ],
    },
}  # fmt: skip


def test_text_that_looks_like_a_number_stays_text() -> None:
    for found in chart.objects(NUMBER_LIKE):
        kubernetes_validate.validate(found, "1.31", strict=True)
    store = chart.read(chart.CHART / "ci" / "object-store-values.yaml")
    store["modelRepository"]["objectStore"] |= {"image": "1", "existingSecret": "2", "sizeLimit": 1 << 40}
    for found in chart.objects(store):
        kubernetes_validate.validate(found, "1.31", strict=True)


def test_a_file_of_any_name_gets_a_key_that_a_config_map_may_have() -> None:
    files = {"model/1/labels (new).txt": "YQ==", 'model/1/"a"\nb: c': "Yg==", "model/2/labels (new).txt": "Yw=="}
    values = {"modelRepository": {"source": "configMap", "configMap": {"files": files}}}
    [found] = chart.of_kind("ConfigMap", values)
    assert len(found["binaryData"]) == 3
    assert all(re.fullmatch(r"[-._a-zA-Z0-9]+", key) for key in found["binaryData"])
    [volume] = [each for each in chart.pod(values)["spec"]["volumes"] if each["name"] == "model-repository"]
    assert {item["path"]: found["binaryData"][item["key"]] for item in volume["configMap"]["items"]} == files


def test_the_longest_release_name_leaves_room_for_what_stands_behind_it() -> None:
    values = chart.merged(
        chart.read(chart.CHART / "ci" / "everything-values.yaml"), {"workload": {"kind": "StatefulSet"}}
    )
    for release in ("a" * 41, "vision" + "a" * 42):
        for found in chart.objects(values, release=release):
            assert len(found["metadata"]["name"]) <= 63, found["metadata"]["name"]


@pytest.mark.parametrize("release", ["a" * 42, "triton" + "a" * 43])
def test_a_name_that_does_not_fit_is_refused_and_not_cut(release: str) -> None:
    """Two releases whose names are cut to the same one would have each other's objects."""
    assert "49 characters, and 48 are the most" in chart.refusal({}, release=release)


def test_the_probes_wait_for_models_and_leave_a_loaded_server_alone() -> None:
    container = chart.server({})
    startup = container["startupProbe"]
    assert startup["httpGet"] == {"path": "/v2/health/ready", "port": "http"}
    assert startup["periodSeconds"] * startup["failureThreshold"] == 600
    assert container["readinessProbe"]["httpGet"]["path"] == "/v2/health/ready"
    assert container["livenessProbe"]["httpGet"]["path"] == "/v2/health/live"


@pytest.mark.parametrize(
    ("kube", "hook"),
    [
        ("1.29.4", {"exec": {"command": ["sleep", "10"]}}),
        ("1.30.0", {"sleep": {"seconds": 10}}),
        ("1.31.2-gke.1", {"sleep": {"seconds": 10}}),
    ],
)
def test_the_pause_before_the_stop_is_the_clusters_own_where_it_has_one(kube: str, hook: object) -> None:
    assert chart.server({}, kube=kube)["lifecycle"]["preStop"] == hook


def test_no_pause_no_hook() -> None:
    assert "lifecycle" not in chart.server({"drain": {"preStopSeconds": 0}, "server": {"grpcMaxConnectionAgeMs": 0}})


def test_tritonserver_is_process_1() -> None:
    container = chart.server({})
    assert container["command"] == ["tritonserver"]
    assert all(word.startswith("--") for word in container["args"])


def test_a_changed_file_of_the_config_map_rolls_the_pods() -> None:
    values = chart.read(chart.CHART / "ci" / "configmap-values.yaml")
    files = dict(values["modelRepository"]["configMap"]["files"])
    changed = files | {"doubler/1/model.py": "cHJpbnQoKQo="}
    other = chart.merged(values, {"modelRepository": {"configMap": {"files": changed}}})
    before, after = chart.pod(values)["metadata"], chart.pod(other)["metadata"]
    assert before["annotations"]["checksum/models"] != after["annotations"]["checksum/models"]
    assert before["labels"] == after["labels"]


def test_the_config_map_is_mounted_model_by_model_so_that_no_other_folder_is_there() -> None:
    values = chart.read(chart.CHART / "ci" / "configmap-values.yaml")
    [mount] = [found for found in chart.server(values)["volumeMounts"] if found["name"] == "model-repository"]
    assert mount == {
        "name": "model-repository",
        "mountPath": "/models/doubler",
        "subPath": "doubler",
        "readOnly": True,
    }
    [volume] = [found for found in chart.pod(values)["spec"]["volumes"] if found["name"] == "model-repository"]
    [config_map] = chart.of_kind("ConfigMap", values)
    assert volume["configMap"]["name"] == config_map["metadata"]["name"]
    paths = {item["path"]: config_map["binaryData"][item["key"]] for item in volume["configMap"]["items"]}
    assert paths == values["modelRepository"]["configMap"]["files"]


@pytest.mark.parametrize(
    ("resources", "requested", "limited"),
    [
        (
            {"requests": {"memory": "4Gi"}, "limits": {"memory": "6Gi"}},
            (4 << 30) + (64 << 20),
            (6 << 30) + (64 << 20),
        ),
        ({"requests": {"memory": "1.5Gi"}}, (3 << 29) + (64 << 20), None),
        ({"requests": {"memory": "500M"}}, 500_000_000 + (64 << 20), None),
        ({"requests": {"memory": 2_000_000_000}}, 2_000_000_000 + (64 << 20), None),
        ({"limits": {"memory": "6Gi"}}, None, (6 << 30) + (64 << 20)),  # Kubernetes asks for as much as the limit
        ({}, 64 << 20, None),
    ],
)
def test_shared_memory_counts_in_the_pods_memory(
    resources: object, requested: int | None, limited: int | None
) -> None:
    values = {"gpu": {"count": 0}, "resources": resources}
    found = chart.server(values)["resources"]
    assert found["requests"].get("memory") == (None if requested is None else str(requested))
    assert found.get("limits", {}).get("memory") == (None if limited is None else str(limited))
    [shm] = [volume for volume in chart.pod(values)["spec"]["volumes"] if volume["name"] == "dev-shm"]
    assert shm["emptyDir"] == {"medium": "Memory", "sizeLimit": str(64 << 20)}


def test_without_a_gpu_the_nodes_runtime_gives_none() -> None:
    spec, container = chart.pod({"gpu": {"count": 0}})["spec"], chart.server({"gpu": {"count": 0}})
    assert {"name": "NVIDIA_VISIBLE_DEVICES", "value": "void"} in container["env"]
    assert "limits" not in container["resources"]
    assert "tolerations" not in spec
    assert "affinity" not in spec


def test_the_engines_gpu_is_asked_for_in_every_term_of_an_affinity() -> None:
    required = "requiredDuringSchedulingIgnoredDuringExecution"
    gpu = {"key": "nvidia.com/gpu.product", "operator": "In", "values": ["NVIDIA-H200"]}
    alone = chart.pod({"gpu": {"product": "NVIDIA-H200"}})["spec"]["affinity"]
    assert alone == {"nodeAffinity": {required: {"nodeSelectorTerms": [{"matchExpressions": [gpu]}]}}}
    both = chart.pod(chart.read(chart.CHART / "ci" / "everything-values.yaml"))["spec"]["affinity"]
    terms = both["nodeAffinity"][required]["nodeSelectorTerms"]
    assert [term["matchExpressions"][-1] for term in terms] == [gpu, gpu]
    assert [term["matchExpressions"][0]["values"] for term in terms] == [["a"], ["b"]]


def test_an_autoscaler_that_is_on_decides_on_the_number_of_pods() -> None:
    [fixed] = chart.of_kind("Deployment", {})
    [scaled] = chart.of_kind("Deployment", chart.read(chart.CHART / "ci" / "production-gpu-values.yaml"))
    assert fixed["spec"]["replicas"] == 2
    assert "replicas" not in scaled["spec"]


def test_the_pods_of_a_stateful_set_get_their_names_from_a_service_that_lasts() -> None:
    values = chart.read(chart.CHART / "ci" / "statefulset-pvc-values.yaml")
    [found] = chart.of_kind("StatefulSet", values)
    services = {service["metadata"]["name"]: service["spec"] for service in chart.of_kind("Service", values)}
    governing = services[found["spec"]["serviceName"]]
    assert governing["clusterIP"] == "None"
    assert {port["port"] for port in governing["ports"]} == {8000, 8001, 8002}
    assert "strategy" not in found["spec"]
