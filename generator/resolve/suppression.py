"""`build: {nms: efficient}`: whether TensorRT's plugin finds a suppression in the graph that it could do."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from generator.collector import Collector
from generator.plan import EngineProgram, ModelPlan
from generator.resolve.folded import is_folded
from generator.spec import Spec, Target
from generator.spec.models import Model

_COULD = frozenset({"tensorrt", "auto"})


def check_nms(
    spec: Spec, target: str, changes: Target, *, models: Iterable[ModelPlan], written: Mapping[str, Model],
    collect: Collector,
) -> None:  # fmt: skip
    """Collects what is wrong. In ONNX Runtime the standard operator stays, so that one spec suits every target."""
    for part in (part for model in models for part in model.parts()):
        program = part.program
        if not isinstance(program, EngineProgram) or program.build.nms == "standard":
            continue
        path = (*part.source, "build", "nms")
        if program.engine != "tensorrt" and program.asked != "auto":
            if not _asks_for_tensorrt(spec, written[part.key]):
                collect.error(
                    "TK926", path,
                    f"`nms: efficient` is a plugin of TensorRT, and `{part.name}` runs in TensorRT on no target",
                    "say `engine: tensorrt` for a target, or remove it",
                )  # fmt: skip
        elif not is_folded(spec, changes) and program.fold is None:
            collect.error(
                "TK926", path,
                f"`nms: efficient` needs the suppression in the engine's graph; on target `{target}` the layout is "
                f"`{changes.layout or spec.layout}`, where `nms` is a step outside",
                "say `layout: folded`, or remove it",
            )  # fmt: skip
        elif not _has_nms(program):
            collect.error(
                "TK926", path,
                f"`nms: efficient` finds no step `nms` in the graph of `{part.name}` on target `{target}`",
                "put `nms` right behind the engine, with its two outputs and nothing else; or remove it",
            )  # fmt: skip


def _asks_for_tensorrt(spec: Spec, model: Model) -> bool:
    asked = {model.engine, *(there.engine for there in spec.targets.values() if there is not None)}
    return bool(asked & _COULD)


def _has_nms(program: EngineProgram) -> bool:
    steps = () if program.fold is None else program.fold.after.values()
    return any(name == "nms" for some in steps for name, _ in some)
