"""Values that fit the schema and contradict themselves, Kubernetes or Triton: each is one sentence with the remedy."""

from __future__ import annotations

import re
from typing import Any

import pytest
import triton_chart as chart

from deploy.operations import releases
from generator.config.since import OLDEST

DIGITS = {"name": "digits", "objective": {"p99Ms": 20, "maxErrorRate": 0.001}, "models": ["digits"]}
STORE = {
    "modelRepository": {"source": "objectStore", "objectStore": {"uri": "s3://b/m", "image": "aws"}},
    "networkPolicy": {"extraEgress": [{"ports": [{"port": 443}]}]},
}
KEDA = {"enabled": True, "serverAddress": "http://prometheus.monitoring:9090"}
RULES: dict[str, Any] = {"prometheusRule": {"enabled": True}}
JOB = {"name": "a", "gpuProduct": "", "command": ["c"], "memory": "1Gi", "cpu": "1"}


def repository(source: str, **more: Any) -> dict[str, Any]:
    return {"modelRepository": {"source": source} | more}


def config_map(**files: str) -> dict[str, Any]:
    return repository(
        "configMap", configMap={"files": {path.replace("__", "/"): text for path, text in files.items()}}
    )


CASES: dict[str, tuple[dict[str, Any], str]] = {
    "grace": (
        {"drain": {"terminationGracePeriodSeconds": 44}},
        "drain.terminationGracePeriodSeconds is 44, and a pod may take 45 s to go (preStop 10 + exit timeout 30 + "
        "margin 5): leave it null, or give it 45 or more",
    ),
    "longest request": (
        {"pipelines": [DIGITS | {"longestRequestSeconds": 15.2}], "drain": {"exitTimeoutSeconds": 15}},
        "a request of pipeline digits may take 15.2 s, and a server that stops waits 15 s for it: raise "
        "drain.exitTimeoutSeconds to 16 or more",
    ),
    "old connections": (
        {"pipelines": [DIGITS | {"longestRequestSeconds": 16.5}]},
        "a request of pipeline digits may take 16.5 s, and a gRPC connection that has grown old is cut after 16000 ms: "
        "raise server.grpcMaxConnectionAgeGraceMs to 16500 or more",
    ),
    "clients that do not move in time": (
        {"server": {"grpcMaxConnectionAgeMs": 9_100}},
        "server.grpcMaxConnectionAgeMs is 9100, and gRPC clients that balance over the pods have to leave one that goes "
        "within its preStop of 10000 ms: make it 5000 or less, or set it to 0 where no client does",
    ),
    "no time to move": (
        {"drain": {"preStopSeconds": 0}},
        "server.grpcMaxConnectionAgeMs is 5000, and gRPC clients that balance over the pods have to leave one that goes "
        "within its preStop of 0 ms: raise drain.preStopSeconds to 10, or set it to 0 where no client does",
    ),
    "a proxy that is hung up on": (
        {"gateway": {"grpcRoute": {"enabled": True, "parentRefs": [{"name": "public"}]}}},
        "gateway.grpcRoute brings gRPC through a proxy, and a server that hangs up on a proxy now and then loses a "
        "request: set server.grpcMaxConnectionAgeMs to 0",
    ),
    "a mesh that is hung up on": (
        {"service": {"grpc": {"headless": False}}},
        "service.grpc.headless: false brings gRPC through a proxy, and a server that hangs up on a proxy now and then "
        "loses a request: set server.grpcMaxConnectionAgeMs to 0",
    ),
    "a release whose flags nobody knows": (
        {"image": {"release": "22.05", "allowVulnerable": True}},
        "image.release is 22.05, and of servers before 24.10 it is not known here which flags they have: one that gets "
        "a flag it does not know does not start; take 24.10 or later",
    ),
    "old tag": (
        {"image": {"tag": "25.09-py3"}},
        "image.tag 25.09-py3 is of release 25.09 and image.release is 26.07: flags are chosen by image.release, so set "
        'it to "25.09"',
    ),
    "no progress": (
        {"workload": {"maxSurge": "0%", "maxUnavailable": 0}},
        "workload.maxSurge and workload.maxUnavailable are both 0, and no pod could ever be replaced: let one of them "
        "be 1",
    ),
    "impatient": (
        {"workload": {"progressDeadlineSeconds": 600}},
        "workload.progressDeadlineSeconds is 600, and probes.startup gives the models 600 s to load: a rollout would be "
        "given up too early; make it more than 600",
    ),
    "own label": (
        {"commonLabels": {"app.kubernetes.io/name": "x"}},
        "the label app.kubernetes.io/name is the chart's own: take it out of commonLabels and workload.podLabels "
        "(nameOverride names the chart)",
    ),
    "own label of pods": (
        {"workload": {"podLabels": {"app.kubernetes.io/instance": "x"}}},
        "the label app.kubernetes.io/instance is the chart's own: take it out of commonLabels and workload.podLabels "
        "(nameOverride names the chart)",
    ),
    "own volume": (
        {"workload": {"extraVolumes": [{"name": "tmp", "emptyDir": {}}]}},
        "workload.extraVolumes has a volume tmp, which the chart makes itself: give it another name",
    ),
    "own variable": (
        {"workload": {"extraEnv": [{"name": "TRITON_RESTRICTED_KEY", "value": "x"}]}},
        "workload.extraEnv sets TRITON_RESTRICTED_KEY, which the chart sets itself: leave it out",
    ),
    "two budgets": (
        {"podDisruptionBudget": {"minAvailable": 1, "maxUnavailable": 2}},
        "podDisruptionBudget has minAvailable 1 and maxUnavailable 2, and Kubernetes takes one of them: set the other "
        "to null",
    ),
    "no budget": (
        {"podDisruptionBudget": {"maxUnavailable": None}},
        "podDisruptionBudget has neither minAvailable nor maxUnavailable: set one of them, or enabled to false",
    ),
    "a GPU of no pod": (
        {"gpu": {"count": 0, "product": "NVIDIA-H200"}},
        "gpu.product is NVIDIA-H200 and gpu.count is 0: a pod without a GPU needs no node that has one; set the count, "
        'or product to ""',
    ),
    "GPU twice": (
        {"resources": {"limits": {"nvidia.com/gpu": 1}}},
        "resources.limits has nvidia.com/gpu: say how many in gpu.count",
    ),
    "more than it may have": (
        {"resources": {"requests": {"memory": "2Gi"}, "limits": {"memory": "2G"}}},
        "resources.requests.memory is 2Gi and the limit is 2G: a pod may not ask for more than it may have",
    ),
    "models in mode none": (
        {"server": {"loadModels": ["digits"]}},
        "server.loadModels is set and server.modelControlMode is none, which loads every model: set the mode to "
        "explicit, or leave the list empty",
    ),
    "all and one": (
        {"server": {"modelControlMode": "explicit", "loadModels": ["*", "digits"]}},
        'server.loadModels has "*" beside other models, and tritonserver takes "*" alone',
    ),
    "open control": (
        {"server": {"modelControlMode": "explicit", "loadModels": ["*"]}, "restrictedApis": {"apis": ["trace"]}},
        "server.modelControlMode is explicit and the API model-repository is open: whoever reaches the port could load "
        "a model, which is running code; add it to restrictedApis.apis and enable them",
    ),
    "explicit, and nothing to load": (
        {"server": {"modelControlMode": "explicit"}},
        "server.modelControlMode is explicit and server.loadModels is empty: a pod would be ready without any model; "
        'name those to load at the start, or ["*"] for all',
    ),
    "flag twice": (
        {"server": {"extraFlags": ["--http-port=9"]}},
        "server.extraFlags has --http-port, which the chart sets itself: say it with ports.http",
    ),
    "fixed flag": (
        {"server": {"extraFlags": ["--exit-on-error=false"]}},
        "server.extraFlags has --exit-on-error, which the chart sets itself: leave it out",
    ),
    "one port for two": (
        {"ports": {"grpc": 8000}, "service": {"grpc": {"port": 8000}}},
        "ports.http 8000, ports.grpc 8000 and ports.metrics 8002 are not three different ports: give each its own",
    ),
    "headless port": (
        {"service": {"grpc": {"port": 9001}}},
        "service.grpc is headless, so that clients reach a pod's own port: service.grpc.port 9001 and ports.grpc 8001 "
        "have to be the same",
    ),
    "nothing restricted": (
        {"restrictedApis": {"apis": []}},
        "restrictedApis.apis is empty: name what to restrict, or set restrictedApis.enabled to false",
    ),
    "models below what hides them": (
        {"modelRepository": {"path": "/tmp/models"}},
        "modelRepository.path is /tmp/models, and a pod has something else at /tmp, which would hide the models: take "
        "another folder, as in /models",
    ),
    "scraped too seldom for the rules": (
        {"pipelines": [DIGITS], "metrics": {"podMonitor": {"enabled": True, "interval": "16s"}, **RULES}},
        "metrics.podMonitor.interval is 16s, and what watches the queues reads them over 1m: a range without 4 scrapes "
        "is taken for an empty one sooner or later, and alerts and KEDA do not see it; make it 15s or less",
    ),
    "scraped too seldom for KEDA": (
        {
            "pipelines": [DIGITS],
            "metrics": {"serviceMonitor": {"enabled": True, "interval": "1m"}},
            "autoscaling": {"keda": KEDA},
        },
        "metrics.serviceMonitor.interval is 1m, and what watches the queues reads them over 1m: a range without 4 "
        "scrapes is taken for an empty one sooner or later, and alerts and KEDA do not see it; make it 15s or less",
    ),
    "no claim": (
        repository("persistentVolumeClaim"),
        "modelRepository.source is persistentVolumeClaim, and no claim is named: set "
        "modelRepository.persistentVolumeClaim.claimName",
    ),
    "claim of another source": (
        repository("image", persistentVolumeClaim={"claimName": "models"}),
        "modelRepository.persistentVolumeClaim names the claim models, and modelRepository.source is image: set the "
        "source to persistentVolumeClaim, or leave the claim out",
    ),
    "no uri": (
        chart.merged(STORE, repository("objectStore", objectStore={"uri": ""})),
        "modelRepository.source is objectStore, and there is no uri: set modelRepository.objectStore.uri, as in "
        "s3://bucket/models",
    ),
    "no program": (
        chart.merged(STORE, repository("objectStore", objectStore={"image": ""})),
        "modelRepository.objectStore.image is empty: name an image with a program that copies (aws for s3://, gcloud "
        "for gs://, or your own with a command)",
    ),
    "unknown store": (
        chart.merged(STORE, repository("objectStore", objectStore={"uri": "azure://a/b"})),
        "the chart knows how to copy s3:// and gs://, and not azure://a/b: give modelRepository.objectStore.command, "
        "where $(MODEL_URI) and $(MODEL_TARGET) stand for the source and the folder",
    ),
    "store out of reach": (
        chart.merged(STORE, {"networkPolicy": {"extraEgress": []}}),
        "modelRepository.source is objectStore, and networkPolicy lets pods reach nothing but DNS: name the store in "
        "networkPolicy.extraEgress, as in [{ports: [{port: 443, protocol: TCP}]}]",
    ),
    "uri of another source": (
        repository("image", objectStore={"uri": "s3://b/m"}),
        "modelRepository.objectStore has the uri s3://b/m, and modelRepository.source is image: set the source to "
        "objectStore, or leave the uri out",
    ),
    "no files": (
        repository("configMap"),
        "modelRepository.source is configMap, and there are no files: put them under modelRepository.configMap.files, or "
        "take another source",
    ),
    "files of another source": (
        repository("image", configMap={"files": {"a/config.pbtxt": "YQ=="}}),
        "modelRepository.configMap has files, and modelRepository.source is image: set the source to configMap, or "
        "leave the files out",
    ),
    "out of the repository": (
        config_map(**{"a__..__..__b": "YQ=="}),
        'modelRepository.configMap.files has the path "a/../../b": paths are inside the repository, as in '
        "digits/config.pbtxt",
    ),
    "no model's file": (
        config_map(**{"config.pbtxt": "YQ=="}),
        'modelRepository.configMap.files has the path "config.pbtxt": paths are inside the repository, as in '
        "digits/config.pbtxt",
    ),
    "too much": (
        config_map(a__x="A" * 699_052, a__y="A" * 699_052),
        "modelRepository.configMap.files are 1048578 bytes, and a ConfigMap holds 1048576: take another "
        "modelRepository.source",
    ),
    "policy that is off": (
        {"networkPolicy": {"enabled": False, "ingressFrom": [{"podSelector": {}}]}},
        "networkPolicy names peers and is not enabled: set networkPolicy.enabled to true, or leave the peers out",
    ),
    "two autoscalers": (
        {
            "pipelines": [DIGITS],
            "autoscaling": {"hpa": {"enabled": True}, "keda": {"enabled": True, "serverAddress": "http://p:9090"}},
        },
        "autoscaling.hpa and autoscaling.keda are both enabled, and would pull at the same pods: leave one of them off",
    ),
    "least and most": (
        {"autoscaling": {"minReplicas": 11}},
        "autoscaling.minReplicas is 11 and autoscaling.maxReplicas is 10: the least may not be more than the most",
    ),
    "no Prometheus": (
        {"pipelines": [DIGITS], "autoscaling": {"keda": {"enabled": True}}},
        "autoscaling.keda is enabled and does not know where Prometheus is: set autoscaling.keda.serverAddress, as in "
        "http://prometheus.monitoring:9090",
    ),
    "no jobs": (
        {"engineBuild": {"enabled": True, "claimName": "engines"}},
        "engineBuild is enabled and has no jobs: list them under engineBuild.jobs, one for each GPU type",
    ),
    "no claim for engines": (
        {"engineBuild": {"enabled": True, "jobs": [JOB]}},
        "engineBuild is enabled and has no claim to keep engines and timing caches on: set engineBuild.claimName",
    ),
    "two jobs of one name": (
        {"engineBuild": {"enabled": True, "claimName": "engines", "jobs": [JOB, JOB]}},
        "engineBuild.jobs has a twice: each Job needs a name of its own",
    ),
    "no Gateway": (
        {"gateway": {"grpcRoute": {"enabled": True}}, "server": {"grpcMaxConnectionAgeMs": 0}},
        "gateway.grpcRoute is enabled and belongs to no Gateway: name it in gateway.grpcRoute.parentRefs, as in "
        "[{name: public}]",
    ),
    "no Gateway for HTTP": (
        {"gateway": {"httpRoute": {"enabled": True}}},
        "gateway.httpRoute is enabled and belongs to no Gateway: name it in gateway.httpRoute.parentRefs, as in "
        "[{name: public}]",
    ),
    "a route to nowhere": (
        {
            "gateway": {"grpcRoute": {"enabled": True, "parentRefs": [{"name": "a"}]}},
            "service": {"grpc": {"enabled": False}},
            "server": {"grpcMaxConnectionAgeMs": 0},
        },
        "gateway.grpcRoute leads to the Service of gRPC, which is off: set service.grpc.enabled to true",
    ),
    "an HTTP route to nowhere": (
        {
            "gateway": {"httpRoute": {"enabled": True, "parentRefs": [{"name": "a"}]}},
            "service": {"http": {"enabled": False}},
        },
        "gateway.httpRoute leads to the Service of HTTP, which is off: set service.http.enabled to true",
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_a_contradiction_is_one_sentence_with_the_remedy(case: str) -> None:
    values, sentence = CASES[case]
    assert chart.complaints(values) == [sentence]


NEAR: dict[str, dict[str, Any]] = {
    "no age": {"service": {"grpc": {"headless": False}}, "server": {"grpcMaxConnectionAgeMs": 0}},
    "no Service": {"service": {"grpc": {"headless": False, "enabled": False}}},
    "the oldest": {"image": {"release": OLDEST, "allowVulnerable": True}},
    "another folder": {"modelRepository": {"path": "/tmpl"}},
    "often enough": {
        "pipelines": [DIGITS],
        "metrics": {"podMonitor": {"enabled": True, "interval": "15000ms"}, **RULES},
    },
    "nobody reads it": {"metrics": {"podMonitor": {"enabled": True, "interval": "1m"}}},
}


@pytest.mark.parametrize("near", NEAR)
def test_what_is_near_a_contradiction_and_none(near: str) -> None:
    assert "kind: Deployment" in chart.text(NEAR[near])


def test_the_shortest_range_of_all_that_is_read_is_the_one_that_the_interval_has_to_fill() -> None:
    values = {"pipelines": [DIGITS], "metrics": RULES, "autoscaling": {"keda": KEDA}}
    ranges = re.findall(r"\[([0-9]+)([smhd])\]", chart.text(values))
    seconds = {int(number) * {"s": 1, "m": 60, "h": 3600, "d": 86400}[unit] for number, unit in ranges}
    assert min(seconds) == 4 * 15


def test_a_name_that_no_service_may_have() -> None:
    said = chart.refusal({}, release="1st")
    assert '"1st-triton" is no name for a Service, which begins with a letter: set fullnameOverride' in said


def test_everything_that_is_wrong_is_said_at_once() -> None:
    values = chart.merged(*(CASES[case][0] for case in ("grace", "two autoscalers", "flag twice", "headless port")))
    assert len(chart.complaints(values)) == 4


@pytest.mark.parametrize("release", ["24.10", "25.06"])
def test_a_release_with_known_holes_is_refused_with_their_names(release: str) -> None:
    [sentence] = chart.complaints({"image": {"release": release}})
    holes = ", ".join(sorted(hole.cve for hole in releases.holes_of(release)))
    assert sentence == (
        f"image.release {release} has known holes ({holes}): take {releases.SOUND} or later, or set "
        "image.allowVulnerable to true where nobody but you can reach the server"
    )
