"""Plans that the cluster builds: from a spec to values, to the chart's Jobs, and to the pods that wait for them."""

from __future__ import annotations

import json
import shlex
from pathlib import Path
from typing import Any

import pytest
import yaml
from deploy_plans import change, make_project, plans_of

from deploy.release.overrides import CHART
from deploy.tools.helm import Helm
from deploy.values import Values, values_of
from deploy.values.check import check_tree, merged
from generator.engine.build.jobs import jobs_of
from generator.engine.build.run import Builder
from generator.load.yaml_tree import parse_file
from generator.problems import Problem, Severity
from generator.project import Project
from generator.workspace import open_workspace

ON_A_CLAIM: dict[str, Any] = {
    "modelRepository": {
        "source": "persistentVolumeClaim",
        "persistentVolumeClaim": {"claimName": "models", "subPath": "production"},
    },
    "engineBuild": {"enabled": True, "claimName": "models"},
    "gpu": {"product": "NVIDIA-H200"},
    "restrictedApis": {"existingSecret": "k"},
}
AUTO = ("engine: tensorrt, precision: fp16", "engine: auto, precision: fp16")


@pytest.fixture
def project(tmp_path: Path) -> Project:
    return make_project(tmp_path / "p")


def values(project: Project, *names: str) -> Values:
    return values_of(plans_of(project, *(names or ("digits",))), project)


def jobs(found: Values) -> list[dict[str, Any]]:
    return list(found.data.get("engineBuild", {}).get("jobs", []))


def said(project: Project, found: Values, **more: Any) -> list[Problem]:
    """What is told of a values file that lets the cluster build."""
    file = project.root / "cluster.yaml"
    file.write_text(yaml.safe_dump(merged(ON_A_CLAIM, more)), encoding="utf-8")
    tree = parse_file(file, "cluster.yaml").tree
    assert tree is not None
    return check_tree(tree, found)


def install(project: Project, model: str, gpu: str) -> None:
    """An engine.json as `tritonkit build` leaves it, as far as it is read."""
    folder = project.root / "engines" / "production" / model / "1"
    folder.mkdir(parents=True)
    manifest = {
        "format": 1, "engine": "tensorrt", "precision": "fp16", "key": "k", "measured": {}, "compiled": {"gpu": gpu},
    }  # fmt: skip
    (folder / "engine.json").write_text(json.dumps(manifest))


def rendered(found: Values, *layers: dict[str, Any]) -> list[dict[str, Any]]:
    """The objects that Helm makes of the derived values with others over them."""
    whole = found.data
    for layer in (ON_A_CLAIM, *layers):
        whole = merged(whole, layer)
    text = Helm.found().template("digits", CHART, json.dumps(whole))
    return [item for item in yaml.safe_load_all(text) if item]


def comments(found: Values) -> str:
    """The whole file as running text."""
    return " ".join(line.strip().lstrip("# ") for line in found.text().splitlines())


def prepare(project: Project) -> Path:
    """What `tritonkit build` writes where no TensorRT is."""
    work = open_workspace(project, [project.specs / "digits.yaml"], "production")
    [outcome] = [Builder(project, lambda _text: None).build(job) for job in jobs_of(work)]
    assert (outcome.status, outcome.where is None) == ("prepared", False), outcome.problems
    return Path(str(outcome.where))


def test_from_the_spec_to_the_job_and_to_the_pods_that_wait(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("TRTEXEC", raising=False)
    folder = prepare(project)
    found = values(project)
    [derived] = jobs(found)
    objects = rendered(found)
    [job] = [item for item in objects if item["kind"] == "Job"]
    pod = job["spec"]["template"]["spec"]
    [builds], [marks] = pod["initContainers"], pod["containers"]

    # The command is that of the Job and of the script that `tritonkit build` writes beside the graph.
    written = yaml.safe_load((folder / "job.yaml").read_text())["spec"]["template"]["spec"]["containers"][0]
    assert written["command"] == derived["command"]
    # Until the plan is whole it has another name; what stands before the command sees to it.
    key, hashed = marks["command"][5:7]
    command = [word.removesuffix(f".building-{hashed}") for word in builds["command"][8:]]
    assert command == derived["command"] != builds["command"][8:]
    last = (folder / "build.sh").read_text().splitlines()[-1]
    assert [word.replace("=./", "=/work/") for word in shlex.split(last)[1:]] == command[1:]
    assert "--stronglyTyped" in command  # of TensorRT 11, which Triton 26.07 has
    assert f"# Request {derived['request']}" in (folder / "build.sh").read_text()

    # It runs in the server's image, on the server's GPU, in the folder that the server reads the plan from.
    [deployment] = [item for item in objects if item["kind"] == "Deployment"]
    server = deployment["spec"]["template"]["spec"]
    assert builds["image"] == server["containers"][0]["image"]
    assert pod["nodeSelector"] == {"nvidia.com/gpu.product": "NVIDIA-H200"}
    [mount] = [one for one in server["containers"][0]["volumeMounts"] if one["name"] == "model-repository"]
    assert builds["volumeMounts"][0]["subPath"] == f"{mount['subPath']}/{derived['modelFolder']}"
    assert derived["modelFolder"] == "digits_engine/1"

    # The pods wait for the mark that the Job leaves there, and the rollout for as long as a Job may take.
    [waits] = server["initContainers"]
    assert waits["command"][-1] == f"/claim/production/digits_engine/1/.built-{key}-{hashed}"
    assert deployment["spec"]["progressDeadlineSeconds"] >= 7200 + 900


def test_nothing_is_built_until_a_claim_is_named(project: Project) -> None:
    found = values(project)
    assert found.data["engineBuild"]["enabled"] is False
    off = rendered(found, {"engineBuild": {"enabled": False}})
    assert not [item for item in off if item["kind"] == "Job"]


def test_every_number_says_where_it_comes_from(project: Project) -> None:
    text = comments(values(project))
    for words in (
        "shapes: batches of 1, 32 (the largest of `preferred`) and 32 (`max_batch_size`)",
        "trtexec of TensorRT 11; fp16 is in the graph",
        "Put build/engines/prepared/production/digits_engine/1/model.onnx there as model.onnx before",
        "`gpu: h200` is no node label", "another one is another Job", "assumed: 8 GiB and 4 times the ONNX file",
    ):  # fmt: skip
        assert words in text


def test_the_shapes_are_those_of_the_batching(project: Project) -> None:
    change(project, "digits", ("max_batch_size: 32, preferred: [8, 16, 32]", "max_batch_size: 24, preferred: [8]"))
    [job] = jobs(values(project))
    shapes = {word.split("Shapes=")[0]: word.rpartition(":")[2] for word in job["command"] if "Shapes=" in word}
    assert [shapes[f"--{word}"].split("x")[0] for word in ("min", "opt", "max")] == ["1", "8", "24"]


def test_another_model_or_precision_is_another_request(project: Project) -> None:
    [before] = jobs(values(project))
    change(project, "digits", ("precision: fp16", "precision: fp32"))
    [after] = jobs(values(project))
    assert after["request"] != before["request"]
    assert "--noTF32" in after["command"]


def test_a_gate_that_is_stricter_builds_nothing_anew(project: Project) -> None:
    [before] = jobs(values(project))
    change(project, "digits", ("floor: 0.98", "floor: 0.97"))
    assert jobs(values(project)) == [before]


def test_every_plan_that_is_missing_has_a_job_and_what_is_installed_has_none(project: Project) -> None:
    assert [job["modelFolder"] for job in jobs(values(project, "digits", "photos"))] == [
        "digits_engine/1", "photos_engine/1",
    ]  # fmt: skip
    install(project, "digits_engine", "NVIDIA H200")
    found = values(project, "digits", "photos")
    [job] = jobs(found)
    assert (job["modelFolder"], job["gpuProduct"]) == ("photos_engine/1", "NVIDIA-H200")
    assert "Installed already, and so without a Job: digits_engine/1 (NVIDIA-H200)" in comments(found)


def test_an_engine_inside_of_a_python_model_lies_beside_it(project: Project) -> None:
    change(project, "digits", ("layout: ensemble\n", "layout: fused\n"))
    [job] = jobs(values(project))
    folder = job["modelFolder"]
    assert folder == "digits/1"
    assert {"--onnx=/work/engine.onnx", "--saveEngine=/work/engine.plan"} <= set(job["command"])


def test_a_target_that_names_its_gpu_as_the_driver_does_has_a_label(project: Project) -> None:
    change(project, "digits", ("gpu: h200", "gpu: NVIDIA H200"))
    found = values(project)
    assert found.data["gpu"]["product"] == jobs(found)[0]["gpuProduct"] == "NVIDIA-H200"
    assert [problem.code for problem in found.problems] == ["TK433"]
    assert "so `gpu.product` is left open" not in found.problems[0].message


def test_where_onnx_runtime_runs_there_is_nothing_to_build(project: Project) -> None:
    change(project, "digits", ("engine: tensorrt, precision: fp16, ", ""))
    found = values(project)
    assert "engineBuild" not in found.data
    [problem] = said(project, found)
    assert (problem.code, problem.place.line, problem.field) == ("TK438", 3, "engineBuild.enabled")
    assert "no engine of these specs is built by TensorRT on this target" in problem.message


def test_auto_is_measured_and_not_built_by_a_job(project: Project) -> None:
    change(project, "digits", AUTO)
    [problem] = said(project, values(project))
    assert problem.code == "TK438"
    assert "`digits_engine` has `engine: auto`, which is measured and not built by a Job" in problem.message
    assert "engine: tensorrt" in problem.hint


def test_plans_that_are_installed_are_not_built_again(project: Project) -> None:
    install(project, "digits_engine", "NVIDIA H200")
    found = values(project)
    [problem] = said(project, found)
    assert problem.code == "TK438"
    assert "nothing that the cluster could build: the plans are installed: digits_engine/1" in problem.message

    mine = {"name": "a", "gpuProduct": "NVIDIA-H200", "command": ["c"], "memory": "1Gi", "cpu": "1"}
    for job in (mine | {"subPath": "production/digits_engine/1"}, mine | {"modelFolder": "digits_engine/1"}):
        [problem] = said(project, found, engineBuild={"jobs": [job]})
        assert (problem.code, problem.field) == ("TK438", "engineBuild.jobs[0]")
        assert "the plan of digits_engine/1 is installed for NVIDIA-H200" in problem.message
    other = mine | {"subPath": "elsewhere/digits_engine/1", "gpuProduct": "NVIDIA-L4"}
    assert said(project, found, engineBuild={"jobs": [other]}) == []


def test_a_list_of_ones_own_has_to_build_what_is_missing(project: Project) -> None:
    mine = {"name": "a", "gpuProduct": "", "command": ["c"], "subPath": "x/1", "memory": "1Gi", "cpu": "1"}
    [problem] = said(project, values(project), engineBuild={"jobs": [mine]})
    assert (problem.code, problem.field) == ("TK438", "engineBuild.jobs")
    assert "nothing in it builds digits_engine/1/model.plan" in problem.message


def test_a_graph_that_nobody_has_made_and_a_gpu_without_a_name_are_told(project: Project) -> None:
    told = {problem.code: problem for problem in said(project, values(project), gpu={"product": ""})}
    assert {code: problem.severity for code, problem in told.items()} == {
        "TK431": Severity.WARNING, "TK433": Severity.WARNING,
    }  # fmt: skip
    assert "`tritonkit build specs/digits.yaml --target production`" in told["TK431"].hint
    assert "nothing says which nodes have the GPU `h200`" in told["TK433"].message
    assert "kubectl get nodes" in told["TK433"].hint


def test_a_graph_of_another_request_is_none(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("TRTEXEC", raising=False)
    prepare(project)
    assert said(project, values(project)) == []
    change(project, "digits", ("precision: fp16", "precision: fp32"))
    [problem] = said(project, values(project))
    assert problem.code == "TK431"


def test_shapes_that_nothing_says_are_told_where_the_spec_could_say_them(project: Project) -> None:
    change(
        project, "digits",
        ("build: {calibration: {data: data/digits-calibration.npz}}", "build: {axes: {nonsense: [1, 2, 3]}}"),
    )  # fmt: skip
    found = values(project)
    assert jobs(found) == []
    [problem] = [problem for problem in found.problems if problem.code == "TK431"]
    assert problem.severity is Severity.WARNING
    assert problem.place.line > 1
    assert "no input of the graph has an axis `nonsense` (TK989)" in problem.message
