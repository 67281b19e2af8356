"""Small projects for tests: a root with specs/ and ONNX files made on the spot."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from pathlib import Path

import onnx
from onnx import TensorProto, helper

from generator.plan import EngineProgram, Plan
from generator.project import Project
from generator.workspace import Workspace

Shape = Sequence[int | str | None]


def write_onnx(
    path: Path,
    inputs: dict[str, Shape],
    outputs: dict[str, Shape],
    *,
    dtype: int = TensorProto.FLOAT,
) -> None:
    """An ONNX file whose outputs are copies of its first input as far as the checker cares; never run."""
    values = {n: helper.make_tensor_value_info(n, dtype, s) for n, s in {**inputs, **outputs}.items()}
    first = next(iter(inputs))
    nodes = [helper.make_node("Identity", [first], [name]) for name in outputs]
    graph = helper.make_graph(nodes, "g", [values[n] for n in inputs], [values[n] for n in outputs])
    path.parent.mkdir(parents=True, exist_ok=True)
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)]), path)


def make_project(root: Path, specs: dict[str, str] | None = None) -> Project:
    """A project with models/net.onnx (pixels [batch,1,8,8] -> logits [batch,10]), ten labels, and `specs`."""
    (root / "specs").mkdir(parents=True)
    (root / "data").mkdir()
    write_onnx(root / "models" / "net.onnx", {"pixels": ["batch", 1, 8, 8]}, {"logits": ["batch", 10]})
    (root / "data" / "ten.labels").write_text("".join(f"{i}\n" for i in range(10)))
    for name, text in (specs or {}).items():
        (root / "specs" / f"{name}.yaml").write_text(textwrap.dedent(text))
    return Project(root)


SHORT = """\
name: small
objective: {p99_ms: 20}
inputs: {image: {type: bytes}}
outputs: {label: {type: string, dims: [3]}, score: {type: fp32, dims: [3]}}
model: {onnx: models/net.onnx}
preprocess:
  - decode: {to: gray}
  - resize: {size: [8, 8]}
  - normalize: {mean: 0, std: 255}
postprocess:
  - softmax
  - top_k: {k: 3, labels: data/ten.labels}
batching: {max_batch_size: 32, preferred: [8, 32], max_queue_delay_us: 500, queue: {max_size: 256}}
instances: [{kind: gpu, count: 2}]
targets:
  production: {server: "26.07", engine: tensorrt, precision: fp16, gpu: h200}
"""

FULL = """\
name: two
inputs: {image: {type: bytes}}
outputs: {label: {type: int64, dims: [1]}, score: {type: fp32, dims: [1]}}
models:
  before:
    steps: [{decode: {to: gray}}, {resize: {size: [8, 8]}}, normalize, channels_first]
    inputs: {image: {type: bytes}}
    outputs: {pixels: {type: fp32, dims: [1, 8, 8]}}
  net: {onnx: models/net.onnx}
  after:
    steps: [softmax, top_k]
    inputs: {logits: {type: fp32, dims: [10]}}
flow:
  - {model: before}
  - {model: net}
  - {model: after}
batching: {max_batch_size: 4}
"""


def plan_of(work: Workspace, target: str = "production") -> Plan:
    """Of the only spec, which has no mistakes."""
    work.stop_on_errors()
    [plan] = work.plans[target]
    return plan


def engine_of(plan: Plan) -> EngineProgram:
    """The only one."""
    [engine] = plan.engines()
    return engine.program
