"""A graph in a newer opset, where a precision needs one."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import onnx


def opset_of(model: onnx.ModelProto) -> int:
    """The version of ONNX's own operators that the graph is written in."""
    return next((int(o.version) for o in model.opset_import if o.domain in ("", "ai.onnx")), 1)


def at_least(model: onnx.ModelProto, opset: int) -> onnx.ModelProto:
    """The same graph in `opset`, if it is older. Raises what onnx's converter raises (ConvertError, RuntimeError)."""
    from onnx import helper, version_converter

    if opset_of(model) >= opset:
        return model
    newer = version_converter.convert_version(model, opset)
    newer.ir_version = max(model.ir_version, helper.find_min_ir_version_for(list(newer.opset_import)))
    return newer
