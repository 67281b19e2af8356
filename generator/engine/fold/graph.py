"""Adding nodes to an ONNX graph: names that are free, constants, and values that are renamed wherever they stand."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from onnx import GraphProto, ModelProto, NodeProto, TensorProto, ValueInfoProto, helper

from generator.engine.errors import Finding, StageError

OLDEST_OPSET = 11  # since then TopK takes the lower index of two equal values
# Triton's words for what steps work with -> ONNX's.
ELEMENTS: dict[str, int] = {
    "BOOL": TensorProto.BOOL, "UINT8": TensorProto.UINT8, "UINT16": TensorProto.UINT16,
    "UINT32": TensorProto.UINT32, "UINT64": TensorProto.UINT64, "INT8": TensorProto.INT8,
    "INT16": TensorProto.INT16, "INT32": TensorProto.INT32, "INT64": TensorProto.INT64,
    "FP16": TensorProto.FLOAT16, "FP32": TensorProto.FLOAT, "FP64": TensorProto.DOUBLE,
}  # fmt: skip
WORDS = {element: word for word, element in ELEMENTS.items()}

# A length, the name of an axis of any length, or None where it has no name.
Dim = int | str | None


@dataclass(frozen=True)
class Value:
    """A tensor of the graph, its batch axis included. `dtype` in Triton's words.

    `probabilities` says that every row is in 0..1, or NaN throughout, as softmax leaves it.
    """

    name: str
    dtype: str
    dims: tuple[Dim, ...]
    probabilities: bool = False


def opset_of(model: ModelProto) -> int:
    """The version of ONNX's own operators; 0 when the model has none."""
    return max((entry.version for entry in model.opset_import if entry.domain in ("", "ai.onnx")), default=0)


def check_opset(opset: int) -> None:
    """Raises StageError when the operators that are needed are not in it."""
    if opset < OLDEST_OPSET:
        raise StageError(
            Finding(
                "TK922",
                f"the graph is of opset {opset}, and what is folded needs opset {OLDEST_OPSET} or later",
                "export it again with opset 17, or use `layout: ensemble`",
            )
        )


def value_of(info: ValueInfoProto) -> Value:
    """A declared input or output. KeyError for a type that steps do not work with (BF16, STRING)."""
    tensor = info.type.tensor_type
    dims = tuple(
        d.dim_value if d.WhichOneof("value") == "dim_value" else d.dim_param or None for d in tensor.shape.dim
    )
    return Value(info.name, WORDS[tensor.elem_type], dims)


def info_of(value: Value) -> ValueInfoProto:
    """The declaration of an input or output."""
    return helper.make_tensor_value_info(value.name, ELEMENTS[value.dtype], list(value.dims))


class Nodes:
    """New nodes for one place of a graph, in order; every name begins with `prefix`.

    `taken` holds all names of the graph, and gets those that are given here.
    """

    def __init__(self, prefix: str, opset: int, taken: set[str], batched: bool = True) -> None:
        self.prefix, self.opset, self.taken, self.batched = prefix, opset, taken, batched
        self.nodes: list[NodeProto] = []
        self.constants: list[TensorProto] = []

    def add(self, operator: str, inputs: Sequence[str], **attributes: Any) -> str:
        """A node with one output, whose name is returned."""
        return self.add_several(operator, inputs, 1, **attributes)[0]

    def add_several(self, operator: str, inputs: Sequence[str], outputs: int, **attributes: Any) -> list[str]:
        """A node with several outputs."""
        name = free(f"{self.prefix}_{len(self.nodes)}_{operator.lower()}", self.taken)
        given = [name] if outputs == 1 else [free(f"{name}_{index}", self.taken) for index in range(outputs)]
        self.nodes.append(helper.make_node(operator, list(inputs), given, name=name, **attributes))
        return given

    def constant(self, what: str, values: Sequence[float], dtype: str, *, scalar: bool = False) -> str:
        """A list of numbers, or one number without an axis."""
        name = free(f"{self.prefix}_{len(self.nodes)}_{what}", self.taken)
        dims = [] if scalar else [len(values)]
        self.constants.append(helper.make_tensor(name, ELEMENTS[dtype], dims, list(values)))
        return name

    def over(self, operator: str, value: str, axis: int) -> str:
        """A reduction over one axis, which stays, with length 1."""
        # Since opset 18, and 13 of ReduceSum, axes are an input.
        if self.opset >= (13 if operator == "ReduceSum" else 18):
            return self.add(operator, [value, self.constant("axes", [axis], "INT64")], keepdims=1)
        return self.add(operator, [value], axes=[axis], keepdims=1)


def free(name: str, taken: set[str]) -> str:
    """`name`, or with a number behind it; it is taken afterwards."""
    number, found = 1, name
    while found in taken:
        found, number = f"{name}_{number}", number + 1
    taken.add(found)
    return found


def names_in(graph: GraphProto) -> set[str]:
    """Every name of a value or a node, those of inner graphs (branches, loops) included."""
    found = {info.name for info in (*graph.input, *graph.output, *graph.value_info)}
    found |= {weights.name for weights in graph.initializer}
    found |= {sparse.values.name for sparse in graph.sparse_initializer}
    for node in graph.node:
        found |= {node.name, *node.input, *node.output}
        for inner in _inner(node):
            found |= names_in(inner)
    return found


def rename(graph: GraphProto, old: str, new: str) -> None:
    """Gives a value another name in all nodes and declarations, but not where the graph takes or gives it."""
    _rename_in(graph.node, old, new)
    for declared in graph.value_info:
        if declared.name == old:
            declared.name = new
    for weights in graph.initializer:
        if weights.name == old:
            weights.name = new
    for annotation in graph.quantization_annotation:
        if annotation.tensor_name == old:
            annotation.tensor_name = new


def _rename_in(nodes: Iterable[NodeProto], old: str, new: str) -> None:
    for node in nodes:
        for names in (node.input, node.output):
            for index, name in enumerate(names):
                if name == old:
                    names[index] = new
        for inner in _inner(node):
            rename(inner, old, new)
            for declared in inner.output:
                if declared.name == old:
                    declared.name = new


def _inner(node: NodeProto) -> Iterator[GraphProto]:
    for attribute in node.attribute:
        if attribute.HasField("g"):
            yield attribute.g
        yield from attribute.graphs
