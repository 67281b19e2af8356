"""The schema of the values: strict, described, and what it refuses. Every field and every type, from the schema itself."""

from __future__ import annotations

import copy
import json
import re
from collections.abc import Iterator
from typing import Any

import pytest
import triton_chart as chart
import yaml

SCHEMA = json.loads((chart.CHART / "values.schema.json").read_text(encoding="utf-8"))
DEFAULTS = yaml.safe_load((chart.CHART / "values.yaml").read_text(encoding="utf-8"))
# Objects in Kubernetes' own words, which it checks itself; and what Helm hands down to a chart in a chart.
KUBERNETES = re.compile(
    r"^(global|workload\.(affinity|tolerations\[\]|extra(Env|Volumes|VolumeMounts)\[\])"
    r"|networkPolicy\.\w+\[\]|gateway\.\w+\.parentRefs\[\])$"
)
EXAMPLES: dict[str, Any] = {  # one entry of every list, so that its fields are there to be wrong
    "pipelines": [
        {
            "name": "digits",
            "objective": {"p99Ms": 20, "throughputRps": 300, "maxErrorRate": 0.001},
            "models": ["digits"],
            "queueModels": ["digits"],
            "maxBatchSize": 8,
            "longestRequestSeconds": 16,
            "latencyBucketsMs": [10, 20, 40],
        }
    ],
    "engineBuild": {
        "jobs": [
            {
                "name": "a",
                "gpuProduct": "b",
                "command": ["c"],
                "subPath": "d",
                "modelFolder": "e/1",
                "request": "f",
                "memory": "1Gi",
                "cpu": "1",
            },
        ],
    },
    "resources": {"requests": {"cpu": 1, "memory": "1Gi"}, "limits": {"cpu": 1, "memory": "1Gi"}},
}
WHOLE = chart.merged(DEFAULTS, EXAMPLES)

Path = tuple[str | int, ...]
WRONG: dict[str, Any] = {
    "string": 5, "integer": "five", "number": "five", "boolean": "yes", "array": {"a": 1}, "object": ["a"], "null": {},
}  # fmt: skip


def nodes(schema: Any, path: Path = ()) -> Iterator[tuple[Path, Any]]:
    """Every schema in the schema, with its place; an entry of a list is its place with 0."""
    yield path, schema
    for name, inner in schema.get("properties", {}).items():
        yield from nodes(inner, (*path, name))
    if isinstance(schema.get("items"), dict):
        yield from nodes(schema["items"], (*path, 0))


NODES = dict(nodes(SCHEMA))


def dotted(path: Path) -> str:
    """As Helm writes it."""
    return ".".join(map(str, path)) or "(root)"


def said_of(values: Any) -> set[str]:
    """The lines of Helm's refusal."""
    return {line.removeprefix("- ") for line in chart.refusal(values).splitlines() if line.startswith("- ")}


def put(values: Any, path: Path, value: Any) -> None:
    """Changes one place of the values, in place."""
    for step in path[:-1]:
        values = values[step]
    values[path[-1]] = value


def has(values: Any, path: Path) -> bool:
    for step in path:
        if isinstance(values, list) and not values:
            return False
        if isinstance(values, dict) and step not in values:
            return False
        values = values[step]
    return True


def by_depth(paths: Iterator[Path]) -> dict[int, list[Path]]:
    """Paths of one length can be wrong in one rendering: none of them is inside another."""
    found: dict[int, list[Path]] = {}
    for path in paths:
        found.setdefault(len(path), []).append(path)
    return found


def test_the_schema_is_one() -> None:
    import jsonschema

    jsonschema.Draft7Validator.check_schema(SCHEMA)
    jsonschema.Draft7Validator(SCHEMA).validate(WHOLE)


def test_every_field_says_what_it_is_for() -> None:
    for path, schema in NODES.items():
        assert schema.get("description", "").endswith((".", ")")), dotted(path)
        assert "type" in schema, dotted(path)


def test_nothing_unknown_is_taken() -> None:
    for path, schema in NODES.items():
        shown = dotted(path).replace(".0", "[]")
        if schema["type"] == "object" and not KUBERNETES.match(shown):
            more = schema.get("additionalProperties")
            assert more is False or (isinstance(more, dict) and "type" in more), shown


def test_every_field_has_a_default_and_may_be_left_out_only_where_null_means_something() -> None:
    for path, schema in NODES.items():
        if 0 in path:
            continue
        if path not in ((), ("global",)) and path[-2:-1] not in (("requests",), ("limits",)):
            assert has(DEFAULTS, path), dotted(path)
        for name in set(schema.get("properties", ())) - set(schema.get("required", ())) - {"global"}:
            assert path[:1] == ("resources",) or "null" in NODES[*path, name]["type"], (dotted(path), name)


TYPED = by_depth(path for path in NODES if path and path != ("global",) and has(WHOLE, path))


@pytest.mark.parametrize("depth", sorted(TYPED))
def test_each_wrong_type_is_refused_by_name(depth: int) -> None:
    values = copy.deepcopy(WHOLE)
    expected = set()
    for path in TYPED[depth]:
        kinds = NODES[path]["type"]
        kinds = kinds if isinstance(kinds, list) else [kinds]
        # A number is no text, a text is no number; what may be either is neither a list.
        wrong = WRONG[kinds[0]] if len(kinds) == 1 or kinds == ["number", "null"] else ["neither"]
        put(values, path, wrong)
        expected.add(dotted(path))
    said = {line.split(": Invalid type")[0] for line in said_of(values) if "Invalid type" in line}
    assert expected <= said


REQUIRED = by_depth(
    (*path, name)
    for path, schema in NODES.items()
    for name in schema.get("required", ())
    if has(WHOLE, (*path, name))
)


@pytest.mark.parametrize("depth", sorted(REQUIRED))
def test_each_field_that_is_taken_away_is_missed(depth: int) -> None:
    """`null` takes a default away."""
    values = copy.deepcopy(WHOLE)
    expected = set()
    for path in REQUIRED[depth]:
        put(values, path, None)
        expected.add(f"{dotted(path[:-1])}: {path[-1]}")
    said = said_of(values)
    missed = {line.removesuffix(" is required") for line in said if line.endswith(" is required")}
    # Inside a list nothing is laid over a default: `null` is there, and of a wrong type.
    null = {line.partition(": Invalid type")[0] for line in said if line.endswith("given: null")}
    missed |= {f"{path.rpartition('.')[0]}: {path.rpartition('.')[2]}" for path in null}
    assert expected <= missed


def test_a_field_of_an_entry_of_a_list_is_missed() -> None:
    pipeline = {"name": "digits", "objective": {"p99Ms": 20}}
    said = said_of({"pipelines": [pipeline], "engineBuild": {"jobs": [{"name": "a"}]}})
    assert {
        "pipelines.0: models is required",
        "pipelines.0.objective: maxErrorRate is required",
        "engineBuild.jobs.0: gpuProduct is required",
        "engineBuild.jobs.0: command is required",
        "engineBuild.jobs.0: memory is required",
        "engineBuild.jobs.0: cpu is required",
    } <= said


STRICT = by_depth(
    (*path, "misspelt")
    for path, schema in NODES.items()
    if schema.get("additionalProperties") is False and (not path or has(WHOLE, path))
)


@pytest.mark.parametrize("depth", sorted(STRICT))
def test_each_misspelt_field_is_refused_by_name(depth: int) -> None:
    values = copy.deepcopy(WHOLE)
    for path in STRICT[depth]:
        put(values, path, 1)
    said = said_of(values)
    assert {f"{dotted(path[:-1])}: Additional property misspelt is not allowed" for path in STRICT[depth]} <= said


CHOICES = [path for path, schema in NODES.items() if "enum" in schema and 0 not in path]
BOUNDED = [path for path, schema in NODES.items() if "minimum" in schema and 0 not in path and has(WHOLE, path)]


def test_each_choice_names_the_valid_ones() -> None:
    values = copy.deepcopy(DEFAULTS)
    for path in CHOICES:
        put(values, path, "other")
    said = said_of(values)
    for path in CHOICES:
        [line] = [line for line in said if line.startswith(f"{dotted(path)}: ")]
        assert all(f'"{choice}"' in line for choice in NODES[path]["enum"])
    assert len(CHOICES) == 6


def test_each_number_below_its_least_is_refused() -> None:
    values = copy.deepcopy(WHOLE)
    for path in BOUNDED:
        put(values, path, NODES[path]["minimum"] - 1)
    said = said_of(values)
    for path in BOUNDED:
        assert any(line.startswith(f"{dotted(path)}: Must be greater than or equal to") for line in said), dotted(
            path
        )
    assert len(BOUNDED) == 56


def test_each_whole_number_above_its_most_is_refused() -> None:
    """Every one has a most: Kubernetes reads 32 or 64 bits, and the templates print no number with an exponent."""
    values = copy.deepcopy(WHOLE)
    for path in BOUNDED:
        put(values, path, NODES[path]["maximum"] + 1)
    said = said_of(values)
    for path in BOUNDED:
        assert any(line.startswith(f"{dotted(path)}: Must be less than or equal to") for line in said), dotted(path)


def test_the_largest_numbers_are_rendered_as_whole_ones() -> None:
    most = {
        "workload": {"replicas": 150_000, "progressDeadlineSeconds": 604_800},
        "sharedMemoryBytes": 1 << 40,
        "server": {"maxHttpInputBytes": (1 << 53) - 1, "grpcMaxConnectionAgeGraceMs": (1 << 31) - 1,
                   "grpcMaxConnectionAgeMs": 0, "grpcInferPool": 100_000, "httpThreads": 100_000},
        "securityContext": dict.fromkeys(("runAsUser", "runAsGroup", "fsGroup"), (1 << 31) - 1),
        "drain": {"preStopSeconds": 604_800, "exitTimeoutSeconds": 604_800, "marginSeconds": 604_800},
        "autoscaling": {"minReplicas": 100_000, "maxReplicas": 150_000, "queueDepthPerPod": 100_000},
    }  # fmt: skip
    scaled = chart.read(chart.CHART / "ci" / "production-gpu-values.yaml")
    assert (scaled["autoscaling"]["hpa"]["enabled"], scaled["metrics"]["prometheusRule"]["enabled"]) == (True, True)
    shown = json.dumps(chart.objects(chart.merged(scaled, most)))
    assert str((1 << 53) - 1) in shown
    assert re.findall(r"\d[eE]\+\d+", shown) == []


REQUIRED_TERMS = "workload.affinity.nodeAffinity.requiredDuringSchedulingIgnoredDuringExecution"


def terms(of: Any) -> dict[str, Any]:
    """Values of a GPU type, which goes into each term of an affinity."""
    required = {"requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": of}}
    return {"gpu": {"product": "H"}, "workload": {"affinity": {"nodeAffinity": required}}}


@pytest.mark.parametrize(
    "name", ["7", "registry:5000/a/b", "localhost:5000/a", "nvcr.io/nvidia/tritonserver", "a/B_c.d-e"]
)
def test_a_repository_may_be_of_a_registry_with_a_port(name: str) -> None:
    assert chart.server({"image": {"repository": name}})["image"] == f"{name}:26.07-py3"


@pytest.mark.parametrize(
    ("values", "place"),
    [
        ({"image": {"release": "26.7"}}, "image.release"),
        ({"image": {"release": "26.13"}}, "image.release"),
        ({"image": {"digest": "sha256:abc"}}, "image.digest"),
        ({"image": {"repository": "a b"}}, "image.repository"),
        ({"image": {"repository": "myrepo/triton:26.07"}}, "image.repository"),
        ({"image": {"repository": "triton:26.07"}}, "image.repository"),
        ({"workload": {"extraEnv": [{"name": "OMP_NUM_THREADS", "value": 4}]}}, "workload.extraEnv.0.value"),
        ({"workload": {"podLabels": {"a": "b c"}}}, "workload.podLabels.a"),
        ({"workload": {"podLabels": {"a": "b" * 64}}}, "workload.podLabels.a"),
        ({"workload": {"nodeSelector": {"a": "-b"}}}, "workload.nodeSelector.a"),
        ({"commonLabels": {"a": "b/c"}}, "commonLabels.a"),
        (terms(["a"]), f"{REQUIRED_TERMS}.nodeSelectorTerms.0"),
        (terms([{"matchExpressions": {"key": "a"}}]), f"{REQUIRED_TERMS}.nodeSelectorTerms.0.matchExpressions"),
        (terms("a"), f"{REQUIRED_TERMS}.nodeSelectorTerms"),
        ({"server": {"extraFlags": ["http-port=1"]}}, "server.extraFlags.0"),
        ({"server": {"extraFlags": ["--a b"]}}, "server.extraFlags.0"),
        ({"restrictedApis": {"apis": ["health"]}}, "restrictedApis.apis.0"),
        ({"restrictedApis": {"header": "Bad Header"}}, "restrictedApis.header"),
        ({"ports": {"http": 80}}, "ports.http"),
        ({"ports": {"http": 70000}}, "ports.http"),
        ({"securityContext": {"runAsUser": 0}}, "securityContext.runAsUser"),
        ({"modelRepository": {"path": "models"}}, "modelRepository.path"),
        ({"modelRepository": {"path": "/models/../etc"}}, "modelRepository.path"),
        ({"modelRepository": {"configMap": {"files": {"a/b": "not base64"}}}}, "modelRepository.configMap.files.a/b"),
        ({"resources": {"requests": {"memory": "4 Gi"}}}, "resources.requests.memory"),
        ({"workload": {"maxSurge": "a few"}}, "workload.maxSurge"),
        ({"gateway": {"httpRoute": {"hostnames": ["a b"]}}}, "gateway.httpRoute.hostnames.0"),
        ({"alerts": {"gpuMemoryFraction": 95}}, "alerts.gpuMemoryFraction"),
    ],
)  # fmt: skip
def test_what_is_of_the_right_type_and_still_wrong(values: chart.Values, place: str) -> None:
    assert any(line.startswith(f"{place}: ") for line in said_of(values))


@chart.EVERY_CI
def test_the_schema_and_helm_agree_on_what_is_right(ci: Any) -> None:
    import jsonschema

    jsonschema.Draft7Validator(SCHEMA).validate(chart.merged(DEFAULTS, chart.read(ci)))


def test_it_may_be_part_of_another_chart() -> None:
    assert chart.of_kind("Deployment", {"global": {"anything": 1}})
