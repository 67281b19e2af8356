"""ONNX Runtime as a compiler: the graph as it is, and rewritten and saved."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from generator.engine.compile import onnxruntime as module
from generator.engine.compile.base import Compiled, Settings
from generator.engine.compile.onnxruntime import OnnxRuntimeCompiler, cpu
from generator.engine.errors import StageError
from generator.engine.runner import OnnxRunner

ROOT = Path(__file__).parents[4]
SETTINGS = Settings("fp32", [])
PIXELS = {"pixels": np.random.default_rng(0).random((5, 1, 8, 8), dtype=np.float32)}


@pytest.fixture(scope="module")
def graph() -> bytes:
    return (ROOT / "models" / "digits.onnx").read_bytes()


def compiled(graph: bytes, level: module.Level) -> Compiled:
    said: list[str] = []
    made = OnnxRuntimeCompiler(level=level).compile(graph, SETTINGS, said.append)
    assert said
    return made


def test_as_it_is(graph: bytes) -> None:
    made = compiled(graph, "none")
    assert (made.file, made.data, made.timing_cache) == ("model.onnx", graph, None)
    assert made.facts["providers"] == ["CPUExecutionProvider"]
    assert made.facts["onnxruntime"].count(".") == 2
    assert made.facts["cpu"]


@pytest.mark.parametrize("level", ["basic", "extended"])
def test_rewritten_graphs_answer_alike_and_have_the_same_bytes(graph: bytes, level: module.Level) -> None:
    made = compiled(graph, level)
    assert made.data == compiled(graph, level).data
    expected, found = OnnxRunner(graph).run(PIXELS), OnnxRunner(made.data).run(PIXELS)
    assert found["logits"] == pytest.approx(expected["logits"], abs=1e-4)
    before, after = (onnx.load_from_string(data) for data in (graph, made.data))
    assert [value.name for value in after.graph.input] == [value.name for value in before.graph.input]
    assert "batch" in str(after.graph.input[0].type)


def test_extended_fuses_what_basic_does_not(graph: bytes) -> None:
    operators = {n.op_type for n in onnx.load_from_string(compiled(graph, "extended").data).graph.node}
    assert "FusedConv" in operators
    assert operators.isdisjoint({"Relu"})
    layouts = [n.domain for n in onnx.load_from_string(compiled(graph, "extended").data).graph.node]
    assert "com.microsoft.nchwc" not in layouts  # a layout for this machine's registers


def unknown_operator() -> bytes:
    node = helper.make_node("Nonsense", ["x"], ["y"], domain="nobody.knows")
    tensors = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [1]) for name in "xy"]
    imports = [helper.make_opsetid("", 17), helper.make_opsetid("nobody.knows", 1)]
    graph = helper.make_graph([node], "g", tensors[:1], tensors[1:])
    data: bytes = helper.make_model(graph, opset_imports=imports, ir_version=9).SerializeToString()
    return data


@pytest.mark.parametrize(("data", "words"), [(b"no onnx", "INVALID_PROTOBUF"), (unknown_operator(), "Nonsense")])
@pytest.mark.parametrize("level", ["none", "extended"])
def test_a_graph_that_does_not_load(data: bytes, words: str, level: module.Level) -> None:
    with pytest.raises(StageError) as raised:
        compiled(data, level)
    [finding] = raised.value.findings
    assert finding.code == "TK960"
    assert words in finding.message
    assert "\n" not in finding.message


def test_a_gpu_that_is_not_there(graph: bytes) -> None:
    compiler = OnnxRuntimeCompiler(cuda=True)
    assert "no CUDA provider" in compiler.missing()
    with pytest.raises(StageError) as raised:
        compiler.compile(graph, SETTINGS, lambda _: None)
    assert raised.value.findings[0].code == "TK961"
    assert raised.value.findings[0].about == "engine"


def test_a_library_that_is_not_there(monkeypatch: pytest.MonkeyPatch) -> None:
    import sys

    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    assert "`onnxruntime` is not installed" in OnnxRuntimeCompiler().missing()


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("processor: 0\nmodel name\t: Fast One\nflags\t: fpu avx2 avx512_vnni avx\n", ("Fast One", ("avx", "avx2", "avx512_vnni"))),
        ("Features\t: fp asimd i8mm\n", (None, ("asimd", "i8mm"))),
        ("model name: A\nflags: avx\n\nmodel name: A\nflags: avx\n", ("A", ("avx",))),
    ],
)  # fmt: skip
def test_flags_of_the_processor(tmp_path: Path, text: str, expected: tuple[str | None, tuple[str, ...]]) -> None:
    file = tmp_path / "cpuinfo"
    file.write_text(text)
    name, flags = cpu(file)
    assert flags == expected[1]
    assert name == (expected[0] or name) != ""


def test_a_machine_that_does_not_say(tmp_path: Path) -> None:
    name, flags = cpu(tmp_path / "absent")
    assert name
    assert flags == ()
