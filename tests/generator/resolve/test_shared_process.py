"""`buffers: {process: shared}`: what is made of it on each target, and what does not go with it."""

from __future__ import annotations

import json
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from generator.plan import EngineBuffers, Plan
from generator.problems import Problem, Severity
from generator.resolve.shared_process import sizes_together
from generator.resolve.show import as_yaml, full_spec
from generator.workspace import Workspace, open_workspace, render_trees
from generator_projects import SHORT, engine_of, make_project, plan_of, write_onnx

SHARED = SHORT.replace("net.onnx}", "net.onnx, buffers: {process: shared}}").replace(
    "name: small\n", "name: small\nlayout: fused\n"
)
TEXTS = """\
name: words
inputs: {text: {type: string}}
outputs: {embedding: {type: int32, dims: [4]}}
model: {onnx: models/words.onnx, buffers: {process: shared}}
preprocess: [tokenize: {tokenizer: data/words.json, max_tokens: 64, buckets: [64]}]
instances: [{kind: gpu, count: 2}]
layout: fused
targets: {production: {server: "26.07", gpu: h200}}
"""  # fmt: skip


def opened(root: Path, spec: str, target: str = "production") -> Workspace:
    project = make_project(root / "project", {"spec": spec})
    shape = ("batch", "tokens")
    ids = {"input_ids": shape, "attention_mask": shape}
    write_onnx(project.root / "models" / "words.onnx", ids, {"embedding": ["batch", 4]}, dtype=6)
    write_onnx(project.root / "models" / "bf16.onnx", {"x": ["batch", 4]}, {"y": ["batch", 4]}, dtype=16)
    write_onnx(project.root / "models" / "one.onnx", {"pixels": [1, 8, 8]}, {"logits": [10]})
    (project.root / "data" / "words.json").write_text('{"model": {}}')
    return open_workspace(project, target=target)


def planned(root: Path, spec: str, target: str = "production") -> Plan:
    return plan_of(opened(root, spec, target), target)


def problems_of(root: Path, spec: str, target: str = "production") -> list[Problem]:
    return [p for p in opened(root, spec, target).problems if p.severity is Severity.ERROR]


def saying(**fields: Any) -> str:
    """The spec with those in `buffers` too."""
    return SHARED.replace("{process: shared}", json.dumps({"process": "shared", **fields}))


def told(root: Path, spec: str, target: str = "production") -> dict[str, Any]:
    """What the engine's stage is told in tritonkit.json."""
    work = opened(root, spec, target)
    work.stop_on_errors()
    [tree] = render_trees(work)
    [path] = [path for path in tree.files if path.endswith("1/tritonkit.json")]
    program = json.loads(tree.files[path])["program"]
    [engine] = [stage["program"] for stage in program["stages"] if stage["program"]["kind"] == "engine"]
    return dict(engine)


def test_what_the_runtime_is_told_on_a_gpu_and_on_the_cpu(tmp_path: Path) -> None:
    spec = saying(buckets=[8, 32, 128], slots=3)
    on_gpu = told(tmp_path / "gpu", spec)
    assert on_gpu["buffers"] == {"buckets": [8, 32, 128], "slots": 3, "copies": "auto", "process": "shared"}
    assert (on_gpu["engine"], on_gpu["intra_op_threads"]) == ("tensorrt", 1)
    on_cpu = told(tmp_path / "cpu", spec, "embedded")
    assert on_cpu["buffers"] == on_gpu["buffers"]
    assert on_cpu["engine"] == "onnxruntime"


def test_own_is_what_it_was(tmp_path: Path) -> None:
    spec = SHARED.replace("shared", "own")
    assert "process" not in told(tmp_path / "gpu", spec)["buffers"]
    assert "buffers" not in told(tmp_path / "cpu", spec, "embedded")


def test_one_session_on_the_cpu_has_as_many_threads_as_there_were_instances(tmp_path: Path) -> None:
    for number, (groups, threads) in enumerate((
        ("[{kind: cpu, count: 3}, {kind: cpu, count: 2}]", 5),
        ("[{kind: gpu, count: 4}]", 4),  # on the embedded target, which has no GPU
    )):  # fmt: skip
        spec = SHARED.replace("[{kind: gpu, count: 2}]", groups)
        assert engine_of(planned(tmp_path / str(number), spec, "embedded")).intra_op_threads == threads
    config = "config: {instance_group: [{kind: KIND_CPU, count: 6}]}"
    spec = SHARED.replace("instances: [{kind: gpu, count: 2}]\n", "").replace("net.onnx,", f"net.onnx, {config},")
    assert engine_of(planned(tmp_path / "config", spec, "embedded")).intra_op_threads == 6


def test_left_out_the_sizes_end_at_what_all_instances_of_a_gpu_hand_over(tmp_path: Path) -> None:
    buffers = engine_of(planned(tmp_path, SHARED)).buffers
    sizes = (1, 2, 4, 8, 16, 20, 24, 28, 32, 40, 48, 56, 64)
    assert buffers == EngineBuffers(sizes, 2, "auto", process="shared")


def test_left_out_on_a_cpu_they_end_at_the_largest_batch(tmp_path: Path) -> None:
    buffers = engine_of(planned(tmp_path, SHARED, "embedded")).buffers
    assert buffers is not None
    assert buffers.buckets == (1, 2, 4, 8, 16, 32)


@pytest.mark.parametrize(
    ("largest", "instances", "end"),
    [(8, 16, [96, 112, 128]), (32, 1, [24, 28, 32]), (100, 4, [100, 112, 128]), (200, 4, [160, 192, 200]),
     (1, 3, [1, 2, 3]), (12, 2, [16, 20, 24])],
)  # fmt: skip
def test_they_are_many_and_hold_what_one_instance_hands_over(largest: int, instances: int, end: list[int]) -> None:
    sizes = sizes_together(largest, instances)
    assert sizes[-3:] == end
    assert largest in sizes
    assert sizes == sorted(set(sizes))
    assert all(b <= 2 * a if a < 16 else 4 * b <= 5 * a for a, b in pairwise(sizes))


@pytest.mark.parametrize("buckets", [[128], [64, 16], [32]])
def test_sizes_may_end_beyond_the_largest_batch_and_need_not_hold_any(tmp_path: Path, buckets: list[int]) -> None:
    found = engine_of(planned(tmp_path, saying(buckets=buckets))).buffers
    assert found is not None
    assert found.buckets == tuple(sorted(buckets))


def test_sizes_that_end_before_the_largest_batch(tmp_path: Path) -> None:
    [problem] = problems_of(tmp_path, saying(buckets=[8, 16]))
    assert (problem.code, problem.field) == ("TK214", "model.buffers.buckets")
    assert problem.message == ("`buckets` [8, 16] end at 16; the largest batch that an instance hands over is 32")


@pytest.mark.parametrize(
    ("field", "value", "mend"),
    [
        ("preprocess", "auto", "gpu"),
        ("inputs", "device", "host"),
        ("outputs", "device", "host"),
        ("copies", "inside", "auto"),
    ],
)
@pytest.mark.parametrize("target", ["production", "embedded"])
def test_what_does_not_go_with_it(tmp_path: Path, field: str, value: str, mend: str, target: str) -> None:
    """On every target that has the engine in buffers, and once: nothing else is said of it."""
    [problem] = problems_of(tmp_path, saying(**{field: value}), target)
    assert (problem.code, problem.field) == ("TK244", f"model.buffers.{field}")
    assert problem.message.startswith(f"`{field}: {value}` of `engine` does not go with `process: shared`: ")
    assert problem.hint == f"say `{field}: {mend}`, or `process: own`"
    assert problem.place.line == 6
    assert problems_of(tmp_path / "mended", saying(**{field: mend}), target) == []


def test_each_thing_that_does_not_go_with_it_is_told(tmp_path: Path) -> None:
    found = problems_of(tmp_path, saying(preprocess="auto", decode="auto", inputs="device"))
    assert [(p.code, p.field) for p in found] == [
        ("TK244", "model.buffers.preprocess"), ("TK244", "model.buffers.inputs"),
    ]  # fmt: skip


@pytest.mark.parametrize("decode", ["cpu", "gpu", "auto"])
def test_steps_and_files_on_the_gpu_go_with_it(tmp_path: Path, decode: str) -> None:
    spec = saying(preprocess="gpu", decode=decode)
    said = told(tmp_path / "gpu", spec)["buffers"]
    assert (said["process"], said["preprocess"], said.get("decode", "cpu")) == ("shared", "gpu", decode)
    assert "preprocess" not in told(tmp_path / "cpu", spec, "embedded")["buffers"], "there is no GPU"


def test_files_without_steps_on_the_gpu_are_told_as_ever(tmp_path: Path) -> None:
    assert [p.code for p in problems_of(tmp_path, saying(decode="gpu"))] == ["TK243"]


def test_an_instance_on_the_cpu_has_no_kernel(tmp_path: Path) -> None:
    groups = "[{kind: gpu, count: 3}, {kind: cpu, count: 2}]"
    spec = saying(preprocess="gpu").replace("[{kind: gpu, count: 2}]", groups)
    spec = spec.replace("engine: tensorrt, precision: fp16, ", "")
    assert [p.code for p in problems_of(tmp_path, spec)] == ["TK239"]


def test_beside_goes_with_it(tmp_path: Path) -> None:
    assert told(tmp_path, saying(copies="beside"))["buffers"]["copies"] == "beside"


def test_texts_of_one_length_go_with_it_and_of_several_do_not(tmp_path: Path) -> None:
    assert told(tmp_path / "one", TEXTS)["buffers"]["process"] == "shared"
    several = TEXTS.replace("buckets: [64]", "buckets: [16, 64]")
    [problem] = problems_of(tmp_path / "several", several)
    assert (problem.code, problem.field) == ("TK244", "model.buffers.process")
    assert problem.message == (
        "`process: shared` runs batches of one length an item, and `attention_mask`, `input_ids` of `engine` have "
        "lengths [16, 64]"
    )
    said = several.replace("{process: shared}", "{process: shared, lengths: [16, 64]}")
    assert [p.field for p in problems_of(tmp_path / "said", said)] == ["model.buffers.lengths"]
    on_cpu = several.replace("targets:", "targets: {embedded: {instances: [{kind: cpu, count: 2}]}}\n#")
    assert [p.code for p in problems_of(tmp_path / "cpu", on_cpu, "embedded")] == ["TK244"]


def test_without_a_batch_axis_there_is_nothing_to_put_together(tmp_path: Path) -> None:
    spec = """\
name: one
inputs: {pixels: {type: fp32, dims: [1, 8, 8]}}
outputs: {logits: {type: fp32, dims: [10]}}
model: {onnx: models/one.onnx, buffers: {process: shared}}
batching: {max_batch_size: 0}
layout: fused
instances: [{kind: gpu, count: 2}]
targets: {production: {server: "26.07", gpu: h200}}
"""
    [problem] = problems_of(tmp_path, spec)
    assert (problem.code, problem.field) == ("TK244", "model.buffers.process")
    assert problem.message.endswith("`engine` has no batch axis (max_batch_size 0)")


def test_instances_that_are_on_no_gpu_and_not_on_the_cpu(tmp_path: Path) -> None:
    spec = SHARED.replace("kind: gpu, count: 2", "kind: model, count: 2").replace(
        "engine: tensorrt, precision: fp16, ", ""
    )
    [problem] = problems_of(tmp_path, spec)
    assert (problem.code, problem.field) == ("TK244", "model.buffers.process")
    assert "instances of `kind: model` on target `production` are on neither" in problem.message


@pytest.mark.parametrize(
    ("groups", "target", "alone"),
    [
        ("[{kind: gpu, count: 1}]", "production", True),
        ("[{kind: gpu, count: 1, gpus: [0]}, {kind: gpu, count: 1, gpus: [1]}]", "production", True),
        ("[{kind: gpu, count: 1, gpus: [0]}, {kind: gpu, count: 1, gpus: [0, 1]}]", "production", False),
        ("[{kind: gpu, count: 1, gpus: [3]}, {kind: gpu, count: 1}]", "production", False),
        ("[{kind: gpu, count: 1}, {kind: cpu, count: 1}]", "production", True),
        ("[{kind: gpu, count: 1}, {kind: cpu, count: 2}]", "production", False),
        ("[{kind: auto, count: 2}]", "production", False),
        ("[{kind: gpu, count: 1}]", "embedded", True),
        ("[{kind: cpu, count: 2}]", "embedded", False),
    ],
)
def test_where_nothing_is_shared_a_note_says_so(tmp_path: Path, groups: str, target: str, alone: bool) -> None:
    spec = SHARED.replace("[{kind: gpu, count: 2}]", groups).replace("engine: tensorrt, precision: fp16, ", "")
    work = opened(tmp_path, spec, target)
    work.stop_on_errors()
    found = [(p.field, p.severity) for p in work.problems if p.code == "TK245"]
    assert found == [("model.buffers.process", Severity.NOTE)] * alone


def test_instances_on_the_cpu_of_a_target_with_a_gpu_share_an_engine_too(tmp_path: Path) -> None:
    spec = SHARED.replace("engine: tensorrt, precision: fp16, ", "")
    found = engine_of(planned(tmp_path / "cpu", spec.replace("kind: gpu, count: 2", "kind: cpu, count: 2")))
    assert found.buffers is not None
    assert (found.buffers.process, found.intra_op_threads) == ("shared", 2)
    mixed = "[{kind: gpu, count: 4}, {kind: cpu, count: 3}]"
    found = engine_of(planned(tmp_path / "mixed", spec.replace("[{kind: gpu, count: 2}]", mixed)))
    assert found.buffers is not None
    assert (found.buffers.process, found.intra_op_threads) == ("shared", 3)


def test_in_another_layout_it_has_no_effect(tmp_path: Path) -> None:
    work = opened(tmp_path, SHARED.replace("layout: fused\n", ""))
    work.stop_on_errors()
    [note] = [p for p in work.problems if p.code == "TK223"]
    assert (note.field, note.severity) == ("model.buffers", Severity.NOTE)
    assert note.message == (
        "`buffers` are of an engine that runs inside a Python model (layout `fused`); on target `production` there "
        "is none"
    )
    assert "TK245" not in {p.code for p in work.problems}


def test_inductor_that_is_a_model_of_its_own_shares_one_too(tmp_path: Path) -> None:
    spec = SHARED.replace("layout: fused\n", "").replace("engine: tensorrt, precision: fp16", "engine: inductor")
    found = engine_of(planned(tmp_path, spec)).buffers
    assert found is not None
    assert found.process == "shared"


def test_bf16_goes_through_it_on_a_gpu_alone(tmp_path: Path) -> None:
    spec = """\
name: halves
inputs: {x: {type: bf16, dims: [4]}}
outputs: {y: {type: bf16, dims: [4]}}
model: {onnx: models/bf16.onnx, buffers: {process: shared}}
layout: fused
instances: [{kind: gpu, count: 2}]
targets: {production: {server: "26.07", gpu: h200}, embedded: {instances: [{kind: cpu, count: 2}]}}
"""
    assert problems_of(tmp_path / "gpu", spec) == []
    assert {p.code for p in problems_of(tmp_path / "cpu", spec, "embedded")} == {"TK226"}


@pytest.mark.parametrize("target", ["production", "embedded"])
def test_written_out_in_full_it_is_the_same_plan(tmp_path: Path, target: str) -> None:
    work = opened(tmp_path / "first", saying(buckets=[32, 128], copies="beside"), target)
    work.stop_on_errors()
    [resolved] = work.resolved[target]
    text = as_yaml(full_spec(resolved.spec, resolved.expanded, resolved.plan), resolved.plan)
    assert "process: shared" in text
    again = engine_of(planned(tmp_path / "again", text, target))
    assert again.buffers == engine_of(resolved.plan).buffers
    assert again.intra_op_threads == engine_of(resolved.plan).intra_op_threads


def test_the_config_says_what_runs_where(tmp_path: Path) -> None:
    work = opened(tmp_path, saying(buckets=[32, 128]))
    work.stop_on_errors()
    [tree] = render_trees(work)
    text = tree.files["small/config.pbtxt"].decode().replace("\n# ", " ")
    assert "It is ready for batches of 32, 128; others are padded to the next." in text
    assert "Runs preprocess -> engine -> postprocess in one process, but for engine, a batch whole." in text
    assert "One process has it for all instances on a GPU, and one for those on the CPU." in text


def test_a_model_that_carries_the_runtime_has_the_process_where_it_is_shared_alone(tmp_path: Path) -> None:
    from generator.engine.sources import runtime_sources

    folder = "tritonkit_runtime/engine_process/"
    shared = runtime_sources(planned(tmp_path / "shared", SHARED).models[0])
    own = runtime_sources(planned(tmp_path / "own", SHARED.replace("shared", "own")).models[0])
    assert any(path.startswith(folder) for path in shared)
    assert not any(path.startswith(folder) for path in own)
    on_cpu = runtime_sources(planned(tmp_path / "cpu", SHARED, "embedded").models[0])
    assert {f"{folder}worker.py", "tritonkit_runtime/buffered/onnxruntime.py"} <= set(on_cpu)


def test_a_length_that_nothing_settles_is_told_once(tmp_path: Path) -> None:
    spec = """\
name: words
inputs: {input_ids: {type: int32, dims: [-1]}, attention_mask: {type: int32, dims: [-1]}}
outputs: {embedding: {type: int32, dims: [4]}}
model: {onnx: models/words.onnx, buffers: {process: shared}}
layout: fused
targets: {production: {server: "26.07", gpu: h200, instances: [{kind: gpu, count: 2}]}}
"""
    [problem] = problems_of(tmp_path, spec)
    assert (problem.code, problem.field) == ("TK244", "model.buffers.process")
    assert "have any length" in problem.message
