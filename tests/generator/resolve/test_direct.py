"""Tensors of a fused pipeline that may lie on its GPU: which, and what the server and the report of copies are told."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from onnx import TensorProto

from generator.copies import Protocol, Sizes, copies_of
from generator.problems import Problem, Severity
from generator.resolve.show import as_yaml, full_spec
from generator.workspace import Workspace, open_workspace, render_trees
from generator_projects import SHORT, make_project, write_onnx

ALONE = """\
name: small
inputs: {pixels: {type: fp32, dims: [1, 8, 8]}}
outputs: {logits: {type: fp32, dims: [10]}}
model: {onnx: models/net.onnx}
layout: fused
batching: {max_batch_size: 4}
targets:
  embedded: {}
  production: {server: "26.07", engine: tensorrt, precision: fp16, gpu: h200}
"""
THEN_STEPS = ALONE.replace(
    "logits: {type: fp32, dims: [10]}", "label: {type: int64, dims: [3]}, score: {type: fp32, dims: [3]}"
).replace("layout:", "postprocess: [softmax, top_k: {k: 3}]\nlayout:")
ON_ONE_GPU = "instances: [{kind: gpu, gpus: [0]}]\nlayout:"
LEFT = ALONE.replace("net.onnx}", "net.onnx, buffers: {outputs: device}}")


def taken(spec: str, instances: str = ON_ONE_GPU, **more: str) -> str:
    """The spec with the engine's inputs taken from the GPU."""
    buffers = ", ".join(f"{name}: {value}" for name, value in {"inputs": "device", **more}.items())
    return spec.replace("net.onnx}", f"net.onnx, buffers: {{{buffers}}}}}").replace("layout:", instances, 1)


FORCE = 'parameters {\n  key: "FORCE_CPU_ONLY_INPUT_TENSORS"\n  value { string_value: "no" }\n}'


def opened(root: Path, spec: str, dtype: int = TensorProto.FLOAT) -> Workspace:
    project = make_project(root / "project", {"spec": spec})
    write_onnx(project.root / "models" / "second.onnx", {"logits": ["batch", 10]}, {"more": ["batch", 10]})
    write_onnx(
        project.root / "models" / "net.onnx", {"pixels": ["batch", 1, 8, 8]}, {"logits": ["batch", 10]}, dtype=dtype
    )
    return open_workspace(project, target="production")


def rendered(root: Path, spec: str, dtype: int = TensorProto.FLOAT) -> tuple[str, list[dict[str, Any]]]:
    """config.pbtxt, and what the runtime is told of the buffers of each stage (nothing of steps)."""
    work = opened(root, spec, dtype)
    work.stop_on_errors()
    [tree] = render_trees(work)
    stages = json.loads(tree.files["small/1/tritonkit.json"])["program"]["stages"]
    config = "".join(tree.files["small/config.pbtxt"].decode().split())
    return config, [stage["program"].get("buffers", {}) for stage in stages]


def says_no(config: str) -> bool:
    return "".join(FORCE.split()) in config


def errors_of(root: Path, spec: str, dtype: int = TensorProto.FLOAT) -> list[Problem]:
    return [p for p in opened(root, spec, dtype).problems if p.severity is Severity.ERROR]


TWO = """\
name: small
inputs: {pixels: {type: fp32, dims: [1, 8, 8]}}
outputs: {more: {type: fp32, dims: [10]}}
models:
  a: {onnx: models/net.onnx}
  b: {onnx: models/second.onnx}
flow: [{model: a}, {model: b}]
layout: fused
batching: {max_batch_size: 4}
targets:
  production: {server: "26.07", engine: tensorrt, precision: fp16, gpu: h200}
"""


@pytest.mark.parametrize(
    "spec",
    [
        taken(ALONE), taken(THEN_STEPS), taken(TWO),
        taken(ALONE, "instances: [{kind: gpu, gpus: [1]}, {kind: gpu, count: 2, gpus: [1]}]\nlayout:"),
        taken(ALONE, "layout:").replace(
            "}}\nlayout", "}, config: {instance_group: [{kind: KIND_GPU, gpus: [2]}]}}\nlayout"
        ),
    ],
    ids=["alone", "then steps", "two engines", "two groups on one GPU", "Triton's own words"],
)  # fmt: skip
def test_an_engine_that_comes_first_takes_its_inputs_where_they_lie_if_it_is_told_to(
    tmp_path: Path, spec: str
) -> None:
    config, buffers = rendered(tmp_path, spec)
    assert (buffers[0]["inputs"], "outputs" in buffers[0]) == ("device", False)
    assert says_no(config)


@pytest.mark.parametrize(
    "spec",
    [
        ALONE,
        TWO,
        SHORT.replace("gpu: h200}", "gpu: h200, layout: fused}"),
        ALONE.replace("net.onnx}", 'net.onnx, parameters: {FORCE_CPU_ONLY_INPUT_TENSORS: "yes"}}'),
    ],
    ids=["alone", "two engines", "steps on the host come first", "the spec says otherwise"],
)
def test_elsewhere_the_server_brings_them_to_the_host(tmp_path: Path, spec: str) -> None:
    config, buffers = rendered(tmp_path, spec)
    assert not any("inputs" in told for told in buffers)
    assert not says_no(config)


SEVERAL_GPUS = "its instances are not all on one GPU that is stated, and a tensor on another GPU than an instance's would be refused"
NOT_TAKEN = {
    "the default, one on each GPU": (taken(ALONE, "layout:"), SEVERAL_GPUS),
    "no number": (taken(ALONE, "instances: [{kind: gpu}]\nlayout:"), SEVERAL_GPUS),
    "two GPUs": (taken(ALONE, "instances: [{kind: gpu, gpus: [0, 1]}]\nlayout:"), SEVERAL_GPUS),
    "two groups": (taken(ALONE, "instances: [{kind: gpu, gpus: [0]}, {kind: gpu, gpus: [1]}]\nlayout:"), SEVERAL_GPUS),
    "a CPU too": (
        taken(ALONE, "instances: [{kind: gpu, gpus: [0]}, {kind: cpu}]\nlayout:").replace("engine: tensorrt, precision: fp16, ", ""),
        SEVERAL_GPUS,
    ),
    "the parameter": (
        taken(ALONE).replace(
            "inputs: device}}", 'inputs: device}, parameters: {FORCE_CPU_ONLY_INPUT_TENSORS: "yes"}}'
        ),
        '`parameters` say FORCE_CPU_ONLY_INPUT_TENSORS: "yes", so that the server brings all to the host',
    ),
    "the second engine": (
        TWO.replace("second.onnx}", "second.onnx, buffers: {inputs: device}}").replace("layout:", ON_ONE_GPU),
        "`a` comes before it",
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", NOT_TAKEN)
def test_where_inputs_cannot_be_taken_from_the_gpu_the_spec_is_refused(tmp_path: Path, case: str) -> None:
    spec, why = NOT_TAKEN[case]
    [problem] = errors_of(tmp_path, spec)
    key = {"the second engine": "b"}.get(case, "engine")
    assert (problem.code, problem.message) == (
        "TK229", f"layout `fused` takes no inputs of `{key}` from the GPU: {why}"
    )  # fmt: skip
    assert problem.field.endswith("buffers.inputs")


@pytest.mark.parametrize("side", ["inputs", "outputs"])
def test_tensors_of_any_length_stay_on_no_gpu(tmp_path: Path, side: str) -> None:
    """The server's part of this refuses it at start, when nobody looks at the spec any more."""
    spec = """\
name: enc
inputs: {ids: {type: fp32, dims: [-1]}}
outputs: {embedding: {type: fp32, dims: [4]}}
model: {onnx: models/words.onnx, buffers: {lengths: [16, 64], SIDE: device}}
instances: [{kind: gpu, gpus: [0]}]
layout: fused
batching: {max_batch_size: 8}
targets: {production: {server: "26.07", gpu: h200}}
"""
    project = make_project(tmp_path / "project", {"spec": spec.replace("SIDE", side)})
    write_onnx(project.root / "models" / "words.onnx", {"ids": ["batch", "tokens"]}, {"embedding": ["batch", 4]})
    problems = open_workspace(project, target="production").problems
    [problem] = [problem for problem in problems if problem.severity is Severity.ERROR]
    assert problem.code == "TK229"
    assert problem.message.endswith("from the GPU: its inputs are of any length (-1)") == (side == "inputs")
    assert problem.message.endswith("on the GPU: its inputs are of any length (-1)") == (side == "outputs")


def test_outputs_stay_where_the_spec_says_so(tmp_path: Path) -> None:
    spec = taken(ALONE, outputs="device")
    _, [told] = rendered(tmp_path, spec)
    assert (told["inputs"], told["outputs"]) == ("device", "device")
    work = opened(tmp_path / "again", spec)
    [resolved] = work.resolved["production"]
    full = as_yaml(full_spec(resolved.spec, resolved.expanded, resolved.plan), resolved.plan)
    assert "inputs: device" in full
    assert "outputs: device" in full


def test_outputs_that_a_stage_on_the_host_takes_do_not(tmp_path: Path) -> None:
    [problem] = errors_of(tmp_path, THEN_STEPS.replace("net.onnx}", "net.onnx, buffers: {outputs: device}}"))
    assert problem.code == "TK229"
    assert (
        problem.message == "layout `fused` leaves no outputs of `engine` on the GPU: `postprocess` runs on the host"
    )


def test_bf16_where_an_engine_on_a_gpu_alone_has_it(tmp_path: Path) -> None:
    spec = ALONE.replace("fp32", "bf16").replace("  embedded: {}\n", "")
    _, [told] = rendered(tmp_path, spec, TensorProto.BFLOAT16)
    assert told["buckets"]
    before = spec.replace("layout:", "preprocess: [normalize]\nlayout:").replace(
        "pixels: {type: bf16", "pixels: {type: uint8"
    )
    assert errors_of(tmp_path / "before", before, TensorProto.BFLOAT16)


@pytest.mark.parametrize(
    ("spec", "protocol", "rules"),
    [
        (
            taken(ALONE), "cuda-shm",
            ["cuda-shm-in", "pool-in", "gpu-in", "buffer-out", "staged-out", "stub-out", "respond", "cuda-shm-out"],
        ),
        (
            taken(ALONE, outputs="device"), "cuda-shm",
            ["cuda-shm-in", "pool-in", "gpu-in", "gpu-left", "stub-from-engine", "respond-from-pool", "cuda-shm-out"],
        ),
        (
            LEFT, "system-shm",
            ["shm-in", "stub-in", "as-numpy", "staged-in", "buffer-in", "gpu-left", "stub-from-engine", "respond",
             "shm-out"],
        ),
    ],
)  # fmt: skip
def test_the_report_of_copies_follows(tmp_path: Path, spec: str, protocol: Protocol, rules: list[str]) -> None:
    work = opened(tmp_path, spec)
    work.stop_on_errors()
    [plan] = work.plans["production"]
    found = copies_of(plan, protocol, Sizes(items=2))
    assert [hop.rule for hop in found.hops] == rules
    assert found.unknown == ()
