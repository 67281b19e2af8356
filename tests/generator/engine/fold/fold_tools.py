"""Small graphs, ONNX Runtime, and the runtime's own steps to compare with."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import onnx
from onnx import ModelProto, helper

from generator.engine.fold.graph import ELEMENTS
from generator.engine.fold.operators import NUMPY
from generator.engine.runner import OnnxRunner
from tritonkit_runtime.batch import Batch
from tritonkit_runtime.parameters import Limits, StepSpec
from tritonkit_runtime.steps import Chain

Array = np.ndarray[Any, Any]
Step = tuple[str, Mapping[str, Any]]
WORDS = {np.dtype(kind): word for word, kind in NUMPY.items()}
TOLERANCE = 1e-6  # of softmax, as generator/engine/fold/operators.py states it


def network(
    given: tuple[str, Sequence[int | str]], taken: tuple[str, Sequence[int | str]] | None = None, *, opset: int = 17,
    nodes: Sequence[onnx.NodeProto] = (),
) -> ModelProto:  # fmt: skip
    """`x` → `y`: an Identity, unless `nodes` say otherwise. Each is Triton's word for its type, and whole dims."""
    ends = [
        helper.make_tensor_value_info(name, ELEMENTS[dtype], list(dims))
        for name, (dtype, dims) in (("x", given), ("y", taken or given))
    ]
    graph = helper.make_graph(list(nodes) or [helper.make_node("Identity", ["x"], ["y"])], "g", ends[:1], ends[1:])
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=8)


def checked(model: ModelProto) -> ModelProto:
    """The model, which ONNX's checker and its full shape inference have nothing against."""
    onnx.checker.check_model(model, full_check=True)
    inferred = onnx.shape_inference.infer_shapes(model, check_type=True, strict_mode=True, data_prop=True)
    assert [info.name for info in inferred.graph.output] == [info.name for info in model.graph.output]
    return model


def run(model: ModelProto, value: Array) -> list[Array]:
    """Every output of a checked model whose only input gets `value`."""
    runner = OnnxRunner(checked(model).SerializeToString(), threads=1)
    found = runner.run({model.graph.input[0].name: value})
    return [found[info.name] for info in model.graph.output]


def as_runtime(steps: Sequence[Step], value: Array) -> Any:
    """What the server's own steps make of a batch: an array, or the tensors of `top_k` by name."""
    if not steps:
        return value
    chain = Chain([StepSpec(name, parameters) for name, parameters in steps], "array", Limits())
    return chain(Batch({}, (len(value),)), value)


def same(found: Array, wanted: Array, *, exact: bool = True) -> None:
    """Bit for bit (of NaN only that it is one), or within the tolerance of softmax."""
    assert (found.dtype, found.shape) == (wanted.dtype, wanted.shape)
    if not exact:
        np.testing.assert_allclose(found, wanted, rtol=0, atol=TOLERANCE)
        return
    np.testing.assert_array_equal(found, wanted)
    if found.dtype.kind == "f":
        numbers = ~np.isnan(wanted)
        np.testing.assert_array_equal(np.signbit(found[numbers]), np.signbit(wanted[numbers]))
