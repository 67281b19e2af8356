"""An ONNX file that was made elsewhere (quantised by another tool, say), before it is judged."""

from __future__ import annotations

from typing import TYPE_CHECKING

from generator.engine.build.candidates.compiling import Built
from generator.engine.build.elsewhere.brought import Brought, path_text, refusal
from generator.engine.build.elsewhere.face import face_of_graph
from generator.engine.build.elsewhere.precision import has_7_bits, other_precision
from generator.engine.compile.base import Settings
from generator.engine.errors import Finding, StageError
from generator.engine.inspect import read_graph
from generator.engine.inspect.walk import constants_of

if TYPE_CHECKING:
    import onnx

_FROM = "make it from the graph that the spec names; `tritonkit build --until inspect --keep FOLDER` writes that"


def checked_graph(one: Brought) -> Built:
    """It loads, has the face and the precision that the spec asks for, and is one file. Raises StageError."""
    from generator.engine.compile.onnxruntime import OnnxRuntimeCompiler

    choice = one.choice
    try:
        model = read_graph(one.file, one.data)
    except StageError as error:
        found = [Finding(f.code, f"{path_text(one.file)}: {f.message}", f.hint, "engine") for f in error.findings]
        raise StageError(found) from error
    data = _whole(one, model)
    one.refuse([*one.unlike(face_of_graph(model)), *other_precision(model, choice.precision)], _FROM)
    known = {"reduced_range": True} if choice.precision == "int8" and has_7_bits(model) else {}
    if choice.precision == "int8" and not known:
        _refuse_overflow(one)
    loaded = OnnxRuntimeCompiler(cuda=choice.cuda).compile(data, Settings(choice.precision, one.profiles), _quiet)
    judged_with = {name: value for name, value in loaded.facts.items() if name not in {"level", "precision"}}
    return one.built(data, judged_with, **known)


def _quiet(_text: str) -> None:
    """It is only loaded: there is nothing to tell."""


def _whole(one: Brought, model: onnx.ModelProto) -> bytes:
    """The file as it is, or with the data that lies beside it: an engine is one file. Raises StageError."""
    import onnx
    from google.protobuf.message import EncodeError

    written = onnx.ModelProto.FromString(one.data)
    if all(tensor.data_location != tensor.EXTERNAL for tensor in constants_of(written)):
        return one.data
    try:
        data: bytes = model.SerializeToString(deterministic=True)
    except (EncodeError, ValueError) as error:
        said = "is too large for one file with the data beside it: 2 GB is the most that ONNX allows"
        text = f"{path_text(one.file)} {said}"
        raise StageError(refusal(text)) from error
    return data


def _refuse_overflow(one: Brought) -> None:
    """Raises StageError where such an engine would not be rendered: see `generator.render.engines`."""
    from generator.engine.compile.onnxruntime import overflows_here

    if overflows_here(one.job.plan.target.name, on_cuda=one.choice.cuda):
        text = "has weights of 8 bits, and sums of them overflow on this processor, which lacks VNNI instructions"
        one.refuse([text], "quantise it with weights of 7 bits (`reduce_range`), or serve it elsewhere")
