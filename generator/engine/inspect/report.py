"""Everything that a look at a graph tells, as plain data."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from generator.engine.inspect.layers import Layer, run_layers
from generator.engine.inspect.quantised import is_quantising
from generator.engine.inspect.shapes import Shaped, axes_of, axis_name, batch_axes, fixed, infer, inputs_of, shaped
from generator.engine.inspect.sizes import bytes_of_tensor
from generator.engine.inspect.walk import constants_of

if TYPE_CHECKING:
    import onnx

_WORDS = {"FLOAT": "FP32", "FLOAT16": "FP16", "DOUBLE": "FP64", "BFLOAT16": "BF16"}


@dataclass(frozen=True)
class Signature:
    """An input or output. A dim is a length, or the name of a dynamic axis."""

    name: str
    dtype: str
    dims: tuple[int | str, ...]


@dataclass(frozen=True)
class Weights:
    """How many values of one type the model holds, and what they take."""

    values: int
    bytes: int


@dataclass(frozen=True)
class Inspection:
    """A model at given lengths of its axes.

    `axes` are the dynamic axes of the inputs, name → where (`INPUT[AXIS]`); `batch` those that are first axes.
    `size_bytes` is that of the whole model with its weights. `lengths` are what the layers were counted with; an
    axis that is not in it is unknown, and so is what depends on it. `quantising_nodes` is how many QuantizeLinear and
    DequantizeLinear there are: the layers beside them are counted in their bits.
    """

    inputs: tuple[Signature, ...]
    outputs: tuple[Signature, ...]
    axes: Mapping[str, tuple[str, ...]]
    batch: tuple[str, ...]
    opset: int
    opsets: Mapping[str, int]
    ir_version: int
    producer: str
    size_bytes: int
    weights: Mapping[str, Weights]
    lengths: Mapping[str, int]
    layers: tuple[Layer, ...]
    quantising_nodes: int = 0

    @property
    def flops(self) -> int:
        """Of all layers whose count is known."""
        return sum(layer.flops or 0 for layer in self.layers)

    @property
    def moved_bytes(self) -> int:
        """Read and written by all layers whose count is known, if each ran alone."""
        return sum(layer.moved_bytes or 0 for layer in self.layers)

    @property
    def uncounted(self) -> tuple[Layer, ...]:
        """The layers whose operations or bytes are not known: totals are without them."""
        return tuple(layer for layer in self.layers if layer.flops is None or layer.moved_bytes is None)

    @property
    def free_axes(self) -> tuple[str, ...]:
        """The dynamic axes without a length."""
        return tuple(name for name in self.axes if name not in self.lengths)


def inspect(model: onnx.ModelProto, lengths: Mapping[str, int], batch: int | None = None) -> Inspection:
    """What is in `model`. `lengths` of axes by name; `batch` (1) is the length of the inputs' first axes.

    Raises StageError: an axis that is not there, a batch that a fixed first axis is not, contradicting shapes.
    """
    given = fixed(model, lengths, batch)
    opsets = {entry.domain or "ai.onnx": entry.version for entry in model.opset_import}
    return Inspection(
        inputs=tuple(_signature(value) for value in inputs_of(model.graph)),
        outputs=tuple(_signature(value) for value in model.graph.output),
        axes={name: tuple(f"{tensor}[{axis}]" for tensor, axis in at) for name, at in axes_of(model).items()},
        batch=batch_axes(model),
        opset=opsets.get("ai.onnx", 0),
        opsets=opsets,
        ir_version=model.ir_version,
        producer=f"{model.producer_name} {model.producer_version}".strip(),
        size_bytes=model.ByteSize(),
        weights=_weights(model),
        lengths=given,
        layers=run_layers(model.graph, _all_shapes(model, given)),
        quantising_nodes=sum(map(is_quantising, model.graph.node)),
    )


def dtype_word(element_type: int) -> str:
    """A type as Triton calls it: FP32, INT64, UINT8."""
    import onnx

    try:
        word = onnx.TensorProto.DataType.Name(element_type)
    except ValueError:
        return f"type {element_type}"
    return _WORDS.get(word, word)


def _signature(value: onnx.ValueInfoProto) -> Signature:
    tensor = shaped(value)
    dims = tensor.dims if tensor.dims is not None else ("any shape",)
    words = tuple(axis_name(value.name, axis, dim) or dim or 0 for axis, dim in enumerate(dims))
    return Signature(value.name, dtype_word(tensor.element_type), words)


def _weights(model: onnx.ModelProto) -> dict[str, Weights]:
    found: dict[str, tuple[int, int]] = {}
    for tensor in constants_of(model):
        word = dtype_word(tensor.data_type)
        values, size = found.get(word, (0, 0))
        count = Shaped(tensor.data_type, tuple(tensor.dims)).elements or 0
        found[word] = (values + count, size + (bytes_of_tensor(tensor) or 0))
    return {word: Weights(*found[word]) for word in sorted(found, key=lambda word: -found[word][1])}


def _all_shapes(model: onnx.ModelProto, lengths: Mapping[str, int]) -> dict[str, Shaped]:
    shapes = infer(model, lengths)
    for node in model.graph.node:
        if node.op_type == "Constant":  # its bytes are a weight's, whatever inference says
            for attribute in node.attribute:
                if attribute.name == "value":
                    shapes[node.output[0]] = Shaped(attribute.t.data_type, tuple(attribute.t.dims))
    return shapes
