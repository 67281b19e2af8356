"""Files that a script makes and that are checked in: the same bytes each time, and compared with what is there."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
from onnx import helper, numpy_helper

ROOT = Path(__file__).resolve().parent.parent
OPSET = 17
IR_VERSION = 8  # what came with opset 17; ONNX Runtime of 2022 and later loads it
BATCH = "batch"  # the symbolic first axis of every tensor

Arrays = Mapping[str, npt.NDArray[Any]]


def fp32(name: str, *dims: int) -> onnx.ValueInfoProto:
    """Declare an FP32 tensor [batch, *dims]."""
    return helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, [BATCH, *dims])


def build_model(
    name: str,
    nodes: Sequence[onnx.NodeProto],
    inputs: Sequence[onnx.ValueInfoProto],
    outputs: Sequence[onnx.ValueInfoProto],
    constants: Arrays,
) -> onnx.ModelProto:
    """Return a checked model. Raises onnx.checker.ValidationError where nodes or shapes do not fit."""
    initializers = [numpy_helper.from_array(array, label) for label, array in constants.items()]
    graph = helper.make_graph(nodes, name, inputs, outputs, initializers)
    opsets = [helper.make_opsetid("", OPSET)]
    model = helper.make_model(graph, producer_name="tritonkit", ir_version=IR_VERSION, opset_imports=opsets)
    onnx.checker.check_model(model, full_check=True)
    return model


def constants_of(model: onnx.ModelProto) -> dict[str, npt.NDArray[Any]]:
    """Return the model's initializers by name, in the model's order."""
    return {tensor.name: numpy_helper.to_array(tensor) for tensor in model.graph.initializer}


def npz_bytes(arrays: Arrays) -> bytes:
    """Return an .npz file; numpy writes no time into it, so equal arrays give equal bytes."""
    buffer = io.BytesIO()
    np.savez(buffer, **arrays)
    return buffer.getvalue()


def read_npz(path: Path) -> dict[str, npt.NDArray[Any]]:
    """Return a file's arrays; an array of Python objects (a pickle) raises ValueError."""
    with np.load(path, allow_pickle=False) as arrays:
        return dict(arrays)


def model_differences(path: Path, made: onnx.ModelProto, tolerance: float) -> list[str]:
    """Say how a model file differs from `made`; weights may be off by `tolerance`, all else must be equal."""
    if not path.is_file():
        return [f"{path.name} does not exist"]
    there = onnx.load(path)
    was, now = constants_of(there), constants_of(made)
    if _without_constants(there) != _without_constants(made) or _shapes(was) != _shapes(now):
        return [f"{path.name} has another graph than the script makes"]
    found = []
    for name, array in now.items():
        furthest = float(np.abs(was[name].astype(np.float64) - array).max())
        if not furthest <= tolerance:
            found.append(f"{path.name}: {name} is off by {furthest:.2g}, where {tolerance:.2g} is allowed")
    return found


def npz_differences(path: Path, made: Arrays) -> list[str]:
    """Say how an .npz file differs from `made`: names, types, shapes and every value must be equal."""
    if not path.is_file():
        return [f"{path.name} does not exist"]
    there = read_npz(path)
    if _shapes(there) != _shapes(made):
        return [f"{path.name} has arrays {_shapes(there)}, where the script makes {_shapes(made)}"]
    return [
        f"{path.name}: {name} has other values than the script makes"
        for name, array in made.items()
        if not np.array_equal(there[name], array)
    ]


def _shapes(arrays: Arrays) -> dict[str, tuple[str, tuple[int, ...]]]:
    return {name: (str(array.dtype), array.shape) for name, array in arrays.items()}


def _without_constants(model: onnx.ModelProto) -> onnx.ModelProto:
    bare = onnx.ModelProto()
    bare.CopyFrom(model)
    del bare.graph.initializer[:]
    return bare
