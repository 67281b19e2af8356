"""Specs to the values of the chart: goldens, and what is told of how they came to be."""

from __future__ import annotations

import json
import os
import re
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml
from deploy_plans import ROOT, change, make_project, plans_of
from embeddings_model import embeddings_onnx

from deploy.operations.measured import Interval, Load, Measured
from deploy.operations.sizes import GIB
from deploy.tools.helm import Helm
from deploy.values import Options, Values, values_of
from deploy.values.check import merged
from generator.problems import Problem, ProblemsError, Severity
from generator.project import Project

GOLDEN = Path(__file__).parent / "golden"
CHART = ROOT / "deploy" / "charts" / "triton"
CASES = {
    "digits": ("digits",), "photos": ("photos",), "canvas": ("canvas",), "detector": ("detector",),
    "embeddings": ("embeddings",), "together": ("digits", "photos"),
}  # fmt: skip


def load(rate_rps: float, waiting: float, **changes: Any) -> Load:
    found = Load(
        "digits", rate_rps, Interval.exactly(rate_rps), "pass", "The p99 is under 20 ms.", "build/load/digits",
        objective_p99_ms=20, promised_rps=300, waiting={"digits_engine": waiting}, target="production",
    )  # fmt: skip
    return replace(found, **changes)


CURVE = Measured((
    load(60, 0.2), load(120, 0.9, capacity_rps=Interval(140, 140, 147, 0.99)),
    load(160, 30.0, verdict="fail", why="The p99 is over 20 ms."),
))  # fmt: skip


@pytest.fixture
def project(tmp_path: Path) -> Project:
    return make_project(tmp_path / "p")


def found(project: Project, *names: str, measured: Measured | None = None, **options: Any) -> Values:
    return values_of(plans_of(project, *names), project, measured=measured, options=Options(**options))


def codes(problems: tuple[Problem, ...]) -> list[str]:
    return [problem.code for problem in problems]


def check_golden(name: str, values: Values) -> None:
    """The hash of a request is of every byte of a model: it stands there as a hash, and no more."""
    file = GOLDEN / f"{name}.yaml"
    text = re.sub(r'(request: )"[0-9a-f]{64}"', r'\1"(SHA-256)"', values.text())
    if os.environ.get("TRITONKIT_UPDATE_GOLDEN"):
        file.parent.mkdir(exist_ok=True)
        file.write_text(text)
    assert text == file.read_text()


@pytest.mark.parametrize("name", CASES)
def test_the_values_are_the_golden_ones(project: Project, name: str) -> None:
    if name == "embeddings":
        (project.root / "models" / "embeddings.onnx").unlink(missing_ok=True)
        shutil.copy(embeddings_onnx(), project.root / "models" / "embeddings.onnx")
    check_golden(name, found(project, *CASES[name]))


def test_measured_values_are_the_golden_ones(project: Project) -> None:
    check_golden("measured", found(project, "digits", measured=CURVE, gpu_price_per_hour=4.0, most_pods=12))


@pytest.mark.parametrize("name", [*CASES, "measured"])
def test_the_chart_takes_the_golden_values(name: str) -> None:
    schema = json.loads((CHART / "values.schema.json").read_text())
    values = yaml.safe_load((GOLDEN / f"{name}.yaml").read_text())
    jsonschema.validate(merged(yaml.safe_load((CHART / "values.yaml").read_text()), values), schema)


def test_the_text_says_what_the_data_says(project: Project) -> None:
    values = found(project, "digits", "canvas")
    assert yaml.safe_load(values.text()) == values.data
    assert values.text().endswith("\n")
    assert max(map(len, values.text().splitlines())) <= 250


def test_every_value_has_a_comment(project: Project) -> None:
    lines = [line for line in found(project, "digits", measured=CURVE).text().splitlines() if line.strip()]
    for before, line in zip(["", *lines], lines, strict=False):
        key, _, value = line.strip().partition(": ")
        if not line.lstrip().startswith("#") and value:
            assert before.lstrip().startswith("#"), f"{key} does not say where it comes from"


def test_every_key_is_one_of_the_charts(project: Project) -> None:
    """What the chart does not have would be ignored, or refused."""
    chart = yaml.safe_load((CHART / "values.yaml").read_text())

    def compare(mine: dict[str, Any], theirs: dict[str, Any], path: str) -> None:
        for key, value in mine.items():
            assert key in theirs, f"{path}{key}"
            if isinstance(value, dict) and theirs[key]:
                compare(value, theirs[key], f"{path}{key}.")

    values = found(project, "digits", measured=CURVE).data
    compare({key: value for key, value in values.items() if key != "pipelines"}, chart, "")


def test_the_numbers_follow_from_the_measurement(project: Project) -> None:
    values = found(project, "digits", measured=CURVE, most_pods=12, gpu_price_per_hour=4.0)
    assert values.data["workload"]["replicas"] == 3 + 1  # 300 / 140
    assert values.data["autoscaling"]["maxReplicas"] == 12
    # 80 % of 140 lies between 60 (0.2 wait) and 120 (0.9).
    assert values.data["autoscaling"]["queueDepthPerPod"] == pytest.approx(0.81)
    # 4 / 3600 / 140 x 1,000,000
    assert "A million inferences of digits cost 7.937 at 4 an hour" in " ".join(values.header)


def test_a_price_without_a_measurement_gives_no_cost(project: Project) -> None:
    assert "What digits costs is not known" in " ".join(found(project, "digits", gpu_price_per_hour=4.0).header)


def test_engines_name_the_gpu_of_the_nodes(project: Project) -> None:
    assert codes(found(project, "digits").problems) == ["TK433"]
    build(project, "digits_engine", "NVIDIA H200")
    values = found(project, "digits")
    assert values.problems == ()
    assert values.data["gpu"] == {"count": 1, "product": "NVIDIA-H200"}


def test_engines_of_two_gpus_are_of_two_releases(project: Project) -> None:
    build(project, "digits_engine", "NVIDIA H200")
    build(project, "photos_engine", "NVIDIA L4")
    with pytest.raises(ProblemsError) as error:
        found(project, "digits", "photos")
    assert codes(error.value.problems) == ["TK426"]
    assert "NVIDIA-L4" in error.value.problems[0].message


def test_an_engine_for_any_gpu_asks_for_none(project: Project) -> None:
    change(project, "digits", ("build: {calibration: {data: data/digits-calibration.npz}}",
                               "build: {hardware: ampere_plus, calibration: {data: data/digits-calibration.npz}}"))  # fmt: skip
    values = found(project, "digits")
    assert values.problems == ()
    assert values.data["gpu"]["product"] == ""
    assert "for one kind of GPU" in values.text()


def build(project: Project, model: str, gpu: str) -> None:
    """An engine.json as `tritonkit build` leaves it, as far as it is read."""
    folder = project.root / "engines" / "production" / model / "1"
    folder.mkdir(parents=True)
    manifest = {
        "format": 1, "engine": "tensorrt", "precision": "fp16", "key": "k", "measured": {}, "compiled": {"gpu": gpu},
    }  # fmt: skip
    (folder / "engine.json").write_text(json.dumps(manifest))


def test_two_servers_are_two_releases(project: Project) -> None:
    change(project, "photos", ('server: "26.07"', 'server: "26.08"'), ("gpu: h200", "gpu: l4"))
    with pytest.raises(ProblemsError) as error:
        found(project, "digits", "photos")
    problems = [problem for problem in error.value.problems if problem.severity is Severity.ERROR]
    assert codes(tuple(problems)) == ["TK420", "TK420"]
    assert "`photos` has server 26.08, `digits` 26.07" in problems[0].message
    assert problems[0].place.file.endswith("photos.yaml")
    assert problems[0].place.line > 1


def test_a_release_with_holes_warns_and_names_them(project: Project) -> None:
    change(project, "digits", ('server: "26.07"', 'server: "26.01"'))
    [problem, _] = found(project, "digits").problems
    assert (problem.code, problem.severity) == ("TK421", Severity.WARNING)
    assert "CVE-2026-24206" in problem.message
    assert "CVE-2025-23319" not in problem.message


def test_a_release_that_clients_can_take_over_is_refused(project: Project) -> None:
    change(project, "digits", ('server: "26.07"', 'server: "25.06"'))
    with pytest.raises(ProblemsError) as error:
        found(project, "digits")
    assert codes(error.value.problems)[0] == "TK421"
    assert "CVE-2025-23319" in error.value.problems[0].message
    assert "--allow-vulnerable" in error.value.problems[0].hint
    allowed = found(project, "digits", allow_vulnerable=True)
    assert allowed.data["image"] == {"release": "25.06", "allowVulnerable": True}
    assert allowed.problems[0].severity is Severity.WARNING


def test_a_pipeline_that_promises_nothing_is_not_deployed(project: Project) -> None:
    change(project, "digits", ("objective: {p99_ms: 20, throughput_rps: 300, max_error_rate: 0.001}", ""))
    with pytest.raises(ProblemsError) as error:
        found(project, "digits")
    assert codes(error.value.problems)[0] == "TK439"


def test_bounds_that_miss_the_objective_are_left_out(project: Project) -> None:
    change(project, "digits", ("layout: ensemble\n", "layout: ensemble\nmetrics: {latency_buckets_ms: [1, 9]}\n"))
    values = found(project, "digits")
    [problem, _] = values.problems
    assert (problem.code, problem.severity) == ("TK430", Severity.WARNING)
    assert problem.place.line == 25
    assert values.data["pipelines"][0]["latencyBucketsMs"] == []


def test_more_pods_than_there_is_room_for(project: Project) -> None:
    with pytest.raises(ProblemsError) as error:
        found(project, "digits", measured=CURVE, most_pods=3)
    assert codes(tuple(p for p in error.value.problems if p.severity is Severity.ERROR)) == ["TK427"]


def test_what_was_measured_is_to_be_what_is_deployed(project: Project) -> None:
    other = load(140, 1.0, target="embedded", spec_sha256="4f" * 32, objective_p99_ms=25.0)
    problems = found(project, "digits", measured=Measured((other,))).problems
    told = [problem for problem in problems if problem.code == "TK428"]
    assert [problem.severity for problem in told] == [Severity.WARNING] * 3
    assert "measured on target `embedded`" in told[0].message
    assert "has changed since" in told[1].message
    assert "a p99 of 25 ms; the spec promises 20 ms" in told[2].message


def test_a_measured_setting_is_to_be_the_specs(project: Project) -> None:
    settings = {"max_queue_delay_us": 1000, "preferred": [8, 16, 32], "instances": 2, "layout": "ensemble"}
    swept = load(140, 1.0, settings=settings, member="digits_engine")
    told = [p for p in found(project, "digits", measured=Measured((swept,))).problems if p.code == "TK428"]
    assert len(told) == 2
    assert "max_queue_delay_us 1000; on `production` it is 500" in told[0].message
    assert "instances 2; on `production` it is 1" in told[1].message


def test_the_chart_renders_the_golden_values() -> None:
    """With what follows from specs alone, each name and number at its place in the pod."""
    helm = Helm.found()
    for name in [*CASES, "measured"]:
        text = (GOLDEN / f"{name}.yaml").read_text()
        values = yaml.safe_load(text)
        objects = list(
            yaml.safe_load_all(helm.template("demo", CHART, f"{text}\nrestrictedApis: {{existingSecret: k}}\n"))
        )
        [deployment] = [one for one in objects if one and one["kind"] == "Deployment"]
        pod = deployment["spec"]["template"]["spec"]
        [server] = pod["containers"]
        drain = values["drain"]
        assert deployment["spec"]["replicas"] == values["workload"]["replicas"]
        assert pod["terminationGracePeriodSeconds"] == sum(drain.values())
        assert f"--exit-timeout-secs={drain['exitTimeoutSeconds']}" in server["args"]
        assert server["startupProbe"]["failureThreshold"] == values["probes"]["startup"]["failureThreshold"]
        assert set(values["server"].get("extraFlags", [])) <= set(server["args"])


def test_a_measurement_of_something_else_is_an_error(project: Project) -> None:
    with pytest.raises(ProblemsError) as error:
        found(project, "photos", measured=CURVE)
    assert "TK428" in codes(error.value.problems)


def test_a_measurement_that_shows_nothing_says_so(project: Project) -> None:
    failed = Measured((load(300, 9.0, verdict="undecided", why="p99 may lie on either side."),))
    values = found(project, "digits", measured=failed)
    assert "TK429" in codes(values.problems)
    assert values.data["workload"]["replicas"] == 2
    assert "not measured" in values.text()


def test_a_slow_start_gives_a_rollout_longer(project: Project) -> None:
    change(project, "digits", ("instances: [{kind: gpu, count: 1}]", "instances: [{kind: gpu, count: 1}]\nlayout: fused"),
           ("layout: ensemble\n", ""), ("engine: tensorrt, precision: fp16, ", "instances: [{kind: gpu, count: 60}], "))  # fmt: skip
    values = found(project, "digits")
    budget_s = values.facts.startup.budget_s
    assert budget_s >= 4 * 60 * 3
    assert values.data["workload"]["progressDeadlineSeconds"] == 2 * budget_s
    assert values.data["drain"]["exitTimeoutSeconds"] == 1 + 72 + 1


def test_large_bodies_are_let_through(project: Project) -> None:
    assert "maxHttpInputBytes" not in found(project, "digits").data["server"]
    change(project, "digits", ("layout: ensemble", "limits: {max_bytes: 2000000000}\nlayout: ensemble"))
    assert found(project, "digits").data["server"]["maxHttpInputBytes"] > 2_000_000_000 > GIB
