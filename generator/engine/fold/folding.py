"""Steps before and after an engine as nodes of its graph: the graph takes what the first step takes, and gives what
the last one gives."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from onnx import GraphProto, ModelProto, ValueInfoProto

from generator.engine.errors import Finding, StageError
from generator.engine.fold.graph import (
    ELEMENTS,
    Nodes,
    Value,
    check_opset,
    free,
    info_of,
    names_in,
    opset_of,
    rename,
    value_of,
)
from generator.engine.fold.nms import add_nms
from generator.engine.fold.operators import apply, as_type, first_cast, top_k

# Names and parameters, as tritonkit.json has them.
Steps = Sequence[tuple[str, Mapping[str, Any]]]


@dataclass(frozen=True)
class Before:
    """What is done to an input, and what it then is: `dtype` in Triton's words, `dims` of one item, -1 for any."""

    dtype: str
    dims: tuple[int, ...]
    steps: Steps


@dataclass(frozen=True)
class Folded:
    """The graph with the steps in it.

    Inputs keep their names, and so do outputs, but what `top_k` and `nms` give: `outputs` has the names of its two
    (indices, scores) by that of the output which it takes the place of, and of its four (boxes, label, score, count)
    by that of the boxes.
    """

    model: ModelProto
    outputs: Mapping[str, tuple[str, ...]] = field(default_factory=dict)


def fold(
    model: ModelProto, before: Mapping[str, Before], after: Mapping[str, Steps], *, batched: bool = True,
    nms: Mapping[str, Any] | None = None,
) -> Folded:  # fmt: skip
    """`model` with steps in front of some inputs and behind some outputs, by name; the model itself stays as it is.

    `batched` says that the first axis of every tensor is the batch, which steps leave alone. Indices of a `top_k` are
    INT64; with `labels`, which need a step outside, INT32. `nms` has the parameters of that step, and names outputs
    under `boxes` and `scores`; with `labels` it gives INT32 too, and -1 where there is no detection. Weights, other
    tensors, the opset and names of nodes stay as they are; the same arguments give the same bytes
    (`SerializeToString(deterministic=True)`).

    Raises StageError: the opset is too old, a tensor is input and output at once, or `nms` does not suit the graph.
    """
    changed = ModelProto()
    changed.CopyFrom(model)
    graph = changed.graph
    opset = opset_of(changed)
    check_opset(opset)
    taken = names_in(graph)
    _check_ends(graph, {*before, *after})
    for info in graph.input:
        if info.name in before:
            _fold_input(graph, info, before[info.name], Nodes(info.name, opset, taken, batched))
    outputs: dict[str, tuple[str, ...]] = {}
    given: list[ValueInfoProto] = []
    kept = {info.name for info in (*graph.input, *graph.output)}
    for info in graph.output:
        made = _fold_output(graph, info, after.get(info.name, ()), Nodes(info.name, opset, taken, batched), kept)
        given += [info_of(value) for value in made] or [_copy(info)]
        if len(made) == 2:
            outputs[info.name] = (made[0].name, made[1].name)
    del graph.output[:]
    graph.output.extend(given)
    if nms is not None:
        changed, names = _with_nms(changed, nms)
        outputs[str(nms["boxes"])] = names
    return Folded(changed, outputs)


def _with_nms(model: ModelProto, parameters: Mapping[str, Any]) -> tuple[ModelProto, tuple[str, ...]]:
    """The graph with the suppression behind it, and the names of its four outputs."""
    boxes, scores, most = str(parameters["boxes"]), str(parameters["scores"]), int(parameters["max_detections"])
    labels = parameters.get("labels") is not None
    kept = {info.name for info in (*model.graph.input, *model.graph.output)} - {boxes, scores}
    label = str(parameters["label_output"]) + ("_index" if labels else "")
    wanted = (parameters["boxes_output"], label, parameters["score_output"], parameters["count_output"])
    names = tuple(free(str(name), kept) for name in wanted)
    try:
        made = add_nms(
            model, boxes, scores, max_detections=most, iou_threshold=parameters["iou_threshold"],
            score_threshold=parameters["score_threshold"], per_class=parameters["per_class"], style="standard",
            outputs=names,
        )  # fmt: skip
    except ValueError as error:
        raise StageError(Finding("TK923", f"`nms` cannot be folded: {error}", "use `layout: ensemble`")) from error
    if labels:
        _mark_none(made, names[1], names[3], most)
    return made, names


def _mark_none(model: ModelProto, label: str, count: str, most: int) -> None:
    """Makes INT32 of the classes [batch, most], and -1 of those beyond the count [batch, 1]."""
    graph, opset = model.graph, opset_of(model)
    taken = names_in(graph)
    nodes = Nodes("nms_label", opset, taken)
    inner = free(f"{label}_before", taken)
    rename(graph, label, inner)
    places = nodes.constant("places", range(most), "INT32")
    none = nodes.constant("none", [-1], "INT32", scalar=True)
    number = nodes.add("Cast", [inner], to=ELEMENTS["INT32"])
    nodes.add("Where", [nodes.add("Less", [places, count]), number, none])
    nodes.nodes[-1].output[0] = label
    graph.node.extend(nodes.nodes)
    graph.initializer.extend(nodes.constants)
    for info in graph.output:
        if info.name == label:
            info.type.tensor_type.elem_type = ELEMENTS["INT32"]


def _check_ends(graph: GraphProto, names: set[str]) -> None:
    made = {name for node in graph.node for name in node.output}
    through = sorted({info.name for info in graph.output if info.name not in made} & names)
    if through:
        raise StageError(
            Finding(
                "TK923",
                f"the graph gives `{through[0]}` without computing it, so no step can be folded there",
                "put an Identity in front of the output, or use `layout: ensemble`",
            )
        )


def _fold_input(graph: GraphProto, info: ValueInfoProto, before: Before, nodes: Nodes) -> None:
    old = value_of(info)
    axes = tuple(length if length >= 0 else f"{info.name}_{axis}" for axis, length in enumerate(before.dims))
    value = Value(info.name, before.dtype, (*old.dims[:1], *axes) if nodes.batched else axes)
    info.CopyFrom(info_of(value))
    if value.dtype == "UINT8" and (wanted := first_cast(before.steps)) is not None:
        value = as_type(nodes, value, wanted)
    for step, parameters in before.steps:
        value = apply(nodes, step, parameters, value)
    if value.name != info.name:
        rename(graph, info.name, value.name)
    own = list(graph.node)
    del graph.node[:]
    graph.node.extend([*nodes.nodes, *own])
    graph.initializer.extend(nodes.constants)


def _fold_output(graph: GraphProto, info: ValueInfoProto, steps: Steps, nodes: Nodes, kept: set[str]) -> list[Value]:
    """The values that take the place of the output; none where it stays. `kept` are the names outside the graph."""
    value = value_of(info) if steps else None
    if value is None:
        return []
    ending = steps[-1][1] if steps[-1][0] == "top_k" else None
    for step, parameters in steps if ending is None else steps[:-1]:
        value = apply(nodes, step, parameters, value)
    made = [value] if ending is None else [*top_k(nodes, int(ending["k"]), value)]
    if ending is not None and ending.get("labels") is not None:
        made[0] = as_type(nodes, made[0], "INT32")
    graph.node.extend(nodes.nodes)
    graph.initializer.extend(nodes.constants)
    if ending is not None:
        label, score = str(ending["label_output"]), str(ending["score_output"])
        wanted = [f"{label}_index" if made[0].dtype == "INT32" else label, score]
        names = [_free_up(graph, name, nodes.taken, kept) for name in wanted]
    elif value.name != info.name:
        # The value that had the output's name gives it up, wherever it is used.
        rename(graph, info.name, free(f"{info.name}_before", nodes.taken))
        names = [info.name]
    else:
        return []  # the steps do nothing
    for old, new in zip(made, names, strict=True):
        rename(graph, old.name, new)
    return [Value(new, old.dtype, old.dims) for old, new in zip(made, names, strict=True)]


def _free_up(graph: GraphProto, name: str, taken: set[str], kept: set[str]) -> str:
    """The name for a new output; a value inside gives it up, another input or output keeps it."""
    if name in kept:
        name = free(name, taken)
    elif name in taken:
        rename(graph, name, free(f"{name}_before", taken))
    taken.add(name)
    kept.add(name)
    return name


def _copy(info: ValueInfoProto) -> ValueInfoProto:
    copied = ValueInfoProto()
    copied.CopyFrom(info)
    return copied
