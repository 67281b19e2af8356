"""ONNX models for tests, in ONNX's own text form."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import onnx.parser


def written(text: str, opset: int = 17) -> onnx.ModelProto:
    """The model of a graph; what is declared in `<...>` without a value is a weight of random numbers."""
    model = onnx.parser.parse_model(f'<ir_version: 8, opset_import: ["": {opset}, "TRT": 1]>\n{text}')
    made = {name for node in model.graph.node for name in node.output}
    random = np.random.default_rng(1)
    weights = [value for value in model.graph.value_info if value.name not in made]
    for value in weights:
        shape = [dim.dim_value for dim in value.type.tensor_type.shape.dim]
        kind = onnx.helper.tensor_dtype_to_np_dtype(value.type.tensor_type.elem_type)
        array = random.normal(0, 0.1, shape).astype(kind)
        model.graph.initializer.append(onnx.numpy_helper.from_array(array, value.name))
        model.graph.value_info.remove(value)
    return model


def as_released(file: Path) -> None:
    """Gives a model that the newest onnx wrote the versions that every engine reads."""
    model = onnx.load(file)
    model.ir_version, model.opset_import[0].version = 8, 17
    onnx.save(model, file)
