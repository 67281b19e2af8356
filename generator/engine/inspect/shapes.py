"""The shapes of all tensors once the dynamic axes have lengths. What cannot be inferred stays unknown."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from generator.engine.errors import Finding, StageError
from generator.engine.inspect.sizes import bits_of
from generator.engine.inspect.words import listed, one_line

if TYPE_CHECKING:
    import onnx

_INVENTED = "unk__"  # how ONNX's shape inference begins the names of lengths that it does not know
_LARGEST_KEPT = 1024  # values: shape inference reads small constants (shapes, axes), never weights


@dataclass(frozen=True)
class Shaped:
    """A tensor's ONNX element type (0: unknown) and dims: a length, an axis's name, or None where it is not known."""

    element_type: int = 0
    dims: tuple[int | str | None, ...] | None = None

    @property
    def elements(self) -> int | None:
        """How many values it has, if all lengths are known."""
        count = 1
        for dim in self.dims if self.dims is not None else (None,):
            if not isinstance(dim, int):
                return None
            count *= dim
        return count

    @property
    def bytes(self) -> int | None:
        """What they take."""
        bits, elements = bits_of(self.element_type), self.elements
        return None if bits is None or elements is None else (elements * bits + 7) // 8


def shaped(value: onnx.ValueInfoProto) -> Shaped:
    """As the graph declares it."""
    tensor = value.type.tensor_type
    if value.type.WhichOneof("value") != "tensor_type":
        return Shaped()
    if not tensor.HasField("shape"):
        return Shaped(tensor.elem_type)
    return Shaped(tensor.elem_type, tuple(_dim(dim) for dim in tensor.shape.dim))


def _dim(dim: onnx.TensorShapeProto.Dimension) -> int | str | None:
    if dim.WhichOneof("value") == "dim_value":
        return dim.dim_value if dim.dim_value >= 0 else None
    return None if dim.dim_param.startswith(_INVENTED) else dim.dim_param or None


def inputs_of(graph: onnx.GraphProto) -> list[onnx.ValueInfoProto]:
    """What a caller gives: the inputs that are no weights."""
    weights = {tensor.name for tensor in graph.initializer}
    return [value for value in graph.input if value.name not in weights]


def axis_name(tensor: str, axis: int, dim: int | str | None) -> str | None:
    """The name of a dynamic axis: its own, or `TENSOR.AXIS`; None where the length is fixed."""
    return None if isinstance(dim, int) else dim or f"{tensor}.{axis}"


def axes_of(model: onnx.ModelProto) -> dict[str, tuple[tuple[str, int], ...]]:
    """The dynamic axes of the inputs: name → (input, axis) of every place, the first axes of inputs first."""
    found: dict[str, list[tuple[str, int]]] = {}
    values = [(value.name, shaped(value).dims or ()) for value in inputs_of(model.graph)]
    places = [(tensor, axis, dim) for tensor, dims in values for axis, dim in enumerate(dims)]
    for tensor, axis, dim in sorted(places, key=lambda place: place[1] != 0):
        if name := axis_name(tensor, axis, dim):
            found.setdefault(name, []).append((tensor, axis))
    return {name: tuple(at) for name, at in found.items()}


def batch_axes(model: onnx.ModelProto) -> tuple[str, ...]:
    """The names of the dynamic first axes of the inputs; one name, as a rule."""
    return tuple(name for name, places in axes_of(model).items() if any(axis == 0 for _, axis in places))


def fixed(model: onnx.ModelProto, lengths: Mapping[str, int], batch: int | None) -> dict[str, int]:
    """Axis → length: `lengths`, and `batch` for the first axes that have none.

    Raises StageError: an axis that is not there, a length below 1, a batch that a fixed first axis is not.
    """
    axes, first = axes_of(model), batch_axes(model)
    unknown = [name for name in lengths if name not in axes]
    findings = []
    if unknown:
        valid = f"its dynamic axes are {listed(list(axes))}" if axes else "all its axes have a fixed length"
        findings.append(Finding("TK910", f"the graph has no dynamic axis {listed(unknown)}; {valid}"))
    given = {**dict.fromkeys(first, batch if batch is not None else 1), **lengths}
    findings += [
        Finding("TK910", f"the length of `{name}` is {length}; lengths are whole numbers from 1 on")
        for name, length in given.items()
        if length < 1
    ]
    for value in inputs_of(model.graph) if batch is not None else ():
        dims = shaped(value).dims
        if dims and isinstance(dims[0], int) and dims[0] != batch:
            what = f"a batch of {batch} does not fit the input `{value.name}`, whose first axis is fixed at {dims[0]}"
            findings.append(Finding("TK910", what, "export the model with a dynamic first axis"))
    if findings:
        raise StageError(findings)
    return given


def infer(model: onnx.ModelProto, lengths: Mapping[str, int]) -> dict[str, Shaped]:
    """Every tensor of the graph (of no subgraph) by name, with these lengths. Raises StageError."""
    import onnx

    skeleton = _without_weights(model)
    for value in inputs_of(skeleton.graph):
        for axis, dim in enumerate(value.type.tensor_type.shape.dim):
            name = axis_name(value.name, axis, _dim(dim))
            if name is not None and name in lengths:
                dim.dim_value = lengths[name]
    # What the file says of its other tensors was true of the exporter's lengths; operators that ONNX does not know
    # have nothing else.
    foreign = {name for node in skeleton.graph.node if node.domain not in ("", "ai.onnx") for name in node.output}
    kept = [value for value in skeleton.graph.value_info if value.name in foreign]
    del skeleton.graph.value_info[:]
    for value in (*kept, *skeleton.graph.output):
        for dim in value.type.tensor_type.shape.dim:
            if dim.dim_param in lengths:
                dim.dim_value = lengths[dim.dim_param]
    declared = {value.name: shaped(value) for value in skeleton.graph.output}
    for value in skeleton.graph.output:  # what follows from the inputs is more than what is declared
        value.type.tensor_type.ClearField("shape")
    skeleton.graph.value_info.extend(kept)
    try:
        inferred = onnx.shape_inference.infer_shapes(skeleton, strict_mode=False, data_prop=True).graph
    except (onnx.shape_inference.InferenceError, ValueError) as error:
        message = f"the shapes of the graph cannot be inferred: {one_line(error)}"
        raise StageError(Finding("TK907", message)) from error
    found = {value.name: shaped(value) for value in (*inferred.value_info, *inferred.input, *inferred.output)}
    found.update({name: tensor for name, tensor in declared.items() if found.get(name, Shaped()).dims is None})
    found.update({t.name: Shaped(t.data_type, tuple(t.dims)) for t in model.graph.initializer})
    return found


def _without_weights(model: onnx.ModelProto) -> onnx.ModelProto:
    """A copy whose large weights have no values: shape inference copies all it is given."""
    import onnx

    graph = onnx.GraphProto(name=model.graph.name)
    graph.node.extend(model.graph.node)
    graph.input.extend(model.graph.input)
    graph.output.extend(model.graph.output)
    graph.value_info.extend(model.graph.value_info)
    for tensor in model.graph.initializer:
        small = (Shaped(tensor.data_type, tuple(tensor.dims)).elements or 0) <= _LARGEST_KEPT
        empty = onnx.TensorProto(name=tensor.name, data_type=tensor.data_type, dims=tensor.dims)
        graph.initializer.append(tensor if small else empty)
    return onnx.ModelProto(ir_version=model.ir_version, opset_import=model.opset_import, graph=graph)
