"""What the ways of lowering a graph share: named nodes, weights as initialisers, types of all tensors."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from generator.engine.errors import Finding, StageError

if TYPE_CHECKING:
    import numpy as np
    import onnx

    Array = np.ndarray[Any, Any]

_WEIGHTS_ALONE = 4  # the first IR version in which a weight need not be an input too


def tidy(model: onnx.ModelProto) -> onnx.ModelProto:
    """A copy in which every node has a name of its own, local functions are inlined, and constants are initialisers.

    Names that the graph has are kept; a node without one is called after its first output.
    """
    import onnx
    from onnx import inliner

    copy = onnx.ModelProto()
    copy.CopyFrom(inliner.inline_local_functions(model) if model.functions else model)
    copy.ir_version = max(copy.ir_version, _WEIGHTS_ALONE)
    _lift_constants(copy.graph)
    _name_nodes(copy.graph)
    return copy


def _lift_constants(graph: onnx.GraphProto) -> None:
    from onnx import numpy_helper

    outputs = {value.name for value in graph.output}
    kept = []
    for node in graph.node:
        value = _constant(node) if node.op_type == "Constant" and node.output[0] not in outputs else None
        if value is None:
            kept.append(node)
        else:
            graph.initializer.append(numpy_helper.from_array(value, node.output[0]))
    del graph.node[:]
    graph.node.extend(kept)


def _constant(node: onnx.NodeProto) -> Array | None:
    """The numbers of a Constant node; None when it holds text or a sparse tensor."""
    import numpy as np
    from onnx import helper, numpy_helper

    [attribute] = node.attribute
    if attribute.name == "value":
        return numpy_helper.to_array(attribute.t)
    if attribute.name in ("value_float", "value_floats"):
        return np.array(helper.get_attribute_value(attribute), np.float32)
    if attribute.name in ("value_int", "value_ints"):
        return np.array(helper.get_attribute_value(attribute), np.int64)
    return None


def _name_nodes(graph: onnx.GraphProto) -> None:
    taken: set[str] = set()
    for node in graph.node:
        wanted = node.name or next((name for name in node.output if name), node.op_type)
        node.name = fresh(wanted, taken)


def fresh(wanted: str, taken: set[str]) -> str:
    """`wanted`, or the first of `wanted_2`, `wanted_3`, … that is not taken; it is taken then."""
    name, number = wanted, 1
    while name in taken:
        number += 1
        name = f"{wanted}_{number}"
    taken.add(name)
    return name


def tensor_names(graph: onnx.GraphProto) -> set[str]:
    """Every tensor of the graph, its branches too."""
    return {
        name
        for inner in all_graphs(graph)
        for name in (
            *(value.name for value in (*inner.input, *inner.output)),
            *(weight.name for weight in inner.initializer),
            *(name for node in inner.node for name in (*node.input, *node.output)),
        )
    }


def all_graphs(graph: onnx.GraphProto) -> Iterator[onnx.GraphProto]:
    """The graph, and those inside its nodes."""
    yield graph
    for node in graph.node:
        for inner in subgraphs(node):
            yield from all_graphs(inner)


def subgraphs(node: onnx.NodeProto) -> list[onnx.GraphProto]:
    """The branches of If, the body of Loop and Scan."""
    found = [attribute.g for attribute in node.attribute if attribute.HasField("g")]
    return found + [graph for attribute in node.attribute for graph in attribute.graphs]


def captured(node: onnx.NodeProto) -> list[str]:
    """Tensors of the graph around it that the branches of `node` read, each once."""
    names: dict[str, None] = {}
    for inner in subgraphs(node):
        own = {value.name for value in inner.input} | {weight.name for weight in inner.initializer}
        own |= {name for child in inner.node for name in child.output}
        reads = [name for child in inner.node for name in (*child.input, *captured(child))]
        names.update(dict.fromkeys(n for n in (*reads, *(v.name for v in inner.output)) if n and n not in own))
    return list(names)


def element_types(model: onnx.ModelProto) -> dict[str, int]:
    """Tensor → onnx.TensorProto's number of its type, of the outer graph.

    Shape inference does not know other domains' operators; ONNX Runtime does know its own, and is asked then.
    Sequences and the like are left out. Raises StageError (TK932) when a type stays unknown.
    """
    from onnx import shape_inference

    types = _declared(shape_inference.infer_shapes(model).graph)
    made = {name for node in model.graph.node for name in node.output if name}
    if made - types.keys():
        types |= {name: number for name, number in _runtime_types(model).items() if name not in types}
    if unknown := sorted(made - types.keys()):
        raise StageError(
            Finding(
                "TK932",
                f"the type of {len(unknown)} tensors is not known, `{unknown[0]}` the first: the graph has operators "
                "that neither ONNX nor ONNX Runtime knows",
                "declare these tensors in the graph's value_info",
            )
        )
    return {name: number for name, number in types.items() if number}


def _declared(graph: onnx.GraphProto) -> dict[str, int]:
    """0 stands for what is no tensor."""
    types = {weight.name: int(weight.data_type) for weight in graph.initializer}
    for value in (*graph.value_info, *graph.output, *graph.input):
        if value.type.WhichOneof("value") is not None:
            types[value.name] = int(value.type.tensor_type.elem_type)
    return types


def _runtime_types(model: onnx.ModelProto) -> dict[str, int]:
    import onnx
    import onnxruntime

    asked = onnx.ModelProto()
    asked.CopyFrom(model)
    there = {value.name for value in asked.graph.output}
    made = [name for node in asked.graph.node for name in node.output if name and name not in there]
    asked.graph.output.extend(onnx.ValueInfoProto(name=name) for name in made)
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    try:
        session = onnxruntime.InferenceSession(asked.SerializeToString(), options, providers=["CPUExecutionProvider"])
    except Exception:  # noqa: BLE001 - it does not know an operator either; what is not known is said by the caller
        return {}
    words = {"float": "FLOAT", "double": "DOUBLE"}
    types = {}
    for node in session.get_outputs():
        inner = node.type.removeprefix("tensor(").removesuffix(")")
        number = onnx.TensorProto.DataType.Value(words.get(inner, inner.upper())) if "(" not in inner else 0
        types[node.name] = number if node.type.startswith("tensor(") else 0
    return types
