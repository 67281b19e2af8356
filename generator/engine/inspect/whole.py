"""Damage that neither protobuf nor ONNX's checker sees."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from generator.engine.errors import Finding
from generator.engine.inspect.sizes import bytes_of_tensor
from generator.engine.inspect.walk import constants_of, graphs_of

if TYPE_CHECKING:
    import onnx

_AGAIN = "export or copy it again"


def wrong_names(model: onnx.ModelProto) -> list[Finding]:
    """Whether a name is not UTF-8: protobuf gives such a one as bytes."""
    if any(isinstance(text, bytes) for text in _texts(model)):
        return [Finding("TK902", "the file is damaged: names in its graph are not UTF-8", _AGAIN)]
    return []


def _texts(model: onnx.ModelProto) -> Iterator[object]:
    yield from (model.producer_name, model.producer_version, *(entry.domain for entry in model.opset_import))
    for graph in graphs_of(model):
        yield graph.name
        for node in graph.node:
            yield from (node.name, node.op_type, node.domain, *node.input, *node.output)
            yield from (attribute.name for attribute in node.attribute)
        if hasattr(graph, "initializer"):
            for value in (*graph.input, *graph.output, *graph.value_info):
                yield value.name
                yield from (dim.dim_param for dim in value.type.tensor_type.shape.dim)
    for tensor in constants_of(model):
        yield tensor.name
        yield from (text for pair in tensor.external_data for text in (pair.key, pair.value))


def wrong_sizes(model: onnx.ModelProto) -> list[Finding]:
    """Constants in the file whose values are more or fewer than their shape says."""
    import onnx

    wrong = []
    for tensor in constants_of(model):
        if tensor.data_location == tensor.EXTERNAL:
            continue
        if tensor.HasField("raw_data"):
            fits = len(tensor.raw_data) == bytes_of_tensor(tensor)
        else:
            try:
                onnx.numpy_helper.to_array(tensor)
                fits = True
            except (ValueError, TypeError, KeyError, OverflowError):
                fits = False
        if not fits:
            shape = f"[{', '.join(map(str, tensor.dims))}]"
            message = f"the file is damaged: the values of the constant `{tensor.name}` do not fill its shape {shape}"
            wrong.append(Finding("TK902", message, _AGAIN))
    return wrong[:5]
