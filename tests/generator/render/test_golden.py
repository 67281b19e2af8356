"""Whole rendered trees, compared with golden/: every path, and every byte of every text file.

After a wanted change: `TRITONKIT_UPDATE_GOLDEN=1 .venv/bin/python -m pytest tests/generator/render/test_golden.py`, then
read the difference.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from pathlib import Path

import pytest
from google.protobuf import text_format
from tritonclient.grpc.model_config_pb2 import ModelConfig

from generator.problems import errors
from generator.project import Project
from generator.workspace import open_workspace, render_trees
from generator_projects import SHORT, make_project

GOLDEN = Path(__file__).parent / "golden"
FULL = """\
name: sorter
description: Two branches, and every kind of model.
objective: {p99_ms: 50}
inputs: {photo: {type: bytes}}
outputs:
  label: {type: string, dims: [2]}
  score: {type: fp32, dims: [2]}
  shade: {type: fp32, dims: [1]}
models:
  before:
    steps: [{decode: {to: gray}}, {resize: {size: [8, 8], method: area}}, {normalize: {std: 255}}, channels_first]
    inputs: {photo: {type: bytes}}
    outputs: {pixels: {type: fp32, dims: [1, 8, 8]}}
  net:
    onnx: models/net.onnx
    batching: {max_batch_size: 8, preferred: [4, 8], max_queue_delay_us: 200, priorities: {levels: 2, default: 2}}
    versions: {latest: 2}
    warmup: [{name: first, batch_size: 4, inputs: {pixels: {random: true}}}]
  shade:
    python: steps/shade.py:Shade
    arguments: {words: [a, "1e5"], scale: 0.5}
    inputs: {pixels: {type: fp32, dims: [1, 8, 8]}}
    outputs: {shade: {type: fp32, dims: [1]}}
    instances: [{kind: cpu, count: 2}]
  other:
    name: elsewhere
    files: models/other
    inputs: {logits: {type: fp32, dims: [10]}}
    outputs: {copy: {type: fp32, dims: [10], labels: data/ten.labels}}
    config: {backend: identity}
  after:
    steps: [softmax, {top_k: {k: 2, labels: data/ten.labels}}]
    inputs: {copy: {type: fp32, dims: [10]}}
flow:
  - {model: before}
  - {model: net}
  - {model: shade}
  - {model: other}
  - {model: after}
batching: {max_batch_size: 8}
response_cache: true
targets:
  production: {server: "26.07", gpu: h200, engine: tensorrt, precision: fp16}
"""
SHADE = '"""The mean of an image."""\n\n\nclass Shade:\n    def run(self, tensors, fail):\n        return {}\n'
# One engine for all instances, in batches larger than one of them hands over.
SHARED = (
    SHORT.replace("name: small\n", "name: shared\nlayout: fused\n")
    .replace("net.onnx}", "net.onnx, buffers: {process: shared, buckets: [8, 32, 128], slots: 3}}")
    .replace("count: 2", "count: 6")
)
TREES = [(name, target) for name in ("short", "full", "shared") for target in ("embedded", "production")]


@pytest.fixture
def project(tmp_path: Path) -> Project:
    """The specs, and what the full one names."""
    made = make_project(tmp_path / "project", {"short": SHORT, "full": FULL, "shared": SHARED})
    (made.root / "steps").mkdir()
    (made.root / "steps" / "shade.py").write_text(SHADE)
    other = made.root / "models" / "other"
    (other / "1").mkdir(parents=True)
    (other / "config.pbtxt").write_text("this one is rendered anew")
    (other / "1" / "weights.txt").write_text("1 2 3\n")
    return made


def rendered(project: Project, name: str, target: str) -> dict[str, bytes]:
    work = open_workspace(project, [project.specs / f"{name}.yaml"], target)
    assert errors(work.problems) == ()
    [tree] = render_trees(work)
    return dict(tree.files)


@pytest.mark.parametrize(("name", "target"), TREES)
def test_the_tree_is_the_golden_one(project: Project, name: str, target: str) -> None:
    onnx = project.path("models/net.onnx").read_bytes()
    # The file is made by the installed onnx, whose release stands in it.
    found = {
        path: data.replace(hashlib.sha256(onnx).hexdigest().encode(), b"SHA256 OF net.onnx")
        if data != onnx
        else b"net.onnx\n"
        for path, data in rendered(project, name, target).items()
    }
    golden = GOLDEN / name / target
    if os.environ.get("TRITONKIT_UPDATE_GOLDEN"):
        shutil.rmtree(golden, ignore_errors=True)
        for path, data in found.items():
            (golden / path).parent.mkdir(parents=True, exist_ok=True)
            (golden / path).write_bytes(data)
    wanted = {file.relative_to(golden).as_posix(): file.read_bytes() for file in golden.rglob("*") if file.is_file()}
    assert sorted(found) == sorted(wanted)
    for path, data in wanted.items():
        assert found[path].decode() == data.decode(), path


def test_golden_holds_no_other_trees() -> None:
    assert sorted(tuple(tree.relative_to(GOLDEN).parts) for tree in GOLDEN.glob("*/*")) == sorted(TREES)


@pytest.mark.parametrize(("name", "target"), TREES)
def test_every_text_ends_with_one_line_break_and_has_no_space_before_it(
    project: Project, name: str, target: str
) -> None:
    for path, data in rendered(project, name, target).items():
        if not path.endswith(".onnx"):
            lines = data.decode().split("\n")
            assert lines[-1] == "", path
            assert lines[-2] != "", path
            assert [line for line in lines if line != line.rstrip()] == [], path


@pytest.mark.parametrize(("name", "target"), TREES)
def test_json_and_python_can_be_read(project: Project, name: str, target: str) -> None:
    for path, data in rendered(project, name, target).items():
        if path.endswith(".json"):
            assert json.loads(data)["format"] == 1
        elif path.endswith(".py"):
            compile(data, path, "exec")
        elif path.endswith(".pbtxt"):
            assert text_format.Parse(data.decode(), ModelConfig()).name == path.split("/")[0]


@pytest.mark.parametrize(("name", "target"), TREES)
def test_rendering_again_and_in_another_process_gives_the_same(project: Project, name: str, target: str) -> None:
    assert rendered(project, name, target) == rendered(project, name, target)


def test_self_contained_adds_the_runtime_and_changes_model_py_alone(project: Project) -> None:
    work = open_workspace(project, [project.specs / "full.yaml"], "embedded")
    [thin], [whole] = render_trees(work), render_trees(work, self_contained=True)
    added = {path for path in whole.files if path not in thin.files}
    python = {"sorter_before", "sorter_net", "sorter_shade", "sorter_after"}
    assert {path.split("/")[0] for path in added} == python
    assert all(path.split("/")[2] == "tritonkit_runtime" for path in added)
    changed = {path for path, data in thin.files.items() if whole.files[path] != data}
    assert changed == {f"{model}/1/model.py" for model in python}
    engines = {path.split("/")[0] for path in added if "/engines/onnxruntime.py" in path}
    assert engines == {"sorter_net"}, "an engine comes along where it runs alone"
