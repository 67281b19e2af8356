"""What TensorRT's EfficientNMS_TRT does, in numpy: graphs with the plugin run here in ONNX Runtime on both sides of it.

Written from the plugin's published behaviour: scores at or above the threshold are candidates, the order of equal ones
is anybody's guess, boxes that overlap by the threshold or more go, and beyond the count is whatever was there.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper

from generator.engine.runner import OnnxRunner

Array = np.ndarray[Any, Any]
RUBBISH = -7.0
MOST_CANDIDATES = 4096


class PluginRunner:
    """A Runner of a graph with one plugin node; every run draws the order of equals anew."""

    def __init__(self, graph: bytes, seed: int = 0) -> None:
        model = onnx.load_model_from_string(graph)
        [index] = [at for at, node in enumerate(model.graph.node) if node.op_type == "EfficientNMS_TRT"]
        node = model.graph.node[index]
        self.settings = {a.name: helper.get_attribute_value(a) for a in node.attribute}
        self.takes, self.gives = list(node.input), list(node.output)
        self.given: dict[str, Array] = {}
        self._random = np.random.default_rng(seed)
        del model.graph.node[index]
        self._outputs = [value.name for value in model.graph.output]
        head = _part(model, list(model.graph.input), _tensors(self.takes, "ff"))
        tail = _part(model, _tensors(self.gives, "iffi"), list(model.graph.output))
        self._head, self._tail = (OnnxRunner(part, threads=1) for part in (head, tail))

    def run(self, tensors: dict[str, Array]) -> dict[str, Array]:
        """All outputs of the graph."""
        self.given = self._head.run(tensors)
        boxes, scores = (self.given[name] for name in self.takes)
        assert boxes.dtype == scores.dtype == np.float32
        made = [self._item(*pair) for pair in zip(boxes, scores, strict=True)]
        found = {name: np.stack([one[at] for one in made]) for at, name in enumerate(self.gives)}
        answers = self._tail.run(found)
        return {name: answers[name] for name in self._outputs}

    def close(self) -> None:
        """Both sides."""
        self._head.close()
        self._tail.close()

    def _item(self, boxes: Array, scores: Array) -> tuple[Array, ...]:
        s = self.settings
        most, classes = s["max_output_boxes"], scores.shape[1]
        flat = scores.reshape(-1)
        places = np.flatnonzero(flat >= np.float32(s["score_threshold"]))
        self._random.shuffle(places)
        places = places[np.argsort(-flat[places], kind="stable")][:MOST_CANDIDATES]
        chosen: list[int] = []
        for place in places:
            rivals = [c for c in chosen if s.get("class_agnostic") or c % classes == place % classes]
            overlaps = _overlaps(boxes[place // classes], boxes[np.array(rivals, int) // classes])
            if (overlaps < np.float32(s["iou_threshold"])).all():
                chosen.append(int(place))
            if len(chosen) == most:
                break
        count = len(chosen)
        out = np.full((most, 4), RUBBISH, np.float32), np.full(most, RUBBISH, np.float32), np.full(most, -7, np.int32)
        out[0][:count], out[1][:count] = boxes[np.array(chosen, int) // classes], flat[chosen]
        out[2][:count] = np.array(chosen, int) % classes
        return np.array([count], np.int32), *out


def _overlaps(box: Array, others: Array) -> Array:
    """Intersection over union of one box with others [n, 4], in FP32."""
    (a0, a1), (b0, b1) = (
        (np.minimum(x[..., :2], x[..., 2:]), np.maximum(x[..., :2], x[..., 2:])) for x in (box, others)
    )
    common = np.maximum(np.minimum(a1, b1) - np.maximum(a0, b0), 0).prod(axis=-1)
    together = (a1 - a0).prod() + (b1 - b0).prod(axis=-1) - common
    shares: Array = np.divide(common, together, out=np.zeros_like(common), where=(common > 0) & (together > 0))
    return shares


Values = Sequence[onnx.ValueInfoProto]


def _part(model: onnx.ModelProto, inputs: Values, outputs: Values) -> bytes:
    """The nodes between some tensors and others, as a graph of its own."""
    needed, nodes = {value.name for value in outputs}, []
    for node in reversed(model.graph.node):
        if needed & set(node.output):
            needed |= set(node.input)
            nodes.append(node)
    constants = [tensor for tensor in model.graph.initializer if tensor.name in needed]
    graph = helper.make_graph(nodes[::-1], "part", inputs, outputs, constants)
    opsets = [entry for entry in model.opset_import if entry.domain != "TRT"]
    made = helper.make_model(graph, opset_imports=opsets, ir_version=model.ir_version)
    return bytes(made.SerializeToString())


def _tensors(names: Sequence[str], kinds: str) -> list[onnx.ValueInfoProto]:
    """FP32 (f) or INT32 (i) of any shape."""
    types = {"f": TensorProto.FLOAT, "i": TensorProto.INT32}
    return [helper.make_tensor_value_info(name, types[kind], None) for name, kind in zip(names, kinds, strict=True)]
