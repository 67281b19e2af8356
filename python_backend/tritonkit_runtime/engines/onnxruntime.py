"""ONNX Runtime on the CPU."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from tritonkit_runtime.batch import Array, Tensors
from tritonkit_runtime.parameters import ParameterError, TensorSpec

# ONNX Runtime's words for element types -> Triton's.
_DTYPES: Mapping[str, str] = {
    "bool": "BOOL",
    "uint8": "UINT8",
    "uint16": "UINT16",
    "uint32": "UINT32",
    "uint64": "UINT64",
    "int8": "INT8",
    "int16": "INT16",
    "int32": "INT32",
    "int64": "INT64",
    "float16": "FP16",
    "float": "FP32",
    "double": "FP64",
    "bfloat16": "BF16",
    "string": "STRING",
}


class OnnxRuntime:
    """An ONNX file in a session on the CPU, checked against the declared tensors when loaded."""

    def __init__(
        self,
        path: Path,
        inputs: Sequence[TensorSpec],
        outputs: Sequence[TensorSpec],
        max_batch_size: int,
        intra_op_threads: int,
    ) -> None:
        # Since 1.29 the library tells its maker about models and machine over the network, unless this is set first.
        os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = intra_op_threads
        options.inter_op_num_threads = 1
        try:
            self._session: Any = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
        except Exception as error:  # the library's errors share no base class
            raise ParameterError(f"ONNX Runtime cannot load {path}: {error}") from error
        self.inputs, self.outputs = tuple(inputs), tuple(outputs)
        self._names = [tensor.name for tensor in outputs]
        found_inputs = {node.name: node for node in self._session.get_inputs()}
        found_outputs = {node.name: node for node in self._session.get_outputs()}
        if unfed := [name for name in found_inputs if name not in {tensor.name for tensor in inputs}]:
            raise ParameterError(f"{path} has an input {unfed[0]!r} that the model does not declare")
        for kind, declared, found in (("input", inputs, found_inputs), ("output", outputs, found_outputs)):
            for tensor in declared:
                if tensor.name not in found:
                    names = ", ".join(found)
                    raise ParameterError(f"{path} has no {kind} {tensor.name!r}; its {kind}s are {names}")
                if problem := mismatch(tensor, found[tensor.name], max_batch_size):
                    raise ParameterError(f"{kind} {tensor.name!r} of {path}: {problem}")

    def run(self, tensors: Mapping[str, Array]) -> Tensors:
        """The declared outputs; raises what ONNX Runtime raises."""
        feeds = {name: _text(array) if array.dtype == object else array for name, array in tensors.items()}
        return dict(zip(self._names, self._session.run(self._names, feeds), strict=True))

    def close(self) -> None:
        """Frees the session."""
        self._session = None


def _text(array: Array) -> Array:
    """Bytes as str: ONNX Runtime would take b'cat' for the text "b'cat'". What is not UTF-8 is replaced."""
    texts = [text.decode(errors="replace") for text in array.flat]
    return np.array(texts, dtype=np.object_).reshape(array.shape)


def mismatch(declared: TensorSpec, node: Any, max_batch_size: int) -> str:
    """Why the file's tensor is not the declared one; empty if it is. Symbolic lengths fit every length."""
    element = node.type.removeprefix("tensor(").removesuffix(")")
    dtype = _DTYPES.get(element, element)
    if dtype != declared.dtype:
        return f"the file has {dtype}, the model declares {declared.dtype}"
    shape = list(node.shape)
    if not shape:
        return ""  # an unknown number of axes looks like none: the tensor itself will be checked
    if max_batch_size and isinstance(shape[0], int) and not shape[0] == max_batch_size == 1:
        return (
            f"its batch axis is fixed at {shape[0]}, but max_batch_size is {max_batch_size}: "
            "export the ONNX file with a dynamic first axis, or set max_batch_size to 0"
        )
    expected = [-1, *declared.dims] if max_batch_size else list(declared.dims)
    lengths = [length if isinstance(length, int) else -1 for length in shape]
    fits = len(lengths) == len(expected) and all(
        length in (-1, wanted) or (index == 0 and max_batch_size == 1)
        for index, (length, wanted) in enumerate(zip(lengths, expected, strict=True))
    )
    return "" if fits else f"the file has dims {lengths}, the model declares {expected}"
