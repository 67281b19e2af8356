"""A loss of 8 bits is put down to the layers that a spec can keep."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from engine_projects import of_nodes
from onnx import helper

from generator.engine.build.gate.blamed import at_layers
from generator.engine.validate.advice import advise
from generator.engine.validate.blame import LayerHarm


@pytest.fixture(scope="module")
def graph() -> onnx.ModelProto:
    """first → relu → second → pool → flat → third; each of the three has weights."""
    nodes = [
        helper.make_node("Conv", ["x", "w1"], ["a"], name="first", pads=[1] * 4),
        helper.make_node("Relu", ["a"], ["b"], name="relu"),
        helper.make_node("Conv", ["b", "w2"], ["c"], name="second", pads=[1] * 4),
        helper.make_node("GlobalAveragePool", ["c"], ["d"], name="pool"),
        helper.make_node("Flatten", ["d"], ["e"], name="flat"),
        helper.make_node("MatMul", ["e", "w3"], ["y"], name="third"),
    ]
    weights = {"w1": (2, 1, 3, 3), "w2": (2, 2, 3, 3), "w3": (2, 3)}
    arrays = {name: np.ones(shape, np.float32) for name, shape in weights.items()}
    return onnx.load_from_string(of_nodes(nodes, {"x": ["n", 1, 4, 4]}, {"y": ["n", 3]}, arrays))


def harm(node: str, operator: str, tensor: str, added: float) -> LayerHarm:
    return LayerHarm(node, operator, tensor, snr_db=3.0, before_db=40.0, added=added)


def test_an_activation_is_not_to_blame_but_the_layers_beside_it(graph: onnx.ModelProto) -> None:
    found = at_layers([harm("relu", "Relu", "b", 0.4)], graph, stay=())
    assert [(h.node, h.operator, h.added) for h in found] == [("first", "Conv", 0.2), ("second", "Conv", 0.2)]
    assert (found[0].snr_db, found[0].before_db) == (3.0, 40.0)


def test_what_stands_between_is_walked_through_but_not_past_a_layer(graph: onnx.ModelProto) -> None:
    for node, operator, tensor in (("pool", "GlobalAveragePool", "d"), ("flat", "Flatten", "e")):
        found = at_layers([harm(node, operator, tensor, 1.0)], graph, stay=())
        assert [h.node for h in found] == ["second", "third"]


def test_a_layer_that_stays_is_not_named_and_ends_the_walk(graph: onnx.ModelProto) -> None:
    assert [h.node for h in at_layers([harm("relu", "Relu", "b", 1.0)], graph, stay={"second"})] == ["first"]
    assert [h.node for h in at_layers([harm("pool", "GlobalAveragePool", "d", 1.0)], graph, stay={"second"})] == [
        "third"
    ]


def test_harms_of_a_layer_are_added_and_the_worst_layer_stands_first(graph: onnx.ModelProto) -> None:
    ranking = [harm("relu", "Relu", "b", 0.2), harm("flat", "Flatten", "e", 0.6), harm("third", "MatMul", "y", 0.1)]
    found = at_layers(ranking, graph, stay=())
    assert {h.node: pytest.approx(h.added) for h in found} == {"first": 0.1, "second": 0.4, "third": 0.4}
    assert sum(h.added for h in found) == pytest.approx(0.9)
    assert [h.added for h in found] == sorted((h.added for h in found), reverse=True)


def test_what_cannot_be_put_down_to_a_layer_stays_as_it_is(graph: onnx.ModelProto) -> None:
    ranking = [harm("other", "Add", "not in the graph", 1.0)]
    assert at_layers(ranking, graph, stay=()) == ranking
    assert at_layers([], graph, stay=()) == []


def test_the_advice_keeps_what_is_kept_already(graph: onnx.ModelProto) -> None:
    found = at_layers([harm("relu", "Relu", "b", 1.0)], graph, stay={"second"})
    [first, *_] = advise("int8", found, method="entropy", mixed=True, kept=["second"])
    assert first.yaml == 'build: {keep: {nodes: ["second", "first"]}}'
