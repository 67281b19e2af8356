"""The model that finds readers and weights by name leaves the same graph as the library's own."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import numpy as np
import onnx
import pytest
from lowering_graphs import graph
from onnx import helper, numpy_helper
from onnxruntime.quantization import qdq_quantizer
from onnxruntime.quantization.onnx_model import ONNXModel
from onnxruntime.quantization.quant_utils import find_by_name

from generator.engine.precision import indexed_model, quantize
from generator.engine.precision.indexed_model import IndexedModel

MODELS = Path(__file__).resolve().parents[4] / "models"


def model() -> onnx.ModelProto:
    return graph(
        "(float[2] x) => (float[2] y) { a = Add(x, w) b = Add(a, a) c = Mul(a, b) d = Sub(w, c) y = Add(d, v) }",
        w=np.ones(2, np.float32), v=np.zeros(2, np.float32),
    )  # fmt: skip


def weight(name: str, value: float) -> onnx.TensorProto:
    return numpy_helper.from_array(np.full(2, value, np.float32), name)


def change(made: ONNXModel, random: np.random.Generator, step: int) -> None:
    """One of the methods that QDQQuantizer uses."""
    old, new = (str(name) for name in random.choice([*"xabcdwv", *(f"t{i}" for i in range(step))], 2))
    names = {f"n{i}" for i in random.integers(0, 9, 4)}
    node = made.nodes()[int(random.integers(len(made.nodes())))]
    [
        lambda: made.replace_input_of_all_nodes(old, new),
        lambda: made.replace_input_of_nodes(old, new, names),
        lambda: made.replace_output_of_all_nodes(old, new),
        lambda: made.remove_node(node) if step % 4 == 0 else None,
        lambda: made.replace_node_input(node, old, new),
        lambda: made.add_nodes([helper.make_node("Add", [old, new], [f"t{step}"], f"n{step}")]),
        lambda: made.add_initializer(weight(old, step)),
        lambda: made.initializer_extend([weight(f"t{step}", step)]),
        lambda: made.remove_initializer(made.get_initializer(old) or weight(old, -1)),
    ][int(random.integers(9))]()


def changed(made: ONNXModel, seed: int) -> bytes:
    """After many changes, which `seed` decides."""
    random = np.random.default_rng(seed)
    for number, node in enumerate(made.nodes()):
        node.name = f"n{number}"
    for step in range(40):
        change(made, random, step)
        assert [one.name for one in made.initializer()] == [one.name for one in made.model.graph.initializer]
        for name in ("x", "a", "w", "v", "", f"t{step - 1}", f"t{step}"):
            right = ONNXModel.input_name_to_nodes(made).get(name, [])
            assert sorted(map(repr, made.input_name_to_nodes().get(name, []))) == sorted(map(repr, right))
            weight_of_name = find_by_name(name, made.model.graph.initializer)
            assert qdq_quantizer.find_by_name(name, made.initializer()) == weight_of_name
    return bytes(made.model.SerializeToString(deterministic=True))


@pytest.mark.parametrize("seed", range(30))
def test_the_same_graph_comes_out(seed: int) -> None:
    assert changed(IndexedModel(model()), seed) == changed(ONNXModel(model()), seed)


@pytest.mark.parametrize("engine", ["onnxruntime", "tensorrt"])
@pytest.mark.parametrize("name", ["digits", "detector"])
def test_models_are_quantised_as_the_library_alone_does(
    name: str, engine: Literal["onnxruntime", "tensorrt"], monkeypatch: pytest.MonkeyPatch
) -> None:
    given = onnx.load(MODELS / f"{name}.onnx")
    tensors = [*(value.name for value in given.graph.input), *(n for node in given.graph.node for n in node.output)]
    ranges = {tensor: (-1.0 - place, 2.0 + place) for place, tensor in enumerate(tensors)}
    ours = quantize(given, ranges, for_engine=engine)
    monkeypatch.setattr(indexed_model, "IndexedQuantizer", qdq_quantizer.QDQQuantizer)
    monkeypatch.setattr(qdq_quantizer, "find_by_name", find_by_name)
    alone = quantize(given, ranges, for_engine=engine)
    assert ours.SerializeToString(deterministic=True) == alone.SerializeToString(deterministic=True)


@pytest.mark.parametrize("engine", ["onnxruntime", "tensorrt"])
def test_the_library_looks_at_the_graph_in_the_order_that_the_model_is_changed_by(
    engine: Literal["onnxruntime", "tensorrt"], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its own model is made, nothing is done to that, and from the one call of adjust_tensor_ranges on ours is used."""
    given = onnx.load(MODELS / "digits.onnx")
    made: list[str] = []
    graphs: list[onnx.GraphProto] = []

    def noted(self: ONNXModel, of: onnx.ModelProto) -> None:
        made.append(type(self).__name__)
        graphs.append(onnx.GraphProto.FromString(of.graph.SerializeToString()))
        created(self, of)

    created = ONNXModel.__init__
    monkeypatch.setattr(ONNXModel, "__init__", noted)
    tensors = [*(value.name for value in given.graph.input), *(n for node in given.graph.node for n in node.output)]
    quantize(given, dict.fromkeys(tensors, (-1.0, 2.0)), for_engine=engine)
    assert made == ["ONNXModel", "IndexedModel"]
    assert graphs[0] == graphs[1]


def test_ranges_that_are_adjusted_twice_are_another_version_of_the_library() -> None:
    quantizer = indexed_model.IndexedQuantizer.__new__(indexed_model.IndexedQuantizer)
    quantizer.model, quantizer.tensors_range = ONNXModel(model()), None
    quantizer.adjust_tensor_ranges()
    assert isinstance(quantizer.model, IndexedModel)
    with pytest.raises(RuntimeError, match="adjusts ranges twice"):
        quantizer.adjust_tensor_ranges()
