"""Engines that were built, judged and installed: the server is as right as the gate said; a bad one is refused."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml
from engine_projects import PLACE, digits_graph, digits_project, files, int8, loud_channel, merged, model, write_spec
from story_tools import Protocol, Running, gate, render_to, running, tritonkit

from generator.gate_set import top1
from generator.project import Project
from tritonkit import Pipeline
from tritonkit.client.contract import Contract

pytestmark = pytest.mark.server

BUILD_S = 240.0
# Spec → what it changes of the digits'. The graph, the gate set and the floor are the clone's.
ENGINES: Mapping[str, Mapping[str, Any]] = {
    "digits_fp32": model(precision="fp32"),
    "digits_fp16": model(precision="fp16"),
    "digits_int8": int8(),
    "digits_mixed": int8(mixed=True),
    "digits_auto": model(engine="auto", precision="int8"),
}


def manifest(root: Path, name: str = "digits") -> dict[str, Any]:
    found: dict[str, Any] = json.loads(
        (root / "engines" / "embedded" / f"{name}_engine" / "1" / "engine.json").read_text()
    )
    return found


def accuracy_through(served: Running, name: str, protocol: Protocol) -> float:
    data = gate("digits")
    contract = Contract.of_plan(served.rendered.plans[name])
    with Pipeline(name, served.address(protocol), protocol=protocol, contract=contract) as pipeline:
        answers = pipeline.infer([item["image"] for item in data.items])
    assert [answer.error for answer in answers] == [None] * len(data.items)
    return top1([answer.label for answer in answers], data.labels)


# Every precision -------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Built:
    """A project whose engines `tritonkit build` has installed, and the server of it."""

    root: Path
    told: list[dict[str, Any]]
    served: Running


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Built]:
    root = tmp_path_factory.mktemp("engines") / "project"
    project = digits_project(root)
    base = yaml.safe_load((root / "specs" / "digits.yaml").read_text())
    (root / "specs" / "digits.yaml").unlink()
    for name, changes in ENGINES.items():
        spec = merged(merged(base, changes), {"name": name})
        (root / "specs" / f"{name}.yaml").write_text(yaml.safe_dump(spec, sort_keys=False))
    done = tritonkit(root, "build", "--json", timeout_s=BUILD_S)
    assert done.returncode == 0, done.stderr
    with running(render_to(root / "repository", project)) as served:
        yield Built(root, json.loads(done.stdout), served)


def test_all_are_installed_and_current(built: Built) -> None:
    assert {(one["model"], one["status"]) for one in built.told} == {
        (f"{name}_engine", "installed") for name in ENGINES
    }
    listed = json.loads(tritonkit(built.root, "engines", "--json").stdout)
    assert {(one["model"], one["state"]) for one in listed} == {(f"{name}_engine", "current") for name in ENGINES}
    assert tritonkit(built.root, "engines", "--check").returncode == 0


@pytest.mark.parametrize("name", ENGINES)
def test_the_server_is_as_right_as_the_gate_said(built: Built, name: str, protocol: Protocol) -> None:
    metric = manifest(built.root, name)["accuracy"]["metric"]
    assert (metric["name"], metric["labels"]) == ("top1", 360)
    assert metric["value"] >= 0.98
    assert accuracy_through(built.served, name, protocol) == metric["value"]


def test_what_is_served_is_what_was_built(built: Built) -> None:
    repository = built.served.rendered.repository
    for name in ENGINES:
        served = (repository / f"{name}_engine" / "1" / "model.onnx").read_bytes()
        file = manifest(built.root, name)["file"]
        place = built.root / "engines" / "embedded" / f"{name}_engine" / "1"
        assert served == (digits_graph() if file is None else (place / file["name"]).read_bytes()), name
    assert manifest(built.root, "digits_fp32")["file"] is None, "the ONNX file as it is needs no copy"
    sizes = {name: manifest(built.root, name)["file"]["bytes"] for name in ("digits_fp16", "digits_int8")}
    assert sizes["digits_int8"] < sizes["digits_fp16"] < len(digits_graph())


def test_auto_has_tried_every_engine_and_serves_the_fastest_that_passed(built: Built) -> None:
    found = manifest(built.root, "digits_auto")
    tried = {(row["engine"], row["precision"]): row for row in found["measured"]["tried"]}
    assert {("onnxruntime", "fp32"), ("onnxruntime", "int8")} <= set(tried)
    assert all(row["passed"] or row["why"] for row in tried.values())
    chosen = tried[found["engine"], found["precision"]]
    assert chosen["passed"]
    assert chosen["served"]
    assert set(chosen["latency_us"]) == {"1", "8", "16", "32"}
    assert found["measured"]["latency_us"] == chosen["latency_us"]
    assert f"{found['engine']} {found['precision']}" in found["measured"]["chosen"]
    assert found["request"]["auto"] == "int8"


def test_mixed_says_what_each_layer_costs(built: Built) -> None:
    mixed = manifest(built.root, "digits_mixed")["mixed"]
    assert {harm["layer"] for harm in mixed["ranking"]} == {"conv_0", "conv_2", "gemm_6", "logits"}
    harms = [harm["harm"] for harm in mixed["ranking"]]
    assert harms == sorted(harms)
    assert mixed["trials"][-1]["good"]
    assert set(mixed["layers"]) <= {harm["layer"] for harm in mixed["ranking"]}


# A bad engine ----------------------------------------------------------------------------------------------

MINMAX = {"calibration": {"method": "minmax"}}


@pytest.fixture(scope="module")
def refused(tmp_path_factory: pytest.TempPathFactory) -> tuple[Project, dict[str, bytes], list[dict[str, Any]]]:
    """The digits with a graph that INT8 ruins, served in FP16 until then; what stood in engines/; what was told."""
    project = digits_project(tmp_path_factory.mktemp("bad") / "project", model(precision="fp16"))
    (project.root / "models" / "digits.onnx").write_bytes(loud_channel(digits_graph()))
    first = tritonkit(project.root, "build", timeout_s=BUILD_S)
    assert first.returncode == 0, first.stderr
    before = files(project.root)
    assert len(before) == 2
    write_spec(project.root, int8(**MINMAX))
    done = tritonkit(project.root, "build", "--json", timeout_s=BUILD_S)
    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    told: list[dict[str, Any]] = json.loads(done.stdout)
    return project, before, told


def advice_of(told: list[dict[str, Any]]) -> dict[str, Any]:
    """Sentence → the YAML that it says to write under `model:`."""
    hints = [hint for problem in told[0]["problems"] for hint in problem["hint"].split("\n") if hint]
    found = {hint: re.search(r"`([^`]*)`$", hint) for hint in hints}
    return {hint: yaml.safe_load(match[1]) for hint, match in found.items() if match}


def test_a_bad_engine_is_refused_and_the_one_before_stays(
    refused: tuple[Project, dict[str, bytes], list[dict[str, Any]]],
) -> None:
    project, before, told = refused
    assert files(project.root) == before, "byte for byte, and nothing beside it"
    [outcome] = told
    assert outcome["status"] == "refused"
    codes = [problem["code"] for problem in outcome["problems"]]
    assert {"TK972", "TK973"} <= set(codes)
    floor = next(problem for problem in outcome["problems"] if problem["code"] == "TK972")
    assert re.search(r"top1 is 0\.\d+ \(95 %: .* on 360 items; the floor is 0\.98, FP32 has 0\.99", floor["message"])
    blamed = re.findall(r"(\w+) \((?:Conv|Gemm), ", outcome["problems"][0]["hint"])
    assert blamed == ["logits"], "its input is what a loud hidden number ruins"


def test_nothing_is_rendered_with_an_engine_for_something_else(
    refused: tuple[Project, dict[str, bytes], list[dict[str, Any]]],
) -> None:
    project, _, _ = refused
    done = tritonkit(project.root, "render", "--target", "embedded")
    assert done.returncode == 1
    assert "TK981" in done.stderr
    assert "tritonkit build" in done.stderr
    assert not (project.root / "model_repository").exists()


def test_following_the_advice_passes_and_is_served_so(
    refused: tuple[Project, dict[str, bytes], list[dict[str, Any]]], tmp_path: Path
) -> None:
    project, _, told = refused
    advice = advice_of(told)
    keep, mixed, fp16 = (
        next(value for value in advice.values() if wanted(value))
        for wanted in (
            lambda v: "keep" in v.get("build", {}),
            lambda v: v.get("build", {}).get("mixed"),
            lambda v: v.get("precision") == "fp16",
        )
    )
    for changes in (mixed, fp16, keep):
        write_spec(project.root, merged(int8(**MINMAX), {"model": changes}))
        done = tritonkit(project.root, "build", timeout_s=BUILD_S)
        assert done.returncode == 0, f"{changes}: {done.stderr}"
    found = manifest(project.root)
    assert found["quantised"]["stay"].keys() == {"logits"}
    with running(render_to(tmp_path / "repository", project)) as served:
        assert accuracy_through(served, "digits", "http") == found["accuracy"]["metric"]["value"]
    assert (tmp_path / "repository" / "digits_engine" / "1" / "model.onnx").read_bytes() == project.root.joinpath(
        *PLACE, "model.onnx"
    ).read_bytes()
