"""Non-maximum suppression inside the graph: by ONNX's own operator, or by TensorRT's plugin EfficientNMS_TRT."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    import onnx

Style = Literal["standard", "efficient"]
OUTPUTS = ("boxes", "label", "score", "count")
PREFIX = "nms/"  # of the names of all that is added
PLUGIN, PLUGIN_DOMAIN = "EfficientNMS_TRT", "TRT"


@dataclass(frozen=True)
class Asked:
    """What `add_nms` was asked for; `anchors` and `classes` are the lengths in the graph."""

    boxes: str
    scores: str
    anchors: int
    classes: int
    most: int
    iou_threshold: float
    score_threshold: float
    per_class: bool


def add_nms(
    model: onnx.ModelProto, boxes: str, scores: str, *, max_detections: int, iou_threshold: float,
    score_threshold: float, style: Style, per_class: bool = True, outputs: Sequence[str] = OUTPUTS,
) -> onnx.ModelProto:  # fmt: skip
    """A copy of `model` in which detections take the place of its outputs `boxes` and `scores`, of FP32.

    `boxes` is [batch, anchors, 4] of two opposite corners, `scores` [batch, anchors, classes]; how many anchors and
    classes there are must be known. `outputs` names what comes instead, k being `max_detections`: boxes FP32
    [batch, k, 4], label INT64 [batch, k], score FP32 [batch, k], count INT32 [batch, 1]; best first, then zeros, as
    the step `nms` gives them.

    `standard` gives exactly what the step gives, anywhere. `efficient` only TensorRT can parse (its checks here are
    those of the rest of the graph); its plugin orders equal scores as it likes, looks at the 4096 best candidates of
    an item, and needs corners in order (x0 <= x1, y0 <= y1). Other outputs stay. ValueError for a graph without such
    outputs, or with an opset before 13.
    """
    import onnx

    made = onnx.ModelProto()
    made.CopyFrom(model)
    if (opset := next((o.version for o in made.opset_import if o.domain in ("", "ai.onnx")), 0)) < 13:
        raise ValueError(f"the graph has opset {opset}; suppression needs 13 or later")
    first, second = (_taken(made.graph, name) for name in (boxes, scores))
    (anchors, sides), (same, classes) = _lengths(first), _lengths(second)
    if sides != 4 or anchors != same:
        raise ValueError(
            f"`{boxes}` is [batch, {anchors}, {sides}] and `{scores}` [batch, {same}, {classes}]; suppression takes "
            "[batch, anchors, 4] and [batch, anchors, classes]"
        )
    other = _out_of_the_way(made.graph, outputs)
    asked = Asked(
        other.get(boxes, boxes), other.get(scores, scores), anchors, classes, max_detections, iou_threshold,
        score_threshold, per_class,
    )  # fmt: skip
    graph = Writer(made.graph, outputs, opset)
    if style == "standard":
        _standard(graph, asked)
    else:
        efficient(graph, asked)
        made.opset_import.append(onnx.helper.make_opsetid(PLUGIN_DOMAIN, 1))
    _declare(made.graph, first, max_detections, outputs)
    return made


def _taken(graph: onnx.GraphProto, name: str) -> onnx.ValueInfoProto:
    """Takes the output `name` off the graph's outputs."""
    import onnx

    for value in graph.output:
        if value.name == name:
            taken = onnx.ValueInfoProto()
            taken.CopyFrom(value)
            graph.output.remove(value)
            return taken
    there = ", ".join(f"`{value.name}`" for value in graph.output)
    raise ValueError(f"the graph has no output `{name}`; it has {there}")


def _lengths(value: onnx.ValueInfoProto) -> tuple[int, int]:
    """The last two lengths of FP32 [batch, a, b]."""
    import onnx

    kind = value.type.tensor_type
    dims = [dim.dim_value for dim in kind.shape.dim]
    if kind.elem_type != onnx.TensorProto.FLOAT or len(dims) != 3 or min(dims[1:]) < 1:
        raise ValueError(f"`{value.name}` must be FP32 [batch, a, b] with known a and b")
    return dims[1], dims[2]


def _out_of_the_way(graph: onnx.GraphProto, outputs: Sequence[str]) -> dict[str, str]:
    """Gives tensors of the graph that have the new outputs' names other ones: old name → new."""
    kept = {value.name for value in (*graph.input, *graph.output)}
    if taken := sorted(kept & set(outputs)):
        raise ValueError(f"the graph has a tensor `{taken[0]}` already; name the output of the suppression otherwise")
    other = {name: f"{PREFIX}before/{name}" for name in outputs}
    _rename(graph, other)
    return other


def _rename(graph: onnx.GraphProto, other: Mapping[str, str]) -> None:
    """In the graph and those inside its nodes, which see its tensors."""
    for value in (*graph.value_info, *graph.output):
        value.name = other.get(value.name, value.name)
    for constant in graph.initializer:
        constant.name = other.get(constant.name, constant.name)
    for node in graph.node:
        node.input[:] = [other.get(name, name) for name in node.input]
        node.output[:] = [other.get(name, name) for name in node.output]
        for attribute in node.attribute:
            for inside in (*attribute.graphs, *([attribute.g] if attribute.HasField("g") else [])):
                _rename(inside, other)


class Writer:
    """Adds nodes and constants under the prefix; the new outputs have the names that were asked for."""

    def __init__(self, graph: onnx.GraphProto, outputs: Sequence[str], opset: int) -> None:
        self.graph, self.opset = graph, opset
        self.boxes, self.label, self.score, self.count = outputs
        self._constants: set[str] = set()

    def constant(self, name: str, value: Any, dtype: str) -> str:
        """An initializer `value` of numpy's `dtype`; the name of the tensor."""
        import numpy as np
        from onnx import numpy_helper

        full = PREFIX + name
        if full not in self._constants:
            self.graph.initializer.append(numpy_helper.from_array(np.array(value, dtype), full))
            self._constants.add(full)
        return full

    def node(self, operator: str, inputs: Sequence[str], *outputs: str, domain: str = "", **attributes: Any) -> str:
        """A node; the name of its first output."""
        from onnx import helper

        name = f"{PREFIX}{operator}/{outputs[0].removeprefix(PREFIX)}"
        self.graph.node.append(helper.make_node(operator, inputs, outputs, name=name, domain=domain, **attributes))
        return outputs[0]

    def inner(self, operator: str, inputs: Sequence[str], output: str, **attributes: Any) -> str:
        """A node whose output is nobody else's business; its name."""
        return self.node(operator, inputs, PREFIX + output, **attributes)


def _standard(g: Writer, asked: Asked) -> None:
    """NonMaxSuppression, whose rows (item, class, anchor) mark places in [batch, classes, anchors]; then a TopK.

    The places are in the order class, anchor, and TopK takes the first of equals: so the result's order depends on
    scores and places alone, and rows of unlike numbers an item need no counting.
    """
    classes = asked.classes if asked.per_class else 1
    scores, label = _by_class(g, asked)
    rows = g.inner("NonMaxSuppression", [
        asked.boxes, scores, g.constant("most_per_class", [asked.most], "int64"),
        g.constant("iou_threshold", [asked.iou_threshold], "float32"),
        g.constant("score_threshold", [asked.score_threshold], "float32"),
    ], "rows")  # fmt: skip
    lowest, zero = g.constant("lowest", float("-inf"), "float32"), g.constant("zero", 0, "float32")
    nothing = g.inner("Expand", [lowest, g.inner("Shape", [scores], "shape")], "nothing")
    kept = g.inner("ScatterND", [nothing, rows, g.inner("GatherND", [scores, rows], "row_scores")], "kept")
    places = g.inner("Reshape", [kept, g.constant("one_row", [0, -1], "int64")], "places")
    if (length := classes * asked.anchors) < asked.most:
        more = g.constant("more", [0, 0, 0, asked.most - length], "int64")
        places = g.inner("Pad", [places, more, lowest], "padded_places")
    best, place = PREFIX + "best", PREFIX + "place"
    g.node("TopK", [places, g.constant("most", [asked.most], "int64")], best, place, axis=1, largest=1, sorted=1)
    real = g.inner("Greater", [best, lowest], "real")
    anchors = g.constant("anchors", asked.anchors, "int64")
    anchor = g.inner("Mod", [place, anchors], "anchor")
    none = g.constant("none", 0, "int64")
    if asked.per_class:
        found = g.inner("Div", [place, anchors], "class")
    else:
        found = g.inner("GatherElements", [label, anchor], "class", axis=1)
    g.node("Where", [real, found, none], g.label)
    g.node("Where", [real, best, zero], g.score)
    last = g.constant("last", [2], "int64")
    corners = g.inner("Expand", [g.inner("Unsqueeze", [anchor, last], "anchor_column"),
                                 g.constant("corners", [1, 1, 4], "int64")], "anchor_corners")  # fmt: skip
    chosen = g.inner("GatherElements", [asked.boxes, corners], "chosen", axis=1)
    g.node("Where", [g.inner("Unsqueeze", [real, last], "real_column"), chosen, zero], g.boxes)
    number = g.inner("Cast", [real], "real_number", to=6)  # INT32
    g.node("ReduceSum", [number, g.constant("along", [1], "int64")], g.count, keepdims=1)


def _by_class(g: Writer, asked: Asked) -> tuple[str, str]:
    """Scores as the operator wants them, [batch, classes, anchors]; else those of the best class and which it is."""
    if asked.per_class:
        return g.inner("Transpose", [asked.scores], "scores_by_class", perm=[0, 2, 1]), ""
    threshold = g.constant("score_threshold", [asked.score_threshold], "float32")
    # A NaN is nobody's best.
    eligible = g.inner("Where", [g.inner("Greater", [asked.scores, threshold], "above"), asked.scores,
                                 g.constant("lowest", float("-inf"), "float32")], "eligible")  # fmt: skip
    label = g.inner("ArgMax", [eligible], "best_class", axis=2, keepdims=0)
    if g.opset < 18:  # from there on the axes are an input
        best = g.inner("ReduceMax", [eligible], "best_score", axes=[2], keepdims=0)
    else:
        best = g.inner("ReduceMax", [eligible, g.constant("last", [2], "int64")], "best_score", keepdims=0)
    return g.inner("Unsqueeze", [best, g.constant("first", [1], "int64")], "scores_by_class"), label


def efficient(g: Writer, asked: Asked) -> None:
    """TensorRT's plugin, held to what the standard operator means.

    It drops what overlaps by the threshold or more, so that it gets the next number above. What it leaves beyond its
    count is anything, and of scores below 0.007 it also counts what is not above the threshold: none of it is real.
    """
    import numpy as np

    raw = {name: PREFIX + f"raw_{name}" for name in ("count", "boxes", "score", "label")}
    above = float(np.nextafter(np.float32(asked.iou_threshold), np.float32(2)))
    settings: dict[str, Any] = {
        "plugin_version": "1", "background_class": -1, "box_coding": 0, "score_activation": 0,
        "max_output_boxes": asked.most, "iou_threshold": above, "score_threshold": float(asked.score_threshold),
    }  # fmt: skip
    if not asked.per_class:
        # An anchor's classes have one box: they must not pass as boxes that overlap no more than wholly.
        settings |= {"class_agnostic": 1, "iou_threshold": min(above, 1.0)}
    g.node(PLUGIN, [asked.boxes, asked.scores], *raw.values(), domain=PLUGIN_DOMAIN, **settings)
    place = g.constant("place", [list(range(asked.most))], "int32")
    threshold = g.constant("score_threshold", asked.score_threshold, "float32")
    counted = g.inner("Less", [place, raw["count"]], "counted")
    real = g.inner("And", [counted, g.inner("Greater", [raw["score"], threshold], "better")], "real")
    number = g.inner("Cast", [real], "real_number", to=6)  # INT32
    g.node("ReduceSum", [number, g.constant("along", [1], "int64")], g.count, keepdims=1)
    g.node("Where", [real, raw["score"], g.constant("zero", 0, "float32")], g.score)
    label = g.inner("Where", [real, raw["label"], g.constant("none", 0, "int32")], "label")
    g.node("Cast", [label], g.label, to=7)  # INT64
    column = g.inner("Unsqueeze", [real, g.constant("last", [2], "int64")], "real_column")
    g.node("Where", [column, raw["boxes"], g.constant("zero", 0, "float32")], g.boxes)


def _declare(graph: onnx.GraphProto, first: onnx.ValueInfoProto, most: int, outputs: Sequence[str]) -> None:
    """The detections become outputs, in front of the others; their batch axis is that of `first`."""
    from onnx import TensorProto, helper

    axis = first.type.tensor_type.shape.dim[0]
    batch: Any = axis.dim_param or (axis.dim_value if axis.HasField("dim_value") else None)
    kinds = ((TensorProto.FLOAT, [most, 4]), (TensorProto.INT64, [most]), (TensorProto.FLOAT, [most]),
             (TensorProto.INT32, [1]))  # fmt: skip
    others = list(graph.output)
    del graph.output[:]
    graph.output.extend(
        helper.make_tensor_value_info(name, dtype, [batch, *dims])
        for name, (dtype, dims) in zip(outputs, kinds, strict=True)
    )
    graph.output.extend(others)
