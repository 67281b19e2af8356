"""Values files that contradict their specs: each contradiction at its line, all at once."""

from __future__ import annotations

from pathlib import Path

import pytest
from deploy_plans import change, make_project, plans_of
from hypothesis import given
from hypothesis import strategies as st

from deploy.operations.measured import Interval, Load, Measured
from deploy.values import Values, values_of
from deploy.values.check import check_tree, merged
from deploy.values.quantity import bytes_of
from generator.load.yaml_tree import parse_file
from generator.problems import Problem, Severity
from generator.project import Project

CARRIES_140 = Measured((
    Load("digits", 140, Interval.exactly(140), "pass", "", "runs/1", objective_p99_ms=20, target="production"),
))  # fmt: skip


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Project:
    project = make_project(tmp_path_factory.mktemp("check") / "p")
    # Large batches, so that there is more to contradict.
    change(project, "digits", ("max_batch_size: 32, preferred: [8, 16, 32]", "max_batch_size: 1024"))
    folder = project.root / "engines" / "production" / "digits_engine" / "1"
    folder.mkdir(parents=True)
    (folder / "engine.json").write_text(
        '{"format": 1, "engine": "tensorrt", "precision": "fp16", "key": "k", "measured": {}, '
        '"compiled": {"gpu": "NVIDIA H200"}}'
    )
    return project


@pytest.fixture(scope="module")
def derived(project: Project) -> Values:
    return values_of(plans_of(project, "digits"), project, measured=CARRIES_140)


def check(folder: Path, derived: Values, text: str) -> list[Problem]:
    file = folder / "mine.yaml"
    file.write_text(text)
    tree = parse_file(file, "mine.yaml").tree
    assert tree is not None
    return check_tree(tree, derived)


def test_the_derived_values_contradict_nothing(tmp_path: Path, derived: Values) -> None:
    assert check(tmp_path, derived, derived.text()) == []


def test_values_of_ones_own_contradict_nothing(tmp_path: Path, derived: Values) -> None:
    text = (
        "metrics: {podMonitor: {enabled: true}}\nworkload: {replicas: 5, nodeSelector: {a: b}}\nname: &x 1\nb: *x\n"
    )
    assert check(tmp_path, derived, text) == []


# What a file says, and the code, line, column, field and a part of the message that follow.
CASES = [
    ("workload:\n  replicas: 2\n", "TK427", 2, 13, "workload.replicas", "2 pods carry 280 requests/s of `digits`"),
    ("autoscaling:\n  maxReplicas: 2\n  keda: {enabled: true}\n", "TK427", 2, 16, "autoscaling.maxReplicas", "300 are"),
    ('image:\n  release: "26.04"\n', "TK424", 2, 12, "image.release", "rendered for 26.07"),
    ("image:\n  release: 26.10\n", "TK424", 2, 12, "image.release", "of Triton 26.10"),
    ("image: {tag: 26.05-py3}\n", "TK424", 1, 14, "image.tag", "of Triton 26.05"),
    ("gpu:\n  count: 0\n", "TK425", 2, 10, "gpu.count", "digits_engine need 1, or"),
    ("gpu:\n  product: NVIDIA-L4\n", "TK426", 2, 12, "gpu.product", "built on NVIDIA-H200"),
    ("resources: {limits: {memory: 1Gi}}\n", "TK436", 1, 30, "resources.limits.memory", "less than what is known"),
    ("sharedMemoryBytes: 67108864\n", "TK423", 1, 20, "sharedMemoryBytes", "67,108,864 bytes"),
    ("server: {maxHttpInputBytes: 1000000}\n", "TK437", 1, 29, "server.maxHttpInputBytes", "1,000,000 bytes"),
    ("server:\n  extraFlags: [--log-info=true]\n", "TK432", 2, 15, "server.extraFlags", "shm-default-byte-size="),
    ("probes: {startup: {failureThreshold: 4}}\n", "TK434", 1, 38, "probes.startup.failureThreshold", "after 20 s"),
    ("drain:\n  exitTimeoutSeconds: 3\n", "TK422", 2, 23, "drain.exitTimeoutSeconds", "take up to 4"),
    ("drain: {terminationGracePeriodSeconds: 18}\n", "TK422", 1, 40, "drain.terminationGracePeriodSeconds", "take 19"),
    ("drain: {preStopSeconds: 30, terminationGracePeriodSeconds: 38}\n", "TK422", 1, 60,
     "drain.terminationGracePeriodSeconds", "take 39"),
    ("pipelines: [{name: digit}]\n", "TK435", 1, 20, "pipelines[0].name", "no pipeline `digit`"),
    ("pipelines: []\n", "TK435", 1, 12, "pipelines", "`digits` is not in the list"),
    ("pipelines: [{name: digits, objective: {p99Ms: 30}}]\n", "TK435", 1, 47, "pipelines[0].objective.p99Ms", "promises 20"),
    ("pipelines: [{name: digits, maxBatchSize: 8}]\n", "TK435", 1, 42, "pipelines[0].maxBatchSize", "it is 1024"),
    ("pipelines: [{name: digits, longestRequestSeconds: 0.2}]\n", "TK435", 1, 51,
     "pipelines[0].longestRequestSeconds", "may take 0.245"),
    ("pipelines: [{name: digits, latencyBucketsMs: [1, 30]}]\n", "TK430", 1, 46,
     "pipelines[0].latencyBucketsMs", "no bound at the objective of 20 ms"),
    ("pipelines: [{name: digits, latencyBucketsMs: [20, 30]}]\n", "TK430", 1, 46,
     "pipelines[0].latencyBucketsMs", "has the bounds [5, 10, 15, 20"),
]  # fmt: skip


@pytest.mark.parametrize(("text", "code", "line", "column", "field", "words"), CASES, ids=[case[4] for case in CASES])
def test_a_contradiction(
    tmp_path: Path, derived: Values, text: str, code: str, line: int, column: int, field: str, words: str
) -> None:
    problem = check(tmp_path, derived, text)[0]
    assert (problem.code, problem.field) == (code, field)
    assert (problem.place.file, problem.place.line, problem.place.column) == ("mine.yaml", line, column)
    assert words in problem.message
    assert problem.hint


def test_all_at_once(tmp_path: Path, derived: Values) -> None:
    text = "".join(case[0] for case in CASES if case[1] in {"TK423", "TK427", "TK434"} and "keda" not in case[0])
    found = check(tmp_path, derived, text)
    assert sorted(problem.code for problem in found) == ["TK423", "TK427", "TK434"]


def test_requests_below_what_is_known_are_a_warning(tmp_path: Path, derived: Values) -> None:
    [problem] = check(tmp_path, derived, "resources: {requests: {memory: 512Mi}}\n")
    assert (problem.code, problem.severity) == ("TK436", Severity.WARNING)


def test_without_a_measurement_any_number_of_pods_may_do(tmp_path: Path, project: Project) -> None:
    derived = values_of(plans_of(project, "digits"), project)
    assert check(tmp_path, derived, "workload: {replicas: 1}\n") == []


@pytest.mark.parametrize("text", [
    "workload: 3\ngpu: [1]\nimage: null\ndrain: no\npipelines: {a: 1}\nprobes: {startup: 1}\n",
    "workload: {replicas: two}\nsharedMemoryBytes: 1Gi\ngpu: {count: true, product: 7}\nimage: {tag: 7}\n",
    "resources: {limits: {memory: lots}}\nserver: {extraFlags: none, maxHttpInputBytes: [1]}\npipelines: [1, x]\n",
    "drain: {exitTimeoutSeconds: soon, terminationGracePeriodSeconds: null}\n",
])  # fmt: skip
def test_what_has_the_wrong_type_is_left_to_the_charts_schema(tmp_path: Path, derived: Values, text: str) -> None:
    problems = check(tmp_path, derived, text)
    assert all(problem.code in {"TK426", "TK435"} for problem in problems)


def test_merging_is_helms() -> None:
    below = {"a": {"b": 1, "c": [1, 2]}, "d": 1}
    assert merged(below, {"a": {"c": [3]}, "d": {"e": 1}}) == {"a": {"b": 1, "c": [3]}, "d": {"e": 1}}
    assert below == {"a": {"b": 1, "c": [1, 2]}, "d": 1}


@pytest.mark.parametrize(("text", "size"), [
    ("4Gi", 4 << 30), ("500M", 500_000_000), ("1e9", 10**9), (1024, 1024), ("1.5Ki", 1536), ("100m", 1), ("2k", 2000),
    ("0", 0), (1.5, 2), ("Gi", None), ("4 Gi", None), ("-1", None), ("lots", None), (None, None), (True, None),
    ([1], None),
])  # fmt: skip
def test_quantities(text: object, size: int | None) -> None:
    assert bytes_of(text) == size


@given(st.integers(0, 1 << 50), st.sampled_from(["", "k", "M", "G", "Ki", "Mi", "Gi"]))
def test_a_quantity_is_its_number_times_its_unit(number: int, unit: str) -> None:
    factor = {"": 1, "k": 10**3, "M": 10**6, "G": 10**9, "Ki": 2**10, "Mi": 2**20, "Gi": 2**30}[unit]
    assert bytes_of(f"{number}{unit}") == number * factor


@given(seconds=st.integers(0, 200))
def test_a_grace_period_is_refused_exactly_where_it_is_too_short(derived: Values, seconds: int) -> None:
    import tempfile

    with tempfile.TemporaryDirectory() as folder:
        found = check(Path(folder), derived, f"drain: {{terminationGracePeriodSeconds: {seconds}}}\n")
    assert bool(found) == (seconds < derived.facts.drain.grace_s)


def test_a_pool_that_holds_less_than_is_needed(tmp_path: Path, derived: Values) -> None:
    """4 batches of 1,024 rows of ten FP32 between the models on the GPU; of pixels on the host, and 2 of all of it."""
    cuda, pinned = 4 * 1024 * 40, 4 * 1024 * 256 + 2 * 1024 * (256 + 40)
    own = derived.data["server"]["extraFlags"]
    for flag, least in (
        ("--cuda-memory-pool-byte-size=0:", cuda), ("--pinned-memory-pool-byte-size=", pinned),
    ):  # fmt: skip
        for size, told in ((least, []), (least - 1, ["TK442"])):
            found = check(tmp_path, derived, f"server:\n  extraFlags: {[*own, f'{flag}{size}']}\n")
            assert [problem.code for problem in found] == told, found
    two_words = [word for each in own for word in each.split("=", 1)]
    for size, told in ((pinned, []), (pinned - 1, ["TK442"])):
        found = check(tmp_path, derived, f"server:\n  extraFlags: {[*two_words, flag[:-1], str(size)]}\n")
        assert [problem.code for problem in found] == told, found
    assert check(tmp_path, derived, f"server:\n  extraFlags: {[*own, '--cuda-memory-pool-byte-size=7:1']}\n") == []
    assert found[0].message.startswith(
        f"{flag}{pinned - 1} is less than the {pinned:,} bytes that the pipelines need"
    )
    assert "wrong data with status 200" in found[0].message
