"""What an ONNX file of a repository takes and gives. Its weights are passed over, not read into messages."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING
from weakref import WeakKeyDictionary

from generator import lfs
from generator.lint.versions import served_versions

if TYPE_CHECKING:
    from generator.config.messages import ModelConfig
    from generator.lint.files import Folder
    from generator.lint.model import Model
    from generator.resolve.onnx_graph import OnnxTensor

LARGEST_BYTES = 512 << 20
_TYPES = {
    1: "FP32", 2: "UINT8", 3: "INT8", 4: "UINT16", 5: "INT16", 6: "INT32", 7: "INT64", 8: "STRING", 9: "BOOL",
    10: "FP16", 11: "FP64", 12: "UINT32", 13: "UINT64", 16: "BF16",
}  # fmt: skip
_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5
_LONGEST_VARINT = 10
Field = tuple[int, int, int]  # its number; the value or where it begins, and where it ends (0 for a number)


class NotOnnxError(Exception):
    """Raised for bytes that are no ONNX model."""


@dataclass(frozen=True)
class Signature:
    """Inputs without the weights, outputs, and what the file needs of the runtime.

    Tensors of a type that Triton does not carry have the dtype `?`; `shapeless` names those without a shape.
    `optional` names the inputs that the file has values for.
    """

    inputs: tuple[OnnxTensor, ...]
    outputs: tuple[OnnxTensor, ...]
    optional: frozenset[str] = frozenset()
    shapeless: frozenset[str] = frozenset()
    ir_version: int = 0
    opset: int = 0

    @property
    def may_batch(self) -> bool:
        """Whether the first axis of every tensor is of any length."""
        return all(tensor.dims and tensor.dims[0] is None for tensor in (*self.inputs, *self.outputs))


@dataclass(frozen=True)
class OnnxFile:
    """The file of one version; `signature` is None where it is no ONNX model (`mistake` says why), too large, or not
    to be read."""

    file: str
    version: int
    signature: Signature | None
    mistake: str = ""


_READ: WeakKeyDictionary[Model, dict[str, list[OnnxFile]]] = WeakKeyDictionary()


def newest(model: Model, config: ModelConfig) -> Signature | None:
    """The signature of the newest version that would be served; None where it cannot be read, and where an output
    has no shape, which only the runtime works out."""
    files = onnx_files(model, config)
    found = files[0].signature if files else None
    return None if found is None or any(tensor.name in found.shapeless for tensor in found.outputs) else found


def onnx_files(model: Model, config: ModelConfig) -> list[OnnxFile]:
    """The files of the versions that the server would load, the newest first, each read once. Files that are not
    there are left out: another rule tells of them."""
    name = config.default_model_filename or "model.onnx"
    read = _READ.setdefault(model, {})
    if name not in read:
        found = [(version.number, _place(version.folder, name)) for version in served_versions(model)]
        read[name] = [_file(number, *place) for number, place in found if place is not None]
    return read[name]


def _place(folder: Folder, name: str) -> tuple[Folder, str] | None:
    """Where the file of a version is: a directory of that name holds a `model.onnx`."""
    place = folder.find(name)
    if place is not None and place[0].has_folder(place[1]):
        place = place[0].folder(place[1]).find("model.onnx")
    return place if place is not None and place[0].has_file(place[1]) else None


def _file(version: int, folder: Folder, name: str) -> OnnxFile:
    shown = folder.shown(name)
    try:
        if folder.size_bytes(name) > LARGEST_BYTES:
            return OnnxFile(shown, version, None)
        data = folder.read(name)
        if lfs.is_pointer(data):
            return OnnxFile(shown, version, None, lfs.WHAT)
        return OnnxFile(shown, version, signature(data))
    except OSError:
        return OnnxFile(shown, version, None)  # another rule tells of it
    except NotOnnxError as error:
        return OnnxFile(shown, version, None, str(error))


def signature(data: bytes) -> Signature:
    """The signature of a serialised model. Raises NotOnnxError."""
    ir_version = opset = 0
    graph: tuple[int, int] | None = None
    for number, start, end in _fields(data, 0, len(data)):
        if number == 1 and not end:
            ir_version = start
        elif number == 7 and end:
            graph = (start, end)
        elif number == 8 and end:
            domain, version = _opset(data, start, end)
            opset = version if domain in ("", "ai.onnx") else opset
    if graph is None or not ir_version:
        raise NotOnnxError("is no ONNX model")
    weights: set[str] = set()
    tensors: dict[int, list[tuple[OnnxTensor, bool]]] = {11: [], 12: []}
    for number, start, end in _fields(data, *graph):
        if number == 5 and end:
            weights.add(_text(data, start, end, 8))
        elif number in tensors and end:
            tensors[number].append(_tensor(data, start, end))
    if not tensors[12]:
        raise NotOnnxError("is no ONNX model: it has no outputs")
    inputs = [each for each in tensors[11] if each[0].name not in weights]
    optional = frozenset(each.name for each, _ in tensors[11] if each.name in weights)
    shapeless = frozenset(each.name for each, shaped in (*inputs, *tensors[12]) if not shaped)
    taken, given = (tuple(each for each, _ in found) for found in (inputs, tensors[12]))
    return Signature(taken, given, optional, shapeless, ir_version, opset)


# The wire format -------------------------------------------------------------------------------------------------


def _fields(data: bytes, at: int, end: int) -> Iterator[Field]:
    """The fields of a message, groups excepted, which ONNX does not have."""
    while at < end:
        key, at = _varint(data, at, end)
        kind = key & 7
        if kind == _VARINT:
            value, at = _varint(data, at, end)
            yield key >> 3, value, 0
            continue
        if kind == _BYTES:
            size, at = _varint(data, at, end)
        elif kind in (_FIXED64, _FIXED32):
            size = 8 if kind == _FIXED64 else 4
        else:
            raise NotOnnxError("is no ONNX model")
        if not key >> 3 or at + size > end:
            raise NotOnnxError("is no ONNX model, or a damaged one: it ends too early")
        if kind == _BYTES:
            # An empty message ends where it begins; 0 stands for numbers, and no message of a model begins there.
            yield key >> 3, at, at + size
        at += size


def _varint(data: bytes, at: int, end: int) -> tuple[int, int]:
    value = shift = 0
    for position in range(at, min(end, at + _LONGEST_VARINT)):
        byte = data[position]
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value & (2**64 - 1), position + 1
        shift += 7
    raise NotOnnxError("is no ONNX model, or a damaged one: it ends too early")


def _text(data: bytes, start: int, end: int, number: int) -> str:
    for found, at, until in _fields(data, start, end):
        if found == number and until:
            return data[at:until].decode(errors="replace")
    return ""


def _opset(data: bytes, start: int, end: int) -> tuple[str, int]:
    version = next((value for number, value, until in _fields(data, start, end) if number == 2 and not until), 0)
    return _text(data, start, end, 1), version


def _tensor(data: bytes, start: int, end: int) -> tuple[OnnxTensor, bool]:
    """A ValueInfoProto, and whether it gives a shape."""
    dtype, shaped = "?", False
    dims: list[int | None] = []
    for _, at, until in _inner(data, start, end, 2, 1):  # type, tensor_type
        for number, value, stop in _fields(data, at, until):
            if number == 1 and not stop:
                dtype = _TYPES.get(value, "?")
            elif number == 2 and stop:
                shaped = True
                dims = [_dim(data, *dim) for found, *dim in _fields(data, value, stop) if found == 1 and dim[1]]
    # Here, because specs and their Plans come with it, which nobody needs for a repository without such files.
    from generator.resolve.onnx_graph import OnnxTensor

    return OnnxTensor(_text(data, start, end, 1), dtype, tuple(dims)), shaped


def _inner(data: bytes, start: int, end: int, *path: int) -> Iterator[Field]:
    """The messages at the end of a path of field numbers."""
    for field in _fields(data, start, end):
        if field[0] == path[0] and field[2]:
            if len(path) == 1:
                yield field
            else:
                yield from _inner(data, field[1], field[2], *path[1:])


def _dim(data: bytes, start: int, end: int) -> int | None:
    """A fixed length, or None."""
    length = next((value for number, value, until in _fields(data, start, end) if number == 1 and not until), None)
    return None if length is None or length >= 2**63 else length
