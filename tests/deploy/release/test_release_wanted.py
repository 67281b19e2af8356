"""The release that specs ask for, rendered by the real Helm: judged before, refused with the place, the same twice."""

from __future__ import annotations

import base64
import re
from pathlib import Path
from typing import Any

import pytest
from release_projects import PLAN_NEEDED, digits_project

from deploy.release.overrides import Overrides, read_overrides
from deploy.release.plain import plain, without_secrets
from deploy.release.repository import CONFIG_MAP_BYTES, MODELS, with_repository
from deploy.release.wanted import RECORD_BYTES, Wanted, check_record, wanted
from deploy.tools.helm import Helm
from generator.problems import ProblemsError, Severity, UserError
from generator.project import Project

CONFIG_MAP = "modelRepository.source=configMap"


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Project:
    return digits_project(tmp_path_factory.mktemp("release") / "project")


@pytest.fixture(scope="module")
def helm() -> Helm:
    return Helm.found(namespace="ml")


def asked(project: Project, *sets: str, files: tuple[Path, ...] = (), name: str | None = None) -> Wanted:
    return wanted(project, (), "production", name=name, overrides=read_overrides(files, sets))


def refusal(project: Project, *sets: str) -> str:
    with pytest.raises(ProblemsError) as caught:
        asked(project, *sets)
    return str(caught.value)


def test_the_rendered_repository_is_what_the_pods_get(project: Project, helm: Helm) -> None:
    made = asked(project, CONFIG_MAP)
    assert (made.name, made.pipelines) == ("digits", ["digits"])
    objects = made.rendered(helm)
    [files] = [item for item in objects if item["kind"] == "ConfigMap"]
    [deployment] = [item for item in objects if item["kind"] == "Deployment"]
    [volume] = [one for one in deployment["spec"]["template"]["spec"]["volumes"] if "configMap" in one]
    paths = {item["path"]: files["binaryData"][item["key"]] for item in volume["configMap"]["items"]}
    assert base64.b64decode(paths["digits_engine/1/model.onnx"]) == project.read("models/digits.onnx")
    assert "digits_preprocess/1/tritonkit_runtime/__init__.py" in paths  # it brings all that its models import
    check_record(made, objects)


def test_the_objects_of_plain_manifests_are_the_charts(project: Project, helm: Helm) -> None:
    """Kind by kind and name by name, and every specification is the same."""
    made = asked(project, CONFIG_MAP)
    first, second = made.rendered(helm), made.rendered(helm)
    charts, [key] = without_secrets(first, "ml")
    again, _ = without_secrets(second, "ml")
    assert charts == again  # a key that is made up each time is in none of them
    bare = plain(charts, "ml")
    without = [{name: value for name, value in item.items() if name != "metadata"} for item in charts]
    assert [{name: value for name, value in item.items() if name != "metadata"} for item in bare] == without
    assert [item["metadata"]["name"] for item in bare] == [item["metadata"]["name"] for item in charts]
    assert {item["metadata"]["namespace"] for item in bare} == {"ml"}
    assert "helm" not in str([{**item, "binaryData": None} for item in bare]).lower()
    assert (key.secret, key.names) == ("digits-triton-restricted", ("key",))


@pytest.mark.parametrize(
    "sets",
    [
        (CONFIG_MAP,), ("image.repository=registry.example/digits",),
        ("modelRepository.source=persistentVolumeClaim", "modelRepository.persistentVolumeClaim.claimName=models"),
        ("modelRepository.source=objectStore", "modelRepository.objectStore.uri=s3://a/b",
         "modelRepository.objectStore.image=registry.example/copy:1", "networkPolicy.extraEgress=[{ports: [{port: 443}]}]"),
    ],
)  # fmt: skip
def test_other_models_under_the_same_name_are_other_pods(sets: tuple[str, ...], tmp_path: Path, helm: Helm) -> None:
    """A changed `preferred:` is seen wherever the models come from, and nothing rolls pods whose models are the same."""
    project = digits_project(tmp_path / "project")
    spec = project.root / "specs" / "digits.yaml"

    def template() -> dict[str, Any]:
        [found] = [item for item in asked(project, *sets).rendered(helm) if item["kind"] == "Deployment"]
        return dict(found["spec"]["template"])

    before = template()
    assert template() == before
    text, count = re.subn(r"preferred: \[[\d, ]+\]", "preferred: [2, 4]", spec.read_text(encoding="utf-8"))
    assert count
    spec.write_text(text, encoding="utf-8")
    after = template()
    names = [one["metadata"]["annotations"][MODELS] for one in (before, after)]
    assert names[0] != names[1]
    assert all(name.startswith("sha256:") for name in names)


def test_what_the_chart_warns_of(project: Project, helm: Helm) -> None:
    assert asked(project, CONFIG_MAP).warnings(helm) == []
    [problem] = asked(project, CONFIG_MAP, "restrictedApis.enabled=false").warnings(helm)
    assert (problem.code, problem.severity) == ("TK458", Severity.WARNING)
    assert problem.message.startswith("No API is restricted: ")


def test_where_the_models_come_from_has_to_be_said(project: Project) -> None:
    told = refusal(project)
    assert "TK440" in told
    with pytest.raises(ProblemsError) as caught:
        asked(project)
    assert "`--set modelRepository.source=configMap`" in caught.value.problems[-1].hint
    assert "none is named" in refusal(project, "modelRepository.source=persistentVolumeClaim")
    assert "which one" in refusal(project, "modelRepository.source=objectStore")
    made = asked(project, "image.repository=registry.example/digits")
    assert "configMap" not in str(made.values)


@pytest.mark.parametrize(
    ("sets", "field"),
    [
        (("image.tag=production",), "image.tag"), ((), "image.repository"),
        (("image.digest=sha256:" + "0" * 64,), ""), (("image.tag=production-9c52e36",), ""),
        (("image.tag=production", "image.pullPolicy=Always"), ""),
        (("image.tag=v2", "image.pullPolicy=IfNotPresent"), ""),
    ],
)  # fmt: skip
def test_a_tag_that_the_next_build_gets_too_is_told(project: Project, sets: tuple[str, ...], field: str) -> None:
    """A node that has it does not pull it again, and serves the models of the build before."""
    told = [
        p for p in asked(project, "image.repository=registry.example/digits", *sets).problems if p.code == "TK459"
    ]
    assert [(p.field, str(p.place), p.severity) for p in told] == (
        [(field, f"--set {field}", Severity.WARNING)] if field else []
    )
    assert all("`image.digest`" in p.hint for p in told)
    assert "TK459" not in [p.code for p in asked(project, CONFIG_MAP, "image.tag=production").problems]


def test_a_plan_that_nobody_has_built(tmp_path: Path) -> None:
    """The spec as it is: TensorRT on an H200."""
    project = digits_project(tmp_path / "project", plan=True)
    told = refusal(project, CONFIG_MAP)
    assert "TK456" in told
    assert PLAN_NEEDED in told
    made = asked(project, "image.repository=registry.example/digits")
    assert [p.severity for p in made.problems if p.code == "TK456"] == [Severity.WARNING]
    build = ("engineBuild.enabled=true", "engineBuild.claimName=work", "image.repository=registry.example/digits")
    assert "TK456" not in [p.code for p in asked(project, *build).problems]


def test_a_cluster_that_builds_plans_on_the_claim_of_the_pods(tmp_path: Path, helm: Helm) -> None:
    project = digits_project(tmp_path / "project", plan=True)
    claim = ("modelRepository.source=persistentVolumeClaim", "modelRepository.persistentVolumeClaim.claimName=models",
             "engineBuild.enabled=true", "engineBuild.claimName=models")  # fmt: skip
    made = asked(project, *claim, "gpu.product=NVIDIA-H200")
    assert {problem.code for problem in made.problems} == {"TK431"}  # the graph has not been made here
    [job] = [item for item in made.rendered(helm) if item["kind"] == "Job"]
    assert job["spec"]["template"]["spec"]["nodeSelector"] == {"nvidia.com/gpu.product": "NVIDIA-H200"}
    assert {problem.code for problem in asked(project, *claim).problems} == {"TK431", "TK433"}
    # A ConfigMap gets nothing of what is on a claim.
    told = refusal(project, CONFIG_MAP, "engineBuild.enabled=true", "engineBuild.claimName=models")
    assert "TK456" in told


def test_what_is_too_large_for_a_config_map_or_for_helms_record(project: Project, helm: Helm) -> None:
    said = {"modelRepository": {"source": "configMap"}}
    _, [problem] = with_repository(said, {"m/1/model.onnx": bytes(CONFIG_MAP_BYTES)}, Overrides())
    assert (problem.code, problem.severity) == ("TK440", Severity.ERROR)
    import random

    made = asked(project, CONFIG_MAP)
    files = {"m/1/model.onnx": base64.b64encode(random.Random(1).randbytes(RECORD_BYTES // 2)).decode()}
    large = Wanted(
        made.name, made.target, made.plans, {**made.values, "modelRepository": {"source": "configMap", "configMap": {"files": files}}},
        made.overrides, (),
    )  # fmt: skip
    with pytest.raises(ProblemsError, match="Helm keeps each revision in a Secret of at most 1,048,576 bytes"):
        check_record(large, large.rendered(helm))


def test_what_the_chart_refuses_is_blamed_where_it_was_said(project: Project, helm: Helm, tmp_path: Path) -> None:
    mine = tmp_path / "mine.yaml"
    mine.write_text("workload:\n  maxSurge: -1\n")
    with pytest.raises(ProblemsError) as caught:
        asked(project, CONFIG_MAP, "ports.http=0", files=(mine,)).rendered(helm)
    assert {(p.code, str(p.place), p.field) for p in caught.value.problems} == {
        ("TK443", f"{mine}:2:13", "workload.maxSurge"), ("TK443", "--set ports.http", "ports.http"),
    }  # fmt: skip


def test_values_that_contradict_the_spec_are_refused_where_they_were_said(project: Project) -> None:
    assert "--set sharedMemoryBytes" in refusal(project, CONFIG_MAP, "sharedMemoryBytes=100")
    assert "TK424 --set image.release" in refusal(project, CONFIG_MAP, "image.release=25.01")


def test_names(project: Project) -> None:
    assert asked(project, CONFIG_MAP, name="other").name == "other"
    with pytest.raises(UserError, match="cannot be the name of a release"):
        asked(project, CONFIG_MAP, name="Other")
