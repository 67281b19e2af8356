"""`tokenize` feeds an engine of several inputs by their names, and its tokenizer comes along."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto

from generator.engine import Alone
from generator.problems import Severity
from generator.project import Project
from generator.workspace import Workspace, open_workspace, render_trees
from generator_projects import make_project, write_onnx

SPEC = """\
name: texts
inputs: {text: {type: string}}
outputs: {found: {type: int32, dims: [-1]}}
model: {onnx: models/two.onnx}
preprocess:
  - tokenize: {tokenizer: data/words.json, max_tokens: 20}
batching: {max_batch_size: 8}
"""
WORDS = {
    "version": "1.0", "truncation": None, "padding": None, "added_tokens": [], "normalizer": None,
    "pre_tokenizer": {"type": "Whitespace"}, "post_processor": None, "decoder": None,
    "model": {"type": "WordLevel", "vocab": {"[UNK]": 1, "hello": 5, "world": 6}, "unk_token": "[UNK]"},
}  # fmt: skip


def project_of(root: Path, spec: str) -> Project:
    project = make_project(root, {"texts": spec})
    shape = ["batch", "tokens"]
    names = {"input_ids": shape, "attention_mask": shape}
    for name, inputs, dtype in (
        ("two", names, TensorProto.INT32),
        ("two64", names, TensorProto.INT64),
        ("three", {**names, "token_type_ids": shape}, TensorProto.INT64),
        ("fixed", {key: ["batch", 32] for key in names}, TensorProto.INT32),
        ("one", {"input_ids": shape}, TensorProto.INT32),
    ):
        first_shape = next(iter(inputs.values()))
        path = project.root / "models" / f"{name}.onnx"
        write_onnx(path, inputs, {"found": first_shape}, dtype=dtype)
        model = onnx.load(path)
        model.ir_version = 8  # what ONNX Runtime loads
        onnx.save(model, path)
    (project.root / "data" / "words.json").write_text(json.dumps(WORDS))
    (project.root / "data" / "list.json").write_text("[]")
    (project.root / "data" / "other.json").write_text('{"model": "bert"}')
    return project


def workspace(root: Path, spec: str) -> Workspace:
    return open_workspace(project_of(root, spec), target="embedded")


def test_the_engine_gets_both_tensors_by_name(tmp_path: Path) -> None:
    work = workspace(tmp_path, SPEC)
    work.stop_on_errors()
    [plan] = work.plans["embedded"]
    before, engine = plan.models
    assert [(t.name, t.dtype, t.dims) for t in before.outputs] == [
        ("input_ids", "INT32", (-1,)),
        ("attention_mask", "INT32", (-1,)),
    ]
    assert plan.ensemble is not None
    assert dict(plan.ensemble.steps[0].outputs) == {"input_ids": "input_ids", "attention_mask": "attention_mask"}
    assert [t.name for t in engine.inputs] == ["input_ids", "attention_mask"]


@pytest.mark.parametrize("layout", ["ensemble", "fused"])
def test_the_rendered_pipeline_runs(tmp_path: Path, layout: str) -> None:
    work = workspace(tmp_path, f"{SPEC}layout: {layout}\n")
    [tree] = render_trees(work)
    folder = "texts" if layout == "fused" else "texts_preprocess"
    assert json.loads(tree.files[f"{folder}/1/words.json"]) == WORDS
    [plan] = work.plans["embedded"]
    with Alone(plan, tree.files) as pipeline:
        answer = pipeline.run({"text": np.array([[b"hello world"], [b"what " * 30]], dtype=object)})
    assert not answer.failed
    assert answer.outputs["found"].tolist() == [[5, 6] + [0] * 18, [1] * 20]
    assert [step["buckets"] for step in _steps(tree.files[f"{folder}/1/tritonkit.json"])] == [[16, 20]]


def _steps(text: bytes) -> list[dict[str, object]]:
    program = json.loads(text)["program"]
    steps: list[dict[str, object]] = program.get("steps") or program["stages"][0]["program"]["steps"]
    return steps


@pytest.mark.parametrize("name", ["tritonkit.json", "model.py"])
def test_a_tokenizer_of_a_name_that_is_taken_has_another(tmp_path: Path, name: str) -> None:
    project = project_of(tmp_path, SPEC.replace("words.json", name))
    (project.root / "data" / name).write_text(json.dumps(WORDS))
    [tree] = render_trees(open_workspace(project, target="embedded"))
    assert json.loads(tree.files[f"texts_preprocess/1/preprocess_{name}"]) == WORDS
    assert _steps(tree.files["texts_preprocess/1/tritonkit.json"])[0]["tokenizer"] == f"preprocess_{name}"


def test_three_inputs_of_int64(tmp_path: Path) -> None:
    spec = SPEC.replace("two.onnx", "three.onnx").replace("int32", "int64")
    spec = spec.replace("max_tokens: 20", "dtype: int64, types_output: token_type_ids")
    work = workspace(tmp_path, spec)
    assert [problem for problem in work.problems if problem.severity is Severity.ERROR] == []


@pytest.mark.parametrize(
    ("old", "new", "code", "field", "message"),
    [
        ("two.onnx", "two64.onnx", "TK204", "preprocess", "`tokenize` gives INT32 [-1] as `input_ids`; the engine's is INT64 [-1]"),
        ("two.onnx", "fixed.onnx", "TK204", "preprocess", "as `input_ids`; the engine's is INT32 [32]"),
        ("two.onnx", "three.onnx", "TK204", "preprocess", "`tokenize` gives `input_ids`, `attention_mask`; the inputs of `models/three.onnx` are"),
        ("two.onnx", "one.onnx", "TK204", "preprocess", "the inputs of `models/one.onnx` are `input_ids`"),
        ("words.json", "none.json", "TK206", "preprocess[0].tokenize", "there is no file `data/none.json`"),
        ("words.json", "ten.labels", "TK206", "preprocess[0].tokenize", "the tokenizer `data/ten.labels` cannot be read: it is not JSON"),
        ("words.json", "list.json", "TK206", "preprocess[0].tokenize", "`data/list.json` is JSON, and no tokenizer: it has no `model`"),
        ("words.json", "other.json", "TK206", "preprocess[0].tokenize", "it has no `model`"),
        ("{type: string}", "{type: fp32, dims: [4]}", "TK206", "preprocess[0].tokenize", "`tokenize` takes texts, and gets FP32 [4]"),
        ("max_tokens: 20", "mask_output: input_ids", "TK206", "preprocess[0].tokenize", "must have different names"),
        ("max_tokens: 20}", "max_tokens: 20}\n  - softmax", "TK206", "preprocess[0].tokenize", "`tokenize` gives several tensors, so nothing can follow it"),
    ],
)  # fmt: skip
def test_mistakes(tmp_path: Path, old: str, new: str, code: str, field: str, message: str) -> None:
    assert SPEC.count(old) == 1
    found = [p for p in workspace(tmp_path, SPEC.replace(old, new)).problems if p.severity is Severity.ERROR]
    assert [(p.code, p.field) for p in found][:1] == [(code, field)]
    assert message in found[0].message


@pytest.mark.parametrize(
    ("buckets", "valid"), [("[20]", True), ("[8, 64]", True), ("[8, 16]", False), ("[64, 20]", False), ("[]", False)]
)
def test_buckets_rise_and_hold_the_longest_text(tmp_path: Path, buckets: str, valid: bool) -> None:
    spec = SPEC.replace("max_tokens: 20", f"max_tokens: 20, buckets: {buckets}")
    assert (workspace(tmp_path, spec).problems == []) is valid


def test_one_bucket_is_a_fixed_length(tmp_path: Path) -> None:
    spec = SPEC.replace("two.onnx", "fixed.onnx").replace("dims: [-1]", "dims: [32]")
    work = workspace(tmp_path, spec.replace("max_tokens: 20", "max_tokens: 32, buckets: [32]"))
    assert work.problems == []
    [plan] = work.plans["embedded"]
    assert [t.dims for t in plan.models[0].outputs] == [(32,), (32,)]


def test_the_embeddings_spec_asks_for_what_the_graph_has(tmp_path: Path) -> None:
    """The clone's spec with a graph of the same signature, so that it needs no download."""
    clone = Path(__file__).parents[3]
    project = make_project(tmp_path)
    (project.specs / "embeddings.yaml").write_text((clone / "specs" / "embeddings.yaml").read_text())
    for name in ("embeddings-tokenizer.json", "embeddings-gate.npz", "embeddings-calibration.npz"):
        (project.root / "data" / name).write_bytes((clone / "data" / name).read_bytes())
    (project.root / "models" / "make_embeddings.py").write_text("")
    tokens = [
        onnx.helper.make_tensor_value_info(n, TensorProto.INT32, ["batch", "tokens"])
        for n in ("input_ids", "attention_mask")
    ]
    found = onnx.helper.make_tensor_value_info("embedding", TensorProto.FLOAT, ["batch", 384])
    nodes = [
        onnx.helper.make_node("Cast", ["input_ids"], ["numbers"], to=TensorProto.FLOAT),
        onnx.helper.make_node("ReduceMean", ["numbers"], ["mean"], axes=[1], keepdims=1),
        onnx.helper.make_node("Expand", ["mean", "shape"], ["embedding"]),
    ]
    shape = onnx.helper.make_tensor("shape", TensorProto.INT64, [2], [1, 384])
    graph = onnx.helper.make_graph(nodes, "g", tokens, [found], [shape])
    onnx.save(
        onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 17)]),
        project.root / "models" / "embeddings.onnx",
    )
    work = open_workspace(project, target="embedded")
    assert [problem for problem in work.problems if problem.severity is Severity.ERROR] == []
