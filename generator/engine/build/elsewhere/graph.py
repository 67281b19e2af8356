"""An ONNX file that was made elsewhere (quantised by another tool, say), before it is judged."""

from __future__ import annotations

from typing import TYPE_CHECKING

from generator.engine.build.candidates.choices import Choice
from generator.engine.build.candidates.compiling import Built
from generator.engine.build.elsewhere.brought import Brought, refusal
from generator.engine.build.elsewhere.face import face_of_graph
from generator.engine.build.lower.lowered import QUANTISED
from generator.engine.compile.base import Settings
from generator.engine.errors import Finding, StageError
from generator.engine.inspect import read_graph
from generator.engine.inspect.walk import constants_of, nodes_of
from generator.project import EMBEDDED

if TYPE_CHECKING:
    import onnx

_FROM = "make it from the graph that the spec names; `tritonkit build --until inspect --keep FOLDER` writes that"


def checked_graph(one: Brought) -> Built:
    """It loads, has the face and the precision that the spec asks for, and is one file. Raises StageError."""
    from generator.engine.compile.onnxruntime import OnnxRuntimeCompiler

    choice = one.choice
    try:
        model = read_graph(one.file)
    except StageError as error:
        found = [Finding(f.code, f"{one.file}: {f.message}", f.hint, "engine") for f in error.findings]
        raise StageError(found) from error
    one.refuse([*one.unlike(face_of_graph(model)), *_other_precision(model, choice)], _FROM)
    known = {"reduced_range": True} if choice.precision in QUANTISED and _has_7_bits(model) else {}
    if choice.precision == "int8" and not known:
        _refuse_overflow(one)
    data = _whole(one, model)
    loaded = OnnxRuntimeCompiler(cuda=choice.cuda).compile(data, Settings(choice.precision, one.profiles), _quiet)
    judged_with = {name: value for name, value in loaded.facts.items() if name not in {"level", "precision"}}
    return one.built(data, judged_with, **known)


def _quiet(_text: str) -> None:
    """It is only loaded: there is nothing to tell."""


def _whole(one: Brought, model: onnx.ModelProto) -> bytes:
    """The file as it is, or with the data that lies beside it: an engine is one file. Raises StageError."""
    import onnx

    written = onnx.ModelProto.FromString(one.data)
    if all(tensor.data_location != tensor.EXTERNAL for tensor in constants_of(written)):
        return one.data
    try:
        data: bytes = model.SerializeToString(deterministic=True)
    except ValueError as error:
        raise StageError(refusal(f"{one.file} is too large for one file with the data beside it")) from error
    return data


def _other_precision(model: onnx.ModelProto, choice: Choice) -> list[str]:
    """Whether the graph is in another precision than the spec names: what is told of an engine has to be true."""
    import onnx

    quantised = any(_is_quantising(node.op_type) for node in nodes_of(model))
    if quantised != (choice.precision in QUANTISED):
        has = "is quantised" if quantised else "has no operator that quantises"
        return [f"{has}, and the spec asks for {choice.precision}"]
    kind = {"fp16": onnx.TensorProto.FLOAT16, "bf16": onnx.TensorProto.BFLOAT16}.get(choice.precision)
    casts = {attribute.i for node in nodes_of(model) if node.op_type == "Cast" for attribute in node.attribute}
    if kind is not None and kind not in casts and all(tensor.data_type != kind for tensor in constants_of(model)):
        return [f"has nothing in {choice.precision}, which the spec asks for"]
    return []


def _is_quantising(operator: str) -> bool:
    return operator.startswith(("QLinear", "DynamicQuantize")) or operator.endswith(("QuantizeLinear", "Integer"))


def _has_7_bits(model: onnx.ModelProto) -> bool:
    """Whether all weights of 8 bits use 7 of them: then no sum overflows on a processor without VNNI."""
    import onnx
    from onnx import numpy_helper

    most = {int(onnx.TensorProto.INT8): 64, int(onnx.TensorProto.UINT8): 127}
    weights = [tensor for tensor in constants_of(model) if len(tensor.dims) > 1 and tensor.data_type in most]
    return bool(weights) and all(
        abs(numpy_helper.to_array(tensor).astype("int16")).max(initial=0) <= most[tensor.data_type]
        for tensor in weights
    )


def _refuse_overflow(one: Brought) -> None:
    """Raises StageError where such an engine would not be rendered: see `generator.render.engines`."""
    from generator.engine.compile.onnxruntime import has_vnni

    if one.job.plan.target.name == EMBEDDED and not has_vnni():
        text = "has weights of 8 bits, and sums of them overflow on this processor, which lacks VNNI instructions"
        one.refuse([text], "quantise it with weights of 7 bits (`reduce_range`), or serve it elsewhere")
