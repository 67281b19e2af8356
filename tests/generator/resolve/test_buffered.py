"""Layout `fused` on a target with a GPU: the memory of its engine, and what cannot have it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from generator.engine.install.request import key_of_request, request_of
from generator.engine.install.write import install, manifest_of
from generator.plan import EngineProgram, ModelPlan, Plan
from generator.problems import Problem, Severity
from generator.project import EMBEDDED
from generator.resolve.show import as_yaml, full_spec
from generator.workspace import Workspace, open_workspace, render_trees
from generator_projects import FULL, SHORT, engine_of, make_project, plan_of, write_onnx

FUSED = SHORT.replace("gpu: h200}", "gpu: h200, layout: fused}")
TWO_INPUTS = """\
name: words
inputs: {text: {type: string}}
outputs: {embedding: {type: int32, dims: [4]}}
model: {onnx: models/words.onnx}
preprocess: [tokenize: {tokenizer: data/words.json, max_tokens: 64, buckets: [64]}]
layout: fused
targets: {production: {server: "26.07", gpu: h200}}
"""


def opened(root: Path, spec: str, target: str = "production") -> Workspace:
    project = make_project(root / "project", {"spec": spec})
    shape = ("batch", "tokens")
    ids = {"input_ids": shape, "attention_mask": shape}
    write_onnx(project.root / "models" / "words.onnx", ids, {"embedding": ["batch", 4]}, dtype=6)
    write_onnx(project.root / "models" / "open.onnx", {"pixels": ["b", 1, 8, 8]}, {"logits": ["b", "n"]})
    (project.root / "data" / "words.json").write_text('{"model": {}}')
    (project.root / "steps").mkdir()
    (project.root / "steps" / "after.py").write_text(
        "class After:\n    def __init__(self, parameters):\n        pass\n\n    def run(self, tensors, fail):\n"
        "        return {'extra': tensors['embedding']}\n"
    )
    return open_workspace(project, target=target)


def planned(root: Path, spec: str, target: str = "production") -> Plan:
    return plan_of(opened(root, spec, target), target)


def errors_of(root: Path, spec: str) -> list[Problem]:
    return [p for p in opened(root, spec).problems if p.severity is Severity.ERROR]


def test_one_model_on_the_gpu_and_what_it_is_told(tmp_path: Path) -> None:
    work = opened(tmp_path, FUSED)
    work.stop_on_errors()
    [tree] = render_trees(work)
    assert set(tree.files) == {f"small/{name}" for name in ("config.pbtxt", *(f"1/{n}" for n in _BESIDE))}, (
        "what a plan that is not built leaves in its place, as in other layouts"
    )
    engine: dict[str, Any] = json.loads(tree.files["small/1/tritonkit.json"])["program"]["stages"][1]["program"]
    assert engine == {
        "kind": "engine", "engine": "tensorrt", "file": "engine.plan", "intra_op_threads": 1,
        "buffers": {"buckets": [1, 2, 4, 8, 16, 32], "slots": 2, "copies": "auto"},
    }  # fmt: skip
    config = tree.files["small/config.pbtxt"].decode()
    assert "kind: KIND_GPU\n    count: 2" in config
    assert "engine: Runs the TensorRT plan of models/net.onnx in fp16, built for h200." in config
    assert "preferred_batch_size: [ 8, 32 ]" in config
    assert "cc_model_filenames" not in config


_BESIDE = ("engine.engine.request.json", "model.py", "tritonkit.json")


def test_a_plan_that_was_built_for_the_ensemble_serves_in_one_process_too(tmp_path: Path) -> None:
    work = opened(tmp_path, SHORT)
    [plan] = work.plans["production"]
    [(_, part, program)] = plan.engines()
    request = request_of(plan, part, 1, work.project)
    place = ("production", part.name, 1)
    manifest = manifest_of(
        place, key_of_request(request, program.asked), request, engine="tensorrt", precision="fp16",
        file=("model.plan", b"ftrt"), facts={}, measured={},
    )  # fmt: skip
    install(work.project, place, manifest, b"ftrt")
    (work.project.specs / "spec.yaml").write_text(FUSED)
    [tree] = render_trees(open_workspace(work.project, target="production"))
    assert tree.files["small/1/engine.plan"] == b"ftrt"
    assert json.loads(tree.files["small/1/engine.engine.json"]) == manifest


@pytest.mark.parametrize(
    ("largest", "preferred", "said", "buckets"),
    [
        (12, "[]", "", (1, 2, 4, 8, 12)),
        (12, "[5, 8]", "", (1, 2, 4, 5, 8, 12)),
        (1, "[]", "", (1,)),
        (12, "[]", ", buffers: {buckets: [12, 3]}", (3, 12)),
    ],
)
def test_the_sizes_come_from_the_batching(
    tmp_path: Path, largest: int, preferred: str, said: str, buckets: tuple[int, ...]
) -> None:
    spec = FUSED.replace(
        "max_batch_size: 32, preferred: [8, 32]", f"max_batch_size: {largest}, preferred: {preferred}"
    )
    found = engine_of(planned(tmp_path, spec.replace("models/net.onnx}", f"models/net.onnx{said}}}"))).buffers
    assert found is not None
    assert (found.buckets, found.slots, found.copies) == (buckets, 2, "auto")


def test_slots_and_copies_are_the_specs(tmp_path: Path) -> None:
    found = engine_of(planned(tmp_path, FUSED.replace("net.onnx}", "net.onnx, buffers: {slots: 4, copies: beside}}")))
    assert found.buffers is not None
    assert (found.buffers.slots, found.buffers.copies) == (4, "beside")


@pytest.mark.parametrize(
    ("buckets", "told"),
    [
        ("[8, 16]", "`buckets` [8, 16] lack 32; the largest batch is 32, preferred are [8, 32]"),
        ("[16, 32]", "`buckets` [16, 32] lack 8; the largest batch is 32, preferred are [8, 32]"),
        ("[8, 32, 64]", "`buckets` [8, 32, 64] hold 64; the largest batch is 32, preferred are [8, 32]"),
    ],
)
def test_sizes_that_do_not_fit_the_batching(tmp_path: Path, buckets: str, told: str) -> None:
    spec = FUSED.replace("models/net.onnx}", f"models/net.onnx, buffers: {{buckets: {buckets}}}}}")
    [problem] = errors_of(tmp_path, spec)
    assert (problem.code, problem.field, problem.message) == ("TK214", "model.buffers.buckets", told)


def test_the_servers_python_is_told_of(tmp_path: Path) -> None:
    for engine, package in (("tensorrt", "`tensorrt`"), ("onnxruntime", "`onnxruntime-gpu`")):
        work = opened(tmp_path / engine, FUSED.replace("engine: tensorrt, precision: fp16", f"engine: {engine}"))
        [note] = [p for p in work.problems if p.code == "TK238"]
        assert (note.field, note.severity) == ("targets.production.layout", Severity.NOTE)
        assert f"`numpy` and {package}" in note.message


def test_onnx_runtime_on_the_gpu(tmp_path: Path) -> None:
    work = opened(tmp_path, FUSED.replace("engine: tensorrt, precision: fp16, ", ""))
    [tree] = render_trees(work)
    assert "small/1/engine.onnx" in tree.files
    program = engine_of(work.plans["production"][0])
    assert (program.engine, program.buffers is None) == ("onnxruntime", False)


def test_instances_on_the_cpu_of_a_target_with_a_gpu(tmp_path: Path) -> None:
    """ONNX Runtime runs there as it always does."""
    spec = FUSED.replace("engine: tensorrt, precision: fp16, ", "").replace("kind: gpu, count: 2", "kind: cpu")
    assert engine_of(planned(tmp_path / "spec", spec)).buffers is None
    config = "config: {instance_group: [{kind: KIND_CPU}]}"
    spec = spec.replace("instances: [{kind: cpu}]\n", "").replace("net.onnx}", f"net.onnx, {config}}}")
    assert engine_of(planned(tmp_path / "config", spec)).buffers is None


def test_without_instances_it_has_one_on_each_gpu(tmp_path: Path) -> None:
    plan = planned(tmp_path, FUSED.replace("instances: [{kind: gpu, count: 2}]\n", ""))
    assert [(group.kind, group.count) for group in plan.models[0].instances] == [("gpu", 1)]


def test_the_embedded_server_runs_it_as_before(tmp_path: Path) -> None:
    plan = planned(tmp_path, FUSED.replace("targets:\n", "layout: fused\ntargets:\n"), EMBEDDED)
    assert engine_of(plan).buffers is None


@pytest.mark.parametrize(("target", "noted"), [("embedded", ["model.buffers"]), ("production", [])])
def test_buffers_that_have_no_effect_are_noted(tmp_path: Path, target: str, noted: list[str]) -> None:
    spec = FUSED.replace("models/net.onnx}", "models/net.onnx, buffers: {slots: 3}}")
    assert [p.field for p in opened(tmp_path, spec, target).problems if p.code == "TK223"] == noted


@pytest.mark.parametrize("layout", ["fused", "ensemble"])
def test_on_a_cpu_such_a_note_says_with_what_they_would_count(tmp_path: Path, layout: str) -> None:
    """Where it would be true: in another layout there is no Python model to have them."""
    spec = FUSED.replace("models/net.onnx}", "models/net.onnx, buffers: {slots: 3}}")
    spec = spec.replace("targets:\n", f"layout: {layout}\ntargets:\n")
    [note] = [p for p in opened(tmp_path, spec, "embedded").problems if p.code == "TK223"]
    assert note.hint == ("on a CPU they count with `process: shared`" if layout == "fused" else "")
    said = spec.replace("{slots: 3}", "{slots: 3, process: shared}")
    assert (engine_of(planned(tmp_path / "said", said, "embedded")).buffers is not None) is (layout == "fused")


def test_a_length_that_the_tokenizer_settles(tmp_path: Path) -> None:
    """The file leaves it open, and texts are always padded to 64."""
    work = opened(tmp_path, TWO_INPUTS)
    work.stop_on_errors()
    [tree] = render_trees(work)
    [_, engine] = json.loads(tree.files["words/1/tritonkit.json"])["program"]["stages"]
    assert [tensor["dims"] for tensor in engine["inputs"]] == [[64], [64]]


@pytest.mark.parametrize(
    ("said", "lengths"), [("", [16, 32, 64]), ("{lengths: [64, 8]}", [8, 64]), ("{lengths: [100]}", [100])]
)
def test_lengths_of_texts_are_buckets_of_a_second_kind(tmp_path: Path, said: str, lengths: list[int]) -> None:
    """Those that `tokenize` pads to, or the spec's own."""
    spec = TWO_INPUTS.replace("buckets: [64]", "buckets: [16, 32, 64]")
    work = opened(tmp_path, spec.replace("words.onnx}", f"words.onnx, buffers: {said}}}") if said else spec)
    work.stop_on_errors()
    [tree] = render_trees(work)
    [_, engine] = json.loads(tree.files["words/1/tritonkit.json"])["program"]["stages"]
    assert engine["program"]["buffers"]["lengths"] == lengths
    assert [tensor["dims"] for tensor in engine["inputs"]] == [[-1], [-1]]
    told = f"So are lengths, to {', '.join(map(str, lengths))}."
    assert told in tree.files["words/config.pbtxt"].decode().replace("\n# ", " ")


LENGTHS = TWO_INPUTS.replace("buckets: [64]", "buckets: [16, 64]").replace("onnx}", "onnx, buffers: {lengths: [16]}}")
AXES = TWO_INPUTS.replace("buckets: [64]", "buckets: [8, 64]").replace(
    "words.onnx}", "words.onnx, engine: tensorrt, build: {axes: {tokens: [16, 32, 64]}}}"
)


@pytest.mark.parametrize(
    ("spec", "code", "field", "told"),
    [
        (LENGTHS, "TK237", "model.buffers.lengths", "`lengths` [16] end at 16, and `tokenize` gives `engine` texts of 64"),
        (AXES, "TK237", "model.build.axes.tokens", "built for tokens from 16 to 64, and it has to run 8, a length of"),
        (FUSED.replace("net.onnx}", "net.onnx, buffers: {lengths: [8]}}"), "TK223", "model.buffers.lengths",
         "no input of `engine` has an axis of any length beside the batch's"),
        (TWO_INPUTS.replace("onnx}", "onnx, buffers: {lengths: [64, 64]}}"), "TK128", "model.buffers",
         "`lengths` holds a length twice"),
    ],
)  # fmt: skip
def test_lengths_that_do_not_fit(tmp_path: Path, spec: str, code: str, field: str, told: str) -> None:
    problems = errors_of(tmp_path, spec)
    assert [(p.code, p.field) for p in problems] == [(code, field)]
    assert told in problems[0].message


SENT = """\
name: words
inputs: {input_ids: {type: int32, dims: [-1]}, attention_mask: {type: int32, dims: [-1]}}
outputs: {embedding: {type: int32, dims: [4]}, extra: {type: int32, dims: [4]}}
models:
  engine: {onnx: models/words.onnx}
  after: {python: steps/after.py:After, inputs: {embedding: {type: int32, dims: [4]}}, outputs: {extra: {type: int32, dims: [4]}}}
flow: [{model: engine}, {model: after}]
layout: fused
targets: {production: {server: "26.07", gpu: h200}}
"""


@pytest.mark.parametrize(
    ("spec", "told"),
    [
        (SENT, "`input_ids` of `engine` is INT32 [-1], and -1 is any length"),
        (FUSED.replace("net.onnx", "open.onnx").replace("  - softmax\n  - top_k: {k: 3, labels: data/ten.labels}\n", "").replace("postprocess:\n", "").replace("{label: {type: string, dims: [3]}, score: {type: fp32, dims: [3]}}", "{logits: {type: fp32, dims: [-1]}}"), "`logits` of `engine` is FP32 [-1], and -1 is any length"),
    ],
)  # fmt: skip
def test_a_length_that_nothing_settles_is_refused(tmp_path: Path, spec: str, told: str) -> None:
    problems = [p for p in errors_of(tmp_path, spec) if p.code == "TK237"]
    assert problems[0].field == ("models.engine.onnx" if spec == SENT else "model.onnx")
    assert problems[0].message.endswith(told)
    assert "layout: ensemble" in problems[0].hint


def test_an_optional_input_is_refused(tmp_path: Path) -> None:
    spec = FULL.replace("name: two\n", "name: two\nlayout: fused\n").replace(
        "{onnx: models/net.onnx}",
        "{onnx: models/net.onnx, inputs: {pixels: {type: fp32, dims: [1, 8, 8], optional: true}}}",
    )
    spec = spec.replace("{model: net}", "{model: net, inputs: {pixels: pixels}}")
    problems = errors_of(tmp_path, spec + 'targets: {production: {server: "26.07", gpu: h200}}\n')
    assert [(p.code, p.field) for p in problems] == [("TK237", "models.net.onnx")]


def test_plugins_are_refused(tmp_path: Path) -> None:
    spec = FUSED.replace("models/net.onnx}", "models/net.onnx, build: {plugins: [data/ten.labels]}}")
    assert [(p.code, p.field) for p in errors_of(tmp_path, spec)] == [("TK229", "model.build.plugins")]


@pytest.mark.parametrize(
    "spec", [FUSED, TWO_INPUTS, TWO_INPUTS.replace("[64]", "[16, 64]")], ids=["images", "texts", "lengths"]
)
def test_the_plan_written_out_in_full_is_the_same_plan(tmp_path: Path, spec: str) -> None:
    work = opened(tmp_path / "first", spec)
    work.stop_on_errors()
    [resolved] = work.resolved["production"]
    text = as_yaml(full_spec(resolved.spec, resolved.expanded, resolved.plan), resolved.plan)
    assert "buffers: {buckets: [" in text
    again = planned(tmp_path / "again", text)
    assert [_facts(m) for m in again.models] == [_facts(m) for m in resolved.plan.models]


def _facts(model: ModelPlan) -> tuple[Any, ...]:
    programs = [part.program for part in model.parts()]
    engines = [program.buffers for program in programs if isinstance(program, EngineProgram)]
    return (model.name, model.max_batch_size, model.instances, model.inputs, model.outputs, engines)
