"""What an ONNX file takes and gives: names, types, shapes. Weights are not interpreted."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from generator import lfs
from generator.one_module import import_alone
from generator.plan import OnnxVersion, Tensor

if TYPE_CHECKING:
    from onnx import ValueInfoProto


class OnnxGraphError(Exception):
    """Raised with one sentence on why the file cannot be used."""


@dataclass(frozen=True)
class OnnxTensor:
    """An input or output; `dims` with the first axis, None where it is of any length."""

    name: str
    dtype: str
    dims: tuple[int | None, ...]

    def describe(self) -> str:
        """`FP32 [any, 1, 8, 8]`."""
        return f"{self.dtype} [{', '.join('any' if d is None else str(d) for d in self.dims)}]"

    def without_batch(self) -> Tensor:
        """As Triton declares it when the model has a batch axis."""
        return Tensor(self.name, self.dtype, tuple(-1 if d is None else d for d in self.dims[1:]))

    def whole(self) -> Tensor:
        """As Triton declares it when the model has none."""
        return Tensor(self.name, self.dtype, tuple(-1 if d is None else d for d in self.dims))


@dataclass(frozen=True)
class OnnxGraph:
    """Inputs (without the weights), outputs, and the hash of the file.

    Of an engine with several versions it is the graph of the one called `newest`, the newest that is served; all
    have the same tensors.
    """

    inputs: tuple[OnnxTensor, ...]
    outputs: tuple[OnnxTensor, ...]
    sha256: str
    versions: tuple[OnnxVersion, ...] = ()
    newest: int = 1

    @property
    def file(self) -> str:
        """The file that it is of."""
        return next(version.onnx for version in self.versions if version.number == self.newest)

    def fixed_batch(self) -> tuple[str, ...]:
        """Names of tensors whose first axis cannot be a batch of any size."""
        return tuple(t.name for t in (*self.inputs, *self.outputs) if not t.dims or t.dims[0] is not None)

    def bare(self) -> tuple[str, ...]:
        """Names of tensors with no axis beside the first: one value an item, as the label of many classifiers."""
        return tuple(t.name for t in (*self.inputs, *self.outputs) if len(t.dims) <= 1)


def onnx_messages() -> Any:
    """The messages of an ONNX file, without the rest of the package."""
    return import_alone("onnx.onnx_ml_pb2")


def read(path: Path) -> OnnxGraph:
    """Reads the graph of `path`. Raises OnnxGraphError."""
    from google.protobuf.message import DecodeError

    try:
        data = path.read_bytes()
    except OSError as error:
        raise OnnxGraphError(f"cannot be read: {error.strerror}") from error
    if lfs.is_pointer(data):
        raise OnnxGraphError(f"{lfs.WHAT}: {lfs.MEND}")
    try:
        model = onnx_messages().ModelProto.FromString(data)
    except DecodeError as error:
        raise OnnxGraphError("is not an ONNX file, or a damaged one") from error
    if not model.graph.output:
        raise OnnxGraphError("is not an ONNX file: it has no outputs")
    weights = {tensor.name for tensor in model.graph.initializer}
    inputs = tuple(_tensor(v) for v in model.graph.input if v.name not in weights)
    outputs = tuple(_tensor(v) for v in model.graph.output)
    for tensor in model.graph.initializer:
        if tensor.data_location == tensor.EXTERNAL:
            raise OnnxGraphError("keeps its weights in a second file, which is not supported: save it as one file")
    return OnnxGraph(inputs, outputs, hashlib.sha256(data).hexdigest())


def _tensor(value: ValueInfoProto) -> OnnxTensor:
    tensor = value.type.tensor_type
    word = onnx_messages().TensorProto.DataType.Name(tensor.elem_type)
    dtype = {"FLOAT": "FP32", "FLOAT16": "FP16", "DOUBLE": "FP64", "BFLOAT16": "BF16"}.get(word, word)
    if value.type.WhichOneof("value") != "tensor_type" or dtype.startswith(("COMPLEX", "UNDEFINED", "FLOAT")):
        raise OnnxGraphError(f"has a tensor `{value.name}` of a type that Triton does not carry ({word})")
    if not tensor.HasField("shape"):
        raise OnnxGraphError(f"gives no shape for its tensor `{value.name}`: run ONNX shape inference on it first")
    return OnnxTensor(
        value.name,
        dtype,
        tuple(d.dim_value if d.WhichOneof("value") == "dim_value" else None for d in tensor.shape.dim),
    )
