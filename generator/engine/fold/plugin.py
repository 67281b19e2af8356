"""TensorRT's plugin EfficientNMS_TRT in the place of a suppression that is in the graph already."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import TYPE_CHECKING, Any

from generator.engine.fold.nms import PLUGIN_DOMAIN, PREFIX, Asked, Writer, efficient

if TYPE_CHECKING:
    import onnx

_NEVER = 0  # a length that only the standard operator's nodes need
# What the nodes that give the results take second: see nms.py.
_RESULTS = {f"{PREFIX}class": "label", f"{PREFIX}best": "score", f"{PREFIX}chosen": "boxes"}


def with_plugin(model: onnx.ModelProto) -> onnx.ModelProto:
    """A copy of `model` with the plugin where `add_nms` has put the standard operator; all outputs stay as they are.

    What was done to the rest of the graph since (casts, Q/DQ, nodes behind the detections) stays too. ONNX Runtime
    cannot run it. ValueError for a graph without such a suppression.
    """
    import onnx

    made = onnx.ModelProto()
    made.CopyFrom(model)
    graph = made.graph
    own = {index: node for index, node in enumerate(graph.node) if _is_own(node)}
    asked = _asked(graph, list(own.values()))
    results = _results(list(own.values()))
    others = [node for index, node in enumerate(graph.node) if index not in own]
    read_by = (at for at, node in enumerate(others) if set(node.input) & set(results.values()))
    place = next(read_by, len(others))
    del graph.node[:]
    graph.node.extend(others[:place])
    _drop_constants(graph, {name for node in own.values() for name in node.input})
    opset = next(entry.version for entry in made.opset_import if entry.domain in ("", "ai.onnx"))
    efficient(Writer(graph, [results[word] for word in ("boxes", "label", "score", "count")], opset), asked)
    graph.node.extend(others[place:])
    made.opset_import.append(onnx.helper.make_opsetid(PLUGIN_DOMAIN, 1))
    kept = [value for value in graph.value_info if not value.name.startswith(PREFIX)]
    del graph.value_info[:]
    graph.value_info.extend(kept)
    return made


def _is_own(node: onnx.NodeProto) -> bool:
    """Whether `add_nms` has made it: others that begin with the prefix are called after a tensor."""
    return node.name.startswith(f"{PREFIX}{node.op_type}/")


def _asked(graph: onnx.GraphProto, own: Collection[onnx.NodeProto]) -> Asked:
    """What the suppression was asked for, as its nodes and constants say."""
    from onnx import numpy_helper

    nodes = {node.op_type: node for node in own}
    if "NonMaxSuppression" not in nodes:
        raise ValueError("the graph has no suppression that was folded into it")
    constants: dict[str, Any] = {tensor.name: numpy_helper.to_array(tensor) for tensor in graph.initializer}
    boxes, _, most, iou_threshold, score_threshold = nodes["NonMaxSuppression"].input
    per_class = "ArgMax" not in nodes
    # Behind it, or behind the search for an anchor's best class.
    first = f"{PREFIX}scores_by_class" if per_class else f"{PREFIX}above"
    scores = next(str(node.input[0]) for node in own if first in node.output)
    return Asked(
        boxes, scores, _NEVER, _NEVER, int(constants[most][0]), float(constants[iou_threshold][0]),
        float(constants[score_threshold][0]), per_class,
    )  # fmt: skip


def _results(own: Collection[onnx.NodeProto]) -> Mapping[str, str]:
    """What the four outputs are called now: boxes, label, score, count."""
    ends = [node for node in own if node.op_type == "Where" and node.input[1] in _RESULTS]
    found = {_RESULTS[node.input[1]]: str(node.output[0]) for node in ends}
    return {**found, "count": next(str(node.output[0]) for node in own if node.op_type == "ReduceSum")}


def _drop_constants(graph: onnx.GraphProto, read: Collection[str]) -> None:
    kept = [tensor for tensor in graph.initializer if tensor.name not in read or not tensor.name.startswith(PREFIX)]
    del graph.initializer[:]
    graph.initializer.extend(kept)
