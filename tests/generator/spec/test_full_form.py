"""The full form that a spec stands for: it loads again, and renders to the same files."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from google.protobuf import text_format
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tritonclient.grpc.model_config_pb2 import ModelConfig, ModelInstanceGroup

from generator.config import model_configs
from generator.problems import errors
from generator.project import Project
from generator.resolve.show import as_yaml as shown
from generator.resolve.show import full_spec
from generator.workspace import Workspace, open_workspace, render_trees
from generator_projects import make_project
from spec_strategies import MODEL_NAMES, NUMBERS, TEXTS, Data, Draw, as_yaml, batchings, ordered

CLONE = Path(__file__).parents[3]
INSTANCES = st.lists(
    st.fixed_dictionaries({"kind": st.sampled_from(["cpu", "gpu"])}, optional={"count": st.integers(1, 4)}),
    min_size=1, max_size=2,
)  # fmt: skip
LAYOUTS = st.sampled_from(["ensemble", "fused", "folded"])
ANYTHING = settings(max_examples=60, suppress_health_check=[HealthCheck.too_slow])


@st.composite
def short_specs(draw: Draw) -> Data:
    """Specs of the short form that resolve: with or without steps, for two targets that change what they may."""
    before, after = draw(st.booleans()), draw(st.booleans())
    largest = draw(st.integers(1, 64))
    k, labelled = draw(st.integers(1, 10)), draw(st.booleans())
    source, label, score, logits = draw(
        st.lists(st.text("abcxyz_:/é", min_size=1, max_size=5), min_size=4, max_size=4, unique=True)
    )
    method = draw(st.sampled_from(["area", "cubic"]))
    steps: list[Any] = [{"decode": {"to": "gray"}}, {"resize": {"size": [8, 8], "method": method}}]
    steps += draw(
        st.sampled_from([[{"cast": {"to": "fp32"}}], ["normalize"], [{"normalize": {"mean": [7], "std": 255}}]])
    )
    steps += draw(st.sampled_from([[], ["channels_first"], [{"reshape": {"dims": [1, 8, 8]}}]]))
    top = {
        "k": k,
        "label_output": label,
        "score_output": score,
        **({"labels": "data/ten.labels"} if labelled else {}),
    }
    scores = {label: {"type": "string" if labelled else "int64", "dims": [k]}, score: {"type": "fp32", "dims": [k]}}
    data: Data = {
        "name": draw(MODEL_NAMES),
        "inputs": {source: {"type": "bytes"} if before else {"type": "fp32", "dims": [1, 8, 8]}},
        "outputs": scores if after else {logits: {"type": "fp32", "dims": [10]}},
        "model": {"onnx": "models/net.onnx", **draw(st.fixed_dictionaries({}, optional=ENGINE))},
        "batching": {"max_batch_size": largest, **draw(batchings(largest))},
        "targets": {
            "embedded": draw(st.fixed_dictionaries({}, optional={"batching": batchings(largest), "instances": INSTANCES, "layout": LAYOUTS})),
            "production": draw(PRODUCTION(largest)),
        },
    }  # fmt: skip
    for target in data["targets"].values():
        ordered_together(data["batching"], target.get("batching", {}))
    if before:
        data["preprocess"] = steps
    if after:
        data["postprocess"] = [*draw(st.sampled_from([[], ["softmax"], [{"softmax": {}}]])), {"top_k": top}]
    data |= draw(st.fixed_dictionaries({}, optional=EXTRAS))
    production = data["targets"]["production"]
    groups = production.get("instances") or data.get("instances", [])
    if production.get("engine") == "tensorrt" and any(group["kind"] == "cpu" for group in groups):
        production.pop("layout", None)  # a plan in one process is on a GPU, and so are all instances
    fused = any(target.get("layout") == "fused" for target in data["targets"].values())
    if fused and data["model"].get("config"):
        data.pop("config", None)  # one model has one
    buffers = data["model"].get("buffers", {})
    if buffers.get("preprocess") == "gpu" and not (before and method == "area"):
        buffers["preprocess"] = "auto"  # there is no kernel for no steps, nor a cubic one
    if buffers.get("process") == "shared":
        buffers.pop("preprocess", None)  # another process has the engine's memory
        buffers.pop("copies", None)
    return data


def ordered_together(batching: Data, changes: Data) -> None:
    """Takes `preserve_ordering` away where a target's changes and the rest exclude it."""
    merged = {**batching, **changes}
    ordered(merged)
    if "preserve_ordering" not in merged:
        batching.pop("preserve_ordering", None)
        changes.pop("preserve_ordering", None)


ENGINE = {
    "versions": st.sampled_from([{"latest": 2}, {"specific": [1]}, {"all": True}]),
    "warmup": st.just([{"name": "w", "inputs": {"pixels": {"zero": True}}}]),
    "response_cache": st.booleans(),
    "parameters": st.dictionaries(st.text("abé:1", min_size=1, max_size=3), TEXTS, max_size=2),
    "buffers": st.fixed_dictionaries({}, optional={"slots": st.integers(2, 5), "copies": st.sampled_from(["inside", "beside"]), "preprocess": st.sampled_from(["auto", "gpu"]), "process": st.sampled_from(["own", "shared"])}),
    "config": st.sampled_from([{}, {"optimization": {"priority": "PRIORITY_MAX"}}, {"parameters": {"own": {"string_value": "1e5"}}}]),
}  # fmt: skip
EXTRAS = {
    "description": TEXTS,
    "objective": st.fixed_dictionaries({"p99_ms": NUMBERS}, optional={"throughput_rps": NUMBERS}),
    "limits": st.fixed_dictionaries({}, optional={"max_bytes": st.integers(1, 10**9)}),
    "instances": INSTANCES,
    "response_cache": st.booleans(),
    "config": st.sampled_from([{}, {"parameters": {"017": {"string_value": "yes"}}}]),
}  # fmt: skip


def PRODUCTION(largest: int) -> st.SearchStrategy[Data]:  # noqa: N802  (a strategy, as the others)
    common = {
        "batching": batchings(largest),
        "instances": INSTANCES,
        "layout": LAYOUTS,
    }
    engine = {"engine": st.just("tensorrt"), "precision": st.sampled_from(["fp16", "int8", "tf32"])}
    return st.one_of(
        st.fixed_dictionaries({"server": st.just("26.07"), "gpu": MODEL_NAMES, **engine}, optional=common),
        st.fixed_dictionaries(
            {"server": st.sampled_from(["24.10", "25.12"])}, optional={**common, "gpu": st.just("t4")}
        ),
    )


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Project:
    return make_project(tmp_path_factory.mktemp("full") / "project")


def opened(project: Project, text: str, target: str) -> Workspace:
    (project.specs / "spec.yaml").write_text(text, encoding="utf-8")
    work = open_workspace(project, target=target)
    assert errors(work.problems) == ()
    return work


@ANYTHING
@given(short_specs(), st.sampled_from(["embedded", "production"]))
def test_the_full_form_renders_to_the_same_files(project: Project, data: Data, target: str) -> None:
    work = opened(project, as_yaml(data), target)
    [resolved], [tree] = work.resolved[target], render_trees(work)
    full = shown(full_spec(resolved.spec, resolved.expanded, resolved.plan), resolved.plan)
    [again] = render_trees(opened(project, full, target))
    assert again.files == tree.files
    assert again.owners == tree.owners


@ANYTHING
@given(short_specs(), st.sampled_from(["embedded", "production"]))
def test_the_full_form_of_the_full_form_is_itself(project: Project, data: Data, target: str) -> None:
    work = opened(project, as_yaml(data), target)
    [resolved] = work.resolved[target]
    once = shown(full_spec(resolved.spec, resolved.expanded, resolved.plan), resolved.plan)
    [resolved] = opened(project, once, target).resolved[target]
    assert shown(full_spec(resolved.spec, resolved.expanded, resolved.plan), resolved.plan) == once


@ANYTHING
@given(short_specs(), st.sampled_from(["embedded", "production"]))
def test_what_is_rendered_reads_back_as_the_message(project: Project, data: Data, target: str) -> None:
    work = opened(project, as_yaml(data), target)
    [plan], [tree] = work.plans[target], render_trees(work)
    configs = model_configs(plan)
    assert {f"{name}/config.pbtxt" for name in configs} == {
        path for path in tree.files if path.endswith("/config.pbtxt")
    }
    for name, (message, text) in configs.items():
        assert tree.files[f"{name}/config.pbtxt"] == text.encode()
        assert text_format.Parse(text, ModelConfig()) == message
        assert message.max_batch_size == data["batching"]["max_batch_size"]
    kinds = {group.kind for message, _ in configs.values() for group in message.instance_group}
    assert kinds <= ({ModelInstanceGroup.KIND_CPU} if target == "embedded" else set(ModelInstanceGroup.Kind.values()))


@pytest.mark.parametrize("target", ["embedded", "production"])
@pytest.mark.parametrize("name", ["digits", "canvas"])
def test_specs_of_this_repository(tmp_path: Path, name: str, target: str) -> None:
    for folder in ("models", "data", "steps"):
        (tmp_path / folder).symlink_to(CLONE / folder)
    (tmp_path / "specs").mkdir()
    own = Project(tmp_path)
    work = opened(own, (CLONE / "specs" / f"{name}.yaml").read_text(), target)
    [resolved], [tree] = work.resolved[target], render_trees(work)
    full = shown(full_spec(resolved.spec, resolved.expanded, resolved.plan), resolved.plan)
    [again] = render_trees(opened(own, full, target))
    assert again.files == tree.files
