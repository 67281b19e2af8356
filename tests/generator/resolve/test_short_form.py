"""The short form: what it expands to, and what a target changes."""

from __future__ import annotations

from pathlib import Path

import pytest

from generator.plan import EngineProgram, Plan, StepsProgram
from generator.resolve.show import as_yaml, full_spec
from generator.workspace import Workspace, open_workspace, render_trees
from generator_projects import SHORT, make_project


def workspace(root: Path, spec: str = SHORT, target: str | None = None) -> Workspace:
    return open_workspace(make_project(root / "project", {"small": spec}), target=target)


def plan(root: Path, spec: str = SHORT, target: str = "embedded") -> Plan:
    work = workspace(root, spec, target)
    work.stop_on_errors()
    [found] = work.plans[target]
    return found


def test_three_models_and_an_ensemble(tmp_path: Path) -> None:
    found = plan(tmp_path)
    assert [m.name for m in found.models] == ["small_preprocess", "small_engine", "small_postprocess"]
    assert found.ensemble is not None
    assert found.ensemble.name == "small"
    assert [(s.model, dict(s.inputs), dict(s.outputs)) for s in found.ensemble.steps] == [
        ("small_preprocess", {"image": "image"}, {"pixels": "pixels"}),
        ("small_engine", {"pixels": "pixels"}, {"logits": "logits"}),
        ("small_postprocess", {"logits": "logits"}, {"label": "label", "score": "score"}),
    ]


def test_channels_first_is_added_where_the_engine_wants_it(tmp_path: Path) -> None:
    program = plan(tmp_path).models[0].program
    assert isinstance(program, StepsProgram)
    assert [name for name, _ in program.steps] == ["decode", "resize", "normalize", "channels_first"]


def test_only_the_engine_waits_for_company(tmp_path: Path) -> None:
    before, engine, after = plan(tmp_path).models
    assert engine.batching is not None
    assert (engine.batching.max_queue_delay_us, engine.batching.preferred) == (500, [8, 32])
    for model in (before, after):
        assert model.batching is not None
        assert (model.batching.max_queue_delay_us, model.batching.preferred) == (0, [])
        assert model.batching.queue == engine.batching.queue
        assert model.max_batch_size == 32


def test_labels_are_read_now(tmp_path: Path) -> None:
    program = plan(tmp_path).models[2].program
    assert isinstance(program, StepsProgram)
    assert program.steps[-1][1]["labels"] == [str(i) for i in range(10)]


def test_gpu_instances_run_on_the_cpu_of_a_target_without_gpus_and_that_is_said(tmp_path: Path) -> None:
    work = workspace(tmp_path)
    engine = work.plans["embedded"][0].models[1]
    assert [(g.kind, g.count) for g in engine.instances] == [("cpu", 2)]
    [note] = [p for p in work.problems if p.code == "TK215"]
    assert (note.code, note.field, note.place.line) == ("TK215", "instances[0].kind", 14)
    assert [(g.kind, g.count) for g in work.plans["production"][0].models[1].instances] == [("gpu", 2)]


def test_a_queue_policy_is_noted_where_it_was_seen_to_stall(tmp_path: Path) -> None:
    [note] = [p for p in workspace(tmp_path / "a").problems if p.code == "TK224"]
    assert (note.field, note.place.line) == ("batching.queue", 13)
    without = SHORT.replace("targets:\n", "targets:\n  embedded: {batching: {queue: null}}\n")
    work = workspace(tmp_path / "b", without)
    assert "TK224" not in {p.code for p in work.problems}
    for model in work.plans["embedded"][0].models:
        assert model.batching is not None
        assert model.batching.queue is None


def test_a_target_chooses_engine_precision_and_backend(tmp_path: Path) -> None:
    work = workspace(tmp_path)
    here, there = work.plans["embedded"][0].models[1], work.plans["production"][0].models[1]
    assert isinstance(here.program, EngineProgram)
    assert isinstance(there.program, EngineProgram)
    assert (here.backend, here.program.engine, here.program.precision) == ("python", "onnxruntime", "fp32")
    assert (there.backend, there.program.engine, there.program.precision) == ("tensorrt", "tensorrt", "fp16")


def test_tensorrt_runs_in_onnx_runtime_where_there_is_no_gpu_and_that_is_said(tmp_path: Path) -> None:
    work = workspace(tmp_path, SHORT.replace("net.onnx}", "net.onnx, engine: tensorrt, precision: fp16}"))
    program = work.plans["embedded"][0].models[1].program
    assert isinstance(program, EngineProgram)
    assert (program.engine, program.precision) == ("onnxruntime", "fp32")
    assert "TK216" in {p.code for p in work.problems}


def test_a_target_changes_only_the_batching_it_names(tmp_path: Path) -> None:
    spec = SHORT.replace("gpu: h200}", "gpu: h200, batching: {max_queue_delay_us: 2000}}")
    engine = plan(tmp_path, spec, "production").models[1]
    assert engine.batching is not None
    assert (engine.batching.max_queue_delay_us, engine.batching.preferred) == (2000, [8, 32])
    assert engine.batching.queue is not None


def test_where_there_is_no_gpu_the_model_before_the_engine_has_as_many_instances(tmp_path: Path) -> None:
    counts = {
        target: [model.instance_count() for model in plan(tmp_path / target, SHORT, target).models]
        for target in ("embedded", "production")
    }
    assert counts == {"embedded": [2, 2, 1], "production": [1, 2, 1]}


def test_without_steps_the_engine_stands_alone_in_the_ensemble(tmp_path: Path) -> None:
    spec = """\
    name: bare
    inputs: {x: {type: fp32, dims: [1, 8, 8]}}
    outputs: {y: {type: fp32, dims: [10]}}
    model: {onnx: models/net.onnx}
    """
    found = plan(tmp_path, spec)
    assert found.ensemble is not None
    [step] = found.ensemble.steps
    assert (dict(step.inputs), dict(step.outputs)) == ({"pixels": "x"}, {"logits": "y"})


def test_an_engine_tensor_with_the_name_of_the_pipelines_gets_another(tmp_path: Path) -> None:
    spec = SHORT.replace("image:", "pixels:")
    found = plan(tmp_path, spec)
    assert found.ensemble is not None
    assert dict(found.ensemble.steps[0].outputs) == {"engine_pixels": "engine_pixels"}
    assert dict(found.ensemble.steps[1].inputs) == {"pixels": "engine_pixels"}


@pytest.mark.parametrize("target", ["embedded", "production"])
def test_the_full_form_that_is_shown_renders_to_the_same_files(tmp_path: Path, target: str) -> None:
    work = workspace(tmp_path, target=target)
    [resolved] = work.resolved[target]
    (tmp_path / "project" / "specs" / "small.yaml").write_text(
        as_yaml(full_spec(resolved.spec, resolved.expanded, resolved.plan), resolved.plan)
    )
    again = open_workspace(work.project, target=target)
    again.stop_on_errors()
    [one], [two] = render_trees(work), render_trees(again)
    assert one.files == two.files
